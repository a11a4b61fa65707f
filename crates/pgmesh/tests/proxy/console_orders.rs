//! What is ordered on the console, and what clients see of it.

use testbed::{APP_DATABASE, Pgmesh};
use wire::Version;

use crate::clients::{Answer, Raw, Told};
use crate::console::{console, setup};
use crate::metrics::{eventually, wait_for};
use crate::postgres;

fn admin(mesh: &Pgmesh) -> Raw {
    Raw::log_in(&console(mesh))
}

/// An order that is carried out.
fn order(admin: &mut Raw, text: &str) -> Answer {
    let answer = admin.query(text);
    assert_eq!(answer.errors, [], "{text}");
    answer
}

/// One that is not: its SQLSTATE and words.
fn refusal(admin: &mut Raw, text: &str) -> (String, String) {
    let answer = admin.query(text);
    let Some(Told { code, message, .. }) = answer.errors.first().cloned() else {
        panic!("{text}: {answer:?}")
    };
    (code, message)
}

/// Whether `app` is paused, and whether it is disabled.
fn flags(admin: &mut Raw) -> (String, String) {
    let rows = order(admin, "SHOW DATABASES").rows;
    let app = rows.iter().find(|row| row[0] == APP_DATABASE).unwrap();
    (app[15].clone(), app[16].clone())
}

fn servers(admin: &mut Raw) -> usize {
    order(admin, "SHOW SERVERS").rows.len()
}

#[test]
fn a_pause_waits_for_what_runs_and_holds_what_comes() {
    let postgres = postgres();
    let mesh = setup(&postgres).start();
    let mut open = Raw::log_in(&mesh.app());
    open.query("BEGIN");
    open.value("SELECT 1");
    let (mut pausing, mut admin) = (admin(&mesh), admin(&mesh));
    pausing.ask("PAUSE app");
    eventually("the pause", || flags(&mut admin).0 == "1");
    // It has begun, and goes on as if nothing were.
    assert_eq!((open.value("SELECT 2"), servers(&mut admin)), ("2".to_owned(), 1));
    let mut held = Raw::log_in(&mesh.app());
    held.ask("SELECT 3");
    wait_for(&mesh, "pgmesh_waiting_clients", "", 1.0);
    open.query("COMMIT");
    let paused = pausing.answer();
    assert_eq!((paused.errors.len(), paused.commands[0].as_str()), (0, "PAUSE"));
    assert_eq!(servers(&mut admin), 0);
    let app = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_user'";
    assert_eq!(postgres.psql(app).unwrap(), "0");
    let held_by_pause = order(&mut admin, "SHOW POOLS").rows[0].clone();
    assert_eq!(held_by_pause[3], "1", "{held_by_pause:?}");

    order(&mut admin, "RESUME app");
    assert_eq!(held.answer().rows, [["3"]]);
    assert_eq!(open.value("SELECT 4"), "4");
    let (code, message) = refusal(&mut admin, "RESUME app");
    assert_eq!((code.as_str(), message.as_str()), ("55000", "database app is not paused"));
}

#[test]
fn all_is_paused_once_and_the_state_says_so() {
    let postgres = postgres();
    let mesh = setup(&postgres).start();
    let mut admin = admin(&mesh);
    let state = |admin: &mut Raw| order(admin, "SHOW STATE").rows[1].clone();
    assert_eq!(state(&mut admin), ["paused", "no"]);
    order(&mut admin, "PAUSE");
    assert_eq!(state(&mut admin), ["paused", "yes"]);
    assert_eq!(refusal(&mut admin, "PAUSE"), ("55000".into(), "already suspended/paused".into()));
    order(&mut admin, "RESUME");
    assert_eq!(
        refusal(&mut admin, "RESUME"),
        ("55000".into(), "pooler is not paused/suspended".into())
    );
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 1"), "1");
    // What nobody uses may be paused all the same, and that is said.
    let notices = order(&mut admin, "PAUSE elsewhere").tags;
    assert_eq!(notices, "NCZ");
    assert_eq!(refusal(&mut admin, "PAUSE pgmesh").0, "55000");
}

