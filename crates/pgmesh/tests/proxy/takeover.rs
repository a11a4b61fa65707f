//! A newer process takes the place of an older one, and nobody is refused.

use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use auth::{Secret, Verifier};
use tempfile::TempDir;
use testbed::{APP_USER, Bed, Daemon, Interrupt, Pgmesh, Postgres, Signal};

use crate::clients::Raw;
use crate::metrics::{eventually, sample, wait_for};
use crate::proxy::{Setup, binary};
use crate::{postgres, wait_for_sleep, wait_for_sleeps};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a newer process says when the older one is on its way out.
const TAKEN: &str = "the older process takes no more clients";

fn setup(postgres: &Postgres, directory: &Path) -> Setup {
    let here = directory.display();
    let proxy = format!("takeover_socket = \"{here}/takeover\"\nunix_socket_dir = \"{here}\"");
    // One iteration in place of 4096: logins are what the load is made of.
    let verifier = Verifier::derive(&Secret::new(APP_USER.password), b"salt", 1).format();
    let keys = format!("server_password = \"{}\"", APP_USER.password);
    let setup = Setup::before(postgres).without_users();
    let setup = setup.user(APP_USER.user, verifier.expose(), &keys);
    // The deadline is never what ends these.
    setup.with("proxy", &proxy).with("shutdown", "drain_timeout = \"1h\"")
}

fn command(config: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(["run", "--takeover", "--config"]).arg(config);
    command
}

/// Starts a process that takes over, and waits until it has.
fn take_over(bed: &Bed, mesh: &Pgmesh, name: &str) -> Daemon {
    let newer = bed.spawn(name, &mut command(mesh.config()), Signal::KILL).unwrap();
    eventually("the takeover", || newer.log().contains(TAKEN));
    newer
}

