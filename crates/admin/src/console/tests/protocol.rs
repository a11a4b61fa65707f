//! Both protocols, as drivers and psql speak them.

use futures_util::TryStreamExt;
use postgres_types::{FromSql, Type};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;

use super::super::tables::Show;
use super::super::value::Kind;
use super::super::{ConsoleConfig, help};
use super::fake::{PATIENCE, bench, bench_with, error, message, tags};
use crate::facts::{Outcome, Right};
use crate::order::{Command, Target};

/// A value of any type, as it comes.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Text and binary mean the same, in all tables.
#[tokio::test]
async fn a_driver_reads_every_table_in_both_protocols() {
    let bench = bench();
    let driver = bench.driver(Right::Admin).await;
    for show in Show::ALL.iter().filter(|show| !show.columns().is_empty()) {
        let text = format!("SHOW {}", show.word());
        let binary =
            driver.query(&text, &[]).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        let simple = driver.simple_query(&text).await.unwrap();
        let simple: Vec<_> = simple
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect();
        assert_eq!(binary.len(), simple.len(), "{text}");
        for (binary, simple) in binary.iter().zip(simple) {
            for (index, (name, kind)) in show.columns().iter().enumerate() {
                assert_eq!(binary.columns()[index].name(), *name);
                assert_eq!(*binary.columns()[index].type_(), kind.to_type());
                let read = match kind {
                    Kind::Int4 => binary.get::<_, Option<i32>>(index).map(|it| it.to_string()),
                    Kind::Int8 => binary.get::<_, Option<i64>>(index).map(|it| it.to_string()),
                    Kind::Text => binary.get::<_, Option<String>>(index),
                    // value.rs has the digits.
                    Kind::Numeric => {
                        assert_eq!(
                            binary.get::<_, Option<Raw>>(index).is_some(),
                            simple.get(index).is_some()
                        );
                        continue;
                    }
                    Kind::Bool | Kind::Oid => panic!("{text} has no {kind:?}"),
                };
                assert_eq!(read.as_deref(), simple.get(index), "{text} {name}");
            }
        }
    }
}

#[tokio::test]
async fn orders_are_given_in_both_protocols_and_errors_are_told() {
    let bench = bench();
    let driver = bench.driver(Right::Admin).await;
    driver.execute("PAUSE app", &[]).await.unwrap();
    driver.batch_execute("KILL_CLIENT 7; RECONNECT").await.unwrap();
    let refused = driver.batch_execute("RESUME; KILL").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "55000");
    let refused = refused.as_db_error().unwrap().message().to_owned();
    assert_eq!(refused, "pooler is not paused/suspended");
    let refused = driver.execute("PAUSE pgbouncer", &[]).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().message(), "cannot pause admin db: pgbouncer");
    let orders: Vec<Command> = bench.fake.orders.lock().iter().map(|it| it.0.clone()).collect();
    assert_eq!(
        orders,
        [
            Command::Pause(Target::Database("app".into())),
            Command::KillClient(7),
            Command::Reconnect(Target::All),
            Command::Resume(Target::All),
        ]
    );
    assert_eq!(bench.fake.orders.lock()[0].1, "root");
    assert_eq!(
        bench.fake.ended.lock()[3..],
        [("RESUME", Outcome::Refused), ("PAUSE", Outcome::Refused)]
    );
}

#[tokio::test]
async fn a_text_of_several_statements_stops_at_its_first_error() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    let answer = peer.query("SHOW VERSION; RELOAD; RESUME; SHOW VERSION").await;
    assert_eq!(tags(&answer), "TDCNNCEZ");
    assert_eq!(answer[2].1, b"SHOW 1\0");
    assert_eq!(answer[5].1, b"RELOAD\0");
    // Nothing runs of a text that is broken.
    let answer = peer.query("RELOAD; NONSENSE").await;
    assert_eq!(tags(&answer), "EZ");
    assert_eq!(error(&answer).0, "42601");
    assert_eq!(bench.fake.orders.lock().len(), 2);
    assert_eq!(tags(&peer.query(" ; -- nothing").await), "IZ");
}

#[tokio::test]
async fn help_is_a_notice_and_what_is_refused_says_why() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    let answer = peer.query("SHOW HELP").await;
    assert_eq!(tags(&answer), "NCZ");
    for text in ["SUSPEND", "SHOW FDS"] {
        let (state, message) = error(&peer.query(text).await);
        assert_eq!((state.as_str(), message), ("0A000", format!("{text} is not supported")));
    }
    let detail = help::usage().detail.unwrap();
    for show in Show::ALL.iter().filter(|show| **show != Show::Fds) {
        assert!(detail.contains(show.word()), "{}", show.word());
    }
}

#[tokio::test]
async fn a_transaction_is_played_along_with() {
    let bench = bench();
    let mut driver = bench.driver(Right::Admin).await;
    let transaction = driver.transaction().await.unwrap();
    // Portals and a fetch size.
    let statement = transaction.prepare("SHOW LISTS").await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    let first = transaction.query_portal(&portal, 10).await.unwrap();
    let second = transaction.query_portal(&portal, 10).await.unwrap();
    assert_eq!((first.len(), second.len()), (10, 4));
    transaction.commit().await.unwrap();
    let mut peer = bench.connect(Right::Admin);
    assert_eq!(peer.query("BEGIN").await.last().unwrap().1, b"T");
    assert_eq!(peer.query("NONSENSE").await.last().unwrap().1, b"E");
    assert_eq!(error(&peer.query("SHOW POOLS").await).0, "25P02");
    let answer = peer.query("COMMIT").await;
    assert_eq!((answer[0].1.as_slice(), answer[1].1.as_slice()), (&b"ROLLBACK\0"[..], &b"I"[..]));
    assert_eq!(tags(&peer.query("SHOW VERSION").await), "TDCZ");
}

