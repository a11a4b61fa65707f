//! What pgmesh tells a client of its session's state.

use crate::clients::{Answer, Raw, parse, run_described, sync};
use crate::metrics::sample;
use crate::postgres;
use crate::proxy::Setup;

const SHOW: &str = "SHOW pgmesh.session";

/// The value of a row of this kind and name.
fn told(answer: &Answer, kind: &str, name: &str) -> Option<String> {
    assert_eq!(
        (answer.errors.as_slice(), answer.commands.as_slice()),
        (&[][..], &["SHOW".to_owned()][..])
    );
    let row = answer.rows.iter().find(|row| row[0] == kind && row[1] == name);
    row.map(|row| row[2].clone())
}

#[test]
fn a_client_is_told_what_is_kept_for_it_and_why() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 2\nreserve_size = 0").start();
    let mut client = Raw::log_in(&mesh.app());
    let fresh = client.query(SHOW);
    assert_eq!(fresh.status, 'I');
    assert_eq!(told(&fresh, "session", "pool_mode").unwrap(), "transaction");
    assert_eq!(told(&fresh, "session", "pinned").unwrap(), "no");
    assert_eq!(told(&fresh, "session", "server").unwrap(), "none");
    assert_eq!(told(&fresh, "session", "server_pid"), None);
    client.value("SET work_mem = '7MB'; SELECT 1");
    assert_eq!(told(&client.query(SHOW), "replay", "work_mem").unwrap(), "7168");
    client.value("CREATE TEMP TABLE mine (n int); SELECT 1");
    let pid = client.value("SELECT pg_backend_pid()");
    let mut batch = Vec::new();
    for name in ["", "named"] {
        parse(&mut batch, name, "show pgmesh.session;");
        run_described(&mut batch, name, &[]);
        sync(&mut batch);
        client.send(&std::mem::take(&mut batch));
        let pinned = client.answer();
        assert_eq!(told(&pinned, "session", "pinned").unwrap(), "yes");
        assert!(told(&pinned, "pin", "temporary_objects").is_some());
        assert_eq!(told(&pinned, "session", "server_pid").unwrap(), pid);
    }
    client.value("DROP TABLE mine; SELECT 1");
    assert_eq!(told(&client.query(SHOW), "session", "server").unwrap(), "none");
    assert_eq!(client.query("BEGIN").status, 'T');
    let inside = client.query(SHOW);
    assert_eq!((told(&inside, "session", "pinned").unwrap().as_str(), inside.status), ("no", 'T'));
    client.query("SELECT 1/0");
    assert_eq!(client.query(SHOW).errors[0].code, "25P02");
    assert_eq!(client.query("ROLLBACK").status, 'I');
}

/// A function whose call does not tell that it takes a lock of the session.
fn start_with_silent_lock(keys: &str) -> (testbed::Postgres, testbed::Pgmesh) {
    let postgres = postgres();
    let keys = format!("size = 2\nreserve_size = 0\n{keys}");
    let mesh = Setup::before(&postgres).with("pool", &keys).start();
    Raw::log_in(&mesh.app()).value(
        "CREATE FUNCTION takes() RETURNS int LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_advisory_lock(7); RETURN 1; END $$; SELECT 1",
    );
    (postgres, mesh)
}

/// Locks that are held through a client's server.
const LOCKS: &str =
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";

