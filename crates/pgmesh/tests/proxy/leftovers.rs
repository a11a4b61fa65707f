//! Session state that a transaction leaves behind is there for its client and for nobody else.

use testbed::Login;
use wire::Version;

use crate::clients::{Raw, parse, run, sync};
use crate::metrics::{sample, wait_for};
use crate::postgres;
use crate::proxy::Setup;

/// What leaves something, what shows it, what it shows to its client, and to others.
type State = (&'static str, &'static str, &'static str, &'static str);

/// What every server can be given.
const FOLLOWS: [State; 15] = [
    ("SET work_mem = '7MB'", "SHOW work_mem", "7MB", "4MB"),
    ("/* x */ SET work_mem TO '7MB'", "SHOW work_mem", "7MB", "4MB"),
    ("SELECT 1; SET SESSION work_mem = '7MB'; SELECT 2", "SHOW work_mem", "7MB", "4MB"),
    ("SELECT set_config('work_mem', '7MB', false)", "SHOW work_mem", "7MB", "4MB"),
    (
        "UPDATE pg_settings SET setting = '7MB' WHERE name = 'work_mem'",
        "SHOW work_mem",
        "7MB",
        "4MB",
    ),
    ("DO $$ BEGIN SET work_mem = '7MB'; END $$", "SHOW work_mem", "7MB", "4MB"),
    ("CALL tunes()", "SHOW work_mem", "7MB", "4MB"),
    ("BEGIN; SET work_mem = '7MB'; COMMIT", "SHOW work_mem", "7MB", "4MB"),
    ("SET search_path = ''", "SHOW search_path", "\"\"", "\"$user\", public"),
    ("LISTEN news", "SELECT pg_listening_channels()", "news", ""),
    ("PREPARE mine AS SELECT 1;", MINE, "1", "0"),
    ("SELECT 1; PREPARE mine AS SELECT 1; SELECT 2", MINE, "1", "0"),
    (
        "LISTEN a; LISTEN \"B c\"",
        "SELECT string_agg(a, '+') FROM pg_listening_channels() AS a",
        "a+B c",
        "NULL",
    ),
    ("SET ROLE reader", "SELECT current_user", "reader", "app_user"),
    (
        "SET my.own = 'x'",
        "SELECT coalesce(nullif(current_setting('my.own', true), ''), '-')",
        "x",
        "-",
    ),
];

/// What keeps a client its server.
const STAYS: [State; 11] = [
    ("CREATE TEMP TABLE mine (n int)", TEMPORARY, "t", "f"),
    ("SELECT 1 AS n INTO TEMPORARY mine", TEMPORARY, "t", "f"),
    ("CREATE TABLE pg_temp.mine AS SELECT 1", TEMPORARY, "t", "f"),
    ("CREATE TEMP VIEW mine AS SELECT 1", TEMPORARY, "t", "f"),
    (
        "CREATE COLLATION pg_temp.mine FROM \"C\"",
        "SELECT count(*) FROM pg_collation WHERE collnamespace = pg_my_temp_schema()",
        "1",
        "0",
    ),
    ("SELECT pg_advisory_lock(7)", ADVISORY, "1", "0"),
    ("WITH x AS (SELECT pg_try_advisory_lock_shared(7, 8)) SELECT * FROM x", ADVISORY, "1", "0"),
    ("DO 'BEGIN LISTEN news; END'", "SELECT count(*) FROM pg_listening_channels()", "1", "0"),
    (
        "BEGIN; DECLARE mine CURSOR WITH HOLD FOR SELECT 1; COMMIT",
        "SELECT count(*) FROM pg_cursors WHERE is_holdable",
        "1",
        "0",
    ),
    ("SELECT setseed(0.5)", "SELECT 1", "1", "1"),
    // Two characters whose bytes are those of one in the encoding of the server.
    (
        r"SET client_encoding = 'LATIN1'; SELECT set_config('search_path', E'\u00c3\u00a9', false)",
        "SELECT length(current_setting('search_path'))",
        "2",
        "15",
    ),
];

const TEMPORARY: &str = "SELECT to_regclass('pg_temp.mine') IS NOT NULL";
const ADVISORY: &str =
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
const MINE: &str = "SELECT count(*) FROM pg_prepared_statements WHERE from_sql";

