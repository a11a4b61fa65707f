//! What takes too long: who is told what, what is cancelled, and that nobody else notices.

use std::process::Command;

use testbed::{APP_USER, Pgmesh, PostgresOptions};

use crate::clients::{Raw, Told, cancel};
use crate::metrics::{sample, wait_for, wait_for_waiters};
use crate::postgres;
use crate::proxy::Setup;

fn ends(mesh: &Pgmesh, reason: &str) {
    wait_for(mesh, "pgmesh_client_ends_total", &format!("reason=\"{reason}\""), 1.0);
}

fn reached(mesh: &Pgmesh, limit: &str) -> f64 {
    sample(mesh, "pgmesh_limits_reached_total", &format!("limit=\"{limit}\""))
}

fn fatal(told: Option<Told>) -> String {
    let told = told.expect("nothing was said");
    assert_eq!(told.severity, "FATAL");
    told.code
}

#[test]
fn an_idle_client_is_disconnected_and_one_in_a_transaction_is_not() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "client_idle_timeout = \"200ms\"").start();
    let mut busy = Raw::log_in(&mesh.app());
    assert_eq!(busy.query("BEGIN").status, 'T');
    let mut idle = Raw::log_in(&mesh.app());
    assert_eq!(idle.value("SELECT 1"), "1");
    assert_eq!(fatal(idle.last_words()), "57P05");
    ends(&mesh, "client_idle_timeout");
    assert_eq!(reached(&mesh, "client_idle_timeout"), 1.0);
    assert_eq!(busy.query("COMMIT").status, 'I');
}

#[test]
fn an_idle_transaction_is_rolled_back_and_its_server_serves_the_next() {
    let postgres = postgres();
    let pool = "size = 1\nreserve_size = 0\nidle_transaction_timeout = \"200ms\"";
    let mesh = Setup::before(&postgres).with("pool", pool).start();
    let mut client = Raw::log_in(&mesh.app());
    client.value("CREATE TABLE kept (n int)");
    client.query("BEGIN");
    client.query("INSERT INTO kept VALUES (1)");
    assert_eq!(fatal(client.last_words()), "25P03");
    ends(&mesh, "idle_transaction_timeout");
    let mut next = Raw::log_in(&mesh.app());
    assert_eq!(next.value("SELECT count(*) FROM kept"), "0");
    assert_eq!(sample(&mesh, "pgmesh_server_connects_total", ""), 1.0);
}

#[test]
fn a_statement_is_cancelled_on_its_server_and_its_client_goes_on() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "query_timeout = \"200ms\"").start();
    let mut client = Raw::log_in(&mesh.app());
    let answer = client.query("SELECT pg_sleep(60)");
    assert_eq!((answer.errors[0].code.as_str(), answer.status), ("57014", 'I'));
    assert_eq!(answer.errors[0].severity, "ERROR");
    assert_eq!(reached(&mesh, "query_timeout"), 1.0);
    // In a transaction, too, which then has failed.
    client.query("BEGIN");
    let answer = client.query("SELECT pg_sleep(60)");
    assert_eq!((answer.errors[0].code.as_str(), answer.status), ("57014", 'E'));
    assert_eq!(client.query("ROLLBACK").status, 'I');
    assert_eq!(client.value("SELECT 2"), "2");
    assert_eq!(sample(&mesh, "pgmesh_client_ends_total", ""), 0.0);
}

#[test]
fn a_server_that_does_not_heed_a_cancel_is_closed_with_its_client() {
    let postgres = postgres();
    let pool = "query_timeout = \"200ms\"\ncancel_wait_timeout = \"300ms\"";
    let mesh = Setup::before(&postgres).with("pool", pool).start();
    let mut client = Raw::log_in(&mesh.app());
    let server = client.value("SELECT pg_backend_pid()");
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &server]).status().unwrap().success());
    };
    signal("-STOP");
    client.ask("SELECT 1");
    let last = client.last_words();
    signal("-CONT");
    assert_eq!(fatal(last), "57014");
    ends(&mesh, "query_timeout");
    wait_for(&mesh, "pgmesh_server_discards_total", "reason=\"reset\"", 1.0);
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 2"), "2");
}

#[test]
fn a_transaction_has_a_limit_in_all_and_what_it_runs_ends_with_it() {
    let postgres = postgres();
    let pool = "transaction_timeout = \"300ms\"";
    let mesh = Setup::before(&postgres).with("pool", pool).start();
    let mut client = Raw::log_in(&mesh.app());
    assert_eq!(client.query("BEGIN").status, 'T');
    client.ask("SELECT pg_sleep(60)");
    let mut codes = Vec::new();
    while let Some(message) = client.next() {
        if message.tag == b'E' {
            codes.push(message.body);
        }
    }
    let last = codes.last().map(|body| wire::ErrorFields::parse(body).unwrap().code.to_owned());
    assert_eq!(last.as_deref(), Some("25P04"));
    ends(&mesh, "transaction_timeout");
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    crate::metrics::eventually("no statement left", || postgres.psql(sleeping).unwrap() == "0");
}

#[test]
fn a_client_that_waits_is_told_so_and_served() {
    let postgres = postgres();
    let pool = "size = 1\nreserve_size = 0\nquery_wait_notify = \"50ms\"";
    let mesh = Setup::before(&postgres).with("pool", pool).start();
    let mut holder = Raw::log_in(&mesh.app());
    holder.query("BEGIN");
    let mut waiting = Raw::log_in(&mesh.app());
    waiting.ask("SELECT 1");
    wait_for_waiters(&mesh, 1);
    let notice = waiting.message();
    assert_eq!(char::from(notice.tag), 'N');
    assert_eq!(reached(&mesh, "query_wait_notify"), 1.0);
    holder.query("COMMIT");
    assert_eq!(waiting.answer().rows, [["1"]]);
}

#[test]
fn a_users_limit_goes_before_the_pools() {
    let postgres = testbed::Postgres::start(PostgresOptions::default()).unwrap();
    let mesh = Setup::before(&postgres)
        .without_users()
        .user(APP_USER.user, APP_USER.password, "query_timeout = \"0s\"")
        .with("pool", "query_timeout = \"50ms\"")
        .start();
    let mut client = Raw::log_in(&mesh.app());
    client.ask("SELECT pg_sleep(60)");
    crate::wait_for_sleep(&postgres);
    cancel(mesh.app().port, client.key.as_ref().unwrap());
    assert_eq!(client.answer().errors[0].code, "57014");
    assert_eq!(reached(&mesh, "query_timeout"), 0.0);
}
