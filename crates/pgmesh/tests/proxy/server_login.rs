//! How the proxy logs in to servers.

use testbed::{APP_USER, Login, Method, Postgres, PostgresOptions};
use wire::Version;

use crate::clients::Raw;
use crate::metrics::sample;
use crate::postgres;
use crate::proxy::Setup;

fn postgres_with(method: Method) -> Postgres {
    Postgres::start(PostgresOptions { method, ..PostgresOptions::default() }).unwrap()
}

#[test]
fn md5_scram_and_trust_are_answered() {
    for method in [Method::Md5, Method::Scram, Method::Trust] {
        let postgres = postgres_with(method);
        let mesh = Setup::before(&postgres).start();
        assert_eq!(mesh.app().psql("SELECT current_user").unwrap(), APP_USER.user, "{method:?}");
        // Whatever the server is content with, clients prove who they are.
        let wrong = Login { password: "wrong".to_owned(), ..mesh.app() };
        assert!(wrong.psql("SELECT 1").is_err(), "{method:?}");
    }
}

#[test]
fn a_password_is_not_sent_in_clear() {
    let postgres = postgres_with(Method::Password);
    let mesh = Setup::before(&postgres).with("server.tls", "mode = \"disable\"").start();
    assert!(mesh.app().psql("SELECT 1").is_err());
    assert!(sample(&mesh, "pgmesh_server_connect_failures_total", "") >= 1.0);
}

#[test]
fn a_password_that_the_server_refuses_is_told_to_those_who_wait_and_can_be_mended() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    postgres.psql("ALTER ROLE app_user PASSWORD 'another'").unwrap();
    let told = Raw::log_in_with(&mesh.app(), Version::V3_0, &[]).unwrap_err();
    assert_eq!(told.severity, "FATAL");
    assert!(!told.message.contains("another") && !told.message.contains(APP_USER.password));
    let failures = sample(&mesh, "pgmesh_server_connect_failures_total", "");
    assert!(failures >= 1.0);
    postgres.psql("ALTER ROLE app_user PASSWORD 'app_password'").unwrap();
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
}

#[test]
fn a_verifier_is_enough_for_both_sides() {
    let postgres = postgres();
    let verifier =
        postgres.psql("SELECT rolpassword FROM pg_authid WHERE rolname = 'app_user'").unwrap();
    let setup = Setup::before(&postgres).without_users();
    let mesh = setup.user(APP_USER.user, &verifier, "").start();
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
    let wrong = Login { password: "wrong".to_owned(), ..mesh.app() };
    assert!(wrong.psql("SELECT 1").is_err());
    // With the keys that the client's login gave, servers are logged in to at any time.
    postgres
        .psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_user'")
        .unwrap();
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
}

#[test]
fn clients_and_servers_may_have_different_passwords() {
    let postgres = postgres();
    let keys = format!("server_password = \"{}\"", APP_USER.password);
    let setup = Setup::before(&postgres).without_users();
    let mesh = setup.user(APP_USER.user, "of the client", &keys).start();
    assert!(mesh.app().psql("SELECT 1").is_err());
    let client = Login { password: "of the client".to_owned(), ..mesh.app() };
    assert_eq!(client.psql("SELECT 1").unwrap(), "1");
}
