//! The console of a running pgmesh: who is let in, what is shown, and what of it is true.

use testbed::{APP_DATABASE, APP_USER, Credentials, Login, Pgmesh, Postgres};
use wire::Version;

use crate::clients::{Raw, Told};
use crate::metrics::{eventually, wait_for, wait_for_waiters};
use crate::postgres;
use crate::proxy::Setup;

/// May look and act, and is no role of the servers.
pub(crate) const ADMIN: Credentials = Credentials { user: "operator", password: "operator_pw" };

/// May look.
pub(crate) const STATS: Credentials = Credentials { user: "monitor", password: "monitor_pw" };

/// In front of `postgres`, with a console.
pub(crate) fn setup(postgres: &Postgres) -> Setup {
    Setup::before(postgres)
        .with("admin", "users = 'operator'\nstats_users = 'monitor'")
        .user(ADMIN.user, ADMIN.password, "")
        .user(STATS.user, STATS.password, "")
}

pub(crate) fn console(mesh: &Pgmesh) -> Login {
    mesh.login(ADMIN, "pgmesh")
}

/// The rows of a SHOW, each as its columns by name.
fn show(client: &mut Raw, what: &str) -> Vec<Vec<String>> {
    let answer = client.query(&format!("SHOW {what}"));
    assert_eq!(answer.errors, [], "{what}");
    answer.rows
}

/// Columns of `SHOW CLIENTS` and `SHOW SERVERS` that are looked at.
const USER: usize = 1;
const STATE: usize = 4;
const LINK: usize = 15;
const PTR: usize = 14;
const REMOTE_PID: usize = 16;
const NAME: usize = 18;
const ID: usize = 20;

fn refused(login: &Login) -> Told {
    Raw::log_in_with(login, Version::V3_0, &[]).unwrap_err()
}

#[test]
fn who_may_not_use_it_learns_so_after_the_password_only() {
    let postgres = postgres();
    let mesh = setup(&postgres).start();
    assert_eq!(
        console(&mesh).psql("SHOW VERSION").unwrap(),
        format!("pgmesh {}", env!("CARGO_PKG_VERSION"))
    );
    let app = mesh.login(APP_USER, "pgmesh");
    let told = refused(&app);
    assert_eq!((told.code.as_str(), told.severity.as_str()), ("28000", "FATAL"));
    assert_eq!(told.message, "role \"app_user\" may not use the console");
    // With a wrong password, or as nobody, it is as at any other database.
    let wrong = |database: &str, user: &'static str| {
        let told = refused(&mesh.login(Credentials { user, password: "wrong" }, database));
        (told.code, told.message)
    };
    for user in [APP_USER.user, ADMIN.user, "nobody"] {
        assert_eq!(wrong("pgmesh", user), wrong(APP_DATABASE, user));
        assert_eq!(wrong("pgmesh", user).0, "28P01");
    }
    // No server was asked for any of this.
    wait_for(&mesh, "pgmesh_server_connects_total", "", 0.0);
}

#[test]
fn who_may_look_may_not_act() {
    let postgres = postgres();
    let mesh = setup(&postgres).start();
    let mut stats = Raw::log_in(&mesh.login(STATS, "pgbouncer"));
    assert!(!show(&mut stats, "POOLS").is_empty());
    for verb in
        ["KILL_CLIENT 1", "KILL", "PAUSE", "SHUTDOWN", "RELOAD", "SET pool.size = 1", "SUSPEND"]
    {
        let answer = stats.query(verb);
        assert_eq!(answer.errors[0].code, "42501", "{verb}");
        assert_eq!(answer.errors[0].message, "admin access needed", "{verb}");
    }
    let labels = "verb=\"KILL_CLIENT\",outcome=\"forbidden\"";
    wait_for(&mesh, "pgmesh_console_commands_total", labels, 1.0);
    wait_for(&mesh, "pgmesh_console_clients", "", 1.0);
    drop(stats);
    wait_for(&mesh, "pgmesh_console_clients", "", 0.0);
}

#[test]
fn without_a_list_its_names_are_ordinary_databases() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    for name in ["pgmesh", "pgbouncer"] {
        assert_eq!(refused(&mesh.login(APP_USER, name)).code, "3D000");
    }
    assert!(!mesh.metrics().unwrap().contains("pgmesh_console"));
}

