//! A crash leaves no memory behind, unless it is asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testbed::{APP_USER, Pgmesh, Signal};

use crate::postgres;
use crate::proxy::{Setup, binary};

/// Starts pgmesh in a directory of its own and where a core file may be as large as it gets,
/// as far as this user may say so.
fn wrapper(directory: &Path) -> PathBuf {
    let path = directory.join("pgmesh");
    let (here, binary) = (directory.display(), binary());
    let script = format!(
        "#!/bin/sh\ncd '{here}'\nulimit -c $(ulimit -H -c)\nexec '{}' \"$@\"\n",
        binary.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Both limits of core files.
fn limits(mesh: &Pgmesh) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", mesh.id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    line.unwrap().split_ascii_whitespace().take(2).map(str::to_owned).collect()
}

/// The core file that a crash leaves.
fn crash(mesh: &mut Pgmesh, directory: &Path) -> Option<Vec<u8>> {
    mesh.stop(Signal::ABORT, Duration::from_secs(60)).unwrap();
    let mut files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let core = files.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("core"));
    core.map(|core| fs::read(core).unwrap())
}

fn holds(core: &[u8], secret: &str) -> bool {
    core.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn a_crash_leaves_a_core_file_only_where_that_is_asked_for() {
    let postgres = postgres();
    let directory = tempfile::tempdir().unwrap();
    let start =
        |keys| Setup::before(&postgres).with("proxy", keys).start_by(&wrapper(directory.path()));
    let mut mesh = start("");
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
    assert_eq!(limits(&mesh), ["0", "0"]);
    assert!(mesh.log().contains("core dumps are forbidden"), "{}", mesh.log());
    assert_eq!(crash(&mut mesh, directory.path()), None);

    let mut mesh = start("core_dumps = true");
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
    assert!(mesh.log().contains("core dumps are allowed"), "{}", mesh.log());
    let may_dump = limits(&mesh) != ["0", "0"];
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if may_dump && pattern.starts_with("core") {
        let core = crash(&mut mesh, directory.path()).expect("a core file");
        assert!(holds(&core, APP_USER.password), "what all this is for");
    }
}
