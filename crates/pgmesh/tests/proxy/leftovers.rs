//! Session state that a transaction leaves behind is gone for the next client.

use crate::clients::{Raw, parse, run, sync};
use crate::metrics::sample;
use crate::postgres;
use crate::proxy::Setup;

/// What leaves something, what shows it, and what is shown when nothing was left.
const STATE: [(&str, &str, &str); 20] = [
    ("SET work_mem = '7MB'", "SHOW work_mem", "4MB"),
    ("/* x */ SET work_mem TO '7MB'", "SHOW work_mem", "4MB"),
    ("SELECT 1; SET SESSION work_mem = '7MB'; SELECT 2", "SHOW work_mem", "4MB"),
    ("SELECT set_config('work_mem', '7MB', false)", "SHOW work_mem", "4MB"),
    ("DO $$ BEGIN SET work_mem = '7MB'; END $$", "SHOW work_mem", "4MB"),
    ("CALL tunes()", "SHOW work_mem", "4MB"),
    ("BEGIN; SET work_mem = '7MB'; COMMIT", "SHOW work_mem", "4MB"),
    ("SET search_path = ''", "SHOW search_path", "\"$user\", public"),
    ("SET ROLE reader", "SELECT current_user", "app_user"),
    ("SET my.own = 'x'", "SELECT coalesce(nullif(current_setting('my.own', true), ''), '-')", "-"),
    ("CREATE TEMP TABLE mine (n int)", "SELECT to_regclass('pg_temp.mine')", "NULL"),
    ("SELECT 1 AS n INTO TEMPORARY mine", "SELECT to_regclass('pg_temp.mine')", "NULL"),
    ("CREATE TABLE pg_temp.mine AS SELECT 1", "SELECT to_regclass('pg_temp.mine')", "NULL"),
    ("CREATE TEMP VIEW mine AS SELECT 1", "SELECT to_regclass('pg_temp.mine')", "NULL"),
    ("SELECT pg_advisory_lock(7)", ADVISORY, "0"),
    ("WITH x AS (SELECT pg_try_advisory_lock_shared(7, 8)) SELECT * FROM x", ADVISORY, "0"),
    ("LISTEN news", "SELECT count(*) FROM pg_listening_channels()", "0"),
    ("PREPARE mine AS SELECT 1", MINE, "0"),
    (
        "BEGIN; DECLARE mine CURSOR WITH HOLD FOR SELECT 1; COMMIT",
        "SELECT count(*) FROM pg_cursors",
        "0",
    ),
    ("SELECT setseed(0.5)", "SELECT 1", "1"),
];

const ADVISORY: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
const MINE: &str = "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'";

#[test]
fn whatever_a_client_leaves_the_next_does_not_find() {
    let postgres = postgres();
    postgres.psql("CREATE ROLE reader; GRANT reader TO app_user").unwrap();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let mut next = Raw::log_in(&mesh.app());
    next.value("CREATE PROCEDURE tunes() LANGUAGE sql AS $$ SET work_mem = '7MB' $$");
    for (leave, show, nothing) in STATE {
        let mut first = Raw::log_in(&mesh.app());
        let answer = first.query(leave);
        assert_eq!((answer.errors, answer.status), (vec![], 'I'), "{leave}");
        assert_eq!(next.value(show), nothing, "{leave}");
    }
    // The same by the extended protocol, where a text is one statement.
    for (leave, show, nothing) in STATE.into_iter().filter(|(leave, ..)| !leave.contains("; ")) {
        for name in ["", "named"] {
            let mut batch = Vec::new();
            parse(&mut batch, name, leave);
            run(&mut batch, name, &[]);
            sync(&mut batch);
            let mut first = Raw::log_in(&mesh.app());
            first.send(&batch);
            let answer = first.answer();
            assert_eq!((answer.errors, answer.status), (vec![], 'I'), "{leave}");
            assert_eq!(next.value(show), nothing, "{leave}");
        }
    }
}

#[test]
fn nothing_is_reset_when_nothing_was_left() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let (mut first, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    first.value("CREATE TABLE t (n int)");
    for harmless in [
        "SELECT 1",
        "BEGIN; SET LOCAL work_mem = '7MB'; COMMIT",
        "BEGIN; INSERT INTO t VALUES (1); ROLLBACK",
        "SELECT 1/0",
        "SELECT n FROM t FOR UPDATE",
    ] {
        first.query(harmless);
        assert_eq!(next.value("SHOW work_mem"), "4MB", "{harmless}");
    }
    // A SET LOCAL among other statements is reset once to be safe; the others never.
    assert!(sample(&mesh, "pgmesh_server_resets_total", "") <= 1.0);
    assert_eq!(sample(&mesh, "pgmesh_server_connects_total", ""), 1.0);
}
