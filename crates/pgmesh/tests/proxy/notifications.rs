//! LISTEN of clients that have no server: what they hear, from when to when, and how often.

use testbed::{Pgmesh, Postgres};

use crate::clients::{Message, Raw};
use crate::metrics::{sample, wait_for};
use crate::postgres;
use crate::proxy::Setup;

fn start() -> (Postgres, Pgmesh) {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 2\nreserve_size = 0").start();
    (postgres, mesh)
}

/// Process id, channel and payload of a notification.
fn heard(message: &Message) -> (i32, String, String) {
    assert_eq!(char::from(message.tag), 'A', "{message:?}");
    let pid = i32::from_be_bytes(message.body[..4].try_into().unwrap());
    let mut texts = message.body[4..].split(|&byte| byte == 0);
    let mut text = || String::from_utf8(texts.next().unwrap().to_vec()).unwrap();
    (pid, text(), text())
}

const END_HUB: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
    WHERE application_name = 'pgmesh listen'";

fn own_pid(client: &Raw) -> i32 {
    client.key.as_ref().unwrap().pid
}

fn run(client: &mut Raw, sql: &str) {
    assert_eq!(client.query(sql).errors, vec![], "{sql}");
}

#[test]
fn five_thousand_clients_listen_on_one_server() {
    const CLIENTS: usize = 5_000;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let (postgres, mesh) = start();
    let login = mesh.app();
    let first = Raw::log_in(&login);
    let mut listeners: Vec<Raw> = (0..CLIENTS)
        .map(|number| {
            let mut client = Raw::log_in_like(&first, &login).unwrap();
            run(&mut client, &format!("LISTEN own_{number}; LISTEN all_of_them"));
            client
        })
        .collect();
    wait_for(&mesh, "pgmesh_listen_clients", "", CLIENTS as f64);
    let servers = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_user'";
    assert_eq!(postgres.psql(servers).unwrap(), "3", "two of the pool, and the one that listens");
    assert_eq!(sample(&mesh, "pgmesh_pins_total", ""), 0.0);
    let mut next = Raw::log_in_like(&first, &login).unwrap();
    for number in 0..CLIENTS {
        run(&mut next, &format!("NOTIFY own_{number}, '{number}'"));
    }
    run(&mut next, "NOTIFY all_of_them, 'the end'");
    for (number, listener) in listeners.iter_mut().enumerate() {
        let (_, channel, payload) = heard(&listener.message());
        assert_eq!((channel, payload), (format!("own_{number}"), number.to_string()));
        assert_eq!(heard(&listener.message()).2, "the end");
    }
}