#[test]
fn what_no_text_tells_is_found_only_when_the_server_is_asked_each_time() {
    let (_postgres, mesh) = start_with_silent_lock("");
    let (mut first, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    assert_eq!(first.value("SELECT takes()"), "1");
    // The server that was given back last is lent first.
    assert_eq!(next.value(LOCKS), "1", "the hole that strict_state is for");

    let strict = "strict_state = true\nstate.sequences = \"forget\"";
    let (_postgres, mesh) = start_with_silent_lock(strict);
    let (mut first, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    assert_eq!(first.value("SELECT takes()"), "1");
    assert_eq!(next.value(LOCKS), "0");
    assert_eq!(first.value(LOCKS), "1");
    let told_now = first.query(SHOW);
    assert!(told(&told_now, "pin", "advisory_locks").is_some());
    // One that was asked about and has nothing is another's at once.
    assert_eq!(first.value("SELECT pg_advisory_unlock(7)"), "t");
    assert_eq!(told(&first.query(SHOW), "session", "server").unwrap(), "none");
}

/// A text of each feature, what it is called, and what shows that nothing of it is left.
const REFUSED: [(&str, &str); 12] = [
    ("temporary_objects", "CREATE TEMP TABLE mine (n int)"),
    ("temporary_objects", "SELECT 1 AS n INTO TEMPORARY mine"),
    ("advisory_locks", "SELECT pg_advisory_lock(7)"),
    ("advisory_locks", "/* x */ WITH x AS (SELECT pg_try_advisory_lock(7)) SELECT * FROM x"),
    ("holdable_cursors", "DECLARE mine CURSOR WITH HOLD FOR SELECT 1"),
    ("prepared_statements", "PREPARE mine AS SELECT 1"),
    ("listen", "LISTEN news"),
    ("unaccountable", "SELECT setseed(0.5)"),
    ("settings", "SET work_mem = '7MB'"),
    ("settings", "SELECT set_config('work_mem', '7MB', false)"),
    ("role", "SET ROLE app_user"),
    ("session_authorization", "SET SESSION AUTHORIZATION app_user"),
];

#[test]
fn what_a_rule_refuses_fails_before_a_server_has_seen_it() {
    let postgres = postgres();
    let mut rules: Vec<_> =
        REFUSED.iter().map(|(feature, _)| format!("state.{feature} = \"reject\"")).collect();
    rules.dedup();
    let keys = format!("size = 2\nreserve_size = 0\n{}", rules.join("\n"));
    let mesh = Setup::before(&postgres).with("pool", &keys).start();
    let mut client = Raw::log_in(&mesh.app());
    for (feature, text) in REFUSED {
        let refused = client.query(text);
        assert_eq!((refused.errors[0].code.as_str(), refused.status), ("0A000", 'I'), "{text}");
        let mut batch = Vec::new();
        parse(&mut batch, "named", text);
        run_described(&mut batch, "named", &[]);
        sync(&mut batch);
        client.send(&batch);
        assert_eq!(client.answer().tags, "EZ", "{text}");
        assert_eq!(client.query("BEGIN").status, 'T');
        assert_eq!(client.query(text).status, 'E', "{text}");
        assert_eq!(client.query(text).errors[0].code, "25P02", "{text}");
        assert_eq!(client.query("COMMIT").commands, ["ROLLBACK"]);
        assert!(told(&client.query(SHOW), "reject", feature).is_some());
    }
    // In one text with others, of which the first would have run.
    client.value("CREATE TABLE t (n int); SELECT 1");
    assert_eq!(client.query("INSERT INTO t VALUES (1); LISTEN news").errors[0].code, "0A000");
    assert_eq!(client.value("SELECT count(*) FROM t"), "0");
    for harmless in [
        "SELECT 'LISTEN news; SET x = 1', 'pg_advisory_lock(1)' -- LISTEN",
        "BEGIN; SET LOCAL work_mem = '7MB'; SELECT pg_advisory_xact_lock(7); COMMIT",
        "BEGIN; CREATE TEMP TABLE mine (n int) ON COMMIT DROP; COMMIT",
        "RESET ALL",
    ] {
        assert_eq!(client.query(harmless).errors, vec![], "{harmless}");
        assert_eq!(client.query("SELECT 1").errors, vec![], "{harmless}");
    }
    assert_eq!(sample(&mesh, "pgmesh_pins_total", ""), 0.0);
    assert!(sample(&mesh, "pgmesh_limits_reached_total", "limit=\"session_state\"") >= 36.0);
}

#[test]
fn what_only_the_server_knew_is_gone_and_fails_the_next_statement() {
    let keys =
        "strict_state = true\nstate.advisory_locks = \"reject\"\nstate.settings = \"reject\"";
    let (_postgres, mesh) = start_with_silent_lock(keys);
    let (mut client, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    let sets = "DO $$ BEGIN PERFORM set_config('work_mem', '7MB', false); END $$";
    for leaves in ["SELECT takes()", sets] {
        assert_eq!(client.query(leaves).errors, vec![]);
        assert_eq!(next.value(LOCKS), "0", "{leaves}");
        let refused = client.query("SELECT 1");
        assert_eq!((refused.errors[0].code.as_str(), refused.status), ("0A000", 'I'), "{leaves}");
        assert_eq!(client.value("SHOW work_mem"), "4MB");
        assert_eq!(client.value(LOCKS), "0");
    }
    // Sent ahead, it is the one that fails.
    client.ask("SELECT takes()");
    client.ask("SELECT 2");
    assert_eq!(client.answer().errors, vec![]);
    let second = client.answer();
    assert!(second.errors.len() == 1 || second.rows == [["2"]], "{second:?}");
    if second.errors.is_empty() {
        assert_eq!(client.query("SELECT 3").errors[0].code, "0A000");
    }
    assert_eq!(client.value(LOCKS), "0");
    // What it may have goes with it: then it is not left in the belief that it has it.
    client.value("CREATE TEMP TABLE mine (n int); SELECT 1");
    assert_eq!(client.query("SELECT takes()").errors, vec![]);
    client.ask("SELECT 1");
    let last = client.last_words().unwrap();
    assert_eq!((last.severity.as_str(), last.code.as_str()), ("FATAL", "0A000"));
    assert_eq!(next.value(LOCKS), "0");
}

#[test]
fn a_rule_may_be_that_of_a_user() {
    let postgres = postgres();
    postgres.psql("CREATE ROLE other LOGIN PASSWORD 'other'").unwrap();
    let mesh = Setup::before(&postgres)
        .with("pool", "state.listen = \"reject\"")
        .user("other", "other", "state.listen = \"pin\"")
        .start();
    let app = mesh.app();
    assert_eq!(Raw::log_in(&app).query("LISTEN news").errors[0].code, "0A000");
    let other = testbed::Login { user: "other".into(), password: "other".into(), ..app };
    assert_eq!(Raw::log_in(&other).query("LISTEN news").errors, vec![]);
}

#[test]
fn a_driver_reads_it_as_any_result() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let login = mesh.app();
    runtime.block_on(async {
        let connected = tokio_postgres::connect(&login.uri(), tokio_postgres::NoTls).await;
        let (mut client, connection) = connected.unwrap();
        tokio::spawn(connection);
        let statement = client.prepare(SHOW).await.unwrap();
        let names: Vec<_> = statement.columns().iter().map(|column| column.name()).collect();
        assert_eq!(names, ["kind", "name", "value"]);
        client.batch_execute("SET statement_timeout = '1h'").await.unwrap();
        let rows = client.query(&statement, &[]).await.unwrap();
        let timeout = rows.iter().find(|row| row.get::<_, &str>("name") == "statement_timeout");
        assert_eq!(timeout.unwrap().get::<_, &str>("value"), "3600000");
        let transaction = client.transaction().await.unwrap();
        let rows = transaction.query(&statement, &[]).await.unwrap();
        assert!(rows.iter().any(|row| row.get::<_, &str>("value") == "until the transaction ends"));
        transaction.commit().await.unwrap();
    });
}
