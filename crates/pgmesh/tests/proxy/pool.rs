//! Who gets a server, in what order, and what becomes of servers.

use testbed::{APP_USER, Credentials, Postgres, PostgresOptions, Role};

use wire::Version;

use crate::clients::{Raw, parse, run, sync};
use crate::metrics::{eventually, sample, wait_for, wait_for_waiters};
use crate::postgres;
use crate::proxy::Setup;

const ONE: &str = "size = 1\nreserve_size = 0";

#[test]
fn those_who_wait_are_served_in_the_order_they_came() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", ONE).start();
    let mut holder = Raw::log_in(&mesh.app());
    holder.value("CREATE TABLE served (place serial, client int)");
    let mut clients: Vec<Raw> = (0..6).map(|_| Raw::log_in(&mesh.app())).collect();
    holder.query("BEGIN");
    for (number, client) in (1..).zip(&mut clients) {
        client.ask(&format!("INSERT INTO served (client) VALUES ({number})"));
        wait_for_waiters(&mesh, number);
    }
    // The third leaves: the others move up.
    drop(clients.remove(2));
    wait_for(&mesh, "pgmesh_clients", "state=\"waiting\"", 5.0);
    holder.query("COMMIT");
    for client in &mut clients {
        assert_eq!(client.answer().commands, ["INSERT 0 1"]);
    }
    let order = holder.value("SELECT string_agg(client::text, ' ' ORDER BY place) FROM served");
    assert_eq!(order, "1 2 4 5 6");
}

#[test]
fn the_reserve_is_for_those_who_waited_long() {
    let postgres = postgres();
    let pool = "size = 1\nreserve_size = 1\nreserve_timeout = \"50ms\"";
    let mesh = Setup::before(&postgres).with("pool", pool).start();
    let mut clients: Vec<Raw> = (0..3).map(|_| Raw::log_in(&mesh.app())).collect();
    assert_eq!(clients[0].query("BEGIN").status, 'T');
    assert_eq!(clients[1].query("BEGIN").status, 'T');
    assert_eq!(sample(&mesh, "pgmesh_servers", "state=\"active\""), 2.0);
    assert_eq!(sample(&mesh, "pgmesh_pool_size", ""), 1.0);
    clients[2].ask("SELECT 3");
    wait_for_waiters(&mesh, 1);
    clients[0].query("COMMIT");
    assert_eq!(clients[2].answer().rows, [["3"]]);
    assert_eq!(sample(&mesh, "pgmesh_server_connects_total", ""), 2.0);
}

#[test]
fn min_size_servers_are_kept_once_the_pool_is_used_and_replaced_when_they_end() {
    let postgres = postgres();
    let pool = "size = 5\nmin_size = 3\nserver_idle_timeout = \"50ms\"";
    let mesh = Setup::before(&postgres).with("pool", pool).start();
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
    wait_for(&mesh, "pgmesh_servers", "state=\"idle\"", 3.0);
    let terminate =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app_user'";
    assert_eq!(postgres.psql(terminate).unwrap(), "3");
    wait_for(&mesh, "pgmesh_server_connects_total", "", 6.0);
    wait_for(&mesh, "pgmesh_servers", "state=\"idle\"", 3.0);
}

#[test]
fn an_idle_server_that_dies_is_noticed_at_once_and_not_lent() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", ONE).start();
    let mut client = Raw::log_in(&mesh.app());
    let first = client.value("SELECT pg_backend_pid()");
    let discards = "pgmesh_server_discards_total";
    assert_eq!(sample(&mesh, discards, ""), 0.0);
    postgres.psql(&format!("SELECT pg_terminate_backend({first})")).unwrap();
    // Nobody asks for it meanwhile.
    wait_for(&mesh, discards, "reason=\"server_closed\"", 1.0);
    wait_for(&mesh, "pgmesh_servers", "", 0.0);
    assert_ne!(client.value("SELECT pg_backend_pid()"), first);
}

