//! What waits for a server, over all pools: how many clients, and what they have sent ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::HoldLimits;

/// Sums over all pools.
#[derive(Debug)]
pub(crate) struct Hold {
    limits: HoldLimits,
    clients: AtomicUsize,
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
        Arc::new(Self { limits, clients: AtomicUsize::new(0), bytes: AtomicUsize::new(0) })
    }

    /// A client begins to wait.
    pub(crate) fn enter(self: &Arc<Self>) -> Share {
        self.clients.fetch_add(1, Relaxed);
        Share { hold: Arc::clone(self), bytes: 0 }
    }

    /// Whether one more client would be too many.
    pub(crate) fn is_full(&self) -> bool {
        self.clients.load(Relaxed) >= self.limits.clients
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
        drop((first, second));
        assert!(!hold.is_full());
        assert_eq!(hold.bytes(), 0);
    }
}
