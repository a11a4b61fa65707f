//! Rules as in pg_hba.conf: who may enter, and how.

use std::path::Path;

use testbed::{APP_USER, Login, Method, Pgmesh, Postgres, PostgresOptions, Role};

use crate::certificates::Authority;
use crate::metrics::{eventually, wait_for_at_least};
use crate::postgres;
use crate::proxy::Setup;

const OTHER: &str = "other";

/// Two roles, of which each is known to pgmesh in its own way.
fn with_other() -> Postgres {
    let mut options = PostgresOptions::default();
    options.roles.push(Role::new(OTHER, "other_password"));
    Postgres::start(options).unwrap()
}

/// `app_user` as ever, and rules behind it.
fn with_rules(postgres: &Postgres, rules: &[&str]) -> Setup {
    let rules: String = rules.iter().map(|rule| format!("[[hba]]\n{rule}\n")).collect();
    let setup = Setup::before(postgres).without_users();
    setup.user(APP_USER.user, APP_USER.password, &rules)
}

fn role(login: &Login, user: &str, password: &str) -> Login {
    Login { user: user.to_owned(), password: password.to_owned(), ..login.clone() }
}

fn refusal(login: &Login) -> String {
    login.psql("SELECT 1").unwrap_err().to_string()
}

#[test]
fn trust_lets_in_whom_it_names_if_the_servers_can_be_logged_in_to() {
    let postgres = with_other();
    let rules = [
        "type = 'host'\nuser = 'app_user'\naddress = '127.0.0.0/8'\nmethod = 'trust'",
        "type = 'host'\nuser = ['other', 'nobody']\nmethod = 'trust'",
        "type = 'host'\ndatabase = 'postgres'\nmethod = 'reject'",
    ];
    let verifier = postgres.psql("SELECT rolpassword FROM pg_authid WHERE rolname = 'other'");
    let mesh = with_rules(&postgres, &rules).user(OTHER, &verifier.unwrap(), "").start();

    let app = role(&mesh.app(), APP_USER.user, "");
    assert_eq!(app.psql("SELECT current_user").unwrap(), APP_USER.user);
    for user in [OTHER, "nobody"] {
        let refused = refusal(&role(&mesh.app(), user, ""));
        let expected = format!("pgmesh has no password to log in to the server as role \"{user}\"");
        assert!(refused.contains(&expected), "{refused}");
    }
    let stranger = role(&mesh.app(), "stranger", "");
    let refused = refusal(&stranger);
    let expected = "no pg_hba.conf entry for host \"127.0.0.1\", user \"stranger\", \
                    database \"app\", no encryption";
    assert!(refused.contains(expected), "{refused}");
    let elsewhere = Login { database: "postgres".to_owned(), ..stranger };
    let refused = refusal(&elsewhere);
    assert!(refused.contains("pg_hba.conf rejects connection for host"), "{refused}");
    wait_for_at_least(&mesh, "pgmesh_refusals_total", "reason=\"authentication\"", 4.0);
}

#[test]
fn trust_lets_any_role_in_as_itself_where_the_servers_do() {
    let trusting = PostgresOptions { method: Method::Trust, ..PostgresOptions::default() };
    let postgres = Postgres::start(trusting).unwrap();
    let mesh = with_rules(&postgres, &["type = 'host'\nmethod = 'trust'"]).start();
    postgres.psql("CREATE ROLE guest LOGIN").unwrap();
    let guest = role(&mesh.app(), "guest", "");
    assert_eq!(guest.psql("SELECT current_user").unwrap(), "guest");
    let refused = refusal(&role(&mesh.app(), "nobody", ""));
    assert!(refused.contains("FATAL:  role \"nobody\" does not exist"), "{refused}");
    wait_for_at_least(&mesh, "pgmesh_refusals_total", "reason=\"authentication\"", 1.0);
}

/// The rules in a file; a file that is replaced at once, as an editor or a mount does.
fn write(directory: &Path, rules: &str) {
    std::fs::write(directory.join("next"), rules).unwrap();
    std::fs::rename(directory.join("next"), directory.join("pg_hba.conf")).unwrap();
}

