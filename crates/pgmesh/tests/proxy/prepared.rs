//! Named prepared statements across servers.

use wire::message;

use crate::clients::{Answer, Raw, run};
use crate::metrics::sample;
use crate::postgres;
use crate::proxy::Setup;

/// What Postgres says of a statement whose result has changed.
const PLAN_CHANGED: &str = "cached plan must not change result type";

/// Describe or Close of a statement.
fn about(client: &mut Raw, tag: u8, name: &str) -> Answer {
    client.batch(|out| {
        message::put(out, tag, |out| {
            out.push(b'S');
            message::put_c_str(out, name);
        });
    })
}

/// Makes a function that counts a server's own statements: of the view a client sees its own only.
const HELD: &str = "CREATE FUNCTION held() RETURNS bigint LANGUAGE sql AS \
    $$ SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'pgmesh:%' $$; SELECT 1";

#[test]
fn a_statement_is_there_on_every_server() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 2").start();
    let (mut client, mut holder) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    assert_eq!(client.prepare("s", "SELECT pg_backend_pid(), $1::text").tags, "1Z");
    let first = client.execute("s", &["a"]);
    assert_eq!(first.tags, "2DCZ");
    holder.query("BEGIN");
    assert_eq!(holder.value("SELECT pg_backend_pid()"), first.rows[0][0]);
    let second = client.execute("s", &["b"]);
    assert_eq!((second.tags.as_str(), second.rows[0][1].as_str()), ("2DCZ", "b"));
    assert_ne!(first.rows[0][0], second.rows[0][0], "another server");
    // A lone Describe, back on the first one or not.
    holder.query("COMMIT");
    assert_eq!(about(&mut client, b'D', "s").tags, "tTZ");
}

#[test]
fn names_belong_to_clients() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let mut clients: Vec<Raw> = (0..3).map(|_| Raw::log_in(&mesh.app())).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.prepare("s", &format!("SELECT {number} + $1")).tags, "1Z");
        // Taken is taken.
        let again = client.prepare("s", "SELECT 0");
        assert_eq!(again.errors[0].code, "42P05");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.execute("s", &["10"]).rows, [[(number + 10).to_string()]]);
    }
    // Closed for one is there for the others, and a name that is free can be taken.
    assert_eq!(about(&mut clients[0], b'C', "s").tags, "3Z");
    assert_eq!(clients[0].execute("s", &["1"]).errors[0].code, "26000");
    assert_eq!(clients[1].execute("s", &["1"]).rows, [["2"]]);
    assert_eq!(clients[0].prepare("s", "SELECT 'new'").tags, "1Z");
    assert_eq!(clients[0].execute("s", &[]).rows, [["new"]]);
    for all in ["DEALLOCATE ALL", "DISCARD ALL"] {
        clients[1].value(all);
        assert_eq!(clients[1].execute("s", &["1"]).errors[0].code, "26000", "{all}");
        assert_eq!(clients[1].prepare("s", "SELECT 1 + $1").tags, "1Z", "{all}");
        assert_eq!(clients[2].execute("s", &["1"]).rows, [["3"]], "{all}");
    }
}

/// As psycopg 3 does with those that it no longer needs.
#[test]
fn a_statement_of_the_protocol_can_be_deallocated_by_sql() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let (mut client, mut other) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    for (name, deallocate) in [
        ("s", "DEALLOCATE s"),
        ("_pg3_0", "deallocate prepare _pg3_0;"),
        ("a b", "DEALLOCATE \"a b\""),
    ] {
        for client in [&mut client, &mut other] {
            assert_eq!(client.prepare(name, "SELECT 1").tags, "1Z");
        }
        let answer = client.query(deallocate);
        assert_eq!((answer.errors, answer.commands), (vec![], vec!["DEALLOCATE".to_owned()]));
        assert_eq!(client.execute(name, &[]).errors[0].code, "26000");
        assert_eq!(client.query(deallocate).errors[0].code, "26000");
        assert_eq!(other.execute(name, &[]).rows, [["1"]]);
        assert_eq!(client.prepare(name, "SELECT 2").tags, "1Z");
        assert_eq!(client.execute(name, &[]).rows, [["2"]]);
    }
}

#[test]
fn a_parse_that_failed_leaves_no_statement() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let mut client = Raw::log_in(&mesh.app());
    assert_eq!(client.prepare("s", "SELECT FROM nowhere").errors[0].code, "42P01");
    assert_eq!(client.execute("s", &[]).errors[0].code, "26000");
    assert_eq!(client.prepare("s", "SELECT 1").tags, "1Z");
    assert_eq!(client.execute("s", &[]).rows, [["1"]]);
}

