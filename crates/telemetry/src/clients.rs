//! What is counted per client before and after it has a pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::Histogram;
use crate::labels::{Cancel, ClientEnd, Counter, Counts, KeyFetch, LdapCheck, Refusal, Token, Via};

/// Counters and gauges of clients, over all pools.
#[derive(Debug, Default)]
pub struct ClientMetrics {
    connected: AtomicU64,
    logging_in: AtomicU64,
    is_logged: AtomicBool,
    /// Connections accepted.
    pub(crate) accepted: Counts<Via>,
    /// Logins completed.
    pub(crate) logins: Counter,
    /// How long they took.
    pub(crate) login_seconds: Histogram,
    /// Clients turned away before their first query.
    pub refusals: Counts<Refusal>,
    /// Bearer tokens by outcome.
    pub tokens: Counts<Token>,
    /// Fetches of the keys that tokens are verified with.
    pub key_fetches: Counts<KeyFetch>,
    /// Cancel requests by outcome.
    pub cancels: Counts<Cancel>,
    /// Passwords that LDAP servers had to check, by outcome.
    pub ldap_checks: Counts<LdapCheck>,
    /// How long that took.
    pub ldap_seconds: Histogram,
    /// Why logged-in clients' connections ended.
    pub(crate) ends: Counts<ClientEnd>,
}

impl ClientMetrics {
    /// Counts an accepted connection for as long as the guard lives.
    pub fn accepted(self: &Arc<Self>, via: Via) -> ClientGuard {
        self.accepted.inc(via);
        self.connected.fetch_add(1, Ordering::Relaxed);
        self.logging_in.fetch_add(1, Ordering::Relaxed);
        ClientGuard { metrics: Arc::clone(self), logged_in: false }
    }

    /// Whether the log tells of logins and of the ends of sessions.
    pub fn log_connections(&self, is_logged: bool) {
        self.is_logged.store(is_logged, Ordering::Relaxed);
    }

    /// Connections at this moment, logins under way included.
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Logins under way.
    pub fn logging_in(&self) -> u64 {
        self.logging_in.load(Ordering::Relaxed)
    }
}

/// One client connection, counted until it is dropped.
#[derive(Debug)]
pub struct ClientGuard {
    metrics: Arc<ClientMetrics>,
    logged_in: bool,
}

impl ClientGuard {
    /// The client has been told that it is logged in, so long after its connection was accepted.
    pub fn logged_in(&mut self, took: Duration) {
        if !self.logged_in {
            self.logged_in = true;
            self.metrics.logins.inc();
            self.metrics.login_seconds.observe(took);
            self.metrics.logging_in.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether the log tells of its login and its end.
    pub fn is_logged(&self) -> bool {
        self.metrics.is_logged.load(Ordering::Relaxed)
    }

    /// The client's connection ends.
    pub fn ended(&self, why: ClientEnd) {
        self.metrics.ends.inc(why);
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        if !self.logged_in {
            self.metrics.logging_in.fetch_sub(1, Ordering::Relaxed);
        }
        self.metrics.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_close_their_gauges_in_either_phase() {
        let metrics = Arc::new(ClientMetrics::default());
        let mut first = metrics.accepted(Via::Tcp);
        let second = metrics.accepted(Via::Unix);
        assert_eq!((metrics.connected(), metrics.logging_in()), (2, 2));
        first.logged_in(Duration::from_millis(1));
        first.logged_in(Duration::from_millis(1));
        assert_eq!((metrics.connected(), metrics.logging_in()), (2, 1));
        drop(second);
        assert_eq!((metrics.connected(), metrics.logging_in()), (1, 0));
        drop(first);
        assert_eq!((metrics.connected(), metrics.logging_in()), (0, 0));
        assert_eq!([Via::Tcp, Via::Unix].map(|via| metrics.accepted.value(via)), [1, 1]);
        assert_eq!((metrics.logins.value(), metrics.login_seconds.count()), (1, 1));
    }
}
