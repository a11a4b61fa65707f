//! `max_db_connections`: servers of several pools under one limit.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::Pool;

/// The servers of one (database, access) over all users.
#[derive(Debug)]
pub(crate) struct DatabaseLimit {
    max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    used: usize,
    pools: Vec<Weak<Pool>>,
    /// Pools that wait for one of the others to give up a server.
    starved: Vec<Weak<Pool>>,
}

/// The right to one server; given back on drop.
#[derive(Debug)]
pub(crate) struct DatabasePermit {
    limit: Arc<DatabaseLimit>,
}

impl DatabaseLimit {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, inner: Mutex::default() }
    }

    pub(crate) fn join(&self, pool: &Arc<Pool>) {
        let mut inner = self.inner.lock();
        inner.pools.retain(|pool| pool.strong_count() > 0);
        inner.pools.push(Arc::downgrade(pool));
    }

    /// A permit, if there is one.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<DatabasePermit> {
        let mut inner = self.inner.lock();
        if inner.used >= self.max {
            return None;
        }
        inner.used += 1;
        Some(DatabasePermit { limit: Arc::clone(self) })
    }

    /// A permit, or else a place in the list of pools that are told when one is free.
    pub(crate) fn acquire(self: &Arc<Self>, pool: &Arc<Pool>) -> Option<DatabasePermit> {
        if let Some(permit) = self.try_acquire() {
            return Some(permit);
        }
        let mut inner = self.inner.lock();
        // Given back in between, nobody would tell us.
        if inner.used < self.max {
            inner.used += 1;
            return Some(DatabasePermit { limit: Arc::clone(self) });
        }
        if !inner.starved.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(pool))) {
            inner.starved.push(Arc::downgrade(pool));
        }
        None
    }

    /// Whether a pool other than `pool` waits for a server of this database.
    pub(crate) fn others_starve(&self, pool: &Pool) -> bool {
        let inner = self.inner.lock();
        inner.starved.iter().any(|other| !std::ptr::eq(other.as_ptr(), pool))
    }

    /// The other pools of this database.
    pub(crate) fn siblings(&self, pool: &Pool) -> Vec<Arc<Pool>> {
        let inner = self.inner.lock();
        let others = inner.pools.iter().filter(|other| !std::ptr::eq(other.as_ptr(), pool));
        others.filter_map(Weak::upgrade).collect()
    }
}

impl Drop for DatabasePermit {
    fn drop(&mut self) {
        let mut inner = self.limit.inner.lock();
        inner.used -= 1;
        let starved = std::mem::take(&mut inner.starved);
        drop(inner);
        for pool in starved.iter().filter_map(Weak::upgrade) {
            pool.wake_keeper();
        }
    }
}