#[test]
fn a_cancel_request_ends_the_waiting_and_not_the_pause() {
    let postgres = postgres();
    let mesh = setup(&postgres).start();
    let mut open = Raw::log_in(&mesh.app());
    open.query("BEGIN");
    open.value("SELECT 1");
    let (mut pausing, mut admin) = (admin(&mesh), admin(&mesh));
    pausing.ask("PAUSE app");
    eventually("the pause", || flags(&mut admin).0 == "1");
    pausing.cancel();
    assert_eq!(pausing.answer().errors[0].code, "57014");
    assert_eq!(flags(&mut admin).0, "1");
    assert_eq!(order(&mut pausing, "SHOW VERSION").rows.len(), 1);
    wait_for(&mesh, "pgmesh_console_commands_total", "verb=\"PAUSE\",outcome=\"abandoned\"", 1.0);
    assert_eq!(open.query("COMMIT").errors, []);
}

#[test]
fn a_kill_ends_clients_and_servers_of_its_database_until_it_is_resumed() {
    let postgres = postgres();
    let mesh = setup(&postgres).start();
    let mut working = Raw::log_in(&mesh.app());
    let mut idle = Raw::log_in(&mesh.app());
    assert_eq!(idle.value("SELECT 1"), "1");
    working.query("BEGIN");
    working.value("SELECT 1");
    let mut admin = admin(&mesh);
    order(&mut admin, "KILL app");
    for client in [&mut working, &mut idle] {
        assert_eq!(client.last_words().unwrap().code, "57P01");
    }
    eventually("no server", || servers(&mut admin) == 0);
    let mut late = Raw::log_in(&mesh.app());
    late.ask("SELECT 2");
    wait_for(&mesh, "pgmesh_waiting_clients", "", 1.0);
    order(&mut admin, "RESUME app");
    assert_eq!(late.answer().rows, [["2"]]);
}

#[test]
fn a_disabled_database_takes_no_new_clients() {
    let postgres = postgres();
    let mesh = setup(&postgres).start();
    let mut there = Raw::log_in(&mesh.app());
    let mut admin = admin(&mesh);
    assert_eq!(there.value("SELECT 1"), "1");
    order(&mut admin, "DISABLE app");
    assert_eq!(flags(&mut admin), ("0".into(), "1".into()));
    assert!(Raw::log_in_with(&mesh.app(), Version::V3_0, &[]).is_err());
    assert_eq!(there.value("SELECT 2"), "2");
    order(&mut admin, "ENABLE app");
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 3"), "3");
}

