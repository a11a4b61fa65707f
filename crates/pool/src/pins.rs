//! Clients that keep their servers between two transactions, and why.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use session::{Pin, Pins};

/// Counts of one pool.
#[derive(Debug, Default)]
pub(crate) struct PinCounts {
    /// Servers that are kept.
    kept: AtomicUsize,
    reasons: [Reason; Pin::ALL.len()],
}

#[derive(Debug, Default)]
struct Reason {
    now: AtomicUsize,
    total: AtomicU64,
}

/// How many servers are kept for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    /// The reason. A server may be kept for several.
    pub pin: Pin,
    /// At this moment.
    pub now: usize,
    /// Since the pool was made.
    pub total: u64,
}

impl PinCounts {
    /// Servers that are kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept.load(Relaxed)
    }

    pub(crate) fn of_reasons(&self) -> impl Iterator<Item = Pinned> {
        Pin::ALL.into_iter().zip(&self.reasons).map(|(pin, reason)| Pinned {
            pin,
            now: reason.now.load(Relaxed),
            total: reason.total.load(Relaxed),
        })
    }

    /// One server is kept for `after`, and was for `before`.
    pub(crate) fn change(&self, before: Pins, after: Pins) {
        match (before.is_empty(), after.is_empty()) {
            (true, false) => _ = self.kept.fetch_add(1, Relaxed),
            (false, true) => _ = self.kept.fetch_sub(1, Relaxed),
            (true, true) | (false, false) => {}
        }
        for (pin, reason) in Pin::ALL.into_iter().zip(&self.reasons) {
            match (before.has(pin), after.has(pin)) {
                (false, true) => {
                    reason.now.fetch_add(1, Relaxed);
                    reason.total.fetch_add(1, Relaxed);
                }
                (true, false) => _ = reason.now.fetch_sub(1, Relaxed),
                (true, true) | (false, false) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_counts_once_and_for_each_of_its_reasons() {
        let counts = PinCounts::default();
        let (none, one) = (Pins::default(), Pins::from_iter([Pin::Listen]));
        let two = Pins::from_iter([Pin::Listen, Pin::AdvisoryLocks]);
        counts.change(none, one);
        counts.change(one, two);
        counts.change(none, one);
        assert_eq!(counts.kept(), 2);
        let listen = |counts: &PinCounts| counts.of_reasons().find(|it| it.pin == Pin::Listen);
        assert_eq!(listen(&counts), Some(Pinned { pin: Pin::Listen, now: 2, total: 2 }));
        counts.change(two, none);
        counts.change(one, none);
        assert_eq!(counts.kept(), 0);
        assert_eq!(listen(&counts), Some(Pinned { pin: Pin::Listen, now: 0, total: 2 }));
    }
}
