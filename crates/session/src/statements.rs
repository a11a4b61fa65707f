//! The two tables of prepared statements, a client's and a server's, and the changes to
//! them that wait for an answer.
//!
//! Both change only when the server has answered: a Parse that fails, or is skipped after
//! an error, leaves no ghost. Until then a change waits in [`PendingChanges`], where a
//! later message of the same pipeline already finds it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::catalog::Statement;

/// A client's statements by the names that it gave them.
pub(crate) type ClientStatements = HashMap<Box<[u8]>, Arc<Statement>>;

/// A change that takes effect when its answer comes.
#[derive(Debug)]
pub(crate) enum Change {
    /// The server has parsed a statement. For the client too, if it is named.
    Parsed { statement: Arc<Statement>, client_name: Option<Box<[u8]>> },
    /// The client has named a statement that the server had already.
    Named { statement: Arc<Statement>, client_name: Box<[u8]> },
    /// The client has dropped a name.
    Dropped { client_name: Box<[u8]> },
    /// The server has closed a statement.
    Closed { id: u64 },
}

/// Changes in the order of their answers.
#[derive(Debug, Default)]
pub(crate) struct PendingChanges {
    queue: VecDeque<Change>,
}

impl PendingChanges {
    pub(crate) fn push(&mut self, change: Change) {
        self.queue.push_back(change);
    }

    pub(crate) fn pop(&mut self) -> Option<Change> {
        self.queue.pop_front()
    }

    /// What `name` will mean to the client once all answers have come: `None` if nothing
    /// pending touches it.
    pub(crate) fn client(&self, name: &[u8]) -> Option<Option<&Arc<Statement>>> {
        self.queue.iter().rev().find_map(|change| match change {
            Change::Parsed { statement, client_name: Some(known) }
            | Change::Named { statement, client_name: known }
                if **known == *name =>
            {
                Some(Some(statement))
            }
            Change::Dropped { client_name } if **client_name == *name => Some(None),
            Change::Parsed { .. }
            | Change::Named { .. }
            | Change::Dropped { .. }
            | Change::Closed { .. } => None,
        })
    }

    /// Whether the server will have statement `id`: `None` if nothing pending touches it.
    pub(crate) fn server(&self, id: u64) -> Option<bool> {
        self.queue.iter().rev().find_map(|change| match change {
            Change::Parsed { statement, .. } if statement.id == id => Some(true),
            Change::Closed { id: closed } if *closed == id => Some(false),
            Change::Parsed { .. }
            | Change::Named { .. }
            | Change::Dropped { .. }
            | Change::Closed { .. } => None,
        })
    }
}

/// The statements that a server has, bounded: the least recently used goes first.
#[derive(Debug)]
pub(crate) struct ServerStatements {
    limit: usize,
    /// Counts uses; orders them.
    clock: u64,
    entries: HashMap<u64, Use>,
}

#[derive(Debug, Clone)]
struct Use {
    statement: Arc<Statement>,
    at: u64,
    /// The batch (count of Syncs sent before it) that used it last.
    batch: u64,
    /// Its plan is no longer valid on this server: close it before the next use.
    stale: bool,
}

/// How a server stands to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Present,
    Absent,
    /// There, but to be closed and parsed again.
    Stale,
}

impl ServerStatements {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), clock: 0, entries: HashMap::new() }
    }

    /// Looks a statement up and notes that batch `batch` uses it.
    pub(crate) fn touch(&mut self, id: u64, batch: u64) -> Presence {
        self.clock += 1;
        match self.entries.get_mut(&id) {
            None => Presence::Absent,
            Some(used) => {
                used.at = self.clock;
                used.batch = batch;
                if used.stale { Presence::Stale } else { Presence::Present }
            }
        }
    }

    pub(crate) fn insert(&mut self, statement: Arc<Statement>, batch: u64) {
        self.clock += 1;
        let used = Use { at: self.clock, batch, stale: false, statement };
        self.entries.insert(used.statement.id, used);
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.entries.remove(&id);
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Marks what batch `batch` used as stale.
    pub(crate) fn mark_stale(&mut self, batch: u64) {
        for used in self.entries.values_mut().filter(|used| used.batch == batch) {
            used.stale = true;
        }
    }

    /// The statement to close so that one more fits: never one that a batch still in
    /// flight refers to, so the table may exceed its limit by one batch's statements.
    pub(crate) fn evict(&self, batches_done: u64) -> Option<Arc<Statement>> {
        if self.entries.len() < self.limit {
            return None;
        }
        let unused = self.entries.values().filter(|used| used.batch < batches_done);
        unused.min_by_key(|used| used.at).map(|used| Arc::clone(&used.statement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn the_least_recently_used_goes_but_never_one_in_flight() {
        let catalog = Catalog::default();
        let settings = catalog.parameters([]);
        let [a, b, c] =
            [b"a\0\0\0", b"b\0\0\0", b"c\0\0\0"].map(|d| catalog.statement(&settings, d));
        let mut statements = ServerStatements::new(2);
        statements.insert(Arc::clone(&a), 0);
        assert_eq!(statements.evict(9), None);
        statements.insert(Arc::clone(&b), 1);
        assert_eq!(statements.touch(a.id, 2), Presence::Present);
        assert_eq!(statements.evict(2), Some(Arc::clone(&b)));
        assert_eq!(statements.evict(1), None, "batch 1 has not been answered");
        statements.insert(c, 2);
        statements.mark_stale(2);
        assert_eq!(statements.touch(a.id, 3), Presence::Stale);
        assert_eq!(statements.touch(b.id, 3), Presence::Present);
    }

    #[test]
    fn a_pending_change_is_found_before_its_answer() {
        let catalog = Catalog::default();
        let statement = catalog.statement(&catalog.parameters([]), b"a\0\0\0");
        let mut pending = PendingChanges::default();
        assert_eq!(pending.client(b"s"), None);
        let client_name = Some(Box::from(&b"s"[..]));
        pending.push(Change::Parsed { statement: Arc::clone(&statement), client_name });
        assert_eq!(pending.client(b"s"), Some(Some(&statement)));
        assert_eq!(pending.server(statement.id), Some(true));
        pending.push(Change::Dropped { client_name: b"s"[..].into() });
        pending.push(Change::Closed { id: statement.id });
        assert_eq!(pending.client(b"s"), Some(None));
        assert_eq!(pending.server(statement.id), Some(false));
    }
}
