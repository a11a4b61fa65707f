//! What a configuration never shows.

use config::{Process, parse};

/// Whoever prints a configuration, be it the whole, prints no secret.
#[test]
fn no_secret_is_in_what_debug_shows() {
    let secrets = "[cluster]
        endpoints = ['https://etcd-1:2379']
        scope = 'demo'
        user = 'etcd'
        password = 'SECRET of etcd'
        [peers]
        addresses = ['pgmesh-2:5432']
        secret = 'SECRET of the peers'
        [auth]
        query_user = 'lookup'
        query_password = 'SECRET of the query'
        [[users]]
        name = 'plain'
        password = 'SECRET in plain'
        server_password = 'SECRET for servers'
        [[users]]
        name = 'verifier'
        password = 'SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$\
SECRETOISPcAkzjrmxuuw6FTH0wvmZqRDjXyBMxjRo0=:SECRETOISPcAkzjrmxuuw6FTH0wvmZqRDjXyBMxjRo0='";
    let settings = parse("t", secrets, &Process).unwrap();
    let shown =
        format!("{settings:?} {settings:#?} {:?}", settings.passwords().collect::<Vec<_>>());
    assert!(shown.contains("verifier") && shown.contains("plain"), "{shown}");
    assert!(!shown.contains("SECRET"), "{shown}");
    // Nor as the bytes that it is made of: "SECR", of the text and of the decoded keys.
    for bytes in ["83, 69, 67, 82", "72, 64, 145"] {
        assert!(!shown.contains(bytes), "{shown}");
    }
}
