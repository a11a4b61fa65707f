//! A server that goes and comes back.

use testbed::Stop;

use crate::clients::Raw;
use crate::metrics::{wait_for, wait_for_waiters};
use crate::postgres;
use crate::proxy::Setup;

#[test]
fn idle_clients_survive_every_way_to_restart_the_server() {
    let mut postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let mut clients: Vec<Raw> = (0..5).map(|_| Raw::log_in(&mesh.app())).collect();
    clients[0].value("CREATE TABLE t (n int)");
    let mut written = 0;
    for how in [Stop::Fast, Stop::Immediate, Stop::Crash] {
        for client in &mut clients {
            client.query("INSERT INTO t VALUES (1)");
            written += 1;
        }
        postgres.stop(how).unwrap();
        wait_for(&mesh, "pgmesh_servers", "state=\"idle\"", 0.0);
        postgres.restart().unwrap();
        for client in &mut clients {
            let answer = client.query("SELECT count(*) FROM t");
            assert_eq!(answer.rows, [[written.to_string()]], "{how:?}");
        }
    }
}

#[test]
fn a_statement_waits_for_a_server_that_is_away() {
    let mut postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let mut client = Raw::log_in(&mesh.app());
    client.value("CREATE TABLE t (n int)");
    postgres.stop(Stop::Fast).unwrap();
    wait_for(&mesh, "pgmesh_servers", "state=\"idle\"", 0.0);
    client.ask("INSERT INTO t VALUES (1)");
    wait_for_waiters(&mesh, 1);
    // Logins are answered meanwhile: all that they need is known.
    let mut late = Raw::log_in(&mesh.app());
    late.ask("INSERT INTO t VALUES (2)");
    wait_for_waiters(&mesh, 2);
    postgres.restart().unwrap();
    for client in [&mut client, &mut late] {
        assert_eq!(client.answer().commands, ["INSERT 0 1"]);
    }
    assert_eq!(client.value("SELECT count(*) FROM t"), "2");
}

#[test]
fn a_transaction_that_its_server_took_along_is_told_once_and_ended_by_its_client() {
    let mut postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let mut client = Raw::log_in(&mesh.app());
    client.query("BEGIN");
    postgres.stop(Stop::Fast).unwrap();
    postgres.restart().unwrap();
    for code in ["40001", "25P02"] {
        let answer = client.query("SELECT 1");
        assert_eq!((answer.errors[0].code.as_str(), answer.status), (code, 'E'));
    }
    // COMMIT of what is lost is none, as in Postgres.
    let answer = client.query("COMMIT");
    assert_eq!((answer.commands, answer.status), (vec!["ROLLBACK".to_owned()], 'I'));
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_commit_of_what_is_lost_is_an_error_and_a_rollback_is_none() {
    let mut postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let mut clients = [Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app())];
    for client in &mut clients {
        client.query("BEGIN");
    }
    postgres.stop(Stop::Fast).unwrap();
    postgres.restart().unwrap();
    let answer = clients[0].query("COMMIT");
    assert_eq!((answer.errors[0].code.as_str(), answer.status), ("40001", 'I'));
    let answer = clients[1].query("ROLLBACK");
    assert_eq!((answer.errors, answer.commands), (vec![], vec!["ROLLBACK".to_owned()]));
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn a_hold_ends_in_an_error_and_not_in_a_disconnect() {
    let mut postgres = postgres();
    let mesh = Setup::before(&postgres).with("failover", "hold_timeout = '200ms'").start();
    let mut client = Raw::log_in(&mesh.app());
    client.value("SELECT 1");
    postgres.stop(Stop::Fast).unwrap();
    wait_for(&mesh, "pgmesh_servers", "state=\"idle\"", 0.0);
    let answer = client.query("SELECT 1");
    assert_eq!((answer.errors[0].code.as_str(), answer.status), ("57P03", 'I'));
    assert!(answer.errors[0].message.contains("hold_timeout"), "{:?}", answer.errors);
    postgres.restart().unwrap();
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn no_more_than_max_held_wait_for_a_server_that_is_away() {
    let mut postgres = postgres();
    // The one that is held must still be when the other one comes, so its hold is long.
    let limits = "hold_timeout = '60s'\nmax_held = 1";
    let mesh = Setup::before(&postgres).with("failover", limits).start();
    let mut clients = [Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app())];
    clients[0].value("SELECT 1");
    postgres.stop(Stop::Fast).unwrap();
    wait_for(&mesh, "pgmesh_servers", "state=\"idle\"", 0.0);
    clients[0].ask("SELECT 1");
    wait_for_waiters(&mesh, 1);
    wait_for(&mesh, "pgmesh_pool_holding", "", 1.0);
    let answer = clients[1].query("SELECT 1");
    assert_eq!((answer.errors[0].code.as_str(), answer.status), ("57P03", 'I'));
    assert!(answer.errors[0].message.contains("max_held"), "{:?}", answer.errors);
    postgres.restart().unwrap();
    assert_eq!(clients[0].answer().rows, [["1"]]);
    assert_eq!(clients[1].value("SELECT 1"), "1");
}

#[test]
fn a_session_moves_to_another_server_unless_it_left_something_on_the_first() {
    let mut postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "mode = 'session'").start();
    let mut clients = [Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app())];
    clients[0].value("SELECT 1");
    clients[1].query("CREATE TEMPORARY TABLE t (n int)");
    postgres.stop(Stop::Fast).unwrap();
    postgres.restart().unwrap();
    assert_eq!(clients[0].value("SELECT 1"), "1");
    let told = clients[1].last_words().unwrap();
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "57P01"));
}

#[test]
fn a_new_default_reaches_clients_that_are_idle() {
    let postgres = postgres();
    let mut postgres = postgres;
    let mesh = Setup::before(&postgres).with("pool", "size = 1").start();
    let mut client = Raw::log_in(&mesh.app());
    assert_ne!(client.value("SHOW TimeZone"), "Asia/Tokyo");
    postgres.psql("ALTER SYSTEM SET TimeZone = 'Asia/Tokyo'").unwrap();
    postgres.reload();
    // A client that logs in from now on is told the new one, sooner or later.
    crate::metrics::eventually("the new default", || {
        let mut late = Raw::log_in(&mesh.app());
        late.value("SHOW TimeZone") == "Asia/Tokyo" && late.reported["TimeZone"] == "Asia/Tokyo"
    });
}
