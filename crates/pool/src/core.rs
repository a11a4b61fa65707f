//! The pool's decisions, pure: who gets a server, when one is opened or closed.
//!
//! `T` is a server, `W` a waiting client; time is an argument. Servers are lent last in,
//! first out, so that the surplus grows old and is closed, unless [`Lending`] says otherwise;
//! clients are served first come, first served, and nobody overtakes a waiting client.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::gate::{Gate, Lends};
use crate::retry::{later, retry_pause};
use crate::{Config, Lending};

/// What the core must know of a server.
pub(crate) trait Member {
    /// Its number in the pool.
    fn id(&self) -> u64;
    /// When its lifetime ends.
    fn expires(&self) -> Instant;
    /// What its node has to do for us now. Only compared.
    fn load(&self) -> usize;
    /// It is lent; `spare` says whether there are servers for others.
    fn lend(&mut self, spare: bool);
}

/// What the core must know of a waiting client.
pub(crate) trait Waiter<T> {
    /// Hands a server over; gives it back if the client has gone.
    fn give(self, server: T) -> Result<(), T>;
    /// Whether the client has gone.
    fn is_gone(&self) -> bool;
}

/// One pool.
#[derive(Debug)]
pub(crate) struct Core<T, W> {
    pub(crate) config: Config,
    /// The one that was used last is at the end.
    idle: Vec<Idle<T>>,
    waiters: VecDeque<Waiting<W>>,
    /// Lent, or on their way back through a reset.
    lent: usize,
    connecting: usize,
    retry: Retry,
    /// Whether a client has ever asked; `min_size` counts from then on.
    used: bool,
    gate: Gate,
    /// Whether waiting clients have gone since the queue was looked through.
    some_left: bool,
    /// When the last plan asks to be made anew. Whoever changes something that is due before
    /// has to wake the keeper.
    planned: Option<Instant>,
}

#[derive(Debug)]
struct Idle<T> {
    server: T,
    until: Instant,
}

#[derive(Debug)]
struct Waiting<W> {
    waiter: W,
    since: Instant,
}

/// When the next login may be tried.
#[derive(Debug, Clone, Copy)]
struct Retry {
    failures: u32,
    not_before: Option<Instant>,
    /// When the first of them failed.
    since: Option<Instant>,
}

impl Retry {
    const NONE: Self = Self { failures: 0, not_before: None, since: None };
}

/// What is to be done now, and when to ask again.
#[derive(Debug)]
pub(crate) struct Plan<T, W> {
    pub(crate) connect: usize,
    pub(crate) close: Vec<T>,
    /// Clients that have waited for too long.
    pub(crate) expired: Vec<(W, Over)>,
    pub(crate) wake_at: Option<Instant>,
}

/// Which time of a waiting client is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// `query_wait_timeout`.
    Wait,
    /// `hold_timeout`.
    Hold,
}

/// Counts for metrics and SHOW POOLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Servers that wait for a client.
    pub idle: usize,
    /// Servers that are lent or being reset.
    pub active: usize,
    /// Servers that clients keep between two transactions as long as no other needs them.
    pub kept: usize,
    /// Logins under way.
    pub connecting: usize,
    /// Servers logged in to likely next primaries.
    pub warm: usize,
    /// Clients that wait for a server.
    pub waiting: usize,
    /// For how long the first of them has waited.
    pub max_wait: Duration,
    /// Whether they are held: no server can be had until the cluster has changed.
    pub is_holding: bool,
    /// Whether they wait because an operator has paused the pool.
    pub is_paused: bool,
}

