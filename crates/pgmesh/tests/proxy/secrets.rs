//! No secret and no parameter is ever in a log or a metric, however talkative.

use testbed::{APP_USER, Login};
use wire::Version;

use crate::clients::{Raw, parse, run, sync};
use crate::postgres;
use crate::proxy::Setup;

#[test]
fn the_log_tells_nothing_that_it_must_not() {
    let postgres = postgres();
    let setup = Setup::before(&postgres).without_users();
    let keys = format!("server_password = \"{}\"", APP_USER.password);
    let verifier = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app_user'";
    let verifier = postgres.psql(verifier).unwrap();
    let mesh = setup
        .user(APP_USER.user, "secret-of-the-client", &keys)
        .user("stranger", "secret-of-nobody", "server_password = \"secret-refused\"")
        .user("verified", &verifier, "")
        .with("peers", "addresses = [\"127.0.0.1:1\"]\nsecret = \"secret-of-all-the-peers\"")
        .with("auth", "query_user = \"lookup\"\nquery_password = \"secret-of-the-query\"")
        .with("log", "level = \"trace\"")
        .environment("PGMESH_LOG", "trace")
        .start();
    let app = Login { password: "secret-of-the-client".to_owned(), ..mesh.app() };
    let wrong = Login { password: "secret-that-is-wrong".to_owned(), ..app.clone() };
    assert!(Raw::log_in_with(&wrong, Version::V3_0, &[]).is_err());
    // Let in, and refused by the server; and one whose password is known by its verifier.
    let (user, password) = ("stranger".to_owned(), "secret-of-nobody".to_owned());
    let stranger = Login { user, password, ..app.clone() };
    assert!(Raw::log_in_with(&stranger, Version::V3_0, &[]).is_err());
    let (user, password) = ("verified".to_owned(), APP_USER.password.to_owned());
    let verified = Login { user, password, ..app.clone() };
    assert!(Raw::log_in_with(&verified, Version::V3_0, &[]).is_err(), "no such role");
    let options = [("options", "-c my.token=secret-in-options"), ("TimeZone", "secret/zone")];
    assert!(Raw::log_in_with(&app, Version::V3_0, &options).is_err());
    let mut client = Raw::log_in_with(&app, Version::V3_0, &options[..1]).unwrap();
    assert_eq!(client.value("SHOW my.token"), "secret-in-options");
    client.query("SELECT 'secret-in-a-text'");
    client.query("SELECT 'secret-in-an-error'::int");
    client.query("ALTER ROLE app_user PASSWORD 'secret-in-ddl' VALID UNTIL 'secret-date'");
    client.query("ALTER ROLE nobody PASSWORD 'secret-in-ddl'");
    client.cancel();
    client.query("SET my.token = 'secret-in-a-set'");
    let mut batch = Vec::new();
    parse(&mut batch, "s", "SELECT $1::text, 'secret-in-a-statement'");
    run(&mut batch, "s", &["secret-in-a-parameter"]);
    sync(&mut batch);
    client.send(&batch);
    assert_eq!(client.answer().rows.len(), 1);
    client.query("BEGIN");
    client.send(b"Q\xff\xff\xff\xffsecret-in-garbage\0");
    client.last_words();
    drop(client);
    let mut client = Raw::log_in(&app);
    let server = client.value("SELECT pg_backend_pid()");
    postgres.psql(&format!("SELECT pg_terminate_backend({server})")).unwrap();
    client.value("SELECT 'secret-after-all'");

    let (log, metrics) = (mesh.log(), mesh.metrics().unwrap());
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "nothing was looked at");
    let keys = verifier.split(['$', ':']).skip(2);
    let parts: Vec<&str> = ["secret", APP_USER.password].into_iter().chain(keys).collect();
    assert_eq!(parts.len(), 5, "salt and keys of {verifier:?}");
    for text in [&log, &metrics] {
        let told: Vec<&str> =
            text.lines().filter(|line| parts.iter().any(|part| line.contains(part))).collect();
        assert!(told.is_empty(), "{told:#?}");
    }
    let secret = client.key.as_ref().unwrap().secret.expose();
    assert!(!log.contains(&i32::from_be_bytes(secret[..4].try_into().unwrap()).to_string()));
}
