//! What `currval` and `lastval` return is of the client's own transaction, or of its own server.

use crate::clients::{Raw, parse, run, sync};
use crate::metrics::{sample, wait_for};
use crate::postgres;
use crate::proxy::Setup;

const ASKS: [&str; 2] = ["SELECT lastval()", "SELECT currval('t_id_seq')"];
const TAKES: [&str; 2] = ["INSERT INTO t DEFAULT VALUES", "SELECT nextval('t_id_seq')"];

/// All clients of the database share one server, which cannot be spared.
fn start(keys: &str) -> (testbed::Postgres, testbed::Pgmesh) {
    let postgres = postgres();
    let keys = format!("size = 1\nreserve_size = 0\n{keys}");
    let mesh = Setup::before(&postgres).with("pool", &keys).start();
    let made = Raw::log_in(&mesh.app()).query("CREATE TABLE t (id serial); DISCARD SEQUENCES");
    assert_eq!(made.errors, vec![]);
    (postgres, mesh)
}

fn batch(texts: &[&str]) -> Vec<u8> {
    let mut batch = Vec::new();
    for text in texts {
        parse(&mut batch, "", text);
        run(&mut batch, "", &[]);
    }
    sync(&mut batch);
    batch
}

/// The SQLSTATE of the error, if the answer ends with one.
fn code(client: &mut Raw, bytes: &[u8]) -> Option<String> {
    client.send(bytes);
    client.answer().errors.first().map(|error| error.code.clone())
}

#[test]
fn values_end_with_their_transaction() {
    let (_postgres, mesh) = start("");
    let (mut first, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    for takes in TAKES {
        assert_eq!(first.query(takes).errors, vec![]);
    }
    assert_eq!(sample(&mesh, "pgmesh_sequences_forgotten_total", ""), 0.0);
    for asks in ASKS {
        for takes in TAKES {
            assert_eq!(first.query(takes).errors, vec![]);
            assert_eq!(next.query(asks).errors[0].code, "55000", "{asks}");
            assert_eq!(first.query(takes).errors, vec![]);
            assert_eq!(code(&mut next, &batch(&[asks])).as_deref(), Some("55000"), "{asks}");
            assert_eq!(first.query(asks).errors[0].code, "55000", "nor one's own");
        }
    }
    wait_for(&mesh, "pgmesh_sequences_forgotten_total", "", 12.0);
    assert_eq!(first.value("INSERT INTO t DEFAULT VALUES; SELECT lastval() > 0"), "t");
    assert_eq!(code(&mut first, &batch(&[TAKES[0], ASKS[0], ASKS[1]])), None);
    for _ in 0..2 {
        assert_eq!(next.query("BEGIN").status, 'T');
        let id = next.value("INSERT INTO t DEFAULT VALUES RETURNING id");
        for asks in ASKS {
            assert_eq!(next.value(asks), id);
        }
        assert_eq!(next.query("COMMIT").status, 'I');
    }
    // Where one block has asked, none begins with another client's value.
    assert_eq!(first.query("BEGIN").status, 'T');
    assert_eq!(first.query(ASKS[0]).errors[0].code, "55000");
    assert_eq!(first.query("ROLLBACK").status, 'I');
    assert_eq!(sample(&mesh, "pgmesh_pins_total", ""), 0.0);
}

#[test]
fn a_client_that_keeps_its_values_keeps_its_server() {
    let (_postgres, mesh) = start("state.sequences = \"pin\"\nmax_pinned = 1");
    for takes in TAKES {
        let mut first = Raw::log_in(&mesh.app());
        assert_eq!(first.query(takes).errors, vec![]);
        let value = first.value(ASKS[0]);
        assert_eq!(first.query("SET work_mem = '7MB'").errors, vec![]);
        assert_eq!(first.value(ASKS[1]), value, "{takes}");
        wait_for(&mesh, "pgmesh_pinned_servers", "reason=\"sequences\"", 1.0);
        assert_eq!(first.query("DISCARD SEQUENCES").errors, vec![]);
        let mut next = Raw::log_in(&mesh.app());
        assert_eq!(next.query(ASKS[0]).errors[0].code, "55000");
        // One that leaves with its values leaves none.
        assert_eq!(code(&mut first, &batch(&[takes])), None);
        drop(first);
        assert_eq!(next.query(ASKS[0]).errors[0].code, "55000");
    }
}

#[test]
fn values_are_kept_as_long_as_nobody_needs_the_server() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 3\nreserve_size = 0").start();
    let mut first = Raw::log_in(&mesh.app());
    assert_eq!(first.query("CREATE TABLE t (id serial)").errors, vec![]);
    let mut others = [Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app())];
    for takes in TAKES {
        assert_eq!(first.query(takes).errors, vec![]);
        let id = first.value("SELECT last_value FROM t_id_seq");
        for other in &mut others {
            assert_eq!(other.query("DISCARD SEQUENCES").errors, vec![]);
            assert_eq!(other.query(ASKS[0]).errors[0].code, "55000");
            assert_eq!(other.query(takes).errors, vec![]);
        }
        for asks in ASKS {
            assert_eq!(first.value(asks), id, "{takes}");
        }
    }
    let told = first.query("SHOW pgmesh.session").rows;
    assert!(told.iter().any(|row| row[..2] == ["keep", "sequences"]), "{told:?}");
    assert_eq!(sample(&mesh, "pgmesh_pins_total", ""), 0.0);
    // All are needed now, so whose client does nothing is taken from it.
    for other in &mut others {
        assert_eq!(other.query("BEGIN").status, 'T');
    }
    let mut late = Raw::log_in(&mesh.app());
    assert_eq!(late.query(ASKS[0]).errors[0].code, "55000");
    assert_eq!(first.query(ASKS[0]).errors[0].code, "55000");
    for other in &mut others {
        assert_eq!(other.query("COMMIT").status, 'I');
    }
}

