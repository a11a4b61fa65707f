//! One fault, and what everybody saw of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use testbed::{Cluster, Interrupt, Login, Pgmesh, until};
use wire::Version;

use crate::clients::Raw;
use crate::fault::{Effect, Fault};
use crate::load::{self, Record, Style};
use crate::metrics::{eventually, sample};

/// The ttl of the leader key, an election, and slow machines.
const DETECTED: Duration = Duration::from_secs(60);

const STYLES: [Style; 4] =
    [Style::Statement, Style::Transaction, Style::Statement, Style::Transaction];
const IDLE: usize = 5;
const HELD: u32 = 3;

/// Writers of the idle clients and of the open transactions.
const IDLE_WRITER: u32 = 100;
const HELD_WRITER: u32 = 200;

pub(crate) fn play(cluster: &mut Cluster, mesh: &Pgmesh, fault: Fault) {
    println!("{fault:?}");
    cluster.app().unwrap().psql("TRUNCATE written").unwrap();
    let leader = cluster.leader().unwrap().name().to_owned();
    let login = mesh.app();
    let mut idle: Vec<Raw> = (0..IDLE).map(|_| patient(&login)).collect();
    for client in &mut idle {
        client.value("SELECT 1");
    }
    let mut listener = patient(&login);
    listener.value("LISTEN news");
    let mut held: Vec<Raw> = (0..HELD).map(|number| holding(&login, number)).collect();
    let epoch = sample(mesh, "pgmesh_epoch", "");
    let stop = AtomicBool::new(false);
    let records: Vec<Record> = thread::scope(|scope| {
        let (stop, login) = (&stop, &login);
        let writers: Vec<_> = STYLES
            .into_iter()
            .zip(1_u32..)
            .map(|(style, writer)| scope.spawn(move || load::write(login, style, writer, 0, stop)))
            .collect();
        fault.strike(cluster, &leader);
        if fault.effect() == Effect::NewLeader {
            let is_new = || Ok((sample(mesh, "pgmesh_epoch", "") > epoch).then_some(()));
            until("a new epoch", DETECTED, &Interrupt::default(), is_new).unwrap();
        }
        go_on(fault, &mut idle, &mut held);
        hear(fault, &mut listener, &mut idle[0]);
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    fault.mend(cluster, &leader);
    let changed = cluster.leader().unwrap().name() != leader;
    assert_eq!(changed, fault.effect() == Effect::NewLeader, "{fault:?}");
    judge(cluster, fault, &records);
}

/// A login, when the primary is known.
fn patient(login: &Login) -> Raw {
    let log_in = || Raw::log_in_with(login, Version::V3_0, &[]);
    eventually("a login", || log_in().is_ok());
    log_in().unwrap()
}

/// A client with an open transaction that has written.
fn holding(login: &Login, number: u32) -> Raw {
    let mut client = Raw::log_in(login);
    client.value("BEGIN");
    client.value(&format!("INSERT INTO written VALUES ({HELD_WRITER}, {number})"));
    client
}

/// Who was idle goes on as if nothing had been; who had a transaction open is told, keeps the
/// connection, and goes on.
fn go_on(fault: Fault, idle: &mut [Raw], held: &mut [Raw]) {
    for (number, client) in idle.iter_mut().enumerate() {
        let answer = client.query(&format!("INSERT INTO written VALUES ({IDLE_WRITER}, {number})"));
        assert_eq!((answer.errors, answer.status), (vec![], 'I'), "{fault:?}");
    }
    for client in held {
        if fault.effect() == Effect::None {
            client.value("COMMIT");
            continue;
        }
        let answer = client.query("SELECT 1");
        let codes: Vec<_> = answer.errors.iter().map(|error| error.code.as_str()).collect();
        assert_eq!((codes, answer.status), (vec!["40001"], 'E'), "{fault:?}");
        let answer = client.query("SELECT 1");
        let codes: Vec<_> = answer.errors.iter().map(|error| error.code.as_str()).collect();
        assert_eq!((codes, answer.status), (vec!["25P02"], 'E'), "{fault:?}");
        let answer = client.query("ROLLBACK");
        assert_eq!((answer.commands, answer.status), (vec!["ROLLBACK".to_owned()], 'I'));
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

/// Who listens is told that it may have missed something, before it is told anything else; from
/// then on it hears.
fn hear(fault: Fault, listener: &mut Raw, next: &mut Raw) {
    let tags = listener.query("SELECT 1").tags;
    let expected = if fault.effect() == Effect::None { "TDCZ" } else { "NTDCZ" };
    assert_eq!(tags, expected, "{fault:?}");
    next.value("NOTIFY news");
    assert_eq!(char::from(listener.message().tag), 'A', "{fault:?}");
}

/// Nothing that was acknowledged is lost, nothing is there twice, nothing that was rolled back
/// is there; and who got an error got one of the table's.
fn judge(cluster: &Cluster, fault: Fault, records: &[Record]) {
    let rows = cluster
        .app()
        .unwrap()
        .psql("SELECT writer, seq, count(*) FROM written GROUP BY 1, 2")
        .unwrap();
    let mut counts: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for row in rows.lines() {
        let numbers: Vec<u32> = row.split('|').map(|number| number.parse().unwrap()).collect();
        counts.insert((numbers[0], numbers[1]), numbers[2]);
    }
    assert!(counts.values().all(|count| *count == 1), "{fault:?}: written twice");
    for (record, writer) in records.iter().zip(1_u32..) {
        println!("{writer}: {} written, errors {:?}", record.acknowledged.len(), record.errors);
        let lost: Vec<_> = record
            .acknowledged
            .iter()
            .filter(|seq| !counts.contains_key(&(writer, **seq)))
            .collect();
        assert!(lost.is_empty(), "{fault:?}: acknowledged and lost: {lost:?}");
        let back: Vec<_> =
            record.rolled_back.iter().filter(|seq| counts.contains_key(&(writer, **seq))).collect();
        assert!(back.is_empty(), "{fault:?}: rolled back and there: {back:?}");
        let allowed: &[&str] = match fault {
            Fault::Switchover | Fault::Store => &[],
            _ => &["08007", "40001"],
        };
        let others: Vec<_> =
            record.errors.iter().filter(|code| !allowed.contains(&code.as_str())).collect();
        assert!(others.is_empty(), "{fault:?}: {others:?}");
    }
    let idle = (0..IDLE as u32).filter(|seq| counts.contains_key(&(IDLE_WRITER, *seq))).count();
    assert_eq!(idle, IDLE, "{fault:?}");
    let held = (0..HELD).filter(|seq| counts.contains_key(&(HELD_WRITER, *seq))).count();
    let kept = if fault.effect() == Effect::None { HELD as usize } else { 0 };
    assert_eq!(held, kept, "{fault:?}");
}