impl<T: Member, W: Waiter<T>> Core<T, W> {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            idle: Vec::new(),
            waiters: VecDeque::new(),
            lent: 0,
            connecting: 0,
            retry: Retry::NONE,
            used: false,
            gate: Gate::Open,
            some_left: false,
            planned: None,
        }
    }

    /// Opens or shuts the gate. Opened, the idle servers go to those who wait.
    pub(crate) fn set_gate(&mut self, lends: Lends, now: Instant) {
        if self.gate.set(lends, now) {
            // Whatever failed, failed with the node of before.
            self.retry = Retry::NONE;
            self.hand_out();
        }
    }

    /// Whether servers may be lent.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }

    /// Whether a client has ever asked.
    pub(crate) fn is_used(&self) -> bool {
        self.used
    }

    /// Since when no server can be had whatever a client does: nothing may be lent, or there
    /// is none and logins fail.
    fn held_since(&self) -> Option<Instant> {
        match self.gate {
            Gate::Shut { since } => Some(since),
            Gate::Open if self.idle.is_empty() && self.lent == 0 => self.retry.since,
            Gate::Open | Gate::Paused => None,
        }
    }

    /// Whether clients that wait are held.
    pub(crate) fn is_holding(&self) -> bool {
        self.held_since().is_some()
    }

    fn hand_out(&mut self) {
        while let Some(waiting) = self.waiters.pop_front() {
            let Some(Idle { server, until }) = self.next_idle() else {
                return self.waiters.push_front(waiting);
            };
            match self.give(waiting.waiter, server) {
                Ok(()) => self.lent += 1,
                Err(server) => self.idle.push(Idle { server, until }),
            }
        }
    }

    fn give(&self, waiter: W, mut server: T) -> Result<(), T> {
        server.lend(self.can_spare());
        waiter.give(server)
    }

    /// Whether a server that is lent may stay so although its client does not need it now.
    #[inline]
    pub(crate) fn can_spare(&self) -> bool {
        self.waiters.is_empty()
            && self.gate == Gate::Open
            && (!self.idle.is_empty() || self.total() < self.config.size)
    }

    /// A server for a client that does not have to wait.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        if !self.waiters.is_empty() || self.gate != Gate::Open {
            return None;
        }
        let Idle { mut server, .. } = self.next_idle()?;
        self.lent += 1;
        server.lend(self.can_spare());
        Some(server)
    }

    #[inline]
    fn next_idle(&mut self) -> Option<Idle<T>> {
        match self.config.lending {
            Lending::LastUsed => self.idle.pop(),
            Lending::LeastRecentlyUsed if self.idle.is_empty() => None,
            Lending::LeastRecentlyUsed => Some(self.idle.remove(0)),
        }
    }

    /// As [`Core::take`], where servers are on several nodes: of two that `random` names, the
    /// one whose node has less to do.
    pub(crate) fn take_spread(&mut self, random: u64) -> Option<T> {
        if self.config.lending == Lending::LeastRecentlyUsed {
            return self.take();
        }
        let [first, second] = two_of(random, self.idle.len());
        let load = |at: usize| self.idle.get(at).map(|idle| idle.server.load());
        let better = if load(second) < load(first) { second } else { first };
        // The last one is what `take` lends.
        if let Some(last) = self.idle.len().checked_sub(1) {
            self.idle.swap(better, last);
        }
        self.take()
    }

    /// A client for which [`Core::take`] had nothing. What has come back since is its; so
    /// nobody ever waits while a server is idle. True if there has to be a new plan: with many
    /// clients in the queue there seldom has.
    pub(crate) fn wait(&mut self, waiter: W, now: Instant) -> bool {
        self.used = true;
        if self.waiters.is_empty()
            && self.gate == Gate::Open
            && let Some(Idle { server, until }) = self.next_idle()
        {
            match self.give(waiter, server) {
                Ok(()) => self.lent += 1,
                Err(server) => self.idle.push(Idle { server, until }),
            }
            return false;
        }
        self.waiters.push_back(Waiting { waiter, since: now });
        let (connect, retry_at) = self.connects(now);
        let (until, _) = self.end_of_wait(now, self.held_since());
        let due = [Some(until), retry_at, self.reserve_at(now)].into_iter().flatten().min();
        connect > 0 || self.planned.is_none_or(|planned| due.is_some_and(|due| due < planned))
    }

    /// A waiting client has gone.
    pub(crate) fn left(&mut self) {
        self.some_left = true;
    }

    /// A lent server comes back fit to be lent again: to the first client that waits, or
    /// to the idle ones. `idle_for` is how long it may then stay.
    #[inline]
    pub(crate) fn put(&mut self, server: T, now: Instant, idle_for: Duration) {
        let mut server = server;
        while self.gate == Gate::Open
            && let Some(waiting) = self.waiters.pop_front()
        {
            match self.give(waiting.waiter, server) {
                Ok(()) => return,
                Err(back) => server = back,
            }
        }
        self.lent -= 1;
        let until = server.expires().min(now + idle_for);
        self.idle.push(Idle { server, until });
    }

    /// A lent server will not come back.
    pub(crate) fn lost(&mut self) {
        self.lent -= 1;
    }

    /// A login has succeeded.
    pub(crate) fn connected(&mut self, server: T, now: Instant, idle_for: Duration) {
        self.connecting -= 1;
        self.lent += 1;
        self.retry = Retry::NONE;
        self.put(server, now, idle_for);
    }

    /// A login has failed. `jitter` is that of [`retry_pause`].
    pub(crate) fn connect_failed(&mut self, now: Instant, jitter: f64) {
        self.connecting -= 1;
        let pause = retry_pause(self.retry.failures, jitter);
        self.retry = Retry {
            failures: self.retry.failures.saturating_add(1),
            not_before: Some(now + pause),
            since: self.retry.since.or(Some(now)),
        };
    }

    /// How many more servers it may have, its reserve aside.
    pub(crate) fn room(&self) -> usize {
        self.config.size.saturating_sub(self.total())
    }

    /// Logins that have failed since the last that has not.
    pub(crate) fn failures(&self) -> u32 {
        self.retry.failures
    }

    /// So many servers that are logged in already are being made fit: they count as logins.
    pub(crate) fn adopting(&mut self, count: usize) {
        self.connecting += count;
    }

    /// A login was not begun after all.
    pub(crate) fn connect_withdrawn(&mut self) {
        self.connecting -= 1;
    }

    /// Whether no server is there or coming, so that waiting clients have only the failed
    /// login to hope for.
    pub(crate) fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.lent == 0 && self.connecting == 0
    }

    /// Takes all that wait.
    pub(crate) fn take_waiters(&mut self) -> impl Iterator<Item = W> + use<'_, T, W> {
        self.waiters.drain(..).map(|waiting| waiting.waiter)
    }

    /// Whether anybody waits.
    #[inline]
    pub(crate) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Takes an idle server out, by its number; it then counts as lent.
    pub(crate) fn take_idle(&mut self, id: u64) -> Option<T> {
        let at = self.idle.iter().position(|idle| idle.server.id() == id)?;
        self.lent += 1;
        Some(self.idle.remove(at).server)
    }

    /// Takes the idle servers that `keep` refuses.
    pub(crate) fn take_unwanted(&mut self, mut keep: impl FnMut(&mut T) -> bool) -> Vec<T> {
        let unwanted = self.idle.extract_if(.., |idle| !keep(&mut idle.server));
        unwanted.map(|idle| idle.server).collect()
    }

    /// Takes the idle servers, and opens none that no client has asked for.
    pub(crate) fn leave(&mut self) -> Vec<T> {
        self.used = false;
        self.take_unwanted(|_| false)
    }

    /// Takes the server that has been idle for longest, so that another pool may open one.
    pub(crate) fn take_oldest_idle(&mut self) -> Option<T> {
        if self.idle.is_empty() { None } else { Some(self.idle.remove(0).server) }
    }

    pub(crate) fn counts(&self, now: Instant) -> Counts {
        let max_wait = self.waiters.front().map(|first| now.saturating_duration_since(first.since));
        Counts {
            idle: self.idle.len(),
            active: self.lent,
            kept: 0,
            connecting: self.connecting,
            warm: 0,
            waiting: self.waiters.len(),
            max_wait: max_wait.unwrap_or_default(),
            is_holding: self.is_holding(),
            is_paused: self.gate == Gate::Paused,
        }
    }

    /// What is to be done now; no login if there is nowhere to log in to. The logins in
    /// `connect` count as begun.
    pub(crate) fn plan(&mut self, now: Instant, reachable: bool) -> Plan<T, W> {
        if std::mem::take(&mut self.some_left) {
            self.waiters.retain(|waiting| !waiting.waiter.is_gone());
        }
        let (expired, expires_at) = self.end_waits(now);
        let close = self.close_old(now);
        let (connect, retry_at) = if reachable { self.connects(now) } else { (0, None) };
        self.connecting += connect;
        let first_until = self.idle.iter().map(|idle| idle.until).min();
        let times = [first_until, self.reserve_at(now), retry_at, expires_at];
        let wake_at = times.into_iter().flatten().min();
        self.planned = wake_at;
        Plan { connect, close, expired, wake_at }
    }

    /// When the reserve may be used, if that is still to come.
    fn reserve_at(&self, now: Instant) -> Option<Instant> {
        let first = self.waiters.front().filter(|_| self.config.reserve_size > 0)?;
        Some(later(first.since, self.config.reserve_timeout)).filter(|&at| at > now)
    }

    /// Takes those who have waited or were held for too long, and says when the next one has.
    fn end_waits(&mut self, now: Instant) -> (Vec<(W, Over)>, Option<Instant>) {
        let held_since = self.held_since();
        let mut expired = Vec::new();
        while let Some(first) = self.waiters.front() {
            // Of two clients the one that has waited for longer is never the later one.
            let (until, over) = self.end_of_wait(first.since, held_since);
            if until > now {
                return (expired, Some(until));
            }
            expired.extend(self.waiters.pop_front().map(|waiting| (waiting.waiter, over)));
        }
        (expired, None)
    }

    /// How long a client waits that has waited `since` then.
    fn end_of_wait(&self, since: Instant, held_since: Option<Instant>) -> (Instant, Over) {
        let wait = later(since, self.config.query_wait_timeout);
        let hold = held_since.map(|held| later(held.max(since), self.config.hold_timeout));
        match hold {
            Some(hold) if hold < wait => (hold, Over::Hold),
            _ => (wait, Over::Wait),
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.idle.len() + self.lent + self.connecting
    }

    fn close_old(&mut self, now: Instant) -> Vec<T> {
        let mut spare = self.total().saturating_sub(self.config.min_size);
        let old = self.idle.extract_if(.., |idle| {
            if idle.until > now {
                return false;
            }
            if idle.server.expires() <= now {
                return true;
            }
            if spare == 0 {
                // Kept for min_size: looked at again when its life ends.
                idle.until = idle.server.expires();
                return false;
            }
            spare -= 1;
            true
        });
        old.map(|idle| idle.server).collect()
    }

    /// How many logins to begin, and when to ask again if a failure forbids them now.
    fn connects(&self, now: Instant) -> (usize, Option<Instant>) {
        if self.gate == Gate::Paused {
            return (0, None);
        }
        let wanted = self.waiters.len().saturating_sub(self.connecting);
        let reserve_due = self
            .waiters
            .front()
            .is_some_and(|first| now >= later(first.since, self.config.reserve_timeout));
        let limit = self.config.size + if reserve_due { self.config.reserve_size } else { 0 };
        let missing = if self.used { self.config.min_size.saturating_sub(self.total()) } else { 0 };
        let connect = wanted
            .max(missing)
            .min(limit.saturating_sub(self.total()))
            .min(self.config.login_concurrency.max(1).saturating_sub(self.connecting));
        match self.retry.not_before {
            Some(at) if at > now && connect > 0 => (0, Some(at)),
            // While logins fail, one is enough to try.
            Some(_) if self.retry.failures > 0 => {
                (connect.min(1_usize.saturating_sub(self.connecting)), None)
            }
            _ => (connect, None),
        }
    }
}

/// Two places among `len`, different ones if there are two; each pair is equally likely.
fn two_of(random: u64, len: usize) -> [usize; 2] {
    let choices = u64::try_from(len.max(1)).unwrap_or(u64::MAX);
    let place = |number: u64| usize::try_from(number).unwrap_or(0);
    let first = random % choices;
    let step = 1 + (random / choices) % (choices - 1).max(1);
    [place(first), place((first + step) % choices)]
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