#[test]
fn a_server_keeps_no_more_than_it_may_and_the_rest_comes_back_when_needed() {
    let postgres = postgres();
    let pool = "size = 1\nreserve_size = 0\nprepared_statements = 2";
    let mesh = Setup::before(&postgres).with("pool", pool).start();
    let mut client = Raw::log_in(&mesh.app());
    client.value(HELD);
    let names: Vec<String> = (0..6).map(|number| format!("s{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        assert_eq!(client.prepare(name, &format!("SELECT {number}")).tags, "1Z");
    }
    for _ in 0..3 {
        for (number, name) in names.iter().enumerate() {
            assert_eq!(client.execute(name, &[]).rows, [[number.to_string()]]);
        }
    }
    let kept = |client: &mut Raw| -> u32 { client.value("SELECT held()").parse().unwrap() };
    assert_eq!(kept(&mut client), 2);
    // All of them in one batch, twice: none may vanish while it is still to be run.
    let answer =
        client.batch(|out| names.iter().chain(&names).for_each(|name| run(out, name, &[])));
    let expected: Vec<Vec<String>> =
        (0..6).chain(0..6).map(|number| vec![number.to_string()]).collect();
    assert_eq!((answer.errors, answer.rows), (vec![], expected));
    // The surplus of that batch goes as others are prepared.
    for name in names {
        client.prepare(&format!("{name} again"), &format!("SELECT '{name} again'"));
    }
    assert_eq!(kept(&mut client), 2);
    assert!(sample(&mesh, "pgmesh_prepared_misses_total", "") > 6.0);
}

#[test]
fn a_changed_table_is_no_concern_of_a_client_that_has_it_described() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let (mut client, mut other) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    other.value("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    client.prepare("s", "SELECT * FROM t");
    assert_eq!(client.describe_and_execute("s").rows, [["1"]]);
    other.value("ALTER TABLE t ADD COLUMN m int DEFAULT 2");
    assert_eq!(client.describe_and_execute("s").rows, [["1", "2"]]);
    other.value("ALTER TABLE t ALTER COLUMN n TYPE text USING 'text'");
    assert_eq!(client.describe_and_execute("s").rows, [["text", "2"]]);
    // In a transaction it cannot be hidden, and the transaction fails as it would directly.
    client.query("BEGIN");
    other.ask("ALTER TABLE t DROP COLUMN m");
    client.query("ROLLBACK");
    other.answer();
    client.query("BEGIN");
    client.query("SELECT 1");
    let answer = client.describe_and_execute("s");
    assert_eq!((answer.errors[0].code.as_str(), answer.status), ("0A000", 'E'));
    client.query("ROLLBACK");
    assert_eq!(client.describe_and_execute("s").rows, [["text"]]);
}

#[test]
fn rows_are_as_the_client_was_told_or_there_are_none() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let mut clients = [(); 3].map(|()| Raw::log_in(&mesh.app()));
    clients[0].value("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    for client in &mut clients {
        client.prepare("s", "SELECT * FROM t");
        assert_eq!(client.execute("s", &[]).rows, [["1"]]);
    }
    clients[0].value("ALTER TABLE t ADD COLUMN m int DEFAULT 2");
    // Each is refused as often as it asks, whatever the others do meanwhile.
    for _ in 0..2 {
        for client in &mut clients[..2] {
            let error = &client.execute("s", &[]).errors[0];
            assert_eq!((&*error.code, &*error.message), ("0A000", PLAN_CHANGED));
        }
        assert_eq!(clients[2].describe_and_execute("s").rows, [["1", "2"]]);
        assert_eq!(clients[2].execute("s", &[]).rows, [["1", "2"]]);
    }
    // Until it is told.
    about(&mut clients[0], b'C', "s");
    clients[0].prepare("s", "SELECT * FROM t");
    assert_eq!(clients[0].execute("s", &[]).rows, [["1", "2"]]);
    assert_eq!(clients[1].describe_and_execute("s").rows, [["1", "2"]]);
}

/// What another has prepared under the same text is not for it: an error could not be mended here.
#[test]
fn who_prepares_in_a_transaction_does_not_meet_a_changed_table() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 2\nreserve_size = 0").start();
    let [mut first, mut next, mut other] = [(); 3].map(|()| Raw::log_in(&mesh.app()));
    let text = "SELECT * FROM t";
    other.value("CREATE TABLE t (n int)");
    // On both servers.
    first.query("BEGIN");
    for client in [&mut first, &mut next] {
        assert_eq!(client.prepare("s", text).tags, "1Z");
        assert_eq!(client.execute("s", &[]).tags, "2CZ");
    }
    first.query("COMMIT");
    for change in [
        "DROP TABLE t; CREATE TABLE t (n int, m int)",
        "DO 'BEGIN ALTER TABLE t ADD COLUMN l int; END'",
        "CREATE TYPE kind AS ENUM (); ALTER TABLE t ADD COLUMN k kind",
        "ALTER TABLE t DROP COLUMN k; DROP TYPE kind; CREATE TYPE kind AS ENUM (); \
         ALTER TABLE t ADD COLUMN k kind",
        "CREATE TEMP TABLE t (n text)",
    ] {
        assert_eq!(other.query("BEGIN").errors, vec![]);
        assert_eq!(other.query(change).errors, vec![], "{change}");
        // Its own change, at once.
        let name = format!("own {change:.20}");
        assert_eq!(other.prepare(&name, text).tags, "1Z", "{change}");
        assert_eq!(other.execute(&name, &[]).tags, "2CZ", "{change}");
        assert_eq!(other.query("COMMIT").errors, vec![], "{change}");
        let mut clients = [(); 2].map(|()| Raw::log_in(&mesh.app()));
        for client in &mut clients[..if change.contains("TEMP") { 1 } else { 2 }] {
            client.query("BEGIN");
            assert_eq!(client.prepare("s", text).tags, "1Z", "{change}");
            assert_eq!(client.execute("s", &[]).tags, "2CZ", "{change}");
        }
        for client in &mut clients {
            client.query("COMMIT");
        }
    }
    assert_eq!(sample(&mesh, "pgmesh_retries_total", ""), 0.0);
}

#[test]
fn one_text_is_prepared_once_for_all_clients() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let mut clients: Vec<Raw> = (0..4).map(|_| Raw::log_in(&mesh.app())).collect();
    clients[0].value(HELD);
    for client in &mut clients {
        assert_eq!(client.prepare("s", "SELECT 1").tags, "1Z");
        assert_eq!(client.execute("s", &[]).rows, [["1"]]);
    }
    assert_eq!(clients[0].value("SELECT held()"), "1");
}