#[test]
fn a_file_is_followed_and_a_bad_one_changes_nothing() {
    let (postgres, directory) = (with_other(), tempfile::tempdir().unwrap());
    write(directory.path(), "host all all 127.0.0.1/32 scram-sha-256");
    let key = format!("hba_file = \"{}\"", directory.path().join("pg_hba.conf").display());
    let mesh =
        Setup::before(&postgres).with("auth", &key).user(OTHER, "other_password", "").start();
    let wrong = role(&mesh.app(), APP_USER.user, "wrong");
    assert!(refusal(&wrong).contains("password authentication failed"));

    write(directory.path(), "host all other all trust\n# nobody else\n");
    eventually("new rules", || mesh.app().psql("SELECT 1").is_err());
    let other = role(&mesh.app(), OTHER, "");
    assert_eq!(other.psql("SELECT current_user").unwrap(), OTHER);

    // Both lines are named, and the rules before stay.
    write(directory.path(), "host all all all password\nhost all +staff all trust\n");
    let named = |log: &str| ["line 1: ", "line 2: "].iter().all(|line| log.contains(line));
    eventually("an error in the log", || named(&mesh.log()));
    assert_eq!(other.psql("SELECT 1").unwrap(), "1");
    assert!(mesh.app().psql("SELECT 1").is_err());
}

/// What psql with a certificate says.
fn with_certificate(login: &Login, clients: &Authority, name: &str) -> Result<String, String> {
    let (certificate, key) = clients.sign_client(name);
    let mut psql = login.command("psql").unwrap();
    psql.env("PGSSLMODE", "require").env("PGSSLCERT", certificate).env("PGSSLKEY", key);
    psql.args(["-X", "-A", "-t", "-c", "SELECT current_user"]);
    let output = psql.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn with_certificates(postgres: &Postgres, rules: &[&str]) -> (Pgmesh, Authority, Authority) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let keys = authority.sign_to_files(&["localhost"]);
    let keys = format!("client_ca = \"{}\"\n{keys}", clients.ca().display());
    let mesh = with_rules(postgres, rules).with("proxy.tls", &keys).start();
    (mesh, authority, clients)
}

#[test]
fn a_certificate_lets_in_whom_it_or_its_map_names() {
    let postgres = postgres();
    let rules = [
        "type = 'hostssl'\nmethod = 'cert'\noptions = 'map=people'",
        "type = 'hostnossl'\nmethod = 'scram-sha-256'\n\
         [[ident]]\nmap = 'people'\nsystem_user = '/^(.*)@example[.]com$'\ndatabase_user = '\\1'",
    ];
    let (mesh, _authority, clients) = with_certificates(&postgres, &rules);
    let no_password = role(&mesh.app(), APP_USER.user, "");
    let named = with_certificate(&no_password, &clients, "app_user@example.com");
    assert_eq!(named.unwrap(), APP_USER.user);
    for name in [APP_USER.user, "other@example.com"] {
        let refused = with_certificate(&no_password, &clients, name).unwrap_err();
        let expected = "certificate authentication failed for user \"app_user\"";
        assert!(refused.contains(expected), "{refused}");
    }
    let mut psql = no_password.command("psql").unwrap();
    let output = psql.env("PGSSLMODE", "require").args(["-X", "-c", "SELECT 1"]).output().unwrap();
    let refused = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(refused.contains("connection requires a valid client certificate"), "{refused}");
    // And without TLS the password does.
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
}

#[test]
fn clientcert_asks_for_both() {
    let postgres = postgres();
    let rules =
        ["type = 'hostssl'\nmethod = 'scram-sha-256'\noptions = ['clientcert=verify-full']"];
    let (mesh, _authority, clients) = with_certificates(&postgres, &rules);
    let app = mesh.app();
    assert_eq!(with_certificate(&app, &clients, APP_USER.user).unwrap(), APP_USER.user);
    let wrong = role(&app, APP_USER.user, "wrong");
    for (login, name) in [(&app, "other"), (&wrong, APP_USER.user)] {
        let refused = with_certificate(login, &clients, name).unwrap_err();
        assert!(refused.contains("password authentication failed"), "{refused}");
    }
}