fn start() -> (testbed::Postgres, testbed::Pgmesh, Raw) {
    let postgres = postgres();
    postgres.psql("CREATE ROLE reader; GRANT reader TO app_user").unwrap();
    let mesh = Setup::before(&postgres).with("pool", "size = 2\nreserve_size = 0").start();
    let mut next = Raw::log_in(&mesh.app());
    next.value("CREATE PROCEDURE tunes() LANGUAGE sql AS $$ SET work_mem = '7MB' $$");
    (postgres, mesh, next)
}

/// In one text, and where it is one statement by the extended protocol too, in each way.
fn ways(leave: &str) -> Vec<Vec<u8>> {
    let mut simple = Vec::new();
    wire::message::put_query(&mut simple, leave);
    let mut ways = vec![simple];
    for name in ["", "named"].into_iter().filter(|_| !leave.contains("; ")) {
        let mut batch = Vec::new();
        parse(&mut batch, name, leave);
        run(&mut batch, name, &[]);
        sync(&mut batch);
        ways.push(batch);
    }
    ways
}

#[test]
fn what_every_server_can_be_given_follows_its_client_and_nobody_else() {
    let (_postgres, mesh, mut next) = start();
    for (leave, show, own, others) in FOLLOWS {
        for way in ways(leave) {
            let mut first = Raw::log_in(&mesh.app());
            first.send(&way);
            let answer = first.answer();
            assert_eq!((answer.errors, answer.status), (vec![], 'I'), "{leave}");
            // The neighbour takes one server or the other: it must be on neither.
            for _ in 0..2 {
                assert_eq!(next.query("BEGIN").status, 'T');
                assert_eq!(first.value(show), own, "{leave}");
                assert_eq!(next.value(show), others, "{leave}");
                assert_eq!(next.query("COMMIT").status, 'I');
                assert_eq!(next.value(show), others, "{leave}");
                assert_eq!(first.value(show), own, "{leave}");
            }
        }
    }
    assert_eq!(sample(&mesh, "pgmesh_pins_total", ""), 0.0);
}

#[test]
fn reset_all_goes_back_to_a_login_with_settings_of_its_own() {
    let (_postgres, mesh, _next) = start();
    let options = [("options", "-c work_mem=14MB -c my.login=yes")];
    let mut client = Raw::log_in_with(&mesh.app(), Version::V3_0, &options).unwrap();
    assert_eq!(client.query("SET my.login = 'no'; SET work_mem = '15MB'").errors, vec![]);
    assert_eq!(client.value("SHOW my.login"), "no");
    assert_eq!(client.query("RESET ALL").errors, vec![]);
    assert_eq!(client.value("SHOW my.login"), "yes");
    assert_eq!(client.value("SHOW work_mem"), "14MB");
}

#[test]
fn a_role_made_anew_under_its_name_is_the_new_one() {
    let (postgres, mesh, mut next) = start();
    let renew = "DROP ROLE IF EXISTS renewed; CREATE ROLE renewed; GRANT renewed TO app_user; \
        DROP TABLE IF EXISTS its; CREATE TABLE its (); ALTER TABLE its OWNER TO renewed";
    let admin = Login { database: mesh.app().database, ..postgres.superuser() };
    for _ in 0..2 {
        admin.psql(renew).unwrap();
        let mut client = Raw::log_in(&mesh.app());
        assert_eq!(client.query("SET ROLE renewed").errors, vec![]);
        // On both servers, which keep the role when the client has gone.
        for begin in ["SELECT 1", "BEGIN"] {
            next.query(begin);
            assert_eq!(client.query("ALTER TABLE its SET (fillfactor = 90)").errors, vec![]);
        }
        next.query("COMMIT");
        drop(client);
        admin.psql("DROP TABLE its").unwrap();
    }
}

/// A setting of the client's login is brought to the server in the middle of the block. Its role is
/// the one of the block by then, and not the one of before.
#[test]
fn a_role_of_a_block_stays_when_a_setting_of_it_is_reset() {
    let (_postgres, mesh, _) = start();
    let options = [("application_name", "mine")];
    let mut client = Raw::log_in_with(&mesh.app(), Version::V3_0, &options).unwrap();
    assert_eq!(client.query("SET ROLE reader").errors, vec![]);
    for (role, current) in [("RESET ROLE", "app_user"), ("SET LOCAL ROLE NONE", "app_user")] {
        for text in ["BEGIN", role, "RESET application_name"] {
            assert_eq!(client.query(text).errors, vec![], "{text}");
        }
        let shown = "SELECT current_user || ' ' || current_setting('application_name')";
        assert_eq!(client.value(shown), format!("{current} mine"), "{role}");
        assert_eq!(client.query("ROLLBACK").errors, vec![]);
        assert_eq!(client.value(shown), "reader mine", "{role}");
    }
}

