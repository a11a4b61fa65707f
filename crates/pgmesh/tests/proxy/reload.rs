//! The configuration is read again while clients are at work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::{fs, thread};

use testbed::{APP_USER, Credentials, Pgmesh, Postgres, PostgresOptions, Role, Signal};
use wire::Version;

use crate::clients::Raw;
use crate::metrics::{eventually, sample, wait_for, wait_for_at_least};
use crate::postgres;
use crate::proxy::Setup;

const OTHER: Credentials = Credentials { user: "other", password: "other_secret" };

/// Replaces a part of the file at once, as editors and mounts do. Its text of before.
fn rewrite(mesh: &Pgmesh, from: &str, to: &str) -> String {
    let text = fs::read_to_string(mesh.config()).unwrap();
    assert!(text.contains(from), "{from:?} in {text}");
    write(mesh, &text.replace(from, to));
    text
}

fn write(mesh: &Pgmesh, text: &str) {
    let next = mesh.config().with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, mesh.config()).unwrap();
}

/// Has the file read again, and waits until that has come to its end.
fn hang_up(mesh: &mut Pgmesh, outcome: &str) {
    let label = format!("outcome=\"{outcome}\"");
    let before = sample(mesh, "pgmesh_reloads_total", &label);
    mesh.signal(Signal::HUP);
    wait_for_at_least(mesh, "pgmesh_reloads_total", &label, before + 1.0);
}

fn two_roles() -> Postgres {
    let options = PostgresOptions {
        roles: vec![
            Role::new(APP_USER.user, APP_USER.password),
            Role::new(OTHER.user, OTHER.password),
        ],
        ..PostgresOptions::default()
    };
    Postgres::start(options).unwrap()
}

fn code(mesh: &Pgmesh, who: Credentials) -> Option<String> {
    let told = Raw::log_in_with(&mesh.login(who, "app"), Version::V3_0, &[]);
    told.err().map(|told| told.code)
}

#[test]
fn a_pool_grows_and_shrinks_under_load_and_no_client_sees_an_error() {
    let postgres = postgres();
    let mut mesh = Setup::before(&postgres).with("pool", "reserve_size = 0\nsize = 2").start();
    let servers = || -> u32 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_user'";
        postgres.psql(count).unwrap().parse().unwrap()
    };
    let (login, is_over, worked) = (mesh.app(), AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Raw::log_in(&login);
                    while !is_over.load(Relaxed) {
                        for sql in ["BEGIN", "SELECT pg_sleep(0.005)", "COMMIT", "SELECT 1"] {
                            let answer = client.query(sql);
                            assert!(answer.errors.is_empty(), "{sql}: {:?}", answer.errors);
                        }
                        worked.fetch_add(1, Relaxed);
                    }
                })
            })
            .collect();
        let some_work = || {
            let before = worked.load(Relaxed);
            eventually("clients that work", || {
                worked.load(Relaxed) > before + 20 || clients.iter().any(|it| it.is_finished())
            });
        };
        some_work();
        assert_eq!(servers(), 2);
        rewrite(&mesh, "size = 2", "size = 5");
        hang_up(&mut mesh, "changed");
        assert_eq!(sample(&mesh, "pgmesh_pool_size", "database=\"app\""), 5.0);
        eventually("a larger pool", || servers() == 5);
        some_work();
        rewrite(&mesh, "size = 5", "size = 1");
        hang_up(&mut mesh, "changed");
        assert_eq!(sample(&mesh, "pgmesh_pool_size", "database=\"app\""), 1.0);
        // Though there is never one without a client that waits for it.
        eventually("a smaller pool", || servers() == 1);
        some_work();
        is_over.store(true, Relaxed);
    });
    hang_up(&mut mesh, "unchanged");
    assert_eq!(sample(&mesh, "pgmesh_reloads_total", "outcome=\"failed\""), 0.0);
}

