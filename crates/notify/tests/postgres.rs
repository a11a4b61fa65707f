//! Hubs on real servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::time::Duration;

use notify::{Config, Event, HubError};
use testbed::{Postgres, PostgresOptions};
use world::{World, direct, heard, key, next, ready, sessions, within};

const HOLD: Duration = Duration::from_secs(60);

fn postgres() -> Postgres {
    Postgres::start(PostgresOptions::default()).unwrap()
}

fn led_by(postgres: &Postgres, config: Config) -> World {
    let mut world = World::new(config, HOLD);
    world.promote("n1", postgres.port());
    world
}

#[tokio::test]
async fn those_who_listen_are_told_and_nobody_else() {
    let postgres = postgres();
    let world = led_by(&postgres, Config::default());
    let client = direct(&postgres.app()).await;
    let names: [&[u8]; 3] = [b"plain", b"Quo\"ted; \\' --", "größe".as_bytes()];
    let (mut all, mut one) = (world.subscriber(), world.subscriber());
    all.set(&names).unwrap();
    one.listen(b"plain").unwrap();
    ready(&mut all).await.unwrap();
    ready(&mut one).await.unwrap();

    for name in ["größe", "Quo\"ted; \\' --", "plain"] {
        client.execute("SELECT pg_notify($1, $2)", &[&name, &"ü"]).await.unwrap();
    }
    for name in ["größe", "Quo\"ted; \\' --", "plain"] {
        let told = heard(&mut all).await;
        assert_eq!((told.channel(), told.payload()), (name.as_bytes(), "ü".as_bytes()));
    }
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let told = heard(&mut one).await;
    assert_eq!((told.channel(), told.pid()), (&b"plain"[..], pid));

    one.unlisten_all();
    client.batch_execute("NOTIFY plain; NOTIFY other").await.unwrap();
    assert_eq!(heard(&mut all).await.channel(), b"plain");
    one.listen(b"other").unwrap();
    ready(&mut one).await.unwrap();
    client.batch_execute("NOTIFY plain; NOTIFY other").await.unwrap();
    assert_eq!(heard(&mut one).await.channel(), b"other");
    let stats = world.hubs.stats();
    assert_eq!((stats.connections, stats.clients, stats.channels), (1, 2, 4));
    assert_eq!((stats.delivered, stats.lagged, stats.resumed), (7, 0, 0));
}

#[tokio::test]
async fn what_was_notified_before_somebody_listened_is_not_told() {
    let postgres = postgres();
    let world = led_by(&postgres, Config::default());
    let client = direct(&postgres.app()).await;
    let mut first = world.subscriber();
    first.listen(b"c").unwrap();
    ready(&mut first).await.unwrap();
    for _ in 0..50 {
        let mut second = world.subscriber();
        client.batch_execute("NOTIFY c, 'before'").await.unwrap();
        second.listen(b"c").unwrap();
        ready(&mut second).await.unwrap();
        client.batch_execute("NOTIFY c, 'after'").await.unwrap();
        assert_eq!(heard(&mut second).await.payload(), b"after");
    }
}

#[tokio::test]
async fn a_session_that_is_killed_is_replaced_and_all_are_told() {
    let postgres = postgres();
    let world = led_by(&postgres, Config::default());
    let client = direct(&postgres.superuser()).await;
    let app = direct(&postgres.app()).await;
    let mut subscribers = [world.subscriber(), world.subscriber(), world.subscriber()];
    for (subscriber, channel) in subscribers.iter_mut().zip([b"a", b"b", b"b"]) {
        subscriber.listen(channel).unwrap();
        ready(subscriber).await.unwrap();
    }
    let mut silent = world.subscriber();
    for _ in 0..3 {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE application_name = 'pgmesh listen'";
        client.batch_execute(kill).await.unwrap();
        for subscriber in &mut subscribers {
            assert_eq!(next(subscriber).await, Event::Resumed);
            ready(subscriber).await.unwrap();
        }
        app.batch_execute("NOTIFY a; NOTIFY b").await.unwrap();
        for (subscriber, channel) in subscribers.iter_mut().zip([b"a", b"b", b"b"]) {
            assert_eq!(heard(subscriber).await.channel(), channel);
        }
    }
    silent.listen(b"a").unwrap();
    ready(&mut silent).await.unwrap();
    app.batch_execute("NOTIFY a").await.unwrap();
    assert_eq!(heard(&mut silent).await.channel(), b"a", "and was told of no server that went");
    assert_eq!(world.hubs.stats().resumed, 3);
}

