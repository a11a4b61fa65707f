//! A single Postgres: its roles, its ways to authenticate, to stop and to start again.

use testbed::{APP_USER, Method, Postgres, PostgresOptions, Role, Stop};

/// Whether a process exists; one that is dead and not yet waited for by init does not count.
fn is_alive(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with('Z'))
}

#[test]
fn the_default_serves_the_application() {
    let postgres = Postgres::start(PostgresOptions::default()).unwrap();
    assert_eq!(postgres.app().psql("SELECT current_user, 1").unwrap(), "app_user|1");
    let verifier =
        "SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'app_user'";
    assert_eq!(postgres.psql(verifier).unwrap(), "t");
    let mut wrong = postgres.app();
    wrong.password.push('x');
    let refusal = wrong.psql("SELECT 1").unwrap_err().to_string();
    assert!(refusal.contains("password authentication failed"), "{refusal}");
}

#[test]
fn every_method_is_the_one_asked_for() {
    for method in [Method::Md5, Method::Password, Method::Trust] {
        let options = PostgresOptions {
            method,
            settings: vec![("max_connections".to_owned(), "37".to_owned())],
            roles: vec![Role::new(APP_USER.user, APP_USER.password), Role::new("it's", "p'w")],
            ..PostgresOptions::default()
        };
        let postgres = Postgres::start(options).unwrap();
        let mut app = postgres.app();
        assert_eq!(app.psql("SHOW max_connections").unwrap(), "37", "{method:?}");
        app.password.push('x');
        assert_eq!(app.psql("SELECT 1").is_ok(), method == Method::Trust, "{method:?}");
        let md5 = "SELECT bool_and(rolpassword LIKE 'md5%') FROM pg_authid WHERE rolname IN ('app_user', 'it''s')";
        let expected = if method == Method::Md5 { "t" } else { "f" };
        assert_eq!(postgres.psql(md5).unwrap(), expected, "{method:?}");
    }
}

#[test]
fn data_and_port_survive_every_stop_but_the_process_does_not() {
    let mut postgres = Postgres::start(PostgresOptions::default()).unwrap();
    let port = postgres.port();
    postgres.app().psql("CREATE TABLE t (n int)").unwrap();
    let stops = [Stop::Smart, Stop::Fast, Stop::Immediate, Stop::Crash];
    for (n, how) in stops.into_iter().enumerate() {
        postgres.app().psql(&format!("INSERT INTO t VALUES ({n})")).unwrap();
        let id = postgres.id().unwrap();
        postgres.stop(how).unwrap();
        assert!(!is_alive(id), "{how:?}");
        assert!(postgres.app().psql("SELECT 1").is_err(), "{how:?}");
        postgres.restart().unwrap();
        assert_eq!(postgres.port(), port);
        assert_eq!(postgres.app().psql("SELECT count(*) FROM t").unwrap(), (n + 1).to_string());
    }
}

#[test]
fn nothing_is_left_after_drop() {
    let postgres = Postgres::start(PostgresOptions::default()).unwrap();
    let (id, data) = (postgres.id().unwrap(), postgres.data().to_path_buf());
    assert!(is_alive(id) && data.exists());
    drop(postgres);
    assert!(!is_alive(id));
    assert!(!data.parent().unwrap().exists());
}

#[test]
fn nothing_is_left_after_a_panic() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let postgres = Postgres::start(PostgresOptions::default()).unwrap();
        sender.send((postgres.id().unwrap(), postgres.data().to_path_buf())).unwrap();
        panic!("on purpose");
    });
    assert!(test.join().is_err());
    let (id, data) = receiver.recv().unwrap();
    assert!(!is_alive(id));
    assert!(!data.parent().unwrap().exists());
}