fn assert_ends(mut exited: impl FnMut() -> Option<std::process::ExitStatus>) {
    let mut ended = None;
    eventually("the end", || {
        ended = exited();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}

/// Connections, one after the other, each with a statement.
#[derive(Clone, Default)]
struct Load {
    is_over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Load {
    fn begin(&self, mesh: &Pgmesh) -> Vec<thread::JoinHandle<()>> {
        let worker = |_| {
            let (load, login) = (self.clone(), mesh.app());
            thread::spawn(move || {
                while !load.is_over.load(SeqCst) {
                    let connection = || {
                        let mut client = Raw::log_in(&login);
                        assert_eq!(client.value("SELECT 1"), "1");
                    };
                    match catch_unwind(AssertUnwindSafe(connection)) {
                        Ok(()) => load.done.fetch_add(1, SeqCst),
                        Err(_) => {
                            load.failed.fetch_add(1, SeqCst);
                            return;
                        }
                    };
                }
            })
        };
        (0..6).map(worker).collect()
    }

    /// What it has come to.
    fn end(&self, workers: Vec<thread::JoinHandle<()>>) -> [u64; 2] {
        self.is_over.store(true, SeqCst);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        [&self.done, &self.failed].map(|count| count.load(SeqCst))
    }

    /// Waits until so many more have been served.
    fn more(&self, count: u64) {
        let wanted = self.done.load(SeqCst) + count;
        eventually("connections", || self.done.load(SeqCst) >= wanted);
    }
}

#[test]
fn under_load_no_connection_fails_and_cancel_keys_go_on_working() {
    let (postgres, directory) = (postgres(), TempDir::new().unwrap());
    let bed = Bed::new(Interrupt::default()).unwrap();
    let mut first = setup(&postgres, directory.path()).start();
    let mut sleepers = [(); 2].map(|()| Raw::log_in(&first.app()));
    for sleeper in &mut sleepers {
        sleeper.query("BEGIN");
        sleeper.ask("SELECT pg_sleep(600)");
    }
    wait_for_sleeps(&postgres, 2);
    let load = Load::default();
    let workers = load.begin(&first);
    load.more(300);

    let mut second = take_over(&bed, &first, "second");
    assert_eq!(first.http("/ready").unwrap().status, 200);
    load.more(300);
    sleepers[0].cancel();
    assert_eq!(sleepers[0].answer().errors[0].code, "57014");
    wait_for(&first, "pgmesh_cancels_total", "outcome=\"forwarded\"", 1.0);
    let mut of_second = Raw::log_in(&first.app());
    of_second.query("BEGIN");

    let mut third = take_over(&bed, &first, "third");
    load.more(300);
    // From the third by way of the second to the first.
    sleepers[1].cancel();
    assert_eq!(sleepers[1].answer().errors[0].code, "57014");
    let [done, failed] = load.end(workers);
    println!("2 takeovers under load: {done} connections, {failed} failed");
    assert_eq!(failed, 0, "of {done}");

    assert_eq!(first.exited().unwrap(), None, "transactions are open");
    for sleeper in &mut sleepers {
        sleeper.query("ROLLBACK");
        assert_eq!(sleeper.last_words().unwrap().code, "57P01");
    }
    assert_ends(|| first.exited().unwrap());
    of_second.query("COMMIT");
    assert_ends(|| second.exited().unwrap());
    assert_eq!(third.stop(Signal::TERM, PATIENCE).unwrap().code(), Some(0));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "no socket is left");
}

#[test]
fn a_unix_socket_changes_hands_with_its_lock() {
    let (postgres, directory) = (postgres(), TempDir::new().unwrap());
    let bed = Bed::new(Interrupt::default()).unwrap();
    let mut first = setup(&postgres, directory.path()).start();
    let path = directory.path().join(format!(".s.PGSQL.{}", first.port()));
    let mut second = take_over(&bed, &first, "second");
    assert_ends(|| first.exited().unwrap());
    UnixStream::connect(&path).unwrap();
    let lock = std::fs::read_to_string(format!("{}.lock", path.display())).unwrap();
    assert_eq!(lock.trim(), second.id().to_string());
    assert_eq!(Raw::log_in(&first.app()).value("SELECT 1"), "1");
    assert_eq!(second.stop(Signal::TERM, PATIENCE).unwrap().code(), Some(0));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);

    // Nobody to take over from.
    let mut third = bed.spawn("third", &mut command(first.config()), Signal::KILL).unwrap();
    eventually("the third serves", || UnixStream::connect(&path).is_ok());
    assert!(!third.log().contains(TAKEN), "{}", third.log());
    assert_eq!(third.stop(Signal::TERM, PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn a_newer_process_that_fails_has_changed_nothing() {
    let (postgres, directory) = (postgres(), TempDir::new().unwrap());
    let bed = Bed::new(Interrupt::default()).unwrap();
    let mut first = setup(&postgres, directory.path()).start();
    let mut client = Raw::log_in(&first.app());
    let config = std::fs::read_to_string(first.config()).unwrap();
    let bad = directory.path().join("bad.toml");
    // A port that somebody else has.
    let any_port = format!("[proxy]\nany_port = {}", postgres.port());
    std::fs::write(&bad, config.replace("[proxy]", &any_port)).unwrap();
    let failed = command(&bad).output().unwrap();
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && said.contains("cannot listen on"), "{said}");
    assert_eq!(client.value("SELECT 1"), "1");
    assert_eq!(Raw::log_in(&first.app()).value("SELECT 1"), "1");
    assert_eq!(sample(&first, "pgmesh_draining", ""), 0.0);

    // Without a socket there is nobody to ask.
    std::fs::write(&bad, config.replace("takeover_socket", "#takeover_socket")).unwrap();
    let failed = command(&bad).output().unwrap();
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && said.contains("needs proxy.takeover_socket"), "{said}");

    client.ask("SELECT pg_sleep(600)");
    wait_for_sleep(&postgres);
    let mut second = take_over(&bed, &first, "second");
    client.cancel();
    assert_eq!(client.answer().errors[0].code, "57014");
    assert_eq!(client.last_words().unwrap().code, "57P01");
    assert_ends(|| first.exited().unwrap());
    second.kill();
}
