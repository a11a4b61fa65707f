//! What a client asked for: the kind of node, and the pool that serves it.

use std::fmt;
use std::sync::Arc;

/// Which nodes a client may be given. Decided by the port it came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Any healthy node.
    Any,
    /// Replicas; the primary when there is none.
    ReadOnly,
    /// The primary.
    ReadWrite,
}

impl Access {
    /// A short text for metric labels, SHOW and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one pool of servers serves. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    /// The database that servers are logged in to.
    pub database: Arc<str>,
    /// The user that servers are logged in as.
    pub user: Arc<str>,
    /// The kind of node that servers are on.
    pub access: Access,
}

/// For logs: a client has chosen both names, and must not write lines of its own with them.
impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, database) = (self.user.escape_debug(), self.database.escape_debug());
        write!(f, "{user}@{database} {}", self.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_key_prints_for_logs() {
        let key =
            PoolKey { database: "shop".into(), user: "app".into(), access: Access::ReadWrite };
        assert_eq!(key.to_string(), "app@shop read-write");
    }

    #[test]
    fn no_name_writes_a_line_of_its_own_into_the_log() {
        let key = PoolKey { database: "a\nb".into(), user: "\x1b[2J".into(), access: Access::Any };
        assert_eq!(key.to_string(), "\\u{1b}[2J@a\\nb any");
    }
}