#[test]
fn users_come_and_go_with_the_file_and_nobody_is_disconnected() {
    let postgres = two_roles();
    let mesh = Setup::before(&postgres).start();
    let mut client = Raw::log_in(&mesh.app());
    assert_eq!(code(&mesh, OTHER).as_deref(), Some("28P01"));
    let added = format!(
        "\n[[users]]\nname = \"other\"\npassword = \"{}\"\npool_size = 3\n",
        OTHER.password
    );
    let alone = fs::read_to_string(mesh.config()).unwrap();
    write(&mesh, &format!("{alone}{added}"));
    // Nobody has to tell it.
    eventually("the new user", || code(&mesh, OTHER).is_none());
    let mut other = Raw::log_in(&mesh.login(OTHER, "app"));
    assert_eq!(other.value("SELECT current_user"), "other");
    assert_eq!(sample(&mesh, "pgmesh_pool_size", "user=\"other\""), 3.0);

    write(&mesh, &alone);
    eventually("the user has gone", || code(&mesh, OTHER).as_deref() == Some("28P01"));
    assert_eq!(other.value("SELECT 1"), "1");
    assert_eq!(client.value("SELECT current_user"), "app_user");
    let log = mesh.log();
    for part in ["users.other (line", ") is new", "users.other has gone"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert!(!log.contains(OTHER.password), "{log}");
}

#[test]
fn a_password_that_changes_in_the_file_counts_beside_the_one_before() {
    let postgres = postgres();
    let mut mesh = Setup::before(&postgres).start();
    let renewed = Credentials { password: "renewed", ..APP_USER };
    assert_eq!(code(&mesh, renewed).as_deref(), Some("28P01"));
    rewrite(&mesh, APP_USER.password, renewed.password);
    hang_up(&mut mesh, "changed");
    assert_eq!((code(&mesh, renewed), code(&mesh, APP_USER)), (None, None));
    assert!(mesh.log().contains("users.app_user.password (line"), "{}", mesh.log());
    assert!(!mesh.log().contains(renewed.password));
}

#[test]
fn a_file_with_errors_changes_nothing_and_its_lines_are_named() {
    let postgres = postgres();
    let mut mesh = Setup::before(&postgres).with("pool", "size = 2").start();
    let mut client = Raw::log_in(&mesh.app());
    let good = rewrite(&mesh, "size = 2", "size = 7\nsise = 3\nmode = \"x\"");
    hang_up(&mut mesh, "failed");
    wait_for(&mesh, "pgmesh_config_reload_failed", "", 1.0);
    assert_eq!(sample(&mesh, "pgmesh_pool_size", "database=\"app\""), 2.0);
    let line = 1 + good.lines().position(|line| line == "size = 2").unwrap();
    let log = mesh.log();
    for part in [format!("line {}: pool.sise", line + 1), format!("line {}: pool.mode", line + 2)] {
        assert!(log.contains(&part), "{part} in {log}");
    }
    // What cannot be built is an error, too, and what is good beside it does not count.
    write(&mesh, &good.replace("size = 2", "size = 7\n[auth]\nhba_file = \"/no/such/file\""));
    hang_up(&mut mesh, "failed");
    assert_eq!(sample(&mesh, "pgmesh_pool_size", "database=\"app\""), 2.0);
    assert_eq!(client.value("SELECT 1"), "1");
    fs::remove_file(mesh.config()).unwrap();
    hang_up(&mut mesh, "failed");
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 2"), "2");

    let port = format!("port = {}", mesh.port());
    write(&mesh, &good.replace("size = 2", "size = 3").replacen(&port, "port = 1", 1));
    hang_up(&mut mesh, "changed");
    wait_for(&mesh, "pgmesh_config_reload_failed", "", 0.0);
    assert_eq!(sample(&mesh, "pgmesh_pool_size", "database=\"app\""), 3.0);
    assert!(mesh.log().contains("needs a restart: proxy.port = 1 (line"), "{}", mesh.log());
    assert_eq!(client.value("SELECT 3"), "3");
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 4"), "4");
}

#[test]
fn limits_rules_and_levels_count_for_those_who_come_later() {
    let postgres = postgres();
    let mut mesh = Setup::before(&postgres).with("log", "level = \"info\"").start();
    let mut client = Raw::log_in(&mesh.app());
    let first = rewrite(&mesh, "[log]", "[pool]\nquery_timeout = \"100ms\"\n[log]");
    let text = fs::read_to_string(mesh.config()).unwrap();
    let text = text.replace("[proxy]", "[proxy]\nmax_user_client_connections = 2");
    write(&mesh, &text.replace("level = \"info\"", "level = \"debug\""));
    assert!(!mesh.log().contains("client left"));
    hang_up(&mut mesh, "changed");
    let mut second = Raw::log_in(&mesh.app());
    assert_eq!(code(&mesh, APP_USER).as_deref(), Some("53300"), "the first one counts");
    assert_eq!(second.query("SELECT pg_sleep(60)").errors[0].code, "57014");
    assert!(client.query("SELECT pg_sleep(0.3)").errors.is_empty(), "as it began");
    second.say(b'X', |_| ());
    eventually("what is logged at debug", || mesh.log().contains("client left"));

    let rule = "[[hba]]\ntype = \"host\"\nmethod = \"reject\"\n";
    write(&mesh, &format!("{first}{rule}"));
    hang_up(&mut mesh, "changed");
    assert_eq!(code(&mesh, APP_USER).as_deref(), Some("28000"));
    assert_eq!(client.value("SELECT 1"), "1");
    write(&mesh, &first);
    hang_up(&mut mesh, "changed");
    assert_eq!(code(&mesh, APP_USER), None);
}

/// What a server goes by since its login: it is replaced when its transaction has ended.
#[test]
fn servers_that_were_opened_for_other_settings_are_replaced_between_transactions() {
    let postgres = postgres();
    let mut mesh = Setup::before(&postgres).with("pool", "server_lifetime = \"1h\"").start();
    let mut client = Raw::log_in(&mesh.app());
    let pid = "SELECT pg_backend_pid()";
    assert_eq!(client.query("BEGIN").status, 'T');
    let before = client.value(pid);
    rewrite(&mesh, "server_lifetime = \"1h\"", "server_lifetime = \"2h\"");
    hang_up(&mut mesh, "changed");
    assert_eq!(client.value(pid), before, "its transaction ends first");
    assert_eq!(client.query("COMMIT").errors, vec![]);
    eventually("the server is another", || client.value(pid) != before);
    // What servers do not go by replaces none.
    let now = client.value(pid);
    rewrite(&mesh, "server_lifetime = \"2h\"", "server_lifetime = \"2h\"\nquery_timeout = \"1h\"");
    hang_up(&mut mesh, "changed");
    assert_eq!(client.value(pid), now);
}
