//! What a client must pass besides its password: rates, memory, and the cost of failed logins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use config::Limits;
use parking_lot::RwLock;
use tokio::time::{sleep, timeout_at};
use transport::Socket;
use wire::{ErrorMessage, SqlState};

use crate::rates::{Bucket, Buckets, Failures, Network, Rate};
use crate::relay::Quota;

/// What a client must pass besides its password.
#[derive(Debug)]
pub(crate) struct Gate {
    start: Instant,
    rates: RwLock<Arc<Rates>>,
    is_out_of_memory: AtomicBool,
}

/// What is taken from, under one set of limits.
#[derive(Debug)]
struct Rates {
    limits: Limits,
    failures: Arc<Failures>,
    logins_of_address: Option<Buckets<Network>>,
    logins_of_user: Option<Buckets<Box<str>>>,
    transactions_of_address: Option<Buckets<Network>>,
    transactions_of_user: Option<Buckets<Box<str>>>,
    tls_handshakes: Option<(Rate, Bucket)>,
}

/// Why nobody enters now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shut {
    /// `max_memory`.
    Memory,
    /// `logins_per_second_per_address`.
    AddressRate,
    /// `logins_per_second_per_user`.
    UserRate,
}

/// How long a TLS handshake may be put off. Who connects later than that is not heard.
const TLS_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at the memory that is used.
const MEMORY_PERIOD: Duration = Duration::from_secs(1);

/// SSLRequest, as it comes first on a connection.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

impl Rates {
    fn new(limits: Limits, failures: Arc<Failures>) -> Self {
        let tls = Rate::new(limits.tls_handshakes_per_second);
        Self {
            limits,
            failures,
            logins_of_address: Buckets::new(limits.logins_per_second_per_address),
            logins_of_user: Buckets::new(limits.logins_per_second_per_user),
            transactions_of_address: Buckets::new(limits.transactions_per_second_per_address),
            transactions_of_user: Buckets::new(limits.transactions_per_second_per_user),
            tls_handshakes: tls.map(|rate| (rate, Bucket::default())),
        }
    }
}

impl Gate {
    pub(crate) fn new(limits: &Limits, start: Instant) -> Self {
        let failures = Arc::new(Failures::new(limits.failed_login_delay));
        let rates = RwLock::new(Arc::new(Rates::new(*limits, failures)));
        Self { start, rates, is_out_of_memory: AtomicBool::new(false) }
    }

    /// Goes by other limits. What was taken under those before is forgotten, but not whose logins
    /// have failed; clients that are there go on under the rates that they began with.
    pub(crate) fn set(&self, limits: &Limits) {
        let before = self.rates();
        if before.limits == *limits {
            return;
        }
        let failures = match before.limits.failed_login_delay == limits.failed_login_delay {
            true => Arc::clone(&before.failures),
            false => Arc::new(Failures::new(limits.failed_login_delay)),
        };
        *self.rates.write() = Arc::new(Rates::new(*limits, failures));
        if limits.max_memory.is_none() {
            self.is_out_of_memory.store(false, Relaxed);
        }
    }

    fn rates(&self) -> Arc<Rates> {
        Arc::clone(&self.rates.read())
    }

    /// Waits until a connection that begins with TLS has its turn; others have it at once.
    /// False if too many are before it.
    ///
    /// # Cancel safety
    /// Dropped, the turn is lost.
    pub(crate) async fn tls_turn(&self, socket: &Socket, deadline: tokio::time::Instant) -> bool {
        let rates = self.rates();
        let Some((rate, bucket)) = &rates.tls_handshakes else { return true };
        let Socket::Tcp(socket) = socket else { return true };
        let mut first = [0; SSL_REQUEST.len()];
        let peeked = timeout_at(deadline, socket.peek(&mut first)).await;
        // Who has gone or says nothing is found out by the handshake.
        let Ok(Ok(len)) = peeked else { return true };
        if !may_be_tls(first.get(..len).unwrap_or_default()) {
            return true;
        }
        match rate.take(bucket, self.time(Instant::now()), TLS_PATIENCE) {
            Some(turn) => {
                sleep(turn).await;
                true
            }
            None => false,
        }
    }

    /// Whether a login may be tried from there.
    ///
    /// # Errors
    /// Not now.
    pub(crate) fn try_login(&self, from: Network, now: Instant) -> Result<(), Shut> {
        if self.is_out_of_memory.load(Relaxed) {
            return Err(Shut::Memory);
        }
        let rates = self.rates();
        let may = rates.logins_of_address.as_ref().is_none_or(|it| it.take(from, self.time(now)));
        if may { Ok(()) } else { Err(Shut::AddressRate) }
    }

    /// Whether this user, who has proved to be it, may log in. Nobody else can use up its rate.
    ///
    /// # Errors
    /// Not now.
    pub(crate) fn log_in(&self, user: &str, now: Instant) -> Result<(), Shut> {
        let time = self.time(now);
        let rates = self.rates();
        let may = rates.logins_of_user.as_ref().is_none_or(|it| it.take(user.into(), time));
        if may { Ok(()) } else { Err(Shut::UserRate) }
    }

    /// How long a login from there has to wait before it is tried.
    pub(crate) fn delay(&self, from: Network, now: Instant) -> Duration {
        self.rates.read().failures.delay(from, self.time(now))
    }

    /// A login from there has failed.
    pub(crate) fn login_failed(&self, from: Network, now: Instant) {
        self.rates.read().failures.failed(from, self.time(now));
    }