#[test]
fn clients_and_servers_are_shown_with_who_has_whom() {
    let postgres = postgres();
    let mesh = setup(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let mut holder =
        Raw::log_in_with(&mesh.app(), Version::V3_0, &[("application_name", "holder")]).unwrap();
    holder.query("BEGIN");
    let pid = holder.value("SELECT pg_backend_pid()");
    let mut waiter = Raw::log_in(&mesh.app());
    waiter.ask("SELECT 1");
    wait_for_waiters(&mesh, 1);
    let mut admin = Raw::log_in(&console(&mesh));

    let clients = show(&mut admin, "CLIENTS");
    assert_eq!(clients.len(), 3, "{clients:?}");
    let of = |state: &str| {
        let mut rows = clients.iter().filter(|row| row[USER] == "app_user" && row[STATE] == state);
        rows.next().unwrap_or_else(|| panic!("{state}: {clients:?}")).clone()
    };
    let (having, waiting) = (of("active"), of("waiting"));
    assert_eq!((having[NAME].as_str(), waiting[LINK].as_str()), ("holder", ""));
    let servers = show(&mut admin, "SERVERS");
    assert_eq!(servers.len(), 1, "{servers:?}");
    let server = &servers[0];
    assert_eq!(
        (server[STATE].as_str(), &server[REMOTE_PID], server[NAME].as_str()),
        ("active", &pid, "holder")
    );
    assert_eq!((&server[LINK], &server[PTR]), (&having[PTR], &having[LINK]));
    let pools = show(&mut admin, "POOLS");
    assert_eq!(pools[0][..4], ["app", "app_user", "1", "1"]);

    holder.query("COMMIT");
    assert_eq!(waiter.answer().rows, [["1"]]);
    eventually("an idle server", || show(&mut admin, "SERVERS")[0][STATE] == "idle");
    assert_eq!(show(&mut admin, "SERVERS")[0][LINK], "");
    let stats = show(&mut admin, "STATS_TOTALS");
    let app = stats.iter().find(|row| row[0] == "app").unwrap();
    assert_eq!(app[2], "2", "transactions: {app:?}");
}

#[test]
fn a_client_is_killed_by_its_number_and_no_other() {
    let postgres = postgres();
    let mesh = setup(&postgres).start();
    let mut victim =
        Raw::log_in_with(&mesh.app(), Version::V3_0, &[("application_name", "victim")]).unwrap();
    let mut neighbour = Raw::log_in(&mesh.app());
    assert_eq!((victim.value("SELECT 1"), neighbour.value("SELECT 1")), ("1".into(), "1".into()));
    let mut admin = Raw::log_in(&console(&mesh));
    let clients = show(&mut admin, "CLIENTS");
    let id = &clients.iter().find(|row| row[NAME] == "victim").unwrap()[ID];
    let killed = admin.query(&format!("KILL_CLIENT {id}"));
    assert_eq!((killed.errors.len(), killed.commands[0].as_str()), (0, "KILL_CLIENT"));
    assert_eq!(victim.last_words().unwrap().code, "57P01");
    assert_eq!(neighbour.value("SELECT 2"), "2");
    let again = admin.query(&format!("KILL_CLIENT {id}"));
    assert_eq!(again.errors[0].message, "client not found");
}

#[test]
fn it_answers_when_there_are_too_many_clients_and_no_server_is_free() {
    let postgres = postgres();
    let mesh = setup(&postgres)
        .with("proxy", "max_client_connections = 2")
        .with("pool", "size = 1\nreserve_size = 0")
        .with("admin", "max_connections = 1")
        .start();
    let mut holder = Raw::log_in(&mesh.app());
    holder.query("BEGIN");
    holder.value("SELECT 1");
    let mut waiter = Raw::log_in(&mesh.app());
    waiter.ask("SELECT 1");
    wait_for_waiters(&mesh, 1);
    assert_eq!(refused(&mesh.app()).code, "53300");
    let mut admin = Raw::log_in(&console(&mesh));
    assert_eq!(show(&mut admin, "CLIENTS").len(), 3);
    let told = refused(&console(&mesh));
    assert_eq!(told.code, "53300");
    assert!(told.message.contains("console"), "{told:?}");
    drop(admin);
    wait_for(&mesh, "pgmesh_console_clients", "", 0.0);
    // The seat is given back.
    eventually("a seat", || Raw::log_in_with(&console(&mesh), Version::V3_0, &[]).is_ok());
}
