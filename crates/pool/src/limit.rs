//! `max_db_connections` and `max_user_connections`: servers of several pools under one limit.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::Pool;

/// The servers of several pools.
#[derive(Debug)]
pub(crate) struct Limit {
    max: usize,
    /// Whether `starved` has any, for those who need no more: set under the lock.
    has_starved: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    used: usize,
    pools: Vec<Weak<Pool>>,
    /// Pools that wait for one of the others to give up a server.
    starved: Vec<Weak<Pool>>,
}

/// The limits that a pool is under.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Of its database and access, over all users.
    pub(crate) database: Arc<Limit>,
    /// Of its user, over all databases and accesses, if there is one.
    pub(crate) user: Option<Arc<Limit>>,
}

/// The right to one server under all limits of its pool; given back on drop.
#[derive(Debug)]
pub(crate) struct Permits {
    _database: Permit,
    _user: Option<Permit>,
}

/// The right to one server; given back on drop.
#[derive(Debug)]
struct Permit {
    limit: Arc<Limit>,
}

impl Limits {
    pub(crate) fn join(&self, pool: &Arc<Pool>) {
        self.each().for_each(|limit| limit.join(pool));
    }

    /// The permits, if they can all be had.
    pub(crate) fn try_acquire(&self) -> Option<Permits> {
        let database = self.database.try_acquire()?;
        let user = match &self.user {
            Some(user) => Some(user.try_acquire()?),
            None => None,
        };
        Some(Permits { _database: database, _user: user })
    }

    /// The permits, or the limit in the way: when one of its is free, the pool is told.
    pub(crate) fn acquire(&self, pool: &Arc<Pool>) -> Result<Permits, &Arc<Limit>> {
        let database = self.database.acquire(pool).ok_or(&self.database)?;
        let user = match &self.user {
            Some(user) => Some(user.acquire(pool).ok_or(user)?),
            None => None,
        };
        Ok(Permits { _database: database, _user: user })
    }

    /// Whether a pool other than `pool` waits for a server of one of these limits.
    pub(crate) fn others_starve(&self, pool: &Pool) -> bool {
        self.each().any(|limit| limit.others_starve(pool))
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Limit>> {
        std::iter::once(&self.database).chain(&self.user)
    }
}

impl Limit {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, has_starved: AtomicBool::new(false), inner: Mutex::default() }
    }

    fn join(&self, pool: &Arc<Pool>) {
        let mut inner = self.inner.lock();
        inner.pools.retain(|pool| pool.strong_count() > 0);
        inner.pools.push(Arc::downgrade(pool));
    }

    /// A permit, if there is one.
    fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut inner = self.inner.lock();
        if inner.used >= self.max {
            return None;
        }
        inner.used += 1;
        Some(Permit { limit: Arc::clone(self) })
    }

    /// A permit, or else a place in the list of pools that are told when one is free.
    fn acquire(self: &Arc<Self>, pool: &Arc<Pool>) -> Option<Permit> {
        if let Some(permit) = self.try_acquire() {
            return Some(permit);
        }
        let mut inner = self.inner.lock();
        // Given back in between, nobody would tell us.
        if inner.used < self.max {
            inner.used += 1;
            return Some(Permit { limit: Arc::clone(self) });
        }
        if !inner.starved.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(pool))) {
            inner.starved.push(Arc::downgrade(pool));
            self.has_starved.store(true, Relaxed);
        }
        None
    }

    /// Whether a pool other than `pool` waits for one of the servers.
    #[inline]
    fn others_starve(&self, pool: &Pool) -> bool {
        self.has_starved.load(Relaxed) && self.is_starved_by(pool)
    }

    #[cold]
    fn is_starved_by(&self, pool: &Pool) -> bool {
        let inner = self.inner.lock();
        inner.starved.iter().any(|other| !std::ptr::eq(other.as_ptr(), pool))
    }

    /// The other pools.
    pub(crate) fn siblings(&self, pool: &Pool) -> Vec<Arc<Pool>> {
        let inner = self.inner.lock();
        let others = inner.pools.iter().filter(|other| !std::ptr::eq(other.as_ptr(), pool));
        others.filter_map(Weak::upgrade).collect()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inner = self.limit.inner.lock();
        inner.used -= 1;
        let starved = std::mem::take(&mut inner.starved);
        self.limit.has_starved.store(false, Relaxed);
        drop(inner);
        for pool in starved.iter().filter_map(Weak::upgrade) {
            pool.wake_keeper();
        }
    }
}
