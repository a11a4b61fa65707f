//! How pgmesh ends: nobody's transaction is broken, and the end comes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use testbed::{APP_DATABASE, APP_USER, Pgmesh, Signal};
use wire::{Version, put_startup};

use crate::clients::{Raw, Told};
use crate::metrics::{eventually, sample, wait_for};
use crate::proxy::Setup;
use crate::{postgres, wait_for_sleep};

/// From the last client to the end of the process.
const PATIENCE: Duration = Duration::from_secs(60);

/// The deadline is never what ends these.
const NO_DEADLINE: &str = "drain_timeout = \"1h\"";

fn assert_departed(told: &Told) {
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "57P01"));
    assert_eq!(told.message, "terminating connection due to administrator command");
}

fn is_draining(mesh: &Pgmesh) -> bool {
    let ready = mesh.http("/ready").unwrap();
    let body: serde_json::Value = serde_json::from_str(&ready.body).unwrap();
    let is_draining = body["reason"] == "draining";
    assert_eq!(is_draining, ready.status == 503, "{ready:?}");
    is_draining
}

/// Sends SIGTERM, and waits until it has been heard.
fn begin(mesh: &mut Pgmesh) {
    assert!(!is_draining(mesh));
    assert_eq!(sample(mesh, "pgmesh_draining", ""), 0.0);
    mesh.signal(Signal::TERM);
    eventually("/ready says so", || is_draining(mesh));
}

fn assert_ends(mesh: &mut Pgmesh) {
    let mut ended = None;
    eventually("the end", || {
        ended = mesh.exited().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0), "{}", mesh.log());
}

/// Transactions, one after the other, until the client is told to go. How many were committed.
fn work(mut client: Raw) -> u32 {
    let mut commits = 0;
    loop {
        for sql in ["BEGIN", "INSERT INTO t VALUES (1)", "COMMIT"] {
            client.ask(sql);
            let mut failed = None;
            while let Some(message) = client.next() {
                match message.tag {
                    b'Z' => break,
                    b'E' => failed = Some(message),
                    _ => {}
                }
            }
            if let Some(message) = failed {
                let body = String::from_utf8_lossy(&message.body).into_owned();
                assert!(body.contains("FATAL") && body.contains("57P01"), "{body}");
                assert_eq!(sql, "BEGIN", "in the middle of a transaction");
                return commits;
            }
        }
        commits += 1;
    }
}

#[test]
fn under_load_no_transaction_is_broken() {
    let postgres = postgres();
    let setup = Setup::before(&postgres).with("pool", "size = 4\nreserve_size = 0");
    let mut mesh = setup.with("shutdown", &format!("{NO_DEADLINE}\ndrain_rate = 20")).start();
    let mut first = Raw::log_in(&mesh.app());
    first.value("CREATE TABLE t (n int)");
    let clients: Vec<Raw> =
        (0..24).map(|_| Raw::log_in_like(&first, &mesh.app()).unwrap()).collect();
    let workers: Vec<_> = clients.into_iter().map(|it| thread::spawn(|| work(it))).collect();
    let mut idle = Raw::log_in_like(&first, &mesh.app()).unwrap();
    first.query("BEGIN");
    let rows = || postgres.app().psql("SELECT count(*) FROM t").unwrap();
    eventually("some load", || rows().parse::<u32>().unwrap() > 100);

    begin(&mut mesh);
    let commits: u32 = workers.into_iter().map(|it| it.join().unwrap()).sum();
    assert_eq!(commits.to_string(), rows(), "each that was acknowledged, and no other");
    assert_departed(&idle.last_words().unwrap());

    // One transaction is still open.
    assert!(is_draining(&mesh));
    assert_eq!(sample(&mesh, "pgmesh_draining", ""), 1.0);
    assert_eq!(mesh.http("/live").unwrap().status, 200);
    wait_for(&mesh, "pgmesh_client_ends_total", "reason=\"drained\"", 25.0);
    eventually("nobody listens", || {
        TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, mesh.port()))).is_err()
    });
    assert_eq!(mesh.exited().unwrap(), None);
    assert_eq!(first.query("INSERT INTO t VALUES (2)").errors, []);
    assert_eq!(first.query("COMMIT").errors, []);
    assert_departed(&first.last_words().unwrap());
    assert_ends(&mut mesh);
    assert_eq!(rows(), (commits + 1).to_string());
    println!("{commits} transactions committed, none broken");
}

#[test]
fn a_second_signal_waits_for_nobody() {
    let postgres = postgres();
    let mut mesh = Setup::before(&postgres).with("shutdown", NO_DEADLINE).start();
    let mut open = Raw::log_in(&mesh.app());
    open.query("BEGIN");
    begin(&mut mesh);
    assert_eq!(open.value("SELECT 1"), "1");
    mesh.signal(Signal::INT);
    assert_departed(&open.last_words().unwrap());
    assert_ends(&mut mesh);
}

#[test]
fn what_runs_at_the_deadline_is_cancelled() {
    let postgres = postgres();
    let shutdown = "drain_timeout = \"100ms\"";
    let mut mesh = Setup::before(&postgres).with("shutdown", shutdown).start();
    let mut client = Raw::log_in(&mesh.app());
    client.ask("SELECT pg_sleep(600)");
    wait_for_sleep(&postgres);
    let ended = mesh.stop(Signal::TERM, PATIENCE).unwrap();
    assert_eq!(ended.code(), Some(0));
    assert_departed(&client.last_words().unwrap());
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    eventually("nothing runs on", || postgres.psql(sleeps).unwrap() == "0");
}

#[test]
fn who_waits_to_be_accepted_is_not_reset() {
    let postgres = postgres();
    let mut mesh = Setup::before(&postgres).start();
    mesh.signal(Signal::STOP);
    let mut startup = Vec::new();
    put_startup(&mut startup, Version::V3_0, [("user", APP_USER.user), ("database", APP_DATABASE)]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, mesh.port()));
    let clients: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(&startup).unwrap();
            client
        })
        .collect();
    mesh.signal(Signal::TERM);
    mesh.signal(Signal::CONT);
    for mut client in clients {
        let mut tag = [0];
        client.read_exact(&mut tag).unwrap();
        assert_eq!(tag, *b"R", "it is asked for its password");
    }
    assert_ends(&mut mesh);
}
