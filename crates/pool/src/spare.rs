//! Servers that clients keep between two transactions as long as no other needs them.
//!
//! A lease rests from the end of a transaction to the begin of the client's next one. Who has to
//! wait for a server wants one of those that rest, the one that has for longest: its client is
//! woken, and gives it back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::pool::Kept;
use crate::recall::Recall;
use crate::{Lease, Pool};

/// Servers of leases that rest, the one that has for longest first.
#[derive(Debug, Default)]
pub(crate) struct Resting(VecDeque<Arc<Recall>>);

impl Resting {
    fn add(&mut self, server: &Arc<Recall>) {
        self.0.push_back(Arc::clone(server));
    }

    /// False if it was wanted meanwhile.
    fn remove(&mut self, server: &Arc<Recall>) -> bool {
        let at = self.0.iter().position(|resting| Arc::ptr_eq(resting, server));
        at.and_then(|at| self.0.remove(at)).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Asks for one back.
    pub(crate) fn want(&mut self) {
        if let Some(server) = self.0.pop_front() {
            server.want();
        }
    }

    /// Asks for all.
    pub(crate) fn want_all(&mut self) {
        self.0.drain(..).for_each(|server| server.want());
    }
}

impl Kept {
    /// Somebody waits now: unless a server can be opened for that, one is asked back.
    pub(crate) fn want_for_waiters(&mut self) {
        if self.has_waiters() && (self.room() == 0 || self.failures() > 0) {
            self.resting.want();
        }
    }
}

impl Pool {
    /// Asks for a server back that a client could do without.
    pub(crate) fn want_resting(&self) {
        self.core.lock().resting.want();
    }

    fn may_rest(&self, server: &Arc<Recall>) -> bool {
        // Where several pools share a limit another one may want its part of it.
        if self.limits.others_starve(self) {
            return false;
        }
        let mut kept = self.core.lock();
        let may = kept.can_spare();
        if may {
            kept.resting.add(server);
        }
        may
    }

    fn ends_rest(&self, server: &Arc<Recall>) -> bool {
        self.core.lock().resting.remove(server)
    }
}

impl Lease {
    /// Keeps the server until the client's next transaction, or until it is wanted. False if it is
    /// wanted already.
    pub fn rest(&mut self) -> bool {
        if !self.is_resting {
            self.is_resting = self.pool.may_rest(&self.recall);
        }
        self.is_resting
    }

    /// The client's next transaction begins. False if another client is to have the server.
    pub fn resume(&mut self) -> bool {
        !std::mem::take(&mut self.is_resting) || self.pool.ends_rest(&self.recall)
    }

    /// Whether it rests, and is wanted.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.is_resting && self.recall.is_wanted()
    }
}