#[test]
fn servers_end_with_their_lifetime_and_with_idleness() {
    let postgres = postgres();
    for (key, reason) in [("server_lifetime", "lifetime"), ("server_idle_timeout", "idle")] {
        let pool = format!("size = 1\n{key} = \"100ms\"");
        let mesh = Setup::before(&postgres).with("pool", &pool).start();
        let mut client = Raw::log_in(&mesh.app());
        // However old it grows, a server is not taken from a transaction.
        client.query("BEGIN");
        let first = client.value("SELECT pg_backend_pid() FROM pg_sleep(0.2)");
        assert_eq!(client.value("SELECT pg_backend_pid()"), first, "{key}");
        client.query("COMMIT");
        let reason = format!("reason=\"{reason}\"");
        eventually("the end of the server", || {
            sample(&mesh, "pgmesh_server_discards_total", &reason) >= 1.0
        });
        assert_ne!(client.value("SELECT pg_backend_pid()"), first, "{key}");
    }
}

#[test]
fn max_db_connections_is_shared_by_users() {
    let options = PostgresOptions {
        roles: vec![Role::new(APP_USER.user, APP_USER.password), Role::new("other", "secret")],
        ..PostgresOptions::default()
    };
    let postgres = Postgres::start(options).unwrap();
    let pool = "size = 1\nreserve_size = 0\nmax_db_connections = 1";
    let mesh = Setup::before(&postgres).user("other", "secret", "").with("pool", pool).start();
    let login = mesh.login(Credentials { user: "other", password: "secret" }, "app");
    let (mut app, mut other) = (Raw::log_in(&mesh.app()), Raw::log_in(&login));
    let count = "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('app_user', 'other')";
    // Idle servers of one user make room for the other.
    for _ in 0..3 {
        assert_eq!(app.value("SELECT current_user"), "app_user");
        assert_eq!(other.value("SELECT current_user"), "other");
        eventually("one server in all", || postgres.psql(count).unwrap() == "1");
    }
    // A busy one does not, until its transaction ends.
    app.query("BEGIN");
    other.ask("SELECT current_user");
    wait_for_waiters(&mesh, 1);
    app.value("SELECT 1");
    assert_eq!(sample(&mesh, "pgmesh_waiting_clients", "user=\"other\""), 1.0);
    app.query("COMMIT");
    assert_eq!(other.answer().rows, [["other"]]);
    assert_eq!(app.value("SELECT 2"), "2");
}

#[test]
fn a_wait_that_is_too_long_fails_the_statement_and_not_the_connection() {
    let postgres = postgres();
    let pool = "size = 1\nreserve_size = 0\nquery_wait_timeout = \"100ms\"";
    let mesh = Setup::before(&postgres).with("pool", pool).start();
    // The first login waits for a server, too, on a machine that may be busy.
    eventually("a login", || Raw::log_in_with(&mesh.app(), Version::V3_0, &[]).is_ok());
    let (mut holder, mut client) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    assert_eq!(holder.query("BEGIN").status, 'T');
    for _ in 0..2 {
        let answer = client.query("SELECT 1");
        assert_eq!((answer.tags.as_str(), answer.status), ("EZ", 'I'));
        let told = &answer.errors[0];
        assert_eq!((told.severity.as_str(), told.code.as_str()), ("ERROR", "57P03"));
        assert!(told.message.contains("query_wait_timeout"), "{told:?}");
    }
    // Of a batch nothing is run later, and nothing is answered twice.
    let mut batch = Vec::new();
    parse(&mut batch, "s", "SELECT 'too late'");
    run(&mut batch, "s", &[]);
    run(&mut batch, "s", &[]);
    sync(&mut batch);
    client.send(&batch);
    let answer = client.answer();
    assert_eq!((answer.tags.as_str(), answer.errors[0].code.as_str()), ("EZ", "57P03"));
    holder.query("COMMIT");
    assert_eq!(client.query("SELECT 'now'").rows, [["now"]]);
    let mut batch = Vec::new();
    run(&mut batch, "s", &[]);
    sync(&mut batch);
    client.send(&batch);
    assert_eq!(client.answer().errors[0].code, "26000");
}
