//! Only verifiers are configured, and servers are logged in to with what clients disclose.

use auth::{Secret, Verifier};
use testbed::{APP_USER, Login, Postgres, PostgresOptions, Role, ServerTls};

use crate::certificates::Authority;
use crate::postgres;
use crate::proxy::Setup;

/// The verifier of a role, as Postgres has it.
fn verifier(postgres: &Postgres, role: &str) -> String {
    let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'");
    postgres.psql(&sql).unwrap()
}

#[test]
fn salts_and_iterations_of_any_size_do_on_both_sides() {
    let postgres = postgres();
    for (salt, iterations) in [(&b"x"[..], 1), (&[7; 100][..], 15_000)] {
        let made = Verifier::derive(&Secret::new(APP_USER.password), salt, iterations).format();
        let text = made.expose();
        postgres.psql(&format!("ALTER ROLE app_user PASSWORD '{text}'")).unwrap();
        assert_eq!(verifier(&postgres, APP_USER.user), text, "taken as it is");
        let setup = Setup::before(&postgres).without_users();
        let mesh = setup.user(APP_USER.user, text, "").start();
        assert_eq!(mesh.app().psql("SELECT current_user").unwrap(), APP_USER.user);
    }
}

/// The same password, but not the same verifier: the keys are worth nothing there.
#[test]
fn a_verifier_that_is_not_the_servers_opens_nothing_and_shows_nothing() {
    let postgres = postgres();
    let other = Verifier::derive(&Secret::new(APP_USER.password), b"another salt", 4096).format();
    let setup = Setup::before(&postgres).without_users();
    let mesh = setup.user(APP_USER.user, other.expose(), "").start();
    let refused = mesh.app().psql("SELECT 1").unwrap_err().to_string();
    assert!(refused.contains("pgmesh cannot authenticate to the server"), "{refused}");
    let verifier = verifier(&postgres, APP_USER.user);
    for part in verifier.split(['$', ':']).filter(|part| part.len() > 8 && !part.contains("SHA")) {
        assert!(!refused.contains(part) && !mesh.log().contains(part), "{part}");
    }
}

#[test]
fn every_user_opens_its_own_servers_and_both_legs_can_be_bound_to_tls() {
    let (authority, servers) = (Authority::new(), Authority::new());
    let (certificate, key) = servers.sign(&["127.0.0.1"]);
    let other = Role::new("other", "other_password");
    let mut options = PostgresOptions {
        tls: Some(ServerTls { certificate, key, client_ca: None }),
        ..PostgresOptions::default()
    };
    options.roles.push(other.clone());
    let postgres = Postgres::start(options).unwrap();
    let tls = format!("mode = \"verify-full\"\nca = \"{}\"", servers.ca().display());
    let mesh = Setup::before(&postgres)
        .without_users()
        .user(APP_USER.user, &verifier(&postgres, APP_USER.user), "")
        .user(&other.name, &verifier(&postgres, &other.name), "")
        .with("proxy.tls", &authority.sign_to_files(&["localhost"]))
        .with("server", "channel_binding = \"require\"")
        .with("server.tls", &tls)
        .start();
    let second = Login { user: other.name, password: other.password, ..mesh.app() };
    for login in [mesh.app(), second] {
        let mut psql = login.command("psql").unwrap();
        psql.env("PGSSLMODE", "require").env("PGCHANNELBINDING", "require");
        let sql = "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        psql.args(["-X", "-A", "-t", "-c", sql]);
        let output = psql.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim(), format!("{}|t", login.user), "{output:?}");
        // Who does not know the password has disclosed nothing, and is not let in by what
        // others have.
        let wrong = Login { password: "wrong".to_owned(), ..login };
        assert!(wrong.psql("SELECT 1").is_err());
    }
}
