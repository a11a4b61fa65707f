//! How many clients.

use testbed::{APP_USER, Credentials, Postgres, PostgresOptions, Role};
use wire::Version;

use crate::clients::Raw;
use crate::metrics::{sample, wait_for, wait_for_waiters};
use crate::proxy::Setup;
use crate::{postgres, wait_for_sleep};

#[test]
fn the_client_in_excess_is_told_so_and_nobody_else_suffers() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("proxy", "max_client_connections = 3").start();
    let mut clients: Vec<Raw> = (0..3).map(|_| Raw::log_in(&mesh.app())).collect();
    for _ in 0..3 {
        let told = Raw::log_in_with(&mesh.app(), Version::V3_0, &[]).unwrap_err();
        assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "53300"));
        assert_eq!(told.message, "sorry, too many clients already");
    }
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
    wait_for(&mesh, "pgmesh_refusals_total", "reason=\"too_many_clients\"", 3.0);
    // Those who are in can still be cancelled.
    clients[0].ask("SELECT pg_sleep(60)");
    wait_for_sleep(&postgres);
    clients[0].cancel();
    assert_eq!(clients[0].answer().errors[0].code, "57014");
    // A place that is given up is a place.
    drop(clients.pop());
    wait_for(&mesh, "pgmesh_clients", "", 2.0);
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 1"), "1");
}

#[test]
fn a_user_has_a_limit_of_its_own() {
    let options = PostgresOptions {
        roles: vec![Role::new(APP_USER.user, APP_USER.password), Role::new("other", "secret")],
        ..PostgresOptions::default()
    };
    let postgres = Postgres::start(options).unwrap();
    let mesh = Setup::before(&postgres).user("other", "secret", "max_connections = 1").start();
    let other = mesh.login(Credentials { user: "other", password: "secret" }, "app");
    let mut first = Raw::log_in(&other);
    let told = Raw::log_in_with(&other, Version::V3_0, &[]).unwrap_err();
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "53300"));
    assert_eq!(told.message, "too many connections for role \"other\"");
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 1"), "1");
    assert_eq!(first.value("SELECT 1"), "1");
    drop(first);
    wait_for(&mesh, "pgmesh_clients", "", 0.0);
    assert_eq!(Raw::log_in(&other).value("SELECT 1"), "1");
}

#[test]
fn every_user_has_the_limit_that_is_for_all_but_who_has_one_of_its_own() {
    let options = PostgresOptions {
        roles: vec![Role::new(APP_USER.user, APP_USER.password), Role::new("other", "secret")],
        ..PostgresOptions::default()
    };
    let postgres = Postgres::start(options).unwrap();
    let mesh = Setup::before(&postgres)
        .with("proxy", "max_user_client_connections = 1")
        .user("other", "secret", "max_connections = 2")
        .start();
    let first = Raw::log_in(&mesh.app());
    let told = Raw::log_in_with(&mesh.app(), Version::V3_0, &[]).unwrap_err();
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "53300"));
    assert_eq!(told.message, format!("too many connections for role \"{}\"", APP_USER.user));
    wait_for(&mesh, "pgmesh_refusals_total", "reason=\"too_many_clients\"", 1.0);
    let other = mesh.login(Credentials { user: "other", password: "secret" }, "app");
    let others = [Raw::log_in(&other), Raw::log_in(&other)];
    assert_eq!(Raw::log_in_with(&other, Version::V3_0, &[]).unwrap_err().code, "53300");
    drop((first, others));
}

#[test]
fn a_database_has_a_limit_over_all_its_users() {
    let options = PostgresOptions {
        roles: vec![Role::new(APP_USER.user, APP_USER.password), Role::new("other", "secret")],
        ..PostgresOptions::default()
    };
    let postgres = Postgres::start(options).unwrap();
    let mesh = Setup::before(&postgres)
        .with("proxy", "max_db_client_connections = 1")
        .user("other", "secret", "")
        .start();
    let mut first = Raw::log_in(&mesh.app());
    let other = mesh.login(Credentials { user: "other", password: "secret" }, "app");
    let told = Raw::log_in_with(&other, Version::V3_0, &[]).unwrap_err();
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "53300"));
    assert_eq!(told.message, "too many connections for database \"app\"");
    wait_for(&mesh, "pgmesh_refusals_total", "reason=\"too_many_clients\"", 1.0);
    assert_eq!(first.value("SELECT 1"), "1");
    let elsewhere = mesh.login(Credentials { user: "other", password: "secret" }, "postgres");
    assert_eq!(Raw::log_in(&elsewhere).value("SELECT 2"), "2");
}

#[test]
fn a_user_has_so_many_servers_over_all_databases() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "max_user_connections = 1").start();
    let mut first = Raw::log_in(&mesh.app());
    assert_eq!(first.query("BEGIN").status, 'T');
    // The other database's pool waits for the server of the first one.
    let login = mesh.login(APP_USER, "postgres");
    let second = std::thread::spawn(move || Raw::log_in(&login));
    wait_for_waiters(&mesh, 1);
    assert_eq!(first.query("COMMIT").status, 'I');
    let mut second = second.join().unwrap();
    assert_eq!(second.value("SELECT current_database()"), "postgres");
    assert_eq!(first.value("SELECT current_database()"), "app");
    let servers = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_user'";
    assert_eq!(postgres.psql(servers).unwrap(), "1");
}

/// As in PgBouncer. It asked for a million open files once.
#[test]
fn no_limit_of_servers_is_no_limit() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres)
        .with("pool", "max_db_connections = 0\nmax_user_connections = 0")
        .with("proxy", "max_client_connections = 100")
        .start();
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
}

#[test]
fn a_message_that_is_too_large_ends_its_clients_connection_only() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("proxy", "max_packet_size = \"64KiB\"").start();
    let mut client = Raw::log_in(&mesh.app());
    let text = "x".repeat(60_000);
    assert_eq!(client.value(&format!("SELECT length('{text}')")), "60000");
    assert_eq!(client.value("SELECT length(repeat('x', 200000))"), "200000");
    // Its length alone says so.
    client.send(b"Q\0\x01\0\0");
    let told = client.last_words().unwrap();
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "54000"));
    assert_eq!(sample(&mesh, "pgmesh_limits_reached_total", "limit=\"max_packet_size\""), 1.0);
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 1"), "1");
}
