//! Many clients on few servers.

use std::thread;
use std::time::{Duration, Instant};

use testbed::{Login, Pgmesh};

use crate::clients::Raw;
use crate::console::{console, setup};
use crate::metrics::{sample, wait_for};
use crate::postgres;

/// Threads that open clients, one after the other.
const THREADS: usize = 8;

/// A few clients, to compare a scrape with.
const FEW: usize = 10;

/// Scrapes, of which the quickest counts: the others are about the machine.
const SCRAPES: usize = 10;

/// As many as `max_client_connections` lets in unless told otherwise.
const CLIENTS: usize = 10_000;

/// How many samples a scrape has, its length, and how long it took.
fn scrape(mesh: &Pgmesh) -> (usize, usize, Duration) {
    let scrapes = (0..SCRAPES).map(|_| {
        let begun = Instant::now();
        let text = mesh.metrics().unwrap();
        let took = begun.elapsed();
        (text.lines().filter(|line| !line.starts_with('#')).count(), text.len(), took)
    });
    scrapes.min_by_key(|(_, _, took)| *took).unwrap()
}

#[expect(clippy::print_stdout, reason = "measured, and not asserted")]
fn show_listed(clients: usize, took: Duration) {
    println!("SHOW CLIENTS of {clients} clients: {took:?}");
}

#[expect(clippy::print_stdout, reason = "measured, and not asserted")]
fn show(clients: usize, (samples, bytes, took): (usize, usize, Duration)) {
    println!("a scrape with {clients} clients: {samples} samples, {bytes} bytes, {took:?}");
}

/// Logs a client in like `first`, and has it ask once.
fn client(number: usize, first: &Raw, login: &Login) -> Raw {
    let mut client = Raw::log_in_like(first, login).unwrap();
    assert_eq!(client.value(&format!("SELECT {number}")), number.to_string());
    client
}

#[test]
fn ten_thousand_clients_share_twenty_five_servers() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let postgres = postgres();
    let mesh = setup(&postgres).with("pool", "size = 25\nreserve_size = 0").start();
    let first = Raw::log_in(&mesh.app());
    let login = mesh.app();
    let few: Vec<Raw> = (1..FEW).map(|number| client(number, &first, &login)).collect();
    wait_for(&mesh, "pgmesh_clients", "state=\"idle\"", 10.0);
    let with_few = scrape(&mesh);
    show(FEW, with_few);
    let mut clients: Vec<Raw> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (first, login) = (&first, &login);
                let share = (FEW..CLIENTS).skip(thread).step_by(THREADS);
                scope.spawn(move || {
                    share.map(|number| client(number, first, login)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    wait_for(&mesh, "pgmesh_clients", "state=\"idle\"", 10_000.0);
    // A scrape walks no client.
    let with_all = scrape(&mesh);
    show(CLIENTS, with_all);
    assert_eq!(with_few.0, with_all.0);
    // Numbers with more digits.
    assert!(with_all.1 < with_few.1 + 8 * with_few.0, "{with_few:?} {with_all:?}");
    clients.extend(few);
    // The one that was first has given the others what they log in with.
    clients.push(first);
    let told = Raw::log_in_like(&clients[0], &login).unwrap_err();
    assert_eq!(told.code, "53300");
    // The console lists all of them, itself included, and takes nobody's place.
    let mut admin = Raw::log_in(&console(&mesh));
    let begun = Instant::now();
    let rows = admin.query("SHOW CLIENTS").rows;
    show_listed(rows.len(), begun.elapsed());
    assert_eq!(rows.len(), CLIENTS + 1);
    // All at once.
    for (number, client) in clients.iter_mut().enumerate() {
        client.ask(&format!("SELECT {number}"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.answer().rows, [[number.to_string()]]);
    }
    assert!(sample(&mesh, "pgmesh_server_connects_total", "") <= 25.0);
    let servers = "SELECT count(*) <= 25 FROM pg_stat_activity WHERE usename = 'app_user'";
    assert_eq!(postgres.psql(servers).unwrap(), "t");
}
