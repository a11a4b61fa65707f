//! Whether files have changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What files looked like at one moment; a file that is not there has a look, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look(Vec<Option<Stamp>>);

/// What tells one state of a file from the next. A file that is replaced has another inode, one
/// that is written in place another size or time; a change of permissions shows in `changed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl Look {
    /// Looks at files, through symbolic links: mounted secrets are replaced by turning one.
    pub(crate) fn at(paths: &[PathBuf]) -> Self {
        Self(paths.iter().map(|path| Stamp::of(path)).collect())
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_way_to_change_a_file_shows() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let paths = [path("seen")];
        let absent = Look::at(&paths);
        fs::write(path("one"), "1").unwrap();
        symlink(path("one"), path("seen")).unwrap();
        let linked = Look::at(&paths);
        assert_ne!(linked, absent);
        assert_eq!(linked, Look::at(&paths));

        fs::write(path("one"), "11").unwrap();
        let written = Look::at(&paths);
        assert_ne!(written, linked);

        fs::copy(path("one"), path("two")).unwrap();
        symlink(path("two"), path("next")).unwrap();
        fs::rename(path("next"), path("seen")).unwrap();
        let turned = Look::at(&paths);
        assert_ne!(turned, written);

        fs::remove_file(path("two")).unwrap();
        assert_eq!(Look::at(&paths), absent);
    }
}