#[test]
fn a_channel_is_heard_from_the_commit_of_listen_to_that_of_unlisten() {
    let (_postgres, mesh) = start();
    let (mut client, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    run(&mut client, "LISTEN mark");
    // What is heard of `news`, the mark behind it not counted.
    let hears = |client: &mut Raw, next: &mut Raw| {
        run(next, "NOTIFY news");
        run(next, "NOTIFY mark");
        match heard(&client.message()).1.as_str() {
            "news" => {
                assert_eq!(heard(&client.message()).1, "mark");
                true
            }
            channel => {
                assert_eq!(channel, "mark");
                false
            }
        }
    };
    for (sql, is_heard) in [
        ("BEGIN; LISTEN news; ROLLBACK", false),
        ("BEGIN; SAVEPOINT s; LISTEN news; ROLLBACK TO s; COMMIT", false),
        ("BEGIN; LISTEN news; COMMIT", true),
        ("BEGIN; UNLISTEN news; ROLLBACK", true),
        ("UNLISTEN news", false),
        ("LISTEN news", true),
        ("BEGIN; UNLISTEN *; LISTEN mark; COMMIT", false),
        ("LISTEN NEWS; LISTEN mark;", true),
        ("UNLISTEN \"NEWS\"", true),
        ("DO 'BEGIN UNLISTEN news;END'", false),
        ("SELECT 1 / 1", false),
    ] {
        for statement in sql.split_inclusive("; ") {
            run(&mut client, statement);
        }
        assert_eq!(hears(&mut client, &mut next), is_heard, "{sql}");
    }
    run(&mut client, "LISTEN news");
    run(&mut client, "DISCARD ALL");
    assert_eq!(client.value("SELECT count(*) FROM pg_listening_channels()"), "0");
    wait_for(&mesh, "pgmesh_listen_clients", "", 0.0);
}

#[test]
fn what_a_client_notifies_itself_comes_once_before_its_ready_for_query_and_from_itself() {
    let (_postgres, mesh) = start();
    let (mut client, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    run(&mut client, "CREATE TABLE jobs (n int)");
    run(
        &mut client,
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_notify(''news'', NEW.n::text); RETURN NEW; END'",
    );
    run(
        &mut client,
        "CREATE TRIGGER tell AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION tell()",
    );
    run(&mut client, "BEGIN");
    run(&mut client, "LISTEN news");
    run(&mut client, "NOTIFY news, 'at once'");
    assert_eq!(client.query("COMMIT").tags, "CAZ");
    let own = own_pid(&client);
    for round in 0..50 {
        // By its own statement, whichever server it has: between its answer and ReadyForQuery.
        run(&mut next, "BEGIN");
        client.ask(&format!("INSERT INTO jobs VALUES ({round})"));
        assert_eq!(char::from(client.message().tag), 'C');
        assert_eq!(heard(&client.message()), (own, "news".to_owned(), round.to_string()));
        assert_eq!(char::from(client.message().tag), 'Z');
        run(&mut next, "NOTIFY news, 'of another'");
        run(&mut next, "COMMIT");
        let (pid, _, payload) = heard(&client.message());
        assert_eq!((pid == own, payload.as_str()), (false, "of another"));
    }
    assert_eq!(sample(&mesh, "pgmesh_pins_total", ""), 0.0);
}

#[test]
fn a_lost_connection_of_the_hub_is_told_and_made_good() {
    let (postgres, mesh) = start();
    let (mut client, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    run(&mut client, "LISTEN news");
    assert_eq!(postgres.psql(END_HUB).unwrap(), "t");
    // A warning, when the channel is listened on again.
    assert_eq!(char::from(client.message().tag), 'N');
    run(&mut next, "NOTIFY news, 'behind it'");
    assert_eq!(heard(&client.message()).2, "behind it");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_hub_that_cannot_come_back_holds_no_statement_for_ever() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let mut client = Raw::log_in(&mesh.app());
    run(&mut client, "LISTEN news");
    postgres.psql("ALTER ROLE app_user CONNECTION LIMIT 1").unwrap();
    assert_eq!(postgres.psql(END_HUB).unwrap(), "t");
    assert_eq!(client.value("SELECT 'goes on'"), "goes on");
    postgres.psql("ALTER ROLE app_user CONNECTION LIMIT -1").unwrap();
    assert_eq!(char::from(client.message().tag), 'N');
    assert_eq!(client.query("NOTIFY news").tags, "CAZ");
}

#[test]
fn a_function_that_listens_keeps_the_server_and_hears() {
    let (_postgres, mesh) = start();
    let (mut client, mut next) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    run(&mut client, "LISTEN shared");
    run(&mut client, "DO 'BEGIN LISTEN own; END'");
    wait_for(&mesh, "pgmesh_pinned_servers", "reason=\"listen\"", 1.0);
    for round in 0..10 {
        run(&mut next, &format!("NOTIFY own, '{round}'"));
        assert_eq!(heard(&client.message()).1, "own");
        run(&mut next, &format!("NOTIFY shared, '{round}'"));
        assert_eq!(heard(&client.message()).1, "shared");
    }
    run(&mut client, "UNLISTEN own");
    wait_for(&mesh, "pgmesh_pinned_servers", "", 0.0);
    run(&mut next, "NOTIFY shared");
    assert_eq!(heard(&client.message()).1, "shared");
}
