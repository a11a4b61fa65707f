//! Many clients on few servers.

use std::thread;

use crate::clients::Raw;
use crate::metrics::{sample, wait_for};
use crate::postgres;
use crate::proxy::Setup;

/// Threads that open clients, one after the other.
const THREADS: usize = 8;

/// As many as `max_client_connections` lets in unless told otherwise.
const CLIENTS: usize = 10_000;

#[test]
fn ten_thousand_clients_share_twenty_five_servers() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 25\nreserve_size = 0").start();
    let first = Raw::log_in(&mesh.app());
    let login = mesh.app();
    let mut clients: Vec<Raw> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (first, login) = (&first, &login);
                let share = (1..CLIENTS).skip(thread).step_by(THREADS);
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
    wait_for(&mesh, "pgmesh_clients", "state=\"idle\"", 10_000.0);
    // The one that was first has given the others what they log in with.
    clients.push(first);
    let told = Raw::log_in_like(&clients[0], &login).unwrap_err();
    assert_eq!(told.code, "53300");
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
