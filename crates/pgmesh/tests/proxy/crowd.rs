//! Many clients on few servers.

use std::thread;

use crate::clients::Raw;
use crate::metrics::{sample, wait_for};
use crate::postgres;
use crate::proxy::Setup;

/// Threads that open clients, one after the other.
const THREADS: usize = 8;

/// Opens this many clients on a pool of 25, runs a query by each, then one by each again.
fn all_are_served(count: usize) {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 25\nreserve_size = 0").start();
    let first = Raw::log_in(&mesh.app());
    let login = mesh.app();
    let mut clients: Vec<Raw> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (first, login) = (&first, &login);
                let share = (0..count).skip(thread).step_by(THREADS);
                scope.spawn(move || {
                    share
                        .map(|number| {
                            let mut client = Raw::log_in_like(first, login).unwrap();
                            let sql = format!("SELECT {number}");
                            assert_eq!(client.value(&sql), number.to_string());
                            client
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    wait_for(&mesh, "pgmesh_clients", "state=\"idle\"", count as f64 + 1.0);
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

#[test]
fn two_thousand_clients_share_twenty_five_servers() {
    all_are_served(2_000);
}

#[test]
#[ignore = "10,000 clients; run with `cargo test -p pgmesh --test proxy -- --ignored`"]
fn ten_thousand_clients_share_twenty_five_servers() {
    all_are_served(9_999);
}
