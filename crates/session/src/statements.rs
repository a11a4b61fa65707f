//! The two tables of prepared statements, a client's and a server's, and the changes to
//! them that wait for an answer.
//!
//! Both change only when the server has answered: a Parse that fails, or is skipped after
//! an error, leaves no ghost. Until then a change waits in [`PendingChanges`], where a
//! later message of the same batch already finds it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::catalog::Statement;
use crate::names::Origin;
use crate::unnamed::Uncertain;

/// A client's statements by the names that it gave them.
pub(crate) type ClientStatements = HashMap<Box<[u8]>, Arc<Statement>>;

/// A name as Postgres keys it: what is behind `NAMEDATALEN - 1` bytes does not count.
pub(crate) fn key(name: &[u8]) -> &[u8] {
    name.get(..63).unwrap_or(name)
}

/// A hash of a name (FNV-1a), to tell two names of one statement apart later.
#[inline]
pub(crate) fn name_hash(name: &[u8]) -> u32 {
    key(name)
        .iter()
        .fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A change that takes effect when its answer comes.
#[derive(Debug)]
pub(crate) enum Change {
    /// The server has parsed a statement. For the client too, if it is named.
    Parsed { statement: Arc<Statement>, client_name: Option<Box<[u8]>> },
    /// The client has named a statement that the server had already.
    Named { statement: Arc<Statement>, client_name: Box<[u8]> },
    /// The server should have refused a Parse, since the name was `taken`, but had lost that
    /// statement: under its name it now has another text.
    Replaced { taken: u64, statement: Arc<Statement>, client_name: Box<[u8]> },
    /// The client has dropped a name.
    Dropped { client_name: Box<[u8]> },
    /// The server has closed a statement.
    Closed { id: u64 },
    /// The server has this, or nothing, under a name of the client's.
    Name { name: Box<[u8]>, origin: Option<Origin> },
}

/// Changes in the order of their answers, each with the batch (count of Syncs sent before it)
/// that it is part of.
///
/// A later message of the same batch may rely on a change: if it does not happen, that
/// message is skipped too. One of a later batch may not.
#[derive(Debug, Default)]
pub(crate) struct PendingChanges {
    queue: VecDeque<(u64, Change)>,
}

impl PendingChanges {
    /// With more than this pending, the client waits: the queue is searched.
    const MAX: usize = 512;

    pub(crate) fn push(&mut self, batch: u64, change: Change) {
        self.queue.push_back((batch, change));
    }

    pub(crate) fn pop(&mut self) -> Option<Change> {
        self.queue.pop_front().map(|(_, change)| change)
    }

    pub(crate) fn front(&self) -> Option<&Change> {
        self.queue.front().map(|(_, change)| change)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= Self::MAX
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }

    /// What `name` will mean to the client once the answers up to batch `batch` have come:
    /// `None` if nothing pending touches it.
    #[inline]
    pub(crate) fn client(
        &self,
        name: &[u8],
        batch: u64,
    ) -> Result<Option<Option<&Arc<Statement>>>, Uncertain> {
        if self.is_empty() { Ok(None) } else { self.client_of_any(name, batch) }
    }

    fn client_of_any(
        &self,
        name: &[u8],
        batch: u64,
    ) -> Result<Option<Option<&Arc<Statement>>>, Uncertain> {
        let found = self.queue.iter().rev().find_map(|(of, change)| match change {
            Change::Parsed { statement, client_name: Some(known) }
            | Change::Named { statement, client_name: known }
            | Change::Replaced { statement, client_name: known, .. }
                if **known == *name =>
            {
                Some((*of, Some(statement)))
            }
            Change::Dropped { client_name } if **client_name == *name => Some((*of, None)),
            Change::Parsed { .. }
            | Change::Named { .. }
            | Change::Replaced { .. }
            | Change::Dropped { .. }
            | Change::Closed { .. }
            | Change::Name { .. } => None,
        });
        certain(found, batch)
    }

    /// Whether the server will have statement `id`: `None` if nothing pending touches it.
    #[inline]
    pub(crate) fn server(&self, id: u64, batch: u64) -> Result<Option<bool>, Uncertain> {
        if self.is_empty() { Ok(None) } else { self.server_of_any(id, batch) }
    }

    fn server_of_any(&self, id: u64, batch: u64) -> Result<Option<bool>, Uncertain> {
        let found = self.queue.iter().rev().find_map(|(of, change)| match change {
            Change::Parsed { statement, .. } if statement.id == id => Some((*of, true)),
            Change::Closed { id: closed } if *closed == id => Some((*of, false)),
            Change::Replaced { taken, .. } if *taken == id => Some((*of, true)),
            Change::Parsed { .. }
            | Change::Named { .. }
            | Change::Replaced { .. }
            | Change::Dropped { .. }
            | Change::Closed { .. }
            | Change::Name { .. } => None,
        });
        certain(found, batch)
    }

    /// Whether anything is to be, or not to be, under a name of the client's.
    pub(crate) fn has_name(&self, name: &[u8]) -> bool {
        self.queue.iter().any(
            |(_, change)| matches!(change, Change::Name { name: known, .. } if **known == *name),
        )
    }

    /// Whether statement `id` will be closed.
    fn closes(&self, id: u64) -> bool {
        self.queue
            .iter()
            .any(|(_, change)| matches!(change, Change::Closed { id: closed } if *closed == id))
    }

    /// By how many statements the server's will grow and shrink.
    fn growth(&self) -> (usize, usize) {
        self.queue.iter().fold((0, 0), |(more, less), (_, change)| match change {
            Change::Parsed { .. } => (more + 1, less),
            Change::Closed { .. } => (more, less + 1),
            Change::Named { .. }
            | Change::Replaced { .. }
            | Change::Dropped { .. }
            | Change::Name { .. } => (more, less),
        })
    }
}

fn certain<T>(found: Option<(u64, T)>, batch: u64) -> Result<Option<T>, Uncertain> {
    match found {
        None => Ok(None),
        Some((of, value)) if of == batch => Ok(Some(value)),
        Some(_) => Err(Uncertain),
    }
}

/// The statements that a server has, bounded: the least recently used goes first.
#[derive(Debug)]
pub(crate) struct ServerStatements {
    limit: usize,
    /// Counts uses; orders them.
    clock: u64,
    /// The last use before this lease.
    lent_at: u64,
    entries: HashMap<u64, Use>,
}

#[derive(Debug, Clone)]
struct Use {
    statement: Arc<Statement>,
    at: u64,
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
        Self { limit: limit.max(1), clock: 0, lent_at: 0, entries: HashMap::new() }
    }

    /// Looks a statement up and notes that it is used.
    pub(crate) fn touch(&mut self, id: u64) -> Presence {
        self.clock += 1;
        match self.entries.get_mut(&id) {
            None => Presence::Absent,
            Some(used) => {
                used.at = self.clock;
                if used.stale { Presence::Stale } else { Presence::Present }
            }
        }
    }

    pub(crate) fn insert(&mut self, statement: Arc<Statement>) {
        self.clock += 1;
        let used = Use { at: self.clock, stale: false, statement };
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

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Statement>> {
        self.entries.values().map(|used| Arc::clone(&used.statement)).collect()
    }

    /// Marks a statement as stale.
    pub(crate) fn mark_stale(&mut self, id: u64) {
        if let Some(used) = self.entries.get_mut(&id) {
            used.stale = true;
        }
    }

    /// A lease ends. What it has used may name a temporary object, if there are any: that is
    /// closed and parsed again before its next use.
    pub(crate) fn end_lease(&mut self, has_temporary_objects: bool) {
        if has_temporary_objects {
            let used = self.entries.values_mut().filter(|used| used.at > self.lent_at);
            used.for_each(|used| used.stale = true);
        }
        self.lent_at = self.clock;
    }

    /// The statement to close so that one more fits. Those that have not been parsed yet
    /// cannot go, so the table may exceed its limit by what is in flight.
    pub(crate) fn evict(&self, pending: &PendingChanges) -> Option<Arc<Statement>> {
        let (more, less) = pending.growth();
        if self.entries.len() + more < self.limit + less {
            return None;
        }
        let open = self.entries.values().filter(|used| !pending.closes(used.statement.id));
        open.min_by_key(|used| used.at).map(|used| Arc::clone(&used.statement))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn the_least_recently_used_goes_and_none_twice() {
        let catalog = Catalog::default();
        let settings = catalog.parameters([]);
        let [a, b, c] =
            [b"a\0\0\0", b"b\0\0\0", b"c\0\0\0"].map(|d| catalog.statement(&settings, 0, d));
        let mut pending = PendingChanges::default();
        let mut statements = ServerStatements::new(2);
        statements.insert(Arc::clone(&a));
        assert_eq!(statements.evict(&pending), None);
        pending.push(0, Change::Parsed { statement: Arc::clone(&c), client_name: None });
        assert_eq!(statements.evict(&pending), Some(Arc::clone(&a)), "c will need the place");
        pending.clear();
        statements.insert(Arc::clone(&b));
        assert_eq!(statements.touch(a.id), Presence::Present);
        assert_eq!(statements.evict(&pending), Some(Arc::clone(&b)));
        pending.push(0, Change::Closed { id: b.id });
        assert_eq!(statements.evict(&pending), None, "b makes room already");
        statements.mark_stale(a.id);
        assert_eq!(statements.touch(a.id), Presence::Stale);
        assert_eq!(statements.touch(b.id), Presence::Present);
    }

    #[test]
    fn a_pending_change_counts_in_its_own_batch_and_is_open_in_the_next() {
        let catalog = Catalog::default();
        let statement = catalog.statement(&catalog.parameters([]), 0, b"a\0\0\0");
        let mut pending = PendingChanges::default();
        assert_eq!(pending.client(b"s", 0), Ok(None));
        let client_name = Some(Box::from(&b"s"[..]));
        pending.push(0, Change::Parsed { statement: Arc::clone(&statement), client_name });
        assert_eq!(pending.client(b"s", 0), Ok(Some(Some(&statement))));
        assert_eq!(pending.server(statement.id, 0), Ok(Some(true)));
        assert_eq!(pending.client(b"s", 1), Err(Uncertain));
        pending.push(1, Change::Dropped { client_name: b"s"[..].into() });
        pending.push(1, Change::Closed { id: statement.id });
        assert_eq!(pending.client(b"s", 1), Ok(Some(None)));
        assert_eq!(pending.server(statement.id, 1), Ok(Some(false)));
        assert_eq!(pending.server(statement.id, 2), Err(Uncertain));
    }

    #[test]
    fn names_that_differ_behind_63_bytes_are_one() {
        let long = [b'a'; 70];
        assert_eq!(key(&long), key(&long[..64]));
        assert_eq!(name_hash(&long), name_hash(&long[..63]));
        assert_ne!(name_hash(b"s1"), name_hash(b"s2"));
    }
}
