//! The first packets of a connection, and who is let in.

use std::io::{Read, Write};

use testbed::{APP_USER, Credentials, Login, Pgmesh, SUPERUSER};
use wire::{CancelKey, CancelSecret, Version};

use crate::clients::{Raw, Told, cancel};
use crate::metrics::{sample, wait_for};
use crate::proxy::Setup;
use crate::{postgres, wait_for_sleep};

fn refusal(login: &Login, parameters: &[(&str, &str)]) -> Told {
    let told = Raw::log_in_with(login, Version::V3_0, parameters).unwrap_err();
    assert_eq!(told.severity, "FATAL");
    told
}

#[test]
fn who_may_not_come_in_is_told_what_postgres_tells() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let app = mesh.app();
    let stranger = mesh.login(Credentials { user: "nobody", password: "x" }, "app");
    // Exists in the database and not in proxy.toml.
    let superuser = mesh.login(SUPERUSER, "app");
    let wrong = Login { password: "wrong".to_owned(), ..app.clone() };
    for login in [&wrong, &stranger, &superuser] {
        let told = refusal(login, &[]);
        assert_eq!(told.code, "28P01");
        let user = &login.user;
        assert_eq!(told.message, format!("password authentication failed for user \"{user}\""));
    }
    // Nobody without a password learns which databases there are.
    let nowhere = Login { database: "nowhere".to_owned(), ..app.clone() };
    let both = Login { database: "nowhere".to_owned(), ..wrong.clone() };
    assert_eq!(refusal(&both, &[]).code, "28P01");
    let told = refusal(&nowhere, &[]);
    assert_eq!(
        (told.code.as_str(), told.message.as_str()),
        ("3D000", "database \"nowhere\" does not exist")
    );
    for value in ["true", "database"] {
        assert_eq!(refusal(&app, &[("replication", value)]).code, "0A000");
    }
    assert_eq!(refusal(&app, &[("work_mem", "much")]).code, "22023");
    assert_eq!(refusal(&app, &[("no_such_setting", "1")]).code, "42704");
    assert_eq!(refusal(&app, &[("options", "--single")]).code, "42601");

    for (reason, count) in
        [("authentication", 4.0), ("database", 1.0), ("unsupported", 3.0), ("server", 2.0)]
    {
        let labels = format!("reason=\"{reason}\"");
        wait_for(&mesh, "pgmesh_refusals_total", &labels, count);
    }
    assert_eq!(app.psql("SELECT 1").unwrap(), "1");
}

#[test]
fn a_database_that_comes_to_exist_can_be_used() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let later = Login { database: "later".to_owned(), ..mesh.app() };
    assert_eq!(refusal(&later, &[]).code, "3D000");
    postgres.psql("CREATE DATABASE later OWNER app_user").unwrap();
    assert_eq!(later.psql("SELECT current_database()").unwrap(), "later");
}

#[test]
fn startup_settings_hold_as_on_a_direct_connection() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "size = 1").start();
    let parameters = [
        ("application_name", "first"),
        ("options", "-c work_mem=7MB --lock-timeout=9s -c search_path=a,\\ public"),
        ("TimeZone", "Asia/Tokyo"),
        ("client_encoding", "LATIN1"),
    ];
    let mut first = Raw::log_in_with(&mesh.app(), Version::V3_0, &parameters).unwrap();
    for (name, value) in
        [("application_name", "first"), ("TimeZone", "Asia/Tokyo"), ("client_encoding", "LATIN1")]
    {
        assert_eq!(first.reported[name], value);
    }
    // On the same server, one after the other, several times.
    let mut second = Raw::log_in(&mesh.app());
    assert_eq!(second.reported["client_encoding"], "UTF8");
    for _ in 0..3 {
        for (name, of_first) in [
            ("work_mem", "7MB"),
            ("lock_timeout", "9s"),
            ("search_path", "a, public"),
            ("TimeZone", "Asia/Tokyo"),
            ("client_encoding", "LATIN1"),
            ("application_name", "first"),
        ] {
            let show = format!("SHOW {name}");
            assert_eq!(first.value(&show), of_first);
            assert_ne!(second.value(&show), of_first, "{name}");
        }
    }
}