#[tokio::test]
async fn statements_are_described_before_they_run_and_forgotten_when_closed() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    let batch = [
        message(b'P', b"a\0SHOW STATE\0\0\0"),
        message(b'D', b"Sa\0"),
        message(b'P', b"b\0PAUSE app\0\0\x01\0\0\0\x19"),
        message(b'D', b"Sb\0"),
        message(b'P', b"a\0SHOW STATE\0\0\0"),
        message(b'P', b"c\0never seen\0\0\0"),
        message(b'S', b""),
    ];
    peer.send(&batch.concat()).await;
    let answer = peer.receive().await;
    assert_eq!(tags(&answer), "1tT1tnEZ");
    assert_eq!(error(&answer).0, "42P05");
    peer.query("DEALLOCATE a").await;
    let bind = [message(b'B', b"\0a\0\0\0\0\0\0\0"), message(b'S', b"")].concat();
    peer.send(&bind).await;
    let answer = peer.receive().await;
    assert_eq!(error(&answer), ("26000".into(), "prepared statement \"a\" does not exist".into()));
    assert!(bench.fake.orders.lock().is_empty());
}

#[tokio::test]
async fn what_drivers_do_at_connect_and_reset_works() {
    let bench = bench();
    let driver = bench.driver(Right::Admin).await;
    // pgAdmin, asyncpg, SQLAlchemy.
    for text in [
        "SET DateStyle=ISO; SET client_min_messages=notice; SELECT set_config('bytea_output',\
         'hex',false) FROM pg_settings WHERE name = 'bytea_output'; SET client_encoding='UTF8';",
        "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
        "select pg_catalog.version(); select current_schema(); show standard_conforming_strings",
    ] {
        driver.batch_execute(text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    let row = driver.query_one("SELECT pg_catalog.version(), 1 AS one", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>("version"), "PostgreSQL 14.0 (pgmesh 1.2.3)");
    assert_eq!(row.get::<_, i32>("one"), 1);
    let roles = "SELECT rolsuper AS is_superuser FROM pg_catalog.pg_roles";
    assert!(driver.query_one(roles, &[]).await.unwrap().get::<_, bool>("is_superuser"));
    let stream = driver.simple_query_raw("SHOW SERVER_VERSION").await.unwrap();
    assert!(stream.try_collect::<Vec<_>>().await.unwrap().len() > 1);
}

#[tokio::test]
async fn a_cancel_ends_the_waiting_and_not_the_order() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    // One that comes too early means nothing.
    peer.cancelled.notify_one();
    peer.query("SHOW VERSION").await;
    peer.send(&message(b'Q', b"PAUSE\0")).await;
    timeout(PATIENCE, bench.fake.stuck.notified()).await.unwrap();
    assert!(bench.fake.ended.lock().is_empty());
    peer.cancelled.notify_one();
    let answer = peer.receive().await;
    assert_eq!(error(&answer).0, "57014");
    assert_eq!(tags(&peer.query("SHOW VERSION").await), "TDCZ");
    assert_eq!(bench.fake.ended.lock()[..], [("PAUSE", Outcome::Abandoned)]);
}

#[tokio::test]
async fn who_goes_away_while_waiting_leaves_the_seat() {
    let bench = bench_with(ConsoleConfig { connections_max: 1, ..ConsoleConfig::default() });
    let mut peer = bench.connect(Right::Admin);
    peer.send(&message(b'Q', b"PAUSE\0")).await;
    timeout(PATIENCE, bench.fake.stuck.notified()).await.unwrap();
    assert!(bench.consoles.seat().is_none());
    assert_eq!(bench.desk().clients.lock().len(), 1);
    drop(peer.stream);
    timeout(PATIENCE, peer.task).await.expect("ended").expect("no panic");
    assert!(bench.consoles.seat().is_some());
    assert_eq!(bench.consoles.clients(), 0);
    assert_eq!(bench.fake.ended.lock()[..], [("PAUSE", Outcome::Abandoned)]);
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answers() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    peer.send(&[message(b'Q', b"SHOW POOLS\0"), message(b'Q', b"RELOAD\0")].concat()).await;
    peer.stream.shutdown().await.unwrap();
    assert_eq!(tags(&peer.rest().await), "TDDCZNNCZ");
}

#[tokio::test]
async fn at_the_end_everybody_is_told() {
    let bench = bench();
    let idle = bench.connect(Right::Stats);
    let mut waiting = bench.connect(Right::Admin);
    waiting.send(&message(b'Q', b"PAUSE\0")).await;
    timeout(PATIENCE, bench.fake.stuck.notified()).await.unwrap();
    bench.stop.cancel();
    assert_eq!(error(&idle.rest().await).0, "57P01");
    let answer = waiting.rest().await;
    assert_eq!((tags(&answer).as_str(), error(&answer).0.as_str()), ("EZE", "57P01"));
}
