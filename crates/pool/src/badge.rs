//! What can be seen of a server by others than who has it.
//!
//! A badge is written where its server is put back, with relaxed stores and the time that is known
//! there anyway; who reads it sees numbers that were true a moment ago, and takes no lock that a
//! transaction needs for more than a walk over the idle servers.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use session::Pins;
use topology::{Fence, PoolKey, Snapshot};

use crate::origin::Origin;
use crate::{Cancels, Pool, Recall};

/// What is known of a server from its login on, and how it was when it was last put back.
#[derive(Debug)]
pub(crate) struct Badge {
    facts: ServerFacts,
    born: Instant,
    /// None while it is a warm standby.
    origin: OnceLock<Origin>,
    recall: Arc<Recall>,
    cancels: Option<Arc<Cancels>>,
    /// Milliseconds since `born`.
    used_ms: AtomicU64,
    statements: AtomicU32,
    pins: AtomicU8,
    /// Milliseconds since `born`.
    pinned_ms: AtomicU64,
}

/// What does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its number; no two servers of one process have the same.
    pub id: u64,
    /// Its process id at the node; `None` if it did not say.
    pub pid: Option<i32>,
    /// Where it is.
    pub peer: Option<SocketAddr>,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// The version of TLS, if it is inside TLS.
    pub tls: Option<&'static str>,
    /// When it was logged in.
    pub connected: SystemTime,
}

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It can be lent.
    Idle,
    /// It is lent, or is being reset.
    Lent,
    /// A cancel request for it is on its way.
    BeingCancelled,
    /// It is a warm standby.
    Warm,
}

/// What becomes of a server when it is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It can be lent again.
    Stays,
    /// It is closed.
    Closes,
}

/// A server at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// What does not change.
    pub facts: ServerFacts,
    /// What it does.
    pub doing: Doing,
    /// What becomes of it when it is put back.
    pub outcome: Outcome,
    /// When it was last put back; before the first time, when it was logged in.
    pub used: SystemTime,
    /// Prepared statements that it had then.
    pub statements: u32,
    /// Why its client keeps it between two transactions.
    pub pins: Pins,
    /// Since when, if it does.
    pub pinned: SystemTime,
}

/// What only operators count in a pool.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Of all servers; those that have gone are forgotten now and then.
    badges: Mutex<Vec<Weak<Badge>>>,
    clients: AtomicUsize,
    resetting: AtomicUsize,
}

/// One more of something, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a AtomicUsize);

/// A client of a pool, counted as one until it is dropped.
#[derive(Debug)]
pub struct Member(Arc<Pool>);

impl Badge {
    pub(crate) fn new(
        facts: ServerFacts,
        recall: Arc<Recall>,
        cancels: Option<Arc<Cancels>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            facts,
            born: Instant::now(),
            origin: OnceLock::new(),
            recall,
            cancels,
            used_ms: AtomicU64::default(),
            statements: AtomicU32::default(),
            pins: AtomicU8::default(),
            pinned_ms: AtomicU64::default(),
        })
    }

    /// The server is from there. Once.
    pub(crate) fn belongs_to(&self, origin: Origin) {
        let _ = self.origin.set(origin);
    }

    /// The server is put back with so many statements.
    #[inline]
    pub(crate) fn used(&self, statements: usize, now: Instant) {
        self.used_ms.store(self.age_ms(now), Relaxed);
        self.statements.store(u32::try_from(statements).unwrap_or(u32::MAX), Relaxed);
    }

    /// The server is kept for `pins` from now on.
    pub(crate) fn pinned(&self, pins: Pins) {
        self.pins.store(pins.bits(), Relaxed);
        if !pins.is_empty() {
            self.pinned_ms.store(self.age_ms(Instant::now()), Relaxed);
        }
    }

    fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    fn outcome(&self, key: &PoolKey, snapshot: &Snapshot) -> Outcome {
        let is_fenced = self.origin.get().is_some_and(|origin| {
            !matches!(origin.fence(snapshot, key), Fence::Open | Fence::Held)
        });
        if is_fenced || self.recall.is_called() { Outcome::Closes } else { Outcome::Stays }
    }

    fn view(&self, doing: Doing, outcome: Outcome) -> ServerView {
        let at = |ms: &AtomicU64| {
            let age = Duration::from_millis(ms.load(Relaxed));
            self.facts.connected.checked_add(age).unwrap_or(self.facts.connected)
        };
        let is_cancelled = self.cancels.as_ref().is_some_and(|cancels| cancels.is_under_way());
        ServerView {
            facts: self.facts.clone(),
            doing: if is_cancelled { Doing::BeingCancelled } else { doing },
            outcome,
            used: at(&self.used_ms),
            statements: self.statements.load(Relaxed),
            pins: Pins::from_bits(self.pins.load(Relaxed)),
            pinned: at(&self.pinned_ms),
        }
    }
}

