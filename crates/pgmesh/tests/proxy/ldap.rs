//! Passwords that an LDAP server checks.

use testbed::{APP_DATABASE, APP_USER, Login, Pgmesh, Postgres, ServerTls, Slapd, SlapdOptions};
use wire::{ErrorFields, Version, message};

use crate::certificates::Authority;
use crate::clients::{Message, Raw};
use crate::metrics::{sample, wait_for};
use crate::postgres;
use crate::proxy::Setup;

/// What LDAP knows `app_user` by; Postgres has the same password.
fn slapd() -> Slapd {
    slapd_with(APP_USER.password, None)
}

fn slapd_with(password: &str, tls: Option<ServerTls>) -> Slapd {
    let people = vec![(APP_USER.user.to_owned(), password.to_owned())];
    Slapd::start(&SlapdOptions { people, tls }).unwrap()
}

fn simple(slapd: &Slapd) -> String {
    let (port, people) = (slapd.port(), Slapd::PEOPLE);
    format!("ldapserver=127.0.0.1 ldapport={port} ldapprefix=uid= ldapsuffix=\",{people}\"")
}

fn search(slapd: &Slapd) -> String {
    format!(
        "ldapserver=127.0.0.1 ldapport={} ldapbasedn=\"{}\" ldapbinddn=\"{}\" ldapbindpasswd={} \
         \"ldapsearchfilter=(uid=$username)\"",
        slapd.port(),
        Slapd::BASE,
        Slapd::SEARCHER,
        Slapd::SEARCHER_PASSWORD
    )
}

/// Everybody by LDAP, and nobody in `[[users]]`. Clients of these tests are not inside TLS.
fn before(postgres: &Postgres, options: &str) -> (tempfile::TempDir, Setup) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pg_hba.conf");
    std::fs::write(&file, format!("host all all all ldap {options}\n")).unwrap();
    let setup = Setup::before(postgres).without_users();
    // Every other login fails here, and none has to wait for that.
    let setup = setup.with("proxy", "failed_login_delay = '0s'");
    let setup = setup.with("auth", &format!("hba_file = \"{}\"", file.display()));
    (directory, setup)
}

const IN_CLEAR: &str = "allow_cleartext_without_tls = true";

/// What a client that shows this is told: `Ok` once it is let in, else code and message.
fn shows(mesh: &Pgmesh, user: &str, answer: impl FnOnce(&mut Raw)) -> Result<(), (String, String)> {
    let mut client = Raw::connect(mesh.app().port);
    let mut startup = Vec::new();
    let named = [("user", user), ("database", APP_DATABASE)];
    wire::put_startup(&mut startup, Version::V3_0, named);
    client.send(&startup);
    let refused = |body: &[u8]| {
        let fields = ErrorFields::parse(body).unwrap();
        Err((fields.code.to_owned(), fields.message.to_owned()))
    };
    match client.message() {
        Message { tag: b'R', body } => assert_eq!(body, 3_u32.to_be_bytes()),
        Message { body, .. } => return refused(&body),
    }
    answer(&mut client);
    match client.message() {
        Message { tag: b'R', body } => {
            assert_eq!(body, 0_u32.to_be_bytes());
            Ok(())
        }
        Message { body, .. } => refused(&body),
    }
}

fn password(text: &str) -> impl FnOnce(&mut Raw) {
    move |client| client.say(b'p', |out| message::put_c_str(out, text))
}

fn failed(user: &str) -> Result<(), (String, String)> {
    let message = format!("LDAP authentication failed for user \"{user}\"");
    Err(("28000".to_owned(), message))
}

fn told(code: &str, message: &str) -> Result<(), (String, String)> {
    Err((code.to_owned(), message.to_owned()))
}

#[test]
fn the_right_password_opens_servers_too_and_a_wrong_one_nothing() {
    let (postgres, slapd) = (postgres(), slapd());
    for options in [simple(&slapd), search(&slapd)] {
        let (_directory, setup) = before(&postgres, &options);
        let mesh = setup.with("auth", IN_CLEAR).start();
        assert_eq!(mesh.app().psql("SELECT current_user").unwrap(), APP_USER.user);
        for (user, wrong) in [(APP_USER.user, "wr0ng_password"), ("nobody", "wr0ng_password")] {
            assert_eq!(shows(&mesh, user, password(wrong)), failed(user));
        }
        // Names that mean something to a directory are nobody's.
        for user in ["*", "*)(", "*)(uid=*", "app_user,ou=people", "\\61pp_user"] {
            assert_eq!(shows(&mesh, user, password(APP_USER.password)), failed(user), "{user}");
        }
        let checks = |outcome: &str| {
            sample(&mesh, "pgmesh_ldap_checks_total", &format!("outcome=\"{outcome}\""))
        };
        assert!((checks("accepted") - 1.0).abs() < 0.5 && (checks("refused") - 7.0).abs() < 0.5);
        assert!(sample(&mesh, "pgmesh_ldap_check_seconds_count", "") >= 3.0);
        let log = mesh.log();
        for secret in [APP_USER.password, "wr0ng_password", Slapd::SEARCHER_PASSWORD] {
            assert!(!log.contains(secret), "{log}");
        }
        assert!(log.contains("invalidCredentials"), "{log}");
    }
}

