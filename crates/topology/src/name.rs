//! Names and numbers of the cluster: node names, epochs, timelines, log positions, revisions.

use std::fmt;
use std::sync::Arc;

/// Longest accepted node name, in bytes. Patroni's names are host or pod names; anything longer
/// than a DNS name is not one.
const NODE_NAME_MAX: usize = 255;

/// Why a text is not a node name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has a control character, which would break log lines and metric labels.
    #[error("node name has a control character")]
    Control,
    /// The name is empty.
    #[error("node name is empty")]
    Empty,
    /// The name is longer than 255 bytes.
    #[error("node name is longer than {NODE_NAME_MAX} bytes")]
    TooLong,
}

/// The name of a node, as the source calls it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// The name is empty, longer than 255 bytes, or has control characters.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NODE_NAME_MAX {
            return Err(NameError::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One tenure of one primary. Every server connection belongs to the epoch it was made in; a
/// higher epoch makes all lower ones useless. Epoch 0 is "no primary was ever named".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// Before the first primary was named.
    pub const NONE: Self = Self(0);

    /// The epoch as a number, for metrics and logs.
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts how often proof of the primary was asked for. A probe belongs to the round of the
/// snapshot under which it was begun, and proves nothing in a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round(u64);

impl Round {
    pub(crate) const FIRST: Self = Self(0);

    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A Postgres timeline id: grows by one at every promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeline(pub u32);

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in the write-ahead log, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A source's own version number of what it told us: etcd's revision, or a count of polls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        assert_eq!(NodeName::new(""), Err(NameError::Empty));
        assert_eq!(NodeName::new("a\nb"), Err(NameError::Control));
        assert_eq!(NodeName::new(&"x".repeat(256)), Err(NameError::TooLong));
        assert_eq!(NodeName::new("pg-0.citus").map(|n| n.to_string()), Ok("pg-0.citus".into()));
    }

    #[test]
    fn lsn_prints_as_postgres_prints_it() {
        assert_eq!(Lsn(0x1_0300_0060).to_string(), "1/3000060");
    }
}