impl Census {
    pub(crate) fn add(&self, badge: &Arc<Badge>) {
        let mut badges = self.badges.lock();
        badges.retain(|badge| badge.strong_count() > 0);
        badges.push(Arc::downgrade(badge));
    }

    fn all(&self) -> Vec<Arc<Badge>> {
        self.badges.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// A server is being reset.
    pub(crate) fn resetting(&self) -> Counted<'_> {
        self.resetting.fetch_add(1, Relaxed);
        Counted(&self.resetting)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Deref for Member {
    type Target = Arc<Pool>;

    #[inline]
    fn deref(&self) -> &Arc<Pool> {
        &self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.census.clients.fetch_sub(1, Relaxed);
    }
}

impl Pool {
    /// A client of its own begins.
    pub fn join(self: Arc<Self>) -> Member {
        self.census.clients.fetch_add(1, Relaxed);
        Member(self)
    }

    /// Clients that have logged in to it.
    pub fn clients(&self) -> usize {
        self.census.clients.load(Relaxed)
    }

    /// Servers that are being made fit for another client.
    pub fn resetting(&self) -> usize {
        self.census.resetting.load(Relaxed)
    }

    /// Its servers at this moment, warm standbys included. For what is asked seldom.
    pub fn server_views(&self) -> Vec<ServerView> {
        let warm: HashSet<u64> = self.warm.lock().ids().collect();
        let mut idle = HashSet::new();
        let none = self.core.lock().take_unwanted(|server| {
            idle.insert(server.id);
            true
        });
        debug_assert!(none.is_empty(), "all are kept");
        let snapshot = Arc::clone(&self.shared.snapshot.borrow());
        let view = |badge: Arc<Badge>| {
            let id = badge.facts.id;
            let doing = match (idle.contains(&id), warm.contains(&id)) {
                (true, _) => Doing::Idle,
                (false, true) => Doing::Warm,
                (false, false) => Doing::Lent,
            };
            badge.view(doing, badge.outcome(&self.key, &snapshot))
        };
        self.census.all().into_iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use session::Pin;

    use super::*;

    #[test]
    fn a_badge_shows_how_its_server_was_put_back() {
        let facts = ServerFacts {
            id: 7,
            pid: Some(42),
            peer: None,
            local: None,
            tls: Some("TLSv1.3"),
            connected: SystemTime::UNIX_EPOCH,
        };
        let recall: Arc<Recall> = Arc::default();
        let badge = Badge::new(facts.clone(), recall, None);
        let census = Census::default();
        census.add(&badge);
        let since = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let fresh = badge.view(Doing::Lent, Outcome::Stays);
        assert_eq!((fresh.used, fresh.pins), (since(0), Pins::default()));
        badge.used(3, badge.born + Duration::from_millis(1500));
        let pins = Pins::from_iter([Pin::Listen, Pin::Unaccountable]);
        badge.pinned(pins);
        let view = badge.view(Doing::Idle, Outcome::Stays);
        assert_eq!((view.facts, view.used, view.statements), (facts, since(1500), 3));
        assert_eq!((view.doing, view.pins), (Doing::Idle, pins));
        assert!(view.pinned >= since(0));
        assert_eq!(census.all().len(), 1);
        drop(badge);
        assert_eq!(census.all().len(), 0);
        let counted = (census.resetting(), census.resetting());
        assert_eq!(census.resetting.load(Relaxed), 2);
        drop(counted);
        assert_eq!(census.resetting.load(Relaxed), 0);
    }
}
