//! TLS on both sides of the proxy.

use std::time::Duration;

use testbed::{Interrupt, Pgmesh, Postgres, PostgresOptions, ServerTls, run};

use crate::certificates::Authority;
use crate::clients::Raw;
use crate::metrics::{sample, wait_for};
use crate::proxy::Setup;
use crate::{postgres, wait_for_sleep};

/// What psql says of its connection, or why it has none.
fn conninfo(mesh: &Pgmesh, environment: &[(&str, &str)]) -> Result<String, String> {
    let mut psql = mesh.app().command("psql").unwrap();
    // By name, for the certificate, and yet to where it is.
    psql.env("PGHOST", "localhost").env("PGHOSTADDR", "127.0.0.1");
    psql.args(["-X", "-A", "-t", "-c", "SELECT 'in'", "-c", "\\conninfo"]);
    psql.envs(environment.iter().copied());
    run(&mut psql, "", Duration::from_secs(60), &Interrupt::default())
        .map_err(|error| error.to_string())
}

#[test]
fn psql_gets_the_encryption_it_asks_for() {
    let (postgres, authority, stranger) = (postgres(), Authority::new(), Authority::new());
    let keys = authority.sign_to_files(&["localhost"]);
    let mesh = Setup::before(&postgres).with("proxy.tls", &keys).start();
    let ca = authority.ca().display().to_string();

    let plain = conninfo(&mesh, &[("PGSSLMODE", "disable")]).unwrap();
    assert!(plain.contains("in\n") && !plain.contains("SSL"), "{plain}");
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = conninfo(&mesh, &[("PGSSLMODE", mode), ("PGSSLROOTCERT", &ca)]).unwrap();
        assert!(said.contains("TLSv1.3"), "{mode}: {said}");
    }
    let older = [("PGSSLMODE", "require"), ("PGSSLMAXPROTOCOLVERSION", "TLSv1.2")];
    let said = conninfo(&mesh, &older).unwrap();
    assert!(said.contains("TLSv1.2"), "{said}");

    let refused = sample(&mesh, "pgmesh_refusals_total", "reason=\"tls\"");
    let other = stranger.ca().display().to_string();
    let wrong = conninfo(&mesh, &[("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", &other)]);
    let wrong = wrong.unwrap_err();
    assert!(wrong.contains("SSL error"), "{wrong}");
    // One that gave up is a refusal, and nothing more.
    wait_for(&mesh, "pgmesh_refusals_total", "reason=\"tls\"", refused + 1.0);
    assert!(conninfo(&mesh, &[("PGSSLMODE", "require")]).is_ok());
}

#[test]
fn a_proxy_that_requires_tls_refuses_a_login_without() {
    let (postgres, authority) = (postgres(), Authority::new());
    let keys = format!("mode = \"require\"\n{}", authority.sign_to_files(&["localhost"]));
    let mesh = Setup::before(&postgres).with("proxy.tls", &keys).start();
    let refused = conninfo(&mesh, &[("PGSSLMODE", "disable")]).unwrap_err();
    assert!(refused.contains("no encryption"), "{refused}");
    assert!(conninfo(&mesh, &[("PGSSLMODE", "prefer")]).unwrap().contains("TLSv1.3"));
}

#[test]
fn a_client_certificate_is_asked_for_where_it_must_verify() {
    let (postgres, authority, clients) = (postgres(), Authority::new(), Authority::new());
    let keys = authority.sign_to_files(&["localhost"]);
    let ca = clients.ca().display().to_string();
    let keys = format!("mode = \"verify-full\"\nclient_ca = \"{ca}\"\n{keys}");
    let mesh = Setup::before(&postgres).with("proxy.tls", &keys).start();
    assert!(conninfo(&mesh, &[("PGSSLMODE", "require")]).is_err());

    let said = |name: &str| {
        let (certificate, key) = clients.sign_client(name);
        conninfo(
            &mesh,
            &[
                ("PGSSLMODE", "require"),
                ("PGSSLCERT", certificate.to_str().unwrap()),
                ("PGSSLKEY", key.to_str().unwrap()),
            ],
        )
    };
    assert!(said("app_user").unwrap().contains("TLSv1.3"));
    // The password is right, and the name is another's.
    let refused = said("somebody").unwrap_err();
    assert!(refused.contains("password authentication failed for user \"app_user\""), "{refused}");
}

/// A Postgres that takes nobody without TLS but its superuser.
fn encrypted_postgres(authority: &Authority, host: &str) -> Postgres {
    let (certificate, key) = authority.sign(&[host]);
    let options = PostgresOptions {
        hba: vec!["hostnossl all app_user 127.0.0.1/32 reject".to_owned()],
        tls: Some(ServerTls { certificate, key, client_ca: None }),
        ..PostgresOptions::default()
    };
    Postgres::start(options).unwrap()
}

const IS_ENCRYPTED: &str = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";

#[test]
fn servers_are_spoken_to_in_tls_as_configured() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let postgres = encrypted_postgres(&authority, "127.0.0.1");
    let verify = |mode: &str, ca: &Authority| {
        let keys = format!("mode = \"{mode}\"\nca = \"{}\"", ca.ca().display());
        Setup::before(&postgres).with("server.tls", &keys).start()
    };
    for mode in ["require", "verify-ca", "verify-full"] {
        let mesh = verify(mode, &authority);
        assert_eq!(mesh.app().psql(IS_ENCRYPTED).unwrap(), "TLSv1.3", "{mode}");
        // Cancels take the same way.
        let mut client = Raw::log_in(&mesh.app());
        client.ask("SELECT pg_sleep(60)");
        wait_for_sleep(&postgres);
        client.cancel();
        assert_eq!(client.answer().errors[0].code, "57014", "{mode}");
    }
    let mesh = Setup::before(&postgres).with("server.tls", "mode = \"prefer\"").start();
    assert_eq!(mesh.app().psql(IS_ENCRYPTED).unwrap(), "TLSv1.3");

    let mesh = Setup::before(&postgres).with("server.tls", "mode = \"disable\"").start();
    let refused = mesh.app().psql("SELECT 1").unwrap_err().to_string();
    assert!(refused.contains("no encryption"), "{refused}");

    let mesh = verify("verify-full", &stranger);
    assert!(mesh.app().psql("SELECT 1").is_err());
    assert!(sample(&mesh, "pgmesh_server_connect_failures_total", "kind=\"tls\"") >= 1.0);
}

#[test]
fn verify_full_minds_the_name_and_verify_ca_does_not() {
    let authority = Authority::new();
    let postgres = encrypted_postgres(&authority, "elsewhere.example");
    for (mode, works) in [("verify-ca", true), ("verify-full", false)] {
        let keys = format!("mode = \"{mode}\"\nca = \"{}\"", authority.ca().display());
        let mesh = Setup::before(&postgres).with("server.tls", &keys).start();
        assert_eq!(mesh.app().psql(IS_ENCRYPTED).is_ok(), works, "{mode}");
    }
}
