//! A CancelRequest reaches the statement of its client, or nothing.

use testbed::Pgmesh;
use wire::{CancelKey, CancelSecret};

use crate::clients::{Raw, cancel, parse, run, sync};
use crate::metrics::{wait_for, wait_for_waiters};
use crate::proxy::Setup;
use crate::{postgres, wait_for_sleep};

fn wait_for_cancels(mesh: &Pgmesh, outcome: &str, count: f64) {
    wait_for(mesh, "pgmesh_cancels_total", &format!("outcome=\"{outcome}\""), count);
}

#[test]
fn it_works_while_every_server_is_taken() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let (mut busy, mut waiting) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    busy.ask("SELECT pg_sleep(60)");
    wait_for_sleep(&postgres);
    waiting.ask("SELECT 'mine'");
    wait_for_waiters(&mesh, 1);
    busy.cancel();
    let answer = busy.answer();
    assert_eq!((answer.errors[0].code.as_str(), answer.status), ("57014", 'I'));
    assert_eq!(waiting.answer().rows, [["mine"]]);
    assert_eq!(busy.value("SELECT 1"), "1");
    wait_for_cancels(&mesh, "delivered", 1.0);
}

#[test]
fn a_client_that_waits_for_a_server_can_be_cancelled() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let (mut holder, mut waiting) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    assert_eq!(holder.query("BEGIN").status, 'T');

    waiting.ask("SELECT 1");
    wait_for_waiters(&mesh, 1);
    waiting.cancel();
    let answer = waiting.answer();
    assert_eq!(
        (answer.errors[0].code.as_str(), answer.errors[0].severity.as_str()),
        ("57014", "ERROR")
    );
    assert_eq!((answer.tags.as_str(), answer.status), ("EZ", 'I'));
    wait_for_cancels(&mesh, "waiting", 1.0);
    wait_for_waiters(&mesh, 0);

    // In the extended protocol the rest of the batch is skipped, and nothing of it happens.
    let mut batch = Vec::new();
    parse(&mut batch, "named", "SELECT 2");
    run(&mut batch, "named", &[]);
    sync(&mut batch);
    waiting.send(&batch);
    wait_for_waiters(&mesh, 1);
    waiting.cancel();
    let answer = waiting.answer();
    assert_eq!((answer.tags.as_str(), answer.errors[0].code.as_str()), ("EZ", "57014"));

    assert_eq!(holder.query("COMMIT").status, 'I');
    assert_eq!(waiting.value("SELECT 3"), "3");
    let mut batch = Vec::new();
    run(&mut batch, "named", &[]);
    sync(&mut batch);
    waiting.send(&batch);
    assert_eq!(waiting.answer().errors[0].code, "26000", "its Parse was never run");
}

#[test]
fn the_key_of_an_idle_client_cancels_nobody() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let (mut idle, mut busy) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    let server = idle.value("SELECT pg_backend_pid()");
    busy.ask("SELECT pg_sleep(60), pg_backend_pid()");
    wait_for_sleep(&postgres);
    idle.cancel();
    wait_for_cancels(&mesh, "idle", 1.0);
    // Nor does one that was never given.
    let mut secret = busy.key.as_ref().unwrap().secret.expose().to_vec();
    secret[0] ^= 1;
    let pid = busy.key.as_ref().unwrap().pid;
    cancel(mesh.port(), &CancelKey { pid, secret: CancelSecret::new(&secret).unwrap() });
    wait_for_cancels(&mesh, "unknown_key", 1.0);
    let still = format!(
        "SELECT state FROM pg_stat_activity WHERE pid = {server} AND query LIKE '%pg_sleep%'"
    );
    assert_eq!(postgres.psql(&still).unwrap(), "active");
    busy.cancel();
    assert_eq!(busy.answer().errors[0].code, "57014");
    wait_for_cancels(&mesh, "delivered", 1.0);
}

#[test]
fn a_cancel_that_comes_too_late_never_hits_the_next_user_of_the_server() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let (mut first, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    for round in 0..60 {
        first.ask("SELECT 1");
        next.ask("SELECT 2 FROM pg_sleep(0.002)");
        first.cancel();
        // Its own statement may be hit, or be over.
        let answer = first.answer();
        assert!(answer.errors.iter().all(|error| error.code == "57014"), "{round}: {answer:?}");
        let answer = next.answer();
        assert_eq!((answer.errors, answer.rows), (vec![], vec![vec!["2".to_owned()]]), "{round}");
    }
}