#[test]
fn what_no_other_server_has_keeps_its_client_the_server() {
    let (_postgres, mesh, mut next) = start();
    for (leave, show, own, others) in STAYS {
        for way in ways(leave) {
            let mut first = Raw::log_in(&mesh.app());
            first.send(&way);
            let answer = first.answer();
            assert_eq!((answer.errors, answer.status), (vec![], 'I'), "{leave}");
            assert_eq!(next.value(show), others, "{leave}");
            assert_eq!(first.value(show), own, "{leave}");
            assert_eq!(next.value(show), others, "{leave}");
            wait_for(&mesh, "pgmesh_pinned_servers", "", 1.0);
            drop(first);
            wait_for(&mesh, "pgmesh_pinned_servers", "", 0.0);
            for _ in 0..2 {
                assert_eq!(next.value(show), others, "{leave}");
            }
        }
    }
}

#[test]
fn a_server_is_let_go_when_nothing_is_left_on_it() {
    let (_postgres, mesh, _next) = start();
    let mut client = Raw::log_in(&mesh.app());
    for (leave, free) in [
        ("CREATE TEMP TABLE mine (n int)", "DROP TABLE mine"),
        ("SELECT pg_advisory_lock(7)", "SELECT pg_advisory_unlock(7)"),
        ("DO 'BEGIN LISTEN news; END'", "UNLISTEN news"),
        ("BEGIN; DECLARE mine CURSOR WITH HOLD FOR SELECT 1; COMMIT", "CLOSE mine"),
        ("CREATE TEMP TABLE mine (n int)", "DISCARD TEMP"),
        ("SELECT setseed(0.5)", "DISCARD ALL"),
    ] {
        assert_eq!(client.query(leave).errors, vec![], "{leave}");
        wait_for(&mesh, "pgmesh_pinned_servers", "", 1.0);
        assert_eq!(client.query(free).errors, vec![], "{free}");
        wait_for(&mesh, "pgmesh_pinned_servers", "", 0.0);
    }
    // What does not outlast its transaction keeps nothing.
    for harmless in [
        "BEGIN; CREATE TEMP TABLE mine (n int) ON COMMIT DROP; COMMIT",
        "BEGIN; CREATE TEMP TABLE mine (n int); ROLLBACK",
        "SELECT pg_advisory_xact_lock(7)",
        "BEGIN; SELECT pg_advisory_xact_lock(7); COMMIT",
        "PREPARE mine AS SELECT 1",
        "EXECUTE mine",
        "BEGIN; SAVEPOINT s; DEALLOCATE mine; ROLLBACK",
    ] {
        let before = sample(&mesh, "pgmesh_pins_total", "");
        assert_eq!(client.query(harmless).errors, vec![], "{harmless}");
        assert_eq!(client.value("SELECT 1"), "1");
        assert_eq!(sample(&mesh, "pgmesh_pins_total", ""), before, "{harmless}");
    }
}

#[test]
fn one_server_is_left_to_the_others() {
    let (_postgres, mesh, mut next) = start();
    let mut first = Raw::log_in(&mesh.app());
    assert_eq!(first.query("DO 'BEGIN LISTEN news; END'").errors, vec![]);
    wait_for(&mesh, "pgmesh_pinned_servers", "reason=\"listen\"", 1.0);
    for statement in ["LOAD 'auto_explain'", "CREATE TEMP TABLE t (n int)"] {
        for way in ways(statement) {
            next.send(&way);
            let answer = next.answer();
            assert_eq!(answer.errors[0].code, "53400", "{statement}");
            assert_eq!(answer.status, 'I');
        }
    }
    assert_eq!(next.value("SELECT 1"), "1");
    assert!(sample(&mesh, "pgmesh_limits_reached_total", "limit=\"max_pinned\"") >= 6.0);
    drop(first);
    wait_for(&mesh, "pgmesh_pinned_servers", "", 0.0);
    assert_eq!(next.query("CREATE TEMP TABLE t (n int)").errors, vec![]);
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
    assert_eq!(sample(&mesh, "pgmesh_server_resets_total", ""), 0.0);
    assert_eq!(sample(&mesh, "pgmesh_server_connects_total", ""), 1.0);
}
