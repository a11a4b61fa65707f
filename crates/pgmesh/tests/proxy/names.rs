//! Prepared statements by name in SQL: one name space of PREPARE and of Parse, on any server.

use crate::clients::{Raw, parse, run, run_described};
use crate::metrics::sample;
use crate::postgres;
use crate::proxy::Setup;

/// All that a client sees; of PREPARE with a mark.
const VIEW: &str = "SELECT coalesce(string_agg(name || CASE WHEN from_sql THEN '!' ELSE '' END, \
    ',' ORDER BY name), '-') FROM pg_prepared_statements";

/// Three servers, of which each transaction gets another.
fn start() -> (testbed::Postgres, testbed::Pgmesh) {
    let postgres = postgres();
    let keys = "size = 3\nreserve_size = 0\ndebug_shuffle = true";
    let mesh = Setup::before(&postgres).with("pool", keys).start();
    let mut clients: Vec<Raw> = (0..3).map(|_| Raw::log_in(&mesh.app())).collect();
    for statement in ["BEGIN", "COMMIT"] {
        for client in &mut clients {
            client.query(statement);
        }
    }
    (postgres, mesh)
}

#[test]
fn what_prepare_has_made_is_there_on_every_server_and_for_nobody_else() {
    let (_postgres, mesh) = start();
    let (mut first, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    assert_eq!(first.query("PREPARE s (int) AS SELECT $1 + 1").errors, vec![]);
    assert_eq!(next.query("PREPARE s (int) AS SELECT $1 + 2").errors, vec![]);
    assert_eq!(first.query("SELECT 1; PREPARE \"T t\" AS SELECT 't'; SELECT 2").errors, vec![]);
    for round in 0..7 {
        assert_eq!(first.value("EXECUTE s (1)"), "2", "{round}");
        assert_eq!(next.value("EXECUTE s (1)"), "3", "{round}");
        // By the extended protocol, and as one that Parse has made.
        let answer = first.batch(|out| {
            parse(out, "", "EXECUTE s (5)");
            run_described(out, "", &[]);
        });
        assert_eq!(answer.rows, [["6"]], "{round}");
        assert_eq!(next.execute("s", &["5"]).rows, [["7"]], "{round}");
        // In a transaction that had begun before.
        assert_eq!(first.query("BEGIN").status, 'T');
        assert_eq!(first.value("EXECUTE \"T t\""), "t", "{round}");
        assert_eq!(first.value("EXPLAIN (COSTS off) EXECUTE s (1)"), "Result", "{round}");
        assert_eq!(first.query("COMMIT").status, 'I');
        assert_eq!((first.value(VIEW).as_str(), next.value(VIEW).as_str()), ("T t!,s!", "s!"));
        assert_eq!(next.query("EXECUTE \"T t\"").errors[0].code, "26000");
        assert_eq!(first.query("PREPARE s AS SELECT 1").errors[0].code, "42P05", "{round}");
        assert_eq!(next.prepare("s", "SELECT 1").errors[0].code, "42P05", "{round}");
    }
    assert_eq!(next.query("DEALLOCATE s").commands, ["DEALLOCATE"]);
    for _ in 0..4 {
        assert_eq!(next.query("EXECUTE s (1)").errors[0].code, "26000");
        assert_eq!(next.execute("s", &["5"]).errors[0].code, "26000");
        assert_eq!(next.value(VIEW), "-");
        assert_eq!(first.value("EXECUTE s (1)"), "2");
    }
    assert_eq!(first.query("DEALLOCATE ALL").errors, vec![]);
    assert_eq!(first.value(VIEW), "-");
    assert_eq!(sample(&mesh, "pgmesh_pins_total", ""), 0.0);
    assert_eq!(sample(&mesh, "pgmesh_server_resets_total", ""), 0.0);
}

#[test]
fn what_parse_has_made_is_known_to_sql_by_its_name() {
    let (_postgres, mesh) = start();
    let (mut first, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    assert_eq!(first.prepare("s", "SELECT $1::int + 1").tags, "1Z");
    assert_eq!(next.prepare("s", "SELECT 'other'").tags, "1Z");
    for _ in 0..4 {
        assert_eq!(first.value("EXECUTE s (1)"), "2");
        assert_eq!(first.execute("s", &["5"]).rows, [["6"]]);
        assert_eq!(next.value("EXECUTE s"), "other");
        assert_eq!(first.query("PREPARE s AS SELECT 1").errors[0].code, "42P05");
        assert_eq!((first.value(VIEW).as_str(), next.value(VIEW).as_str()), ("s", "s"));
    }
    // One that looks itself finds itself, in the batch that makes it and later.
    let answer = first.batch(|out| {
        parse(out, "v", VIEW);
        run(out, "v", &[]);
        run(out, "v", &[]);
    });
    assert_eq!(answer.rows, [["s,v"], ["s,v"]]);
    for _ in 0..4 {
        assert_eq!(first.execute("v", &[]).rows, [["s,v"]]);
        assert_eq!(first.execute("s", &["5"]).rows, [["6"]]);
    }
    assert_eq!(first.query("DEALLOCATE v").errors, vec![]);
    // Dropped in SQL that does not say so at its front, and made anew by PREPARE.
    let anew = "SELECT 1; DEALLOCATE s; PREPARE s AS SELECT 'anew'";
    assert_eq!(first.query(anew).errors, vec![]);
    for _ in 0..4 {
        assert_eq!(first.value("EXECUTE s"), "anew");
        assert_eq!(first.execute("s", &[]).rows, [["anew"]]);
        assert_eq!((first.value(VIEW).as_str(), next.value(VIEW).as_str()), ("s!", "s"));
    }
}

#[test]
fn what_can_be_made_no_more_fails_as_it_would_directly_and_only_where_it_is_used() {
    let (_postgres, mesh) = start();
    let mut client = Raw::log_in(&mesh.app());
    client.value("CREATE TABLE t AS SELECT 1 AS n; SELECT 1");
    assert_eq!(client.query("PREPARE s AS SELECT n FROM t").errors, vec![]);
    assert_eq!(client.query("DROP TABLE t").errors, vec![]);
    for _ in 0..4 {
        assert_eq!(client.value("SELECT 1"), "1");
        let failed = client.query("EXECUTE s");
        assert_eq!((failed.errors[0].code.as_str(), failed.status), ("42P01", 'I'));
        assert_eq!(client.query("BEGIN").status, 'T');
        let failed = client.query("EXECUTE s");
        assert_eq!((failed.errors[0].code.as_str(), failed.status), ("42P01", 'E'));
        assert_eq!(client.query("COMMIT").commands, ["ROLLBACK"]);
        let failed = client.execute("s", &[]);
        assert_eq!((failed.errors[0].code.as_str(), failed.status), ("42P01", 'I'));
    }
    for _ in 0..3 {
        assert_eq!(Raw::log_in(&mesh.app()).value(VIEW), "-", "nor what was to make it");
    }
    client.value("CREATE TABLE t AS SELECT 2 AS n; SELECT 1");
    assert_eq!(client.value("EXECUTE s"), "2");
    assert_eq!(client.query("DEALLOCATE s").errors, vec![]);
}

#[test]
fn settings_and_statements_come_together() {
    let (_postgres, mesh) = start();
    let mut client = Raw::log_in(&mesh.app());
    client.value("CREATE SCHEMA mine; CREATE TABLE mine.t AS SELECT 3 AS n; SELECT 1");
    assert_eq!(client.query("SET search_path = mine").errors, vec![]);
    assert_eq!(client.query("PREPARE s AS SELECT n FROM t").errors, vec![]);
    for _ in 0..4 {
        assert_eq!(client.value("EXECUTE s"), "3");
        assert_eq!(client.execute("s", &[]).rows, [["3"]]);
    }
    // What one of them sets is followed, too.
    let sets = "PREPARE z AS SELECT set_config('work_mem', '7MB', false)";
    assert_eq!(client.query(sets).errors, vec![]);
    assert_eq!(client.value("EXECUTE z"), "7MB");
    for _ in 0..4 {
        assert_eq!(client.value("SHOW work_mem"), "7MB");
    }
}
