//! How often the schema of a database has changed, as far as command tags tell.
//!
//! A statement that a client parses for the first time must not be one that somebody has parsed
//! before a table or a type has changed: its result would be the one of before, and inside a
//! transaction that is an error which a direct connection does not see. So each change gives a new
//! number, and a text under another number is another statement (`catalog`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the changes of one database's schema; shared by all servers of the database.
#[derive(Debug, Default)]
pub struct Schema(AtomicU64);

/// What one server has to do with it. Dropped in the middle of a change, it counts that: the
/// change may have been committed.
#[derive(Debug, Default)]
pub(crate) struct SchemaWatch {
    schema: Arc<Schema>,
    change: Change,
}

/// Whether the transaction that is open has changed the schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Change {
    #[default]
    None,
    /// Nobody else sees that before its end.
    Open,
}

impl SchemaWatch {
    pub(crate) fn new(schema: Arc<Schema>) -> Self {
        Self { schema, change: Change::None }
    }

    /// The number of changes that a statement which is parsed now comes after.
    pub(crate) fn now(&self) -> u64 {
        // The client whose answer told of the change may have told this one's.
        self.schema.0.load(Ordering::Acquire)
    }

    /// Something has run, and this is its command tag.
    #[inline]
    pub(crate) fn on_tag(&mut self, tag: &[u8]) {
        if changes(tag) {
            self.change = Change::Open;
            self.count();
        } else if self.change == Change::Open && tag == b"ROLLBACK" {
            // Of a savepoint too: what was parsed since is outdated again.
            self.count();
        }
    }

    /// No transaction is open any more: what it has changed counts for all.
    #[inline]
    pub(crate) fn on_idle(&mut self) {
        if self.change == Change::Open {
            self.change = Change::None;
            self.count();
        }
    }

    fn count(&self) {
        self.schema.0.fetch_add(1, Ordering::Release);
    }
}

impl Drop for SchemaWatch {
    fn drop(&mut self) {
        self.on_idle();
    }
}

/// Whether what has this tag may have given a name another meaning. What is behind `SELECT`, as of
/// `CREATE TABLE AS`, is not seen.
#[inline]
fn changes(tag: &[u8]) -> bool {
    match tag.first() {
        Some(b'A') => tag.starts_with(b"ALTER "),
        Some(b'C') => tag.starts_with(b"CREATE ") || tag == b"CALL" || tag == b"COMMIT PREPARED",
        Some(b'D') => tag.starts_with(b"DROP ") || tag == b"DO" || tag.starts_with(b"DISCARD "),
        Some(b'I') => tag.starts_with(b"IMPORT "),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_change_a_result_counts() {
        for tag in [
            "ALTER TABLE",
            "CREATE TABLE",
            "CREATE VIEW",
            "DROP TYPE",
            "DROP OWNED",
            "DO",
            "CALL",
            "DISCARD TEMP",
            "IMPORT FOREIGN SCHEMA",
            "COMMIT PREPARED",
        ] {
            assert!(changes(tag.as_bytes()), "{tag}");
        }
        for tag in [
            "",
            "SELECT 1",
            "INSERT 0 1",
            "UPDATE 1",
            "DELETE 1",
            "BEGIN",
            "COMMIT",
            "ROLLBACK",
            "COPY 2",
            "CLOSE CURSOR",
            "DECLARE CURSOR",
            "DEALLOCATE",
            "CHECKPOINT",
            "ANALYZE",
        ] {
            assert!(!changes(tag.as_bytes()), "{tag}");
        }
    }

    #[test]
    fn a_change_counts_at_once_and_again_when_others_see_it() {
        let schema: Arc<Schema> = Arc::default();
        let (mut one, other) = [(); 2].map(|()| SchemaWatch::new(Arc::clone(&schema))).into();
        one.on_tag(b"SELECT 1");
        one.on_tag(b"ROLLBACK");
        one.on_idle();
        assert_eq!(other.now(), 0);
        one.on_tag(b"ALTER TABLE");
        assert_eq!(other.now(), 1);
        one.on_tag(b"ROLLBACK");
        assert_eq!(other.now(), 2);
        one.on_idle();
        one.on_idle();
        assert_eq!(other.now(), 3);
        one.on_tag(b"DROP TABLE");
        drop(one);
        assert_eq!(other.now(), 5, "it may have been committed");
    }
}