#[test]
fn settings_that_no_server_can_check_now_are_checked_with_the_first_statement() {
    let postgres = postgres();
    // Whichever wait ends first.
    for (proxy, pool) in
        [("", "query_wait_timeout = \"1s\""), ("client_login_timeout = \"4s\"", "")]
    {
        let pool = format!("size = 1\nreserve_size = 0\n{pool}");
        let mesh = Setup::before(&postgres).with("proxy", proxy).with("pool", &pool).start();
        settings_are_checked_with_the_first_statement(&mesh);
    }
}

fn settings_are_checked_with_the_first_statement(mesh: &Pgmesh) {
    let mut holder = Raw::log_in(&mesh.app());
    holder.query("BEGIN");
    let asked = |value| Raw::log_in_with(&mesh.app(), Version::V3_0, &[("work_mem", value)]);
    let (mut good, mut bad) = (asked("7MB").unwrap(), asked("much").unwrap());
    holder.query("COMMIT");
    assert_eq!(good.value("SHOW work_mem"), "7MB");
    assert_eq!(bad.query("SELECT 1").errors[0].code, "22023");
}

#[test]
fn protocol_3_2_gets_a_long_cancel_key_and_3_0_a_short_one() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    for (asked, len) in [(Version::V3_0, 4), (Version::V3_2, 32)] {
        let mut client = Raw::log_in_with(&mesh.app(), asked, &[]).unwrap();
        let key = client.key.clone().unwrap();
        assert_eq!(key.secret.expose().len(), len);
        client.ask("SELECT pg_sleep(60)");
        wait_for_sleep(&postgres);
        // A part of the secret is not the secret.
        let part = CancelSecret::new(&key.secret.expose()[..4]).unwrap();
        let mut wrong = key.secret.expose().to_vec();
        wrong[len - 1] ^= 1;
        let wrong = CancelSecret::new(&wrong).unwrap();
        let is_part = len > 4;
        for secret in [Some(wrong), is_part.then_some(part)].into_iter().flatten() {
            cancel(mesh.port(), &CancelKey { pid: key.pid, secret });
        }
        wait_for(
            &mesh,
            "pgmesh_cancels_total",
            "outcome=\"unknown_key\"",
            if is_part { 3.0 } else { 1.0 },
        );
        assert_eq!(sample(&mesh, "pgmesh_cancels_total", "outcome=\"delivered\""), {
            if is_part { 1.0 } else { 0.0 }
        });
        client.cancel();
        assert_eq!(client.answer().errors[0].code, "57014");
    }
}

#[test]
fn a_later_minor_version_and_unknown_options_are_negotiated() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let mut client = Raw::connect(mesh.port());
    let mut startup = Vec::new();
    let named = [("user", "app_user"), ("database", "app"), ("_pq_.new", "1")];
    wire::put_startup(&mut startup, Version { major: 3, minor: 9 }, named);
    client.send(&startup);
    let message = client.message();
    assert_eq!(message.tag, b'v');
    assert_eq!(message.body, b"\0\x03\0\x02\0\0\0\x01_pq_.new\0");
    assert_eq!(client.message().tag, b'R');
    let whole = Raw::log_in_with(&mesh.app(), Version { major: 3, minor: 9 }, &[("_pq_.new", "1")]);
    assert_eq!(whole.unwrap().value("SELECT 1"), "1");
    // Another major version is refused, and libpq 2 is long gone.
    let mut client = Raw::connect(mesh.port());
    startup.clear();
    wire::put_startup(&mut startup, Version { major: 4, minor: 0 }, named);
    client.send(&startup);
    assert_eq!(client.last_words().unwrap().code, "0A000");
}

#[test]
fn encryption_that_is_not_offered_is_declined_and_login_goes_on() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).start();
    let mut client = Raw::connect(mesh.port());
    // GSSENCRequest, SSLRequest, and then the startup packet.
    for request in [*b"\0\0\0\x08\x04\xd2\x16\x30", *b"\0\0\0\x08\x04\xd2\x16\x2f"] {
        let mut socket = client.socket();
        socket.write_all(&request).unwrap();
        let mut answer = [0];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"N");
    }
    let mut startup = Vec::new();
    wire::put_startup(&mut startup, Version::V3_0, [("user", APP_USER.user)]);
    client.send(&startup);
    assert_eq!(client.message().tag, b'R');
}

#[test]
fn clients_are_served_whatever_is_logged() {
    let postgres = postgres();
    for level in ["error", "warn", "debug"] {
        let mesh = Setup::before(&postgres).with("log", &format!("level = \"{level}\"")).start();
        assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 1"), "1", "{level}");
    }
}
