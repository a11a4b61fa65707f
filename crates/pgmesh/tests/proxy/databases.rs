//! Databases that are dropped, renamed or copied while servers wait in them for clients.

use testbed::{APP_USER, Credentials, Pgmesh, Postgres, PostgresOptions, Role};

use crate::clients::{Raw, parse, run};
use crate::metrics::{eventually, sample, wait_for};
use crate::proxy::Setup;

const OTHER: Credentials = Credentials { user: "other", password: "secret" };

fn start(pool: &str) -> (Postgres, Pgmesh) {
    let app = Role::new(APP_USER.user, APP_USER.password);
    let roles = vec![
        Role { attributes: "CREATEDB".to_owned(), ..app },
        Role::new(OTHER.user, OTHER.password),
    ];
    let postgres = Postgres::start(PostgresOptions { roles, ..PostgresOptions::default() });
    let postgres = postgres.unwrap();
    let mesh = Setup::before(&postgres).user(OTHER.user, OTHER.password, "").with("pool", pool);
    let mesh = mesh.start();
    (postgres, mesh)
}

/// Leaves servers of two users in a database, and one that listens.
fn use_database(mesh: &Pgmesh, database: &str) {
    let mut clients =
        [APP_USER, APP_USER, OTHER].map(|user| Raw::log_in(&mesh.login(user, database)));
    for client in &mut clients {
        client.query("BEGIN");
        assert_eq!(client.value("SELECT current_database()"), database);
    }
    for client in &mut clients {
        client.query("COMMIT");
    }
    assert_eq!(clients[0].query("LISTEN news").errors, vec![]);
    drop(clients);
    wait_for(mesh, "pgmesh_listen_clients", "", 0.0);
}

#[test]
fn what_only_waits_in_a_database_is_not_in_the_way_of_those_who_need_it_empty() {
    let (postgres, mesh) = start("min_size = 2");
    let mut client = Raw::log_in(&mesh.app());
    assert_eq!(client.query("CREATE DATABASE one").errors, vec![]);
    for (database, sql) in [
        ("one", "CREATE DATABASE two TEMPLATE one"),
        ("one", "ALTER DATABASE one RENAME TO \"The One\""),
        ("The One", "/* at last */ DROP DATABASE \"The One\""),
        ("two", "drop database if exists two"),
    ] {
        use_database(&mesh, database);
        assert_eq!(client.query(sql).errors, vec![], "{sql}");
    }
    assert!(sample(&mesh, "pgmesh_server_discards_total", "reason=\"vacated\"") >= 12.0);
    assert_eq!(
        postgres.psql("SELECT count(*) FROM pg_database WHERE NOT datistemplate").unwrap(),
        "2"
    );
    // A driver's way, with a statement that has a name and with one that has none.
    for name in ["", "s"] {
        assert_eq!(client.query("CREATE DATABASE three").errors, vec![]);
        use_database(&mesh, "three");
        let answer = client.batch(|out| {
            parse(out, name, "DROP DATABASE three");
            run(out, name, &[]);
        });
        assert_eq!(answer.errors, vec![]);
    }
}

#[test]
fn who_may_not_drop_a_database_closes_nobodys_servers() {
    let (_postgres, mesh) = start("");
    let mut client = Raw::log_in(&mesh.app());
    assert_eq!(client.query("CREATE DATABASE one").errors, vec![]);
    use_database(&mesh, "one");
    let mut other = Raw::log_in(&mesh.login(OTHER, "app"));
    // On a machine where an error takes longer than pgmesh waits it looks like a statement that runs.
    eventually("a refusal that closes no server", || {
        use_database(&mesh, "one");
        let closed = || sample(&mesh, "pgmesh_server_discards_total", "reason=\"vacated\"");
        let before = closed();
        for _ in 0..5 {
            assert_eq!(other.query("DROP DATABASE one").errors[0].code, "42501");
            assert_eq!(other.query("DROP DATABASE none").errors[0].code, "3D000");
        }
        closed() <= before
    });
}

#[test]
fn who_uses_a_database_is_in_the_way_and_who_is_only_connected_is_told_afterwards() {
    let (postgres, mesh) = start("");
    let mut client = Raw::log_in(&mesh.app());
    assert_eq!(client.query("CREATE DATABASE one").errors, vec![]);
    let mut user = Raw::log_in(&mesh.login(APP_USER, "one"));
    user.query("BEGIN");
    user.value("SELECT 1");
    assert_eq!(client.query("DROP DATABASE one").errors[0].code, "55006");
    user.query("COMMIT");
    assert_eq!(client.query("DROP DATABASE one").errors, vec![]);
    assert_eq!(user.query("SELECT 1").errors[0].code, "3D000");
    // And can go on when it is there again.
    assert_eq!(client.query("CREATE DATABASE one").errors, vec![]);
    eventually("a server", || user.query("SELECT 1").errors.is_empty());
    drop(postgres);
}

#[test]
fn a_server_that_could_be_spared_is_not_in_the_way() {
    let (_postgres, mesh) = start("");
    let mut client = Raw::log_in(&mesh.app());
    assert_eq!(client.query("CREATE DATABASE one").errors, vec![]);
    let mut other = Raw::log_in(&mesh.login(APP_USER, "one"));
    assert_eq!(other.query("CREATE SEQUENCE s").errors, vec![]);
    assert_eq!(other.value("SELECT nextval('s')"), "1");
    assert_eq!(other.value("SELECT currval('s')"), "1", "it is kept");
    assert_eq!(client.query("DROP DATABASE one").errors, vec![]);
}