/// The server would say yes to an empty password.
#[test]
fn what_is_no_password_is_refused_in_postgres_words() {
    let (postgres, slapd) = (postgres(), slapd());
    let (_directory, setup) = before(&postgres, &simple(&slapd));
    let mesh = setup.with("auth", IN_CLEAR).start();
    let shows = |answer: &dyn Fn(&mut Raw)| shows(&mesh, APP_USER.user, answer);
    let empty = told("28P01", "empty password returned by client");
    assert_eq!(shows(&|client| client.say(b'p', |out| out.push(0))), empty);
    let layout = told("08P01", "invalid password packet size");
    for body in [&b""[..], b"open", b"two\0words\0", b"\0behind"] {
        assert_eq!(shows(&|client| client.say(b'p', |out| out.extend(body))), layout, "{body:?}");
    }
    let encoding = told("08P01", "the password is not UTF-8");
    assert_eq!(shows(&|client| client.say(b'p', |out| out.extend(b"\xff\0"))), encoding);
    let other = told("08P01", "expected password response, got message type 81");
    assert_eq!(shows(&|client| client.ask("SELECT 1")), other);
    // The length alone: nothing has to be sent for it.
    let long = told("08P01", "invalid message length");
    assert_eq!(shows(&|client| client.send(b"p\x00\x01\x00\x04")), long);
    // As long as Postgres lets it be, and still only wrong.
    let longest = "x".repeat(65_534);
    assert_eq!(shows(&|client| password(&longest)(client)), failed(APP_USER.user));
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
}

#[test]
fn a_password_is_only_asked_for_where_nobody_reads_along() {
    let (postgres, authority) = (postgres(), Authority::new());
    let (certificate, key) = authority.sign(&["127.0.0.1"]);
    let tls = Some(ServerTls { certificate, key, client_ca: None });
    let slapd = slapd_with(APP_USER.password, tls);
    let (_directory, setup) = before(&postgres, &format!("{} ldaptls=1", simple(&slapd)));
    let mesh = setup
        .with("auth", &format!("ldap_ca = \"{}\"", authority.ca().display()))
        .with("proxy.tls", &authority.sign_to_files(&["localhost"]))
        .start();
    let message = "the password of user \"app_user\" would be sent unencrypted";
    let refused = shows(&mesh, APP_USER.user, |_| panic!("it was asked for"));
    assert_eq!(refused, told("28000", message));
    let mut psql = mesh.app().command("psql").unwrap();
    psql.env("PGSSLMODE", "require").args(["-X", "-A", "-t", "-c", "SELECT current_user"]);
    let output = psql.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), APP_USER.user, "{output:?}");
}

#[test]
fn who_cannot_be_asked_says_nothing_of_the_role() {
    let (postgres, mut slapd) = (postgres(), slapd());
    let (_directory, setup) = before(&postgres, &search(&slapd));
    let mesh = setup.with("auth", IN_CLEAR).with("auth", "ldap_timeout = '300ms'").start();
    let message = "passwords cannot be checked at the moment: no LDAP server has answered";
    let unknown = told("57P03", message);
    for (outcome, stop) in
        [("timeout", Slapd::freeze as fn(&mut Slapd)), ("unavailable", Slapd::kill)]
    {
        stop(&mut slapd);
        for user in [APP_USER.user, "nobody"] {
            assert_eq!(shows(&mesh, user, password(APP_USER.password)), unknown, "{outcome}");
        }
        wait_for(&mesh, "pgmesh_ldap_checks_total", &format!("outcome=\"{outcome}\""), 2.0);
    }
    wait_for(&mesh, "pgmesh_refusals_total", "reason=\"directory\"", 4.0);
    slapd.restart().unwrap();
    // What is busy may need more than the short time it has here.
    crate::metrics::eventually("an answer", || mesh.app().psql("SELECT 1").is_ok());
}

/// Servers are logged in to with what is configured, else with what the client has shown.
#[test]
fn a_configured_password_is_for_servers_and_the_one_shown_where_there_is_none() {
    let (postgres, slapd) = (postgres(), slapd_with("ldap_password", None));
    let as_in_ldap = |login: Login| Login { password: "ldap_password".to_owned(), ..login };
    let (_directory, setup) = before(&postgres, &simple(&slapd));
    let configured = setup
        .clone()
        .with("auth", IN_CLEAR)
        .user(APP_USER.user, "unused", &format!("server_password = '{}'", APP_USER.password))
        .start();
    let app = as_in_ldap(configured.app());
    assert_eq!(app.psql("SELECT current_user").unwrap(), APP_USER.user);
    assert_eq!(shows(&configured, APP_USER.user, password("unused")), failed(APP_USER.user));

    let mesh = setup.with("auth", IN_CLEAR).start();
    let app = as_in_ldap(mesh.app());
    let refused = app.psql("SELECT 1").unwrap_err().to_string();
    assert!(refused.contains("password authentication failed"), "{refused}");
    // The servers follow, and it is tried again.
    postgres.psql("ALTER ROLE app_user PASSWORD 'ldap_password'").unwrap();
    assert_eq!(app.psql("SELECT current_user").unwrap(), APP_USER.user);
}