#[test]
fn servers_are_replaced_between_transactions() {
    let postgres = postgres();
    let mesh = setup(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let mut client = Raw::log_in(&mesh.app());
    client.query("BEGIN");
    let before = client.value("SELECT pg_backend_pid()");
    let (mut waiting, mut admin) = (admin(&mesh), admin(&mesh));
    order(&mut admin, "RECONNECT app");
    let server = order(&mut admin, "SHOW SERVERS").rows.remove(0);
    assert_eq!((&server[13], &server[16]), (&"1".to_owned(), &before), "close_needed");
    waiting.ask("WAIT_CLOSE app");
    assert_eq!(client.value("SELECT pg_backend_pid()"), before, "its transaction is open");
    client.query("COMMIT");
    assert_eq!(waiting.answer().commands, ["WAIT_CLOSE"]);
    assert_ne!(client.value("SELECT pg_backend_pid()"), before);
}

#[test]
fn a_primary_is_not_drained_and_a_node_must_be_known() {
    let postgres = postgres();
    let mesh = setup(&postgres).start();
    let mut admin = admin(&mesh);
    let node = order(&mut admin, "SHOW CLUSTER").rows[0][1].clone();
    assert_eq!(refusal(&mut admin, &format!("DRAIN '{node}'")).0, "55000");
    let (code, message) = refusal(&mut admin, "DRAIN n9");
    assert_eq!((code.as_str(), message.as_str()), ("42704", "no such node: n9"));
    assert_eq!(refusal(&mut admin, "UNDRAIN n9").0, "55000");
}

#[test]
fn a_shutdown_answers_before_it_begins() {
    let postgres = postgres();
    for (text, tells_of_it) in [
        ("SHUTDOWN", false),
        ("SHUTDOWN WAIT_FOR_SERVERS", false),
        ("SHUTDOWN WAIT_FOR_CLIENTS", true),
    ] {
        let mut mesh = setup(&postgres).start();
        let mut client = Raw::log_in(&mesh.app());
        let mut admin = admin(&mesh);
        assert_eq!(client.value("SELECT 1"), "1");
        assert_eq!(order(&mut admin, text).commands, ["SHUTDOWN"], "{text}");
        if tells_of_it {
            let state = order(&mut admin, "SHOW STATE").rows;
            assert_eq!(state[3], ["draining", "yes"]);
            assert_eq!(client.value("SELECT 2"), "2");
            drop(client);
        } else {
            assert_eq!(client.last_words().unwrap().code, "57P01", "{text}");
        }
        assert_eq!(admin.last_words().unwrap().code, "57P01", "{text}");
        let mut ended = None;
        eventually("the end", || {
            ended = mesh.exited().unwrap();
            ended.is_some()
        });
        assert!(ended.unwrap().success(), "{text}");
    }
}

#[test]
fn keys_are_set_until_the_next_reload() {
    let postgres = postgres();
    let mesh = setup(&postgres).with("pool", "size = 3").start();
    let mut admin = admin(&mesh);
    let shown = |admin: &mut Raw, key: &str| {
        let rows = order(admin, "SHOW CONFIG").rows;
        rows.into_iter().find(|row| row[0] == key).unwrap()[1..].to_vec()
    };
    Raw::log_in(&mesh.app());
    assert_eq!(shown(&mut admin, "default_pool_size"), ["3", "25", "yes"]);
    assert_eq!(order(&mut admin, "SET default_pool_size = 5").tags, "NCZ");
    assert_eq!(shown(&mut admin, "pool.size")[0], "5");
    let app = |admin: &mut Raw| order(admin, "SHOW DATABASES").rows[0][5].clone();
    assert_eq!(app(&mut admin), "5");
    order(&mut admin, "RELOAD");
    assert_eq!(app(&mut admin), "3");
    for text in
        ["SET proxy.port = 1", "SET pool.size = 'many'", "SET nothing = 1", "LOG_LEVEL 'pool=loud'"]
    {
        assert_eq!(refusal(&mut admin, text).0, "22023", "{text}");
    }
    assert!(shown(&mut admin, "max_client_conn")[0].parse::<u32>().is_ok());
    let values: Vec<_> = order(&mut admin, "SHOW CONFIG").rows.concat();
    assert!(!values.iter().any(|value| value.contains("operator_pw")), "no secret is shown");
    order(&mut admin, "LOG_LEVEL debug");
    order(&mut admin, "RECONNECT");
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 1"), "1");
    eventually("a line of debug", || mesh.log().contains("DEBUG"));
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let postgres = postgres();
    let mesh = setup(&postgres).start();
    let mut admin = admin(&mesh);
    let text = std::fs::read_to_string(mesh.config()).unwrap();
    std::fs::write(mesh.config(), format!("{text}\nno_such_key = 1\n")).unwrap();
    let (code, message) = refusal(&mut admin, "RELOAD");
    assert_eq!(code, "F0000");
    assert_eq!(message, "the configuration cannot be used; nothing has changed");
    std::fs::write(mesh.config(), text).unwrap();
    order(&mut admin, "RELOAD");
}
