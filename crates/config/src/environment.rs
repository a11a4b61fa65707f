//! Where `{ env = … }` and `{ file = … }` values come from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most that a `{ file = … }` may hold, in bytes: a secret, not a dump.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What lies outside proxy.toml: the process environment and files of secrets.
pub trait Environment {
    /// The value of an environment variable, if it is set and is UTF-8.
    fn var(&self, name: &str) -> Option<String>;

    /// The text of a file.
    ///
    /// # Errors
    /// Whatever reading it failed with; [`io::ErrorKind::InvalidData`] when it is not UTF-8 or
    /// larger than 64 KiB.
    fn file(&self, path: &Path) -> io::Result<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process;

impl Environment for Process {
    fn var(&self, name: &str) -> Option<String> {
        // `std::env::var` panics on neither `=` nor NUL, it answers NotPresent.
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        let file = File::open(path)?;
        // In one piece: a text that has to grow leaves copies of itself behind.
        let len = usize::try_from(file.metadata()?.len().min(FILE_BYTES_MAX)).unwrap_or(0);
        let mut text = String::with_capacity(len);
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 64 KiB"));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "a".repeat(64 * 1024)).unwrap();
        assert_eq!(Process.file(&path).unwrap().len(), 64 * 1024);
        std::fs::write(&path, "a".repeat(64 * 1024 + 1)).unwrap();
        assert_eq!(Process.file(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        // An endless file must not be read to its end.
        assert!(Process.file(Path::new("/dev/zero")).is_err());
        assert!(Process.var("PGMESH_SURELY_UNSET=").is_none());
    }
}
