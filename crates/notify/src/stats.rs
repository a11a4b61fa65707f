//! What hubs have done, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What all hubs have and have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Server connections that listen now.
    pub connections: u64,
    /// Clients that want some channel now.
    pub clients: u64,
    /// Channels that are listened on now.
    pub channels: u64,
    /// Notifications that came from servers.
    pub received: u64,
    /// Notifications that were put down for clients.
    pub delivered: u64,
    /// Connections that were opened anew for clients that listened on an earlier one.
    pub resumed: u64,
    /// Logins that have failed.
    pub connect_failures: u64,
    /// Clients that have not read in time.
    pub lagged: u64,
}

/// What is only ever counted up, over all hubs.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
    pub(crate) lagged: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            received: self.received.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            resumed: self.resumed.load(Relaxed),
            connect_failures: self.connect_failures.load(Relaxed),
            lagged: self.lagged.load(Relaxed),
            ..Stats::default()
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Relaxed);
}