#[tokio::test]
async fn in_a_new_epoch_the_new_primary_is_listened_to() {
    let (old, new) = (postgres(), postgres());
    let mut world = led_by(&old, Config::default());
    let mut subscriber = world.subscriber();
    subscriber.listen(b"c").unwrap();
    ready(&mut subscriber).await.unwrap();

    world.promote("n2", new.port());
    assert_eq!(next(&mut subscriber).await, Event::Resumed);
    let (old_client, new_client) = (direct(&old.app()).await, direct(&new.app()).await);
    old_client.batch_execute("NOTIFY c, 'old'").await.unwrap();
    new_client.batch_execute("NOTIFY c, 'new'").await.unwrap();
    assert_eq!(heard(&mut subscriber).await.payload(), b"new");
    within(async {
        while sessions(&old_client).await > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_clients_need_one_server() {
    const CLIENTS: usize = 5_000;
    let postgres = postgres();
    let world = led_by(&postgres, Config::default());
    let client = direct(&postgres.app()).await;
    let mut subscribers: Vec<_> = (0..CLIENTS).map(|_| world.subscriber()).collect();
    for (number, subscriber) in subscribers.iter().enumerate() {
        subscriber.listen(b"everybody").unwrap();
        subscriber.listen(format!("only_{number}").as_bytes()).unwrap();
    }
    for subscriber in &mut subscribers {
        ready(subscriber).await.unwrap();
    }
    assert_eq!(sessions(&client).await, 1);
    client.batch_execute("NOTIFY everybody; NOTIFY only_4711, 'x'").await.unwrap();
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        assert_eq!(heard(subscriber).await.channel(), b"everybody");
        if number == 4711 {
            assert_eq!(heard(subscriber).await.payload(), b"x");
        }
    }
    let stats = world.hubs.stats();
    assert_eq!((stats.clients, stats.channels, stats.delivered), (5_000, 5_001, 5_001));
}

#[tokio::test]
async fn everybody_gets_the_bytes_of_its_encoding() {
    let postgres = postgres();
    let world = led_by(&postgres, Config::default());
    let client = direct(&postgres.app()).await;
    let mut latin = world.hubs.subscriber(&key(), "latin1").unwrap();
    let mut utf = world.subscriber();
    latin.listen(b"caf\xe9").unwrap();
    utf.listen("café".as_bytes()).unwrap();
    ready(&mut latin).await.unwrap();
    ready(&mut utf).await.unwrap();
    client.batch_execute("NOTIFY \"café\", 'é'").await.unwrap();
    let told = heard(&mut latin).await;
    assert_eq!((told.channel(), told.payload()), (&b"caf\xe9"[..], &b"\xe9"[..]));
    assert_eq!(heard(&mut utf).await.payload(), "é".as_bytes());
    assert_eq!(world.hubs.stats().connections, 2);
}

#[tokio::test]
async fn a_channel_that_the_server_refuses_fails_its_client_alone() {
    let postgres = postgres();
    let world = led_by(&postgres, Config::default());
    let (mut good, mut bad) = (world.subscriber(), world.subscriber());
    good.listen(b"good").unwrap();
    bad.listen(b"also good").unwrap();
    ready(&mut bad).await.unwrap();
    bad.listen(b"\xff").unwrap();
    let error = ready(&mut bad).await.unwrap_err().statement_error();
    assert_eq!(error.state.as_str(), "22021");
    ready(&mut good).await.unwrap();
    ready(&mut bad).await.unwrap();
    assert_eq!(bad.channels(), [(&b"also good"[..]).into()]);
}

#[tokio::test]
async fn a_login_that_is_refused_is_told_to_those_who_wait() {
    let postgres = postgres();
    let world = led_by(&postgres, Config::default());
    let key = topology::PoolKey { database: "nowhere".into(), ..key() };
    let mut subscriber = world.hubs.subscriber(&key, "UTF8").unwrap();
    subscriber.listen(b"c").unwrap();
    let error = ready(&mut subscriber).await.unwrap_err().statement_error();
    assert_eq!(error.state.as_str(), "3D000");
    assert!(subscriber.channels().is_empty());
}

#[tokio::test]
async fn without_a_primary_nobody_waits_for_ever() {
    let world = World::new(Config::default(), Duration::from_millis(10));
    let mut subscriber = world.subscriber();
    ready(&mut subscriber).await.unwrap();
    subscriber.listen(b"c").unwrap();
    assert_eq!(ready(&mut subscriber).await, Err(HubError::Timeout));
}

#[tokio::test]
async fn a_session_that_nobody_needs_is_ended_and_begun_again() {
    let postgres = postgres();
    let idle_timeout = Duration::from_millis(1);
    let config = Config { idle_timeout, max_connections: 1, ..Config::default() };
    let world = led_by(&postgres, config);
    let client = direct(&postgres.app()).await;
    let mut subscriber = world.subscriber();
    for _ in 0..3 {
        subscriber.listen(b"c").unwrap();
        ready(&mut subscriber).await.unwrap();
        assert_eq!(
            world.hubs.subscriber(&key(), "LATIN1").unwrap_err(),
            HubError::TooManyConnections
        );
        subscriber.unlisten(b"c");
        within(async {
            while sessions(&client).await > 0 || world.hubs.stats().connections > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    drop(subscriber);
    // Its place goes to another.
    within(async {
        while world.hubs.subscriber(&key(), "LATIN1").is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(world.hubs.stats().resumed, 0);
}

#[tokio::test]
async fn a_database_is_left_at_once_if_somebody_wants_to_drop_it() {
    let postgres = postgres();
    let world = led_by(&postgres, Config::default());
    let superuser = direct(&postgres.superuser()).await;
    let mut subscriber = world.subscriber();
    subscriber.listen(b"c").unwrap();
    ready(&mut subscriber).await.unwrap();
    world.hubs.leave_database(testbed::APP_DATABASE);
    let client = direct(&postgres.app()).await;
    client.batch_execute("NOTIFY c").await.unwrap();
    assert_eq!(heard(&mut subscriber).await.channel(), b"c", "who listens goes on to");
    drop((client, subscriber));
    world.hubs.leave_database(testbed::APP_DATABASE);
    // Postgres itself waits for others to leave.
    superuser.batch_execute("DROP DATABASE app").await.unwrap();
}
