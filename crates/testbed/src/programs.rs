//! Where the programs are.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::Error;

/// Looked at after PATH: daemons are often left out of a user's PATH.
const SYSTEM_DIRECTORIES: [&str; 4] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// Where Debian and Ubuntu put one directory per major version of Postgres.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// The system's Python, which is the one that distribution packages install modules for.
pub const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// Finds a program on PATH or in the system's directories.
///
/// # Errors
/// [`Error::Missing`] when it is nowhere.
pub fn find(program: &str) -> Result<PathBuf, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::Missing(format!("program {program}")))
}

/// Finds a program of Postgres itself (`postgres`, `initdb`, `psql`, `pgbench`, …), of the newest
/// version that is installed.
///
/// # Errors
/// [`Error::Missing`] when it is nowhere.
pub fn find_postgres(program: &str) -> Result<PathBuf, Error> {
    newest_version(Path::new(POSTGRES_VERSIONS))
        .map(|directory| directory.join(program))
        .filter(|candidate| candidate.is_file())
        .map_or_else(|| find(program), Ok)
}

/// The `bin` directory of the highest-numbered version under `versions` that has a server.
fn newest_version(versions: &Path) -> Option<PathBuf> {
    versions
        .read_dir()
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let directory = entry.path().join("bin");
            directory.join("postgres").is_file().then_some((version, directory))
        })
        .max()
        .map(|(_, directory)| directory)
}

/// A PATH for daemons that does not depend on the caller's.
pub(crate) fn daemon_path(first: Option<&Path>) -> impl AsRef<OsStr> {
    let directories = first.map(Path::to_path_buf).into_iter();
    let system = SYSTEM_DIRECTORIES.into_iter().chain(["/sbin", "/bin"]).map(PathBuf::from);
    env::join_paths(directories.chain(system)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_newest_version_with_a_server_wins() {
        let versions = tempfile::tempdir().unwrap();
        for (version, program) in [("9", "postgres"), ("15", "postgres"), ("17", "psql")] {
            let bin = versions.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join(program), "").unwrap();
        }
        assert_eq!(newest_version(versions.path()), Some(versions.path().join("15/bin")));
    }

    #[test]
    fn a_program_that_is_nowhere_is_named() {
        let error = find("no-such-program-at-all").unwrap_err();
        assert_eq!(error.to_string(), "no such program no-such-program-at-all");
    }
}
