//! `max_db_connections` and `max_user_connections`: servers of several pools under one limit.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::Pool;

/// The servers of several pools.
#[derive(Debug)]
pub(crate) struct Limit {
    max: AtomicUsize,
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
    /// Of its user, over all databases and accesses.
    pub(crate) user: Arc<Limit>,
}

/// The right to one server under all limits of its pool; given back on drop.
#[derive(Debug)]
pub(crate) struct Permits {
    _database: Permit,
    _user: Permit,
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
        let user = self.user.try_acquire()?;
        Some(Permits { _database: database, _user: user })
    }

    /// The permits, or the limit in the way: when one of its is free, the pool is told.
    pub(crate) fn acquire(&self, pool: &Arc<Pool>) -> Result<Permits, &Arc<Limit>> {
        let database = self.database.acquire(pool).ok_or(&self.database)?;
        let user = self.user.acquire(pool).ok_or(&self.user)?;
        Ok(Permits { _database: database, _user: user })
    }

    /// Whether a pool other than `pool` waits for a server of one of these limits.
    pub(crate) fn others_starve(&self, pool: &Pool) -> bool {
        self.each().any(|limit| limit.others_starve(pool))
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Limit>> {
        [&self.database, &self.user].into_iter()
    }
}

impl Limit {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max: AtomicUsize::new(max),
            has_starved: AtomicBool::new(false),
            inner: Mutex::default(),
        }
    }

    /// Sets how many there may be; those there are stay. Who waits for one is told.
    pub(crate) fn set_max(&self, max: usize) {
        let mut inner = self.inner.lock();
        if self.max.swap(max, Relaxed) < max {
            let starved = self.take_starved(&mut inner);
            drop(inner);
            wake(&starved);
        }
    }

    fn take_starved(&self, inner: &mut Inner) -> Vec<Weak<Pool>> {
        self.has_starved.store(false, Relaxed);
        std::mem::take(&mut inner.starved)
    }

    fn join(&self, pool: &Arc<Pool>) {
        let mut inner = self.inner.lock();
        inner.pools.retain(|pool| pool.strong_count() > 0);
        inner.pools.push(Arc::downgrade(pool));
    }

    /// A permit, if there is one.
    fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut inner = self.inner.lock();
        if inner.used >= self.max.load(Relaxed) {
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
        if inner.used < self.max.load(Relaxed) {
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
        let starved = self.limit.take_starved(&mut inner);
        drop(inner);
        wake(&starved);
    }
}

fn wake(pools: &[Weak<Pool>]) {
    pools.iter().filter_map(Weak::upgrade).for_each(|pool| pool.wake_keeper());
}
