//! What waits for a server, over all pools: how many clients, and what they have sent ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::HoldLimits;

/// Sums over all pools.
#[derive(Debug)]
pub(crate) struct Hold {
    limits: HoldLimits,
    clients: AtomicUsize,
    /// The most clients at one time since it was last forgotten.
    most_clients: AtomicUsize,
    bytes: AtomicUsize,
}

/// One waiting client's part of the sums; given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    hold: Arc<Hold>,
    bytes: usize,
}

impl Hold {
    pub(crate) fn new(limits: HoldLimits) -> Arc<Self> {
        let (clients, most_clients, bytes) = Default::default();
        Arc::new(Self { limits, clients, most_clients, bytes })
    }

    /// A client begins to wait.
    pub(crate) fn enter(self: &Arc<Self>) -> Share {
        let clients = self.clients.fetch_add(1, Relaxed) + 1;
        self.most_clients.fetch_max(clients, Relaxed);
        Share { hold: Arc::clone(self), bytes: 0 }
    }

    /// Whether one more client would be too many.
    pub(crate) fn is_full(&self) -> bool {
        self.clients.load(Relaxed) >= self.limits.clients
    }

    /// The most clients that have waited at one time since [`Hold::forget_most`].
    pub(crate) fn most(&self) -> usize {
        self.most_clients.load(Relaxed)
    }

    /// Begins to count anew, with those who wait now.
    pub(crate) fn forget_most(&self) {
        self.most_clients.store(self.clients.load(Relaxed), Relaxed);
    }

    /// What waiting clients have sent ahead.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

impl Share {
    /// Notes that the client has so many bytes waiting. False if no more may be read from
    /// anybody who waits.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        let sum = &self.hold.bytes;
        if bytes >= self.bytes {
            sum.fetch_add(bytes - self.bytes, Relaxed);
        } else {
            sum.fetch_sub(self.bytes - bytes, Relaxed);
        }
        self.bytes = bytes;
        sum.load(Relaxed) < self.hold.limits.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold.clients.fetch_sub(1, Relaxed);
        self.hold.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_until_it_is_dropped() {
        let hold = Hold::new(HoldLimits { clients: 2, bytes: 100 });
        let mut first = hold.enter();
        assert!(!hold.is_full());
        let mut second = hold.enter();
        assert!(hold.is_full());
        assert!(first.set(60));
        assert!(!second.set(60));
        assert!(first.set(10));
        assert_eq!(hold.bytes(), 70);
        drop(second);
        assert_eq!(hold.most(), 2);
        hold.forget_most();
        assert_eq!(hold.most(), 1, "one still waits");
        drop(first);
        assert!(!hold.is_full());
        assert_eq!(hold.bytes(), 0);
    }
}
