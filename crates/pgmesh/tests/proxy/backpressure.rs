//! Slow clients and servers: what is under way is bounded, and nobody else waits for them.

use std::io::{ErrorKind, Write};

use testbed::Pgmesh;
use wire::message;

use crate::clients::Raw;
use crate::metrics::wait_for;
use crate::postgres;
use crate::proxy::Setup;

/// What a slow client may cost on top, far below what it is sent.
const GROWTH_KB_MAX: u64 = 16 * 1024;

fn resident_kb(mesh: &Pgmesh) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", mesh.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_client_that_does_not_read_costs_little_and_holds_up_nobody() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 2").start();
    let (mut slow, mut other) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    other.value("SELECT 1");
    let before = resident_kb(&mesh);
    // 200 MB in rows of 1 kB, and one of 64 MB.
    let rows = 200_000;
    slow.ask(&format!("SELECT repeat('x', 1000) FROM generate_series(1, {rows})"));
    for _ in 0..200 {
        assert_eq!(other.value("SELECT repeat('y', 10000)").len(), 10_000);
    }
    let answer = slow.answer();
    assert_eq!((answer.rows.len(), answer.commands), (rows, vec![format!("SELECT {rows}")]));
    slow.ask("SELECT repeat('z', 64000000)");
    for _ in 0..50 {
        other.value("SELECT 1");
    }
    assert_eq!(slow.answer().rows[0][0].len(), 64_000_000);
    let growth = resident_kb(&mesh) - before;
    assert!(growth < GROWTH_KB_MAX, "{growth} kB");
}

#[test]
fn a_server_that_does_not_read_stops_its_client() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 2").start();
    let (mut fast, mut lock) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    lock.value("CREATE TABLE t (x text)");
    lock.query("BEGIN; LOCK TABLE t");
    let before = resident_kb(&mesh);
    fast.ask("COPY t FROM STDIN");
    wait_for(&mesh, "pgmesh_servers", "state=\"active\"", 2.0);
    // The server waits for the lock, so nobody takes this.
    let mut data = Vec::new();
    message::put(&mut data, b'd', |out| {
        out.extend([b'x'; 100_000]);
        out.push(b'\n');
    });
    fast.socket().set_nonblocking(true).unwrap();
    let mut sent = 0;
    let mut rest = data.as_slice();
    // Full is full only if it stays so: what lies between moves on in its own time.
    let mut refusals = 0;
    while refusals < 50 {
        match fast.socket().write(rest) {
            Ok(written) => {
                (sent, refusals) = (sent + written, 0);
                rest = if written == rest.len() { &data } else { &rest[written..] };
                assert!(sent < 256 << 20, "somebody keeps it all");
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refusals += 1;
                lock.value("SELECT 1");
            }
            Err(error) => panic!("{error}"),
        }
    }
    let growth = resident_kb(&mesh) - before;
    assert!(growth < GROWTH_KB_MAX, "{growth} kB");
    fast.socket().set_nonblocking(false).unwrap();
    lock.query("COMMIT");
    assert_eq!(fast.message().tag, b'G');
    let rest = if rest.len() == data.len() { vec![] } else { rest.to_vec() };
    fast.send(&rest);
    fast.say(b'c', |_| ());
    let rows = (sent + rest.len()) / data.len();
    assert_eq!(fast.answer().commands, [format!("COPY {rows}")]);
}
