//! Clients that go without a word, in the middle of whatever they were doing. On a pool of
//! one, the next client finds the server as new, or a new server.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};

use testbed::{Pgmesh, Postgres};
use wire::message;

use crate::clients::{Raw, parse, run};
use crate::metrics::{eventually, wait_for};
use crate::proxy::Setup;
use crate::{postgres, wait_for_sleep};

const ONE: &str = "size = 1\nreserve_size = 0";

/// Something that a client is in the middle of when it goes.
type Midst = (&'static str, fn(&mut Raw));

const MIDSTS: [Midst; 11] = [
    ("a transaction", |client| {
        client.query("BEGIN");
        client.query("INSERT INTO t VALUES (1)");
    }),
    ("a failed transaction", |client| {
        client.query("BEGIN");
        client.query("INSERT INTO t VALUES (1)");
        assert_eq!(client.query("SELECT 1/0").status, 'E');
    }),
    ("a transaction with all kinds of state in it", |client| {
        client.query("BEGIN");
        client.query("SET work_mem = '7MB'");
        client.query("CREATE TEMP TABLE mine (n int)");
        client.query("SELECT pg_advisory_lock(7)");
        client.query("LISTEN news");
        client.query("PREPARE mine AS SELECT 1");
        client.query("DECLARE mine CURSOR WITH HOLD FOR SELECT 1");
    }),
    ("a result", |client| {
        client.ask("SELECT repeat('x', 1000) FROM generate_series(1, 2000)");
        assert_eq!(client.message().tag, b'T');
        assert_eq!(client.message().tag, b'D');
    }),
    ("a result that never ends", |client| {
        client.ask("SELECT repeat('x', 1000), generate_series(1, 1000000000)");
        assert_eq!(client.message().tag, b'T');
        assert_eq!(client.message().tag, b'D');
    }),
    ("a result in a transaction", |client| {
        client.query("BEGIN");
        client.query("INSERT INTO t VALUES (1)");
        client.ask("SELECT repeat('x', 1000) FROM generate_series(1, 2000)");
        assert_eq!(client.message().tag, b'T');
    }),
    ("a COPY in", |client| {
        client.ask("COPY t FROM STDIN");
        assert_eq!(client.message().tag, b'G');
        client.say(b'd', |out| out.extend(b"1\n"));
    }),
    ("a COPY out", |client| {
        client.ask("COPY (SELECT generate_series(1, 100000)) TO STDOUT");
        assert_eq!(client.message().tag, b'H');
        assert_eq!(client.message().tag, b'd');
    }),
    ("a row of a COPY in", |client| {
        client.ask("COPY t FROM STDIN");
        assert_eq!(client.message().tag, b'G');
        client.send(b"d\0\x01\0\0" as &[u8]);
        client.send(b"1\n1\n");
    }),
    ("a batch, failed, without its Sync", |client| {
        let mut batch = Vec::new();
        parse(&mut batch, "", "SELECT 1/0");
        run(&mut batch, "", &[]);
        client.send(&batch);
        client.send(b"H\0\0\0\x04");
        while client.message().tag != b'E' {}
    }),
    ("a message of a transaction", |client| {
        client.query("BEGIN");
        client.query("INSERT INTO t VALUES (1)");
        let mut query = Vec::new();
        let sql = format!("INSERT INTO t VALUES (2) -- {}", "x".repeat(300_000));
        message::put(&mut query, b'Q', |out| message::put_c_str(out, &sql));
        client.send(&query[..query.len() / 2]);
    }),
];

/// What a client may do last.
type Goodbye = (&'static str, fn(&TcpStream));

const GOODBYES: [Goodbye; 3] = [
    ("closes", |socket| socket.shutdown(Shutdown::Both).unwrap()),
    ("says goodbye", |mut socket| {
        // Half way through a message it is no goodbye, but a part of it.
        socket.write_all(b"X\0\0\0\x04").unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
    }),
    ("resets", |socket| {
        // With unread data, or a linger of zero, the kernel sends RST instead of FIN.
        let socket = socket2::SockRef::from(socket);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }),
];

/// Whatever a session could have left behind, as one row.
const LEFT: &str = "SELECT
    (SELECT count(*) FROM t) AS rows,
    current_setting('work_mem'),
    current_setting('TimeZone') = (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'),
    to_regclass('pg_temp.mine'),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
    (SELECT count(*) FROM pg_listening_channels()),
    (SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'),
    (SELECT count(*) FROM pg_cursors WHERE name = 'mine'),
    pg_current_xact_id_if_assigned()";

const NOTHING: [&str; 9] = ["0", "4MB", "t", "NULL", "0", "0", "0", "0", "NULL"];

#[test]
fn nothing_of_a_client_that_is_gone_is_left_to_the_next() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", ONE).start();
    let mut next = Raw::log_in(&mesh.app());
    next.value("CREATE TABLE t (n int)");
    for (midst, begin) in MIDSTS {
        for (goodbye, leave) in GOODBYES {
            let mut client = Raw::log_in(&mesh.app());
            begin(&mut client);
            leave(client.socket());
            drop(client);
            let answer = next.query(LEFT);
            assert_eq!(answer.errors, [], "{goodbye} in {midst}");
            assert_eq!(
                (answer.status, answer.tags.as_str()),
                ('I', "TDCZ"),
                "{goodbye} in {midst}"
            );
            assert_eq!(answer.rows, [NOTHING], "{goodbye} in {midst}");
        }
    }
    wait_for(&mesh, "pgmesh_clients", "", 1.0);
    no_transaction_is_open(&postgres);
    at_most_one_server(&mesh, &postgres);
}

#[test]
fn a_batch_without_its_sync_is_rolled_back_as_on_a_direct_connection() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", ONE).start();
    let mut next = Raw::log_in(&mesh.app());
    next.value("CREATE TABLE t (n int)");
    for (how, login) in [("direct", postgres.app()), ("through pgmesh", mesh.app())] {
        for (goodbye, leave) in GOODBYES {
            for is_answered in [true, false] {
                let mut client = Raw::log_in(&login);
                let mut batch = Vec::new();
                parse(&mut batch, "", "INSERT INTO t VALUES (1)");
                run(&mut batch, "", &[]);
                batch.extend(b"H\0\0\0\x04");
                client.send(&batch);
                let tags: &[u8] = if is_answered { b"12C" } else { b"" };
                for &tag in tags {
                    assert_eq!(client.message().tag, tag);
                }
                leave(client.socket());
                drop(client);
                let left = next.query(LEFT).rows;
                assert_eq!(left, [NOTHING], "{goodbye} {how}, answered: {is_answered}");
            }
        }
    }
}

#[test]
fn a_client_that_goes_while_its_statement_runs_does_not_take_its_server_along_for_long() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", ONE).start();
    let (mut client, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    client.ask("SELECT pg_sleep(600)");
    wait_for_sleep(&postgres);
    drop(client);
    assert_eq!(next.value("SELECT 'served'"), "served");
}

#[test]
fn clients_that_go_before_they_have_a_server_leave_the_queue() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", ONE).start();
    let mut holder = Raw::log_in(&mesh.app());
    holder.value("CREATE TABLE t (n int)");
    holder.query("BEGIN");
    for part in [1, usize::MAX] {
        let mut client = Raw::log_in(&mesh.app());
        let mut query = Vec::new();
        message::put(&mut query, b'Q', |out| message::put_c_str(out, "INSERT INTO t VALUES (1)"));
        // Half a message, and a whole one.
        client.send(&query[..part.min(query.len() / 2 * part.min(2))]);
        drop(client);
    }
    let mut client = Raw::log_in(&mesh.app());
    client.ask("INSERT INTO t VALUES (1)");
    wait_for(&mesh, "pgmesh_clients", "state=\"waiting\"", 1.0);
    drop(client);
    wait_for(&mesh, "pgmesh_clients", "", 1.0);
    holder.query("COMMIT");
    assert_eq!(holder.value("SELECT count(*) FROM t"), "0");
}

fn no_transaction_is_open(postgres: &Postgres) {
    let open = "SELECT count(*) FROM pg_stat_activity
        WHERE usename = 'app_user' AND state LIKE 'idle in transaction%'";
    assert_eq!(postgres.psql(open).unwrap(), "0");
}

fn at_most_one_server(mesh: &Pgmesh, postgres: &Postgres) {
    wait_for(mesh, "pgmesh_servers", "", 1.0);
    let count = "SELECT count(*) FROM pg_stat_activity \
        WHERE usename = 'app_user' AND application_name <> 'pgmesh listen'";
    eventually("those that were closed have ended", || postgres.psql(count).unwrap() == "1");
}