#[test]
fn a_limit_of_several_pools_lets_nobody_wait_for_what_is_kept() {
    let postgres = postgres();
    let keys = "size = 4\nreserve_size = 0\nmax_db_connections = 2";
    let mesh = Setup::before(&postgres).with("pool", keys).start();
    let mut clients: Vec<Raw> = (0..4).map(|_| Raw::log_in(&mesh.app())).collect();
    assert_eq!(clients[0].query("CREATE TABLE t (id serial)").errors, vec![]);
    for client in &mut clients[..2] {
        assert_eq!(client.query(TAKES[0]).errors, vec![]);
    }
    wait_for(&mesh, "pgmesh_servers", "state=\"kept\"", 2.0);
    for client in &mut clients[2..] {
        client.ask("BEGIN");
    }
    for client in &mut clients[2..] {
        assert_eq!(client.answer().status, 'T');
    }
}

#[test]
fn a_server_that_is_kept_for_more_than_values_is_not_asked_for() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 3\nreserve_size = 0").start();
    let mut clients: Vec<Raw> = (0..4).map(|_| Raw::log_in(&mesh.app())).collect();
    assert_eq!(clients[0].query("CREATE TABLE t (id serial)").errors, vec![]);
    assert_eq!(clients[0].query("CREATE TEMP TABLE mine ()").errors, vec![]);
    for client in &mut clients[..2] {
        assert_eq!(client.query(TAKES[0]).errors, vec![]);
    }
    wait_for(&mesh, "pgmesh_servers", "state=\"kept\"", 1.0);
    for client in &mut clients[2..] {
        assert_eq!(client.query("BEGIN").status, 'T');
    }
    assert_eq!(clients[0].query(ASKS[0]).errors, vec![]);
    assert_eq!(clients[0].query("DROP TABLE mine").errors, vec![]);
    wait_for(&mesh, "pgmesh_pinned_servers", "reason=\"temporary_objects\"", 0.0);
    assert_eq!(clients[1].query(ASKS[0]).errors[0].code, "55000");
}

#[test]
fn a_server_that_is_kept_for_values_is_not_missed() {
    let mut postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let mut client = Raw::log_in(&mesh.app());
    assert_eq!(client.query("CREATE TABLE t (id serial)").errors, vec![]);
    for how in [testbed::Stop::Fast, testbed::Stop::Crash] {
        assert_eq!(client.query(TAKES[0]).errors, vec![]);
        assert_eq!(client.query(ASKS[0]).errors, vec![]);
        postgres.stop(how).unwrap();
        postgres.restart().unwrap();
        assert_eq!(client.query(ASKS[0]).errors[0].code, "55000");
    }
}

#[test]
fn what_asks_for_values_may_be_refused() {
    let (_postgres, mesh) = start("state.sequences = \"reject\"");
    let mut client = Raw::log_in(&mesh.app());
    for takes in TAKES {
        assert_eq!(client.query(takes).errors, vec![]);
    }
    for asks in ASKS {
        let refused = client.query(asks);
        assert_eq!((refused.errors[0].code.as_str(), refused.status), ("0A000", 'I'), "{asks}");
        assert_eq!(code(&mut client, &batch(&[asks])).as_deref(), Some("0A000"), "{asks}");
    }
    assert_eq!(client.value("SELECT 'currval(''s'')'"), "currval('s')");
}
