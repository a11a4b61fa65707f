//! `pg_terminate_backend` and `pg_cancel_backend`, of process ids that clients were told, and of
//! one's own server.

use testbed::{APP_DATABASE, APP_USER, Credentials, Role};

use crate::clients::{Raw, Told};
use crate::metrics::{eventually, wait_for};
use crate::proxy::Setup;
use crate::{postgres, wait_for_sleep};

/// The process id that a client was told.
fn pid(client: &Raw) -> i32 {
    client.key.as_ref().unwrap().pid
}

/// The last words of a session that was ended.
fn assert_terminated(told: &Told) {
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "57P01"));
    assert_eq!(told.message, "terminating connection due to administrator command");
}

#[test]
fn a_session_ends_by_the_process_id_that_its_client_was_told() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let mut asker = Raw::log_in(&mesh.app());
    for before in [None, Some("SELECT 1"), Some("BEGIN"), Some("CREATE TEMP TABLE t ()")] {
        let mut peer = Raw::log_in(&mesh.app());
        if let Some(before) = before {
            assert_eq!(peer.query(before).errors, vec![]);
        }
        let ended = asker.query(&format!("SELECT pg_terminate_backend({})", pid(&peer)));
        assert_eq!(ended.errors, vec![]);
        assert_terminated(&peer.last_words().unwrap());
    }
    let mut peer = Raw::log_in(&mesh.app());
    asker.prepare("end", "SELECT pg_terminate_backend($1)");
    for _ in 0..2 {
        asker.execute("end", &[&pid(&peer).to_string()]);
        assert_terminated(&peer.last_words().unwrap());
        peer = Raw::log_in(&mesh.app());
    }
    assert_eq!(peer.value("SELECT 1"), "1");
    wait_for(&mesh, "pgmesh_client_ends_total", "reason=\"terminated\"", 6.0);
    assert_eq!(asker.value("SELECT 1"), "1");
}

#[test]
fn a_statement_is_cancelled_by_the_process_id_that_its_client_was_told() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let (mut asker, mut peer) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    peer.ask("SELECT pg_sleep(60)");
    wait_for_sleep(&postgres);
    asker.query(&format!("SELECT pg_cancel_backend({})", pid(&peer)));
    assert_eq!(peer.answer().errors[0].code, "57014");
    peer.ask("SELECT pg_sleep(60)");
    wait_for_sleep(&postgres);
    asker.query(&format!("SELECT pg_terminate_backend({})", pid(&peer)));
    // Of the statement that was under way it may or may not hear first.
    while peer.whole_answer().is_some() {}
    const ACTIVE: &str = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'";
    eventually("nothing runs on", || asker.value(ACTIVE) == "1");
}

#[test]
fn nobody_signals_another_users_session_or_one_that_is_not_there() {
    const OTHER: Credentials = Credentials { user: "other", password: "secret" };
    let roles = [APP_USER, OTHER].map(|it| Role::new(it.user, it.password)).to_vec();
    let options = testbed::PostgresOptions { roles, ..Default::default() };
    let postgres = testbed::Postgres::start(options).unwrap();
    let mesh = Setup::before(&postgres).user(OTHER.user, OTHER.password, "").start();
    let mut asker = Raw::log_in(&mesh.app());
    let mut other = Raw::log_in(&mesh.login(OTHER, APP_DATABASE));
    for pid in [pid(&other), i32::MAX] {
        for signal in ["pg_terminate_backend", "pg_cancel_backend"] {
            assert_eq!(asker.value(&format!("SELECT {signal}({pid})")), "f");
        }
    }
    assert_eq!(other.value("SELECT 1"), "1");
}

#[test]
fn who_ends_the_server_that_it_has_ends_its_own_session() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let mut neighbour = Raw::log_in(&mesh.app());
    for begin in ["SELECT 1", "BEGIN"] {
        let mut client = Raw::log_in(&mesh.app());
        assert_eq!(client.query(begin).errors, vec![]);
        client.ask("SELECT pg_terminate_backend(pg_backend_pid())");
        assert_terminated(&client.last_words().unwrap());
        let mut client = Raw::log_in(&mesh.app());
        assert_eq!(client.query(begin).errors, vec![]);
        client.ask(&format!("SELECT pg_terminate_backend({})", pid(&client)));
        assert_terminated(&client.last_words().unwrap());
    }
    assert_eq!(neighbour.value("SELECT 1"), "1");
}
