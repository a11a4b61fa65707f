//! Two processes are two claimants here: a lock is of an open file, not of a process.

use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::sync::Barrier;

use super::*;

const NAME: &str = ".s.PGSQL.5432";

fn anybody() -> UnixAccess {
    UnixAccess { mode: 0o777, group: None }
}

fn open(name: &Path) -> Result<(UnixListener, Option<SocketFile>), UnixError> {
    listen_unix(name, &anybody(), 16, &mut Inherited::default())
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_socket_has_the_mode_and_group_asked_for_and_goes_with_its_lock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    // Any process may give a file to its own group.
    let group = std::fs::metadata(directory.path()).unwrap().gid();
    let access = UnixAccess { mode: 0o620, group: Some(group.to_string()) };
    let (listener, file) = listen_unix(&path, &access, 16, &mut Inherited::default()).unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.gid()), (0o620, group));
    let lock = std::fs::read_to_string(lock_path(&path)).unwrap();
    assert_eq!(lock.lines().next().unwrap(), std::process::id().to_string());
    let (accepted, connected) =
        tokio::join!(listener.accept(), tokio::net::UnixStream::connect(&path));
    assert!(accepted.is_ok() && connected.is_ok());
    assert_eq!(names(directory.path()), [NAME, ".s.PGSQL.5432.lock"]);
    drop((listener, file));
    assert!(names(directory.path()).is_empty());
}

#[tokio::test]
async fn who_serves_a_socket_keeps_it_and_who_wants_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let first = open(&path).unwrap();
    let error = open(&path).unwrap_err().to_string();
    let expected = format!("is in use by process {}: stop", std::process::id());
    assert!(error.contains(&expected), "{error}");
    StdStream::connect(&path).unwrap();
    drop(first);
    open(&path).unwrap();
}

#[tokio::test]
async fn one_who_has_no_lock_keeps_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let other = StdListener::bind(&path).unwrap();
    let error = open(&path).unwrap_err().to_string();
    let expected = format!("is in use by process {}: stop", std::process::id());
    assert!(error.contains(&expected), "{error}");
    assert_eq!(names(directory.path()), [NAME]);
    StdStream::connect(&path).unwrap();
    // As PostgreSQL has it: a lock file that nobody has locked.
    std::fs::write(lock_path(&path), "4711\n").unwrap();
    assert!(matches!(open(&path), Err(UnixError::InUse { .. })));
    assert_eq!(std::fs::read_to_string(lock_path(&path)).unwrap(), "4711\n");
    drop(other);
}

#[tokio::test]
async fn what_a_dead_process_left_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    drop(StdListener::bind(&path).unwrap());
    // Process 1 lives, and is somebody else.
    std::fs::write(lock_path(&path), "1\n").unwrap();
    assert!(StdStream::connect(&path).is_err());
    let _served = open(&path).unwrap();
    StdStream::connect(&path).unwrap();
    let lock = std::fs::read_to_string(lock_path(&path)).unwrap();
    assert_eq!(lock, format!("{}\n", std::process::id()));
}

#[tokio::test]
async fn nothing_else_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    std::fs::write(&path, "precious").unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("remove it"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::rename(&path, directory.path().join("precious")).unwrap();
    // What stands in the lock's place is neither written to nor followed.
    std::os::unix::fs::symlink("precious", lock_path(&path)).unwrap();
    assert!(matches!(open(&path), Err(UnixError::System { .. })));
    std::fs::remove_file(lock_path(&path)).unwrap();
    std::fs::create_dir(lock_path(&path)).unwrap();
    assert!(matches!(open(&path), Err(UnixError::InTheWay { .. })));
    let text = std::fs::read_to_string(directory.path().join("precious")).unwrap();
    assert_eq!(text, "precious");
}

#[tokio::test]
async fn what_another_has_made_since_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let first = open(&path).unwrap();
    // Somebody has cleaned up.
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(lock_path(&path)).unwrap();
    let _second = open(&path).unwrap();
    drop(first);
    StdStream::connect(&path).unwrap();
    assert!(open(&path).is_err());
}

#[tokio::test]
async fn an_error_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().join("nowhere");
    let error = open(&nowhere.join(NAME)).unwrap_err().to_string();
    assert!(error.contains(&format!("no directory {}", nowhere.display())), "{error}");
    let access = UnixAccess { mode: 0o770, group: Some("no such group".to_owned()) };
    let error = listen_unix(&directory.path().join(NAME), &access, 16, &mut Inherited::default())
        .unwrap_err();
    assert!(error.to_string().contains("no group \"no such group\""), "{error}");
    assert!(names(directory.path()).is_empty());
}

#[tokio::test]
async fn an_abstract_socket_is_no_file() {
    let name = format!("@pgmesh-test-{}/{NAME}", std::process::id());
    let (listener, file) = open(Path::new(&name)).unwrap();
    assert!(file.is_none());
    let address = listener.local_addr().unwrap();
    assert_eq!(address.as_abstract_name().unwrap(), &name.as_bytes()[1..]);
    assert!(matches!(open(Path::new(&name)), Err(UnixError::InUse { .. })));
}

/// However they get into each other's way, with or without something left behind.
#[test]
fn of_many_that_want_it_at_one_time_one_gets_it() {
    const CLAIMANTS: usize = 8;
    for round in 0..50 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        if round % 2 == 0 {
            std::fs::write(lock_path(&path), "1\n").unwrap();
        }
        let start = Barrier::new(CLAIMANTS);
        let claims: Vec<_> = std::thread::scope(|scope| {
            let claim = || {
                start.wait();
                claim(&path)
            };
            let threads: Vec<_> = (0..CLAIMANTS).map(|_| scope.spawn(claim)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1, "{claims:?}");
    }
}
