//! What a client has left on its server is taken away before the next one has it, and nothing else.

use testbed::{Login, Pgmesh, Postgres};

use crate::clients::{Raw, parse, run_described};
use crate::metrics::{sample, wait_for, wait_for_at_least};
use crate::postgres;
use crate::proxy::Setup;

/// With one server for everybody, and a client that may take the role of one that may nothing.
fn start() -> (Postgres, Pgmesh, Login) {
    let postgres = postgres();
    postgres
        .psql("CREATE ROLE owner SUPERUSER LOGIN PASSWORD 'owner'; CREATE ROLE nobody")
        .unwrap();
    let mesh = Setup::before(&postgres)
        .with("pool", "size = 1\nreserve_size = 0\nmax_pinned = 1")
        .user("owner", "owner", "")
        .start();
    let owner = Login { user: "owner".into(), password: "owner".into(), ..mesh.app() };
    (postgres, mesh, owner)
}

fn resets(mesh: &Pgmesh, kind: &str) -> f64 {
    sample(mesh, "pgmesh_server_resets_total", &format!("kind=\"{kind}\""))
}

/// What keeps a client its server, and can be taken away by itself.
const LEAVES: [&str; 4] = [
    "CREATE TEMP TABLE mine (n int)",
    "SELECT pg_advisory_lock(7)",
    "BEGIN; DECLARE mine CURSOR WITH HOLD FOR SELECT 1; COMMIT",
    "DO 'BEGIN LISTEN news; END'",
];

/// What is left of it.
const LEFT: &str = "\
    SELECT concat_ws(' ', to_regclass('pg_temp.mine'), (SELECT name FROM pg_cursors WHERE is_holdable), \
        (SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
        (SELECT * FROM pg_listening_channels()), current_user, current_setting('work_mem'))";

#[test]
fn what_was_left_goes_and_the_statements_of_others_stay() {
    let (_postgres, mesh, owner) = start();
    let mut next = Raw::log_in(&owner);
    assert_eq!(next.prepare("shared", "SELECT 'shared'").tags, "1Z");
    let misses = || sample(&mesh, "pgmesh_prepared_misses_total", "user=\"owner\"");
    wait_for(&mesh, "pgmesh_prepared_misses_total", "user=\"owner\"", 1.0);
    let each = LEAVES.map(str::to_owned);
    let identities = ["SET ROLE nobody", "SET SESSION AUTHORIZATION nobody"];
    let all = identities.map(|identity| format!("{}; {identity}", LEAVES.join("; ")));
    for (at, leaves) in each.into_iter().chain(all).enumerate() {
        let mut first = Raw::log_in(&owner);
        assert_eq!(first.query("SET work_mem = '7MB'").errors, vec![]);
        assert_eq!(first.query(&leaves).errors, vec![], "{leaves}");
        assert_ne!(first.value(LEFT), "owner 7MB", "{leaves}");
        drop(first);
        // It waits for the one server that there is.
        assert_eq!(next.value(LEFT), "owner 4MB", "{leaves}");
        assert_eq!(resets(&mesh, "targeted"), (at + 1) as f64, "{leaves}");
        let hits = sample(&mesh, "pgmesh_prepared_hits_total", "user=\"owner\"");
        assert_eq!(next.execute("shared", &[]).rows, [["shared"]], "{leaves}");
        wait_for_at_least(&mesh, "pgmesh_prepared_hits_total", "user=\"owner\"", hits + 1.0);
        assert_eq!(misses(), 1.0, "{leaves}");
    }
    assert_eq!(resets(&mesh, "all"), 0.0);
    assert_eq!(sample(&mesh, "pgmesh_server_connects_total", "user=\"owner\""), 1.0);
}

#[test]
fn a_transaction_that_its_client_has_left_is_rolled_back_and_no_more() {
    let (_postgres, mesh, owner) = start();
    let mut next = Raw::log_in(&owner);
    next.value("CREATE TABLE t (n int); SELECT 1");
    for begin in ["BEGIN; INSERT INTO t VALUES (1)", "BEGIN; SELECT 1/0"] {
        let mut first = Raw::log_in(&owner);
        first.query(begin);
        drop(first);
        assert_eq!(next.value("SELECT count(*) FROM t"), "0", "{begin}");
    }
    assert_eq!((resets(&mesh, "targeted"), resets(&mesh, "all")), (2.0, 0.0));
    // What it has set there, nobody knows.
    let mut first = Raw::log_in(&owner);
    first.query("BEGIN; SET work_mem = '7MB'");
    drop(first);
    assert_eq!(next.value(LEFT), "owner 4MB");
    assert_eq!((resets(&mesh, "targeted"), resets(&mesh, "all")), (2.0, 1.0));
}

#[test]
fn a_statement_that_meant_a_temporary_table_is_parsed_again() {
    let (_postgres, mesh, owner) = start();
    let text = "SELECT * FROM t";
    let mut next = Raw::log_in(&owner);
    next.value("CREATE TABLE t AS SELECT 1 AS n; SELECT 1");
    let mut first = Raw::log_in(&owner);
    assert_eq!(first.query("CREATE TEMP TABLE t AS SELECT 'own' AS a").errors, vec![]);
    assert_eq!(first.prepare("s", text).tags, "1Z");
    assert_eq!(first.execute("s", &[]).rows, [["own"]]);
    drop(first);
    // Inside a transaction an error could not be mended any more.
    assert_eq!(next.query("BEGIN").status, 'T');
    let answer = next.batch(|out| {
        parse(out, "s", text);
        run_described(out, "s", &[]);
    });
    assert_eq!((answer.tags.as_str(), answer.rows), ("12TDCZ", vec![vec!["1".to_owned()]]));
    assert_eq!(resets(&mesh, "targeted"), 1.0);
}
