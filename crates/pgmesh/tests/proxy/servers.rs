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
fn a_client_in_a_transaction_is_told_the_last_words_of_its_server() {
    let mut postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let mut client = Raw::log_in(&mesh.app());
    client.query("BEGIN");
    postgres.stop(Stop::Fast).unwrap();
    let told = client.last_words().unwrap();
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "57P01"));
    postgres.restart().unwrap();
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 1"), "1");
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