    /// What the transactions of a client are taken from, if they are limited.
    pub(crate) fn quota(
        self: &Arc<Self>,
        user: &str,
        from: Network,
        client: u64,
    ) -> Option<Box<Quota>> {
        let now = self.time(Instant::now());
        let rates = self.rates();
        let of_user = rates.transactions_of_user.as_ref();
        let of_user = of_user.map(|it| (it.rate(), it.bucket(user.into(), now)));
        let of_address = rates.transactions_of_address.as_ref();
        let of_address = of_address.map(|it| (it.rate(), it.bucket(from, now)));
        let buckets: Box<[_]> = of_user.into_iter().chain(of_address).collect();
        (!buckets.is_empty()).then(|| Box::new(Quota::new(Arc::clone(self), buckets, client)))
    }

    /// The time of its buckets.
    #[inline]
    pub(crate) fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    fn memory_max(&self) -> Option<u64> {
        self.rates.read().limits.max_memory
    }

    /// Notes how much memory is used.
    fn observe(&self, used: u64) {
        let Some(max) = self.memory_max() else { return };
        let is_out = used > max;
        if self.is_out_of_memory.swap(is_out, Relaxed) != is_out {
            if is_out {
                tracing::warn!(
                    event = "memory_full",
                    used,
                    max,
                    "max_memory is reached: new clients are refused"
                );
            } else {
                tracing::info!(
                    event = "memory_available",
                    used,
                    max,
                    "new clients are taken again"
                );
            }
        }
    }
}

impl Shut {
    /// What the client is told.
    pub(crate) fn message(self) -> ErrorMessage {
        match self {
            Self::Memory => ErrorMessage::fatal(SqlState::OUT_OF_MEMORY, "out of memory")
                .with_detail("max_memory is reached, and no new clients are taken."),
            Self::AddressRate => ErrorMessage::fatal(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                "too many logins per second from this address",
            ),
            Self::UserRate => ErrorMessage::fatal(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                "too many logins per second for this role",
            ),
        }
    }

    /// The key that is in the way, for the log.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Memory => "proxy.max_memory",
            Self::AddressRate => "proxy.logins_per_second_per_address",
            Self::UserRate => "proxy.logins_per_second_per_user",
        }
    }
}

/// Looks at the memory that is used, while there is a limit, for ever.
pub(crate) async fn watch_memory(gate: Arc<Gate>) {
    loop {
        if gate.memory_max().is_some() {
            // Where the kernel does not say, there is no limit.
            gate.observe(telemetry::resident_bytes().unwrap_or(0));
        }
        sleep(MEMORY_PERIOD).await;
    }
}

/// Whether these first bytes are, or may yet become, a request for TLS.
fn may_be_tls(first: &[u8]) -> bool {
    first.first() == Some(&0x16) || SSL_REQUEST.starts_with(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(limits: Limits) -> (Gate, Instant) {
        let start = Instant::now();
        (Gate::new(&limits, start), start)
    }

    const HERE: Network = Network::V4(1);
    const THERE: Network = Network::V4(2);

    #[test]
    fn without_limits_everybody_enters() {
        let (gate, now) = gate(Limits::default());
        for _ in 0..1000 {
            assert_eq!(gate.try_login(HERE, now), Ok(()));
            assert_eq!(gate.log_in("a", now), Ok(()));
        }
        assert!(Arc::new(gate).quota("a", HERE, 1).is_none());
    }

    #[test]
    fn each_address_and_each_user_has_its_own_rate() {
        let (gate, now) = gate(Limits {
            logins_per_second_per_address: 2,
            logins_per_second_per_user: 1,
            ..Limits::default()
        });
        assert_eq!([0; 3].map(|_| gate.try_login(HERE, now).is_ok()), [true, true, false]);
        assert_eq!(gate.try_login(HERE, now), Err(Shut::AddressRate));
        assert_eq!(gate.try_login(THERE, now), Ok(()));
        assert_eq!(gate.log_in("a", now), Ok(()));
        assert_eq!(gate.log_in("a", now), Err(Shut::UserRate));
        assert_eq!(gate.log_in("b", now), Ok(()));
        assert_eq!(gate.log_in("a", now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn nobody_enters_while_memory_is_short() {
        let (gate, now) = gate(Limits { max_memory: Some(100), ..Limits::default() });
        gate.observe(100);
        assert_eq!(gate.try_login(HERE, now), Ok(()));
        gate.observe(101);
        assert_eq!(gate.try_login(HERE, now), Err(Shut::Memory));
        gate.observe(99);
        assert_eq!(gate.try_login(HERE, now), Ok(()));
        gate.observe(101);
        gate.set(&Limits::default());
        assert_eq!(gate.try_login(HERE, now), Ok(()), "there is no limit any more");
    }

    #[test]
    fn other_limits_count_at_once_and_failures_are_not_forgotten() {
        let limits = Limits { failed_login_delay: Duration::from_secs(1), ..Limits::default() };
        let (gate, now) = gate(limits);
        (0..9).for_each(|_| gate.login_failed(HERE, now));
        let delay = gate.delay(HERE, now);
        assert!(!delay.is_zero());
        gate.set(&Limits { logins_per_second_per_address: 1, ..limits });
        assert_eq!([0; 2].map(|_| gate.try_login(HERE, now).is_ok()), [true, false]);
        assert_eq!(gate.delay(HERE, now), delay);
        gate.set(&limits);
        assert_eq!(gate.try_login(HERE, now), Ok(()));
    }

    #[test]
    fn what_is_not_tls_for_certain_counts_as_tls() {
        for first in [&b""[..], b"\x16", b"\x16\x03\x01", &SSL_REQUEST, &SSL_REQUEST[..5]] {
            assert!(may_be_tls(first), "{first:?}");
        }
        for first in [&b"\0\0\0\x50\0\x03\0\0"[..], b"\0\0\0\x08\x04\xd2\x16\x30", b"GET /"] {
            assert!(!may_be_tls(first), "{first:?}");
        }
    }
}
