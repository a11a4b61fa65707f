//! Passwords that are changed while clients are at work.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use testbed::{APP_USER, Login, Pgmesh, Postgres};
use wire::Version;

use crate::clients::Raw;
use crate::metrics::eventually;
use crate::postgres;
use crate::proxy::Setup;

const OLD: &str = APP_USER.password;
const NEW: &str = "another_password";

/// Replaces the file at once, as a mount of secrets does.
fn write(directory: &Path, password: &str) {
    fs::write(directory.join("next"), format!("{password}\n")).unwrap();
    fs::rename(directory.join("next"), directory.join("password")).unwrap();
}

/// A proxy with `app_user`'s password in a file, that logs in to a server for every statement.
fn start(postgres: &Postgres, directory: &Path, keys: &str) -> Pgmesh {
    write(directory, OLD);
    Setup::before(postgres)
        .without_users()
        .user_of_file(APP_USER.user, &directory.join("password"), "")
        .with("pool", "server_lifetime = \"1ms\"")
        .with("auth", keys)
        .start()
}

fn with(mesh: &Pgmesh, password: &str) -> Login {
    Login { password: password.to_owned(), ..mesh.app() }
}

/// Logs in and works on a server that is new.
fn work(login: &Login) -> Result<(), String> {
    let refused = |told| format!("{told:?}");
    let mut client = Raw::log_in_with(login, Version::V3_0, &[]).map_err(refused)?;
    let answer = client.query("SELECT 1");
    if answer.errors.is_empty() { Ok(()) } else { Err(format!("{:?}", answer.errors)) }
}

fn alter_role(postgres: &Postgres, password: &str) {
    postgres.psql(&format!("ALTER ROLE app_user PASSWORD '{password}'")).unwrap();
}

/// Runs `change` while clients come and go, of which no one may notice.
fn while_clients_work(mesh: &Pgmesh, change: impl FnOnce(&dyn Fn())) {
    let (login, is_over, worked) = (with(mesh, OLD), AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !is_over.load(Relaxed) {
                        work(&login).unwrap();
                        worked.fetch_add(1, Relaxed);
                    }
                })
            })
            .collect();
        // Two per client: one of them has begun after the call.
        let some_work = || {
            let before = worked.load(Relaxed);
            eventually("clients that work", || {
                worked.load(Relaxed) > before + 4 || clients.iter().any(|it| it.is_finished())
            });
        };
        some_work();
        change(&some_work);
        some_work();
        is_over.store(true, Relaxed);
    });
}

#[test]
fn first_the_file_and_then_the_role_without_one_failed_login() {
    let (postgres, directory) = (postgres(), tempfile::tempdir().unwrap());
    let mesh = start(&postgres, directory.path(), "");
    assert!(work(&with(&mesh, NEW)).is_err());
    while_clients_work(&mesh, |some_work| {
        write(directory.path(), NEW);
        eventually("the new password", || work(&with(&mesh, NEW)).is_ok());
        some_work();
        alter_role(&postgres, NEW);
        some_work();
    });
    work(&with(&mesh, NEW)).unwrap();
    let log = mesh.log();
    assert!(log.contains("a secret has changed; the one before counts"), "{log}");
    assert!(!log.contains(NEW) && !log.contains(OLD), "{log}");
}

#[test]
fn first_the_role_and_then_the_file_without_one_failed_login() {
    let (postgres, directory) = (postgres(), tempfile::tempdir().unwrap());
    let mesh = start(&postgres, directory.path(), "");
    while_clients_work(&mesh, |_| {
        alter_role(&postgres, NEW);
        eventually("a login that is refused", || mesh.log().contains("28P01"));
        write(directory.path(), NEW);
    });
    work(&with(&mesh, NEW)).unwrap();
}

#[test]
fn the_password_before_ends_with_its_window() {
    let (postgres, directory) = (postgres(), tempfile::tempdir().unwrap());
    let mesh = start(&postgres, directory.path(), "rotation_window = \"1s\"");
    work(&with(&mesh, OLD)).unwrap();
    alter_role(&postgres, NEW);
    write(directory.path(), NEW);
    eventually("the new password", || work(&with(&mesh, NEW)).is_ok());
    eventually("the end of the old one", || work(&with(&mesh, OLD)).is_err());
    work(&with(&mesh, NEW)).unwrap();
}

#[test]
fn a_file_that_is_no_password_changes_nothing_and_is_said_once() {
    let (postgres, directory) = (postgres(), tempfile::tempdir().unwrap());
    let mesh = start(&postgres, directory.path(), "");
    let said = |text: &str| mesh.log().matches(text).count();
    write(directory.path(), "");
    eventually("an error in the log", || said("cannot be used; the one before stays") == 1);
    work(&with(&mesh, OLD)).unwrap();
    // A hash is no password. By then the empty file was looked at more than once, or not again.
    write(directory.path(), "md5d41d8cd98f00b204e9800998ecf8427e");
    eventually("another error", || said("cannot be used; the one before stays") == 2);
    work(&with(&mesh, OLD)).unwrap();
    // Known again, and nothing new.
    write(directory.path(), OLD);
    work(&with(&mesh, OLD)).unwrap();
    assert_eq!(said("a secret has changed; the one before counts"), 0);
}

#[test]
fn a_password_that_servers_never_took_is_told_at_once() {
    let (postgres, directory) = (postgres(), tempfile::tempdir().unwrap());
    alter_role(&postgres, NEW);
    let mesh = start(&postgres, directory.path(), "");
    let told = work(&with(&mesh, OLD)).unwrap_err();
    assert!(told.contains("28P01"), "{told}");
}
