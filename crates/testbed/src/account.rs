//! The system user that the database daemons run as.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Error;

/// The user that packages create for Postgres.
const POSTGRES: &str = "postgres";

/// Who owns the data directories and runs the daemons.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Account {
    /// The caller itself.
    Caller,
    /// Another user, because the caller is root and Postgres refuses to run as root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// `postgres` for root, the caller for anybody else.
    pub(crate) fn for_daemons() -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Caller);
        }
        let users = fs::read_to_string("/etc/passwd").map_err(Error::io("read /etc/passwd"))?;
        lookup(&users, POSTGRES)
            .map(|(uid, gid)| Self::Other { uid, gid })
            .ok_or_else(|| Error::Missing(format!("user {POSTGRES}")))
    }

    /// Makes `command` run as this account.
    pub(crate) fn run(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives a file or directory to this account.
    pub(crate) fn own(self, path: &Path) -> Result<(), Error> {
        match self {
            Self::Caller => Ok(()),
            Self::Other { uid, gid } => chown(path, Some(uid), Some(gid))
                .map_err(Error::io(format!("change the owner of {}", path.display()))),
        }
    }
}

/// User and group number of `name` in the text of /etc/passwd.
fn lookup(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut fields = line.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_is_searched_by_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgresql:x:1:2::/:/bin/sh\npostgres:x:107:115:,,,:/var/lib:/bin/bash\n";
        assert_eq!(lookup(passwd, "postgres"), Some((107, 115)));
        assert_eq!(lookup(passwd, "nobody"), None);
    }
}
