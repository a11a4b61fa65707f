//! How often: token buckets per user and per address, and what failed logins cost.
//!
//! The time is an argument, counted from any fixed moment. Tables are bounded: whoever brings
//! more addresses than they hold shares what is left.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use frontend::ClientAddress;
use parking_lot::Mutex;

/// So many per second, of which a second's worth may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Nanoseconds from one to the next.
    interval: u64,
}

/// What was taken of a [`Rate`]: nanoseconds at which all of it can be had again.
#[derive(Debug, Default)]
pub(crate) struct Bucket(AtomicU64);

/// A bucket for each of many.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    table: Mutex<HashMap<K, Arc<Bucket>>>,
    /// For those that the table has no room for.
    others: Arc<Bucket>,
}

/// What counts as one address: an IPv4 address, the /64 that an IPv6 host has to itself, or one
/// user of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4(u32),
    V6(u64),
    /// Clients of Unix sockets, by the user that they run as: no one's failures slow down
    /// another, or the application beside it.
    Local(u32),
}

/// Logins that failed, by address. Each makes the next attempts from there wait longer; nobody
/// is locked out, and nobody elsewhere waits.
#[derive(Debug)]
pub(crate) struct Failures {
    delay_max: Duration,
    table: Mutex<HashMap<Network, Failed>>,
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    count: u32,
    last: Duration,
}

/// Names or addresses that are told apart: some megabytes at the most.
const TABLE_MAX: usize = 16 * 1024;

/// Slips of a keyboard.
const FAILURES_FREE: u32 = 3;

/// After the first failure that is not free; doubled by each further one.
const DELAY_FIRST: Duration = Duration::from_millis(50);

/// A failure is forgotten after so long, one after the other.
const FORGET: Duration = Duration::from_secs(5);

/// More than these change nothing, and are not there to be forgotten.
const FAILURES_MAX: u32 = FAILURES_FREE + 12;

const SECOND: u64 = 1_000_000_000;

impl Rate {
    /// `None` for zero: no limit.
    pub(crate) fn new(per_second: u32) -> Option<Self> {
        (per_second > 0).then(|| Self { interval: SECOND / u64::from(per_second) })
    }

    /// Takes one that can be had within `patience`: after how long. `None` if it cannot, and
    /// then nothing is taken.
    pub(crate) fn take(
        self,
        bucket: &Bucket,
        now: Duration,
        patience: Duration,
    ) -> Option<Duration> {
        let now = nanos(now);
        let burst = SECOND - self.interval;
        let patience = nanos(patience);
        let before = bucket.0.fetch_update(Relaxed, Relaxed, |full_at| {
            let full_at = full_at.max(now);
            (full_at - now <= burst.saturating_add(patience))
                .then(|| full_at.saturating_add(self.interval))
        });
        let taken = before.ok()?.max(now) - now;
        Some(Duration::from_nanos(taken.saturating_sub(burst)))
    }
}

impl Bucket {
    /// Whether it is as a new one.
    fn is_full(&self, now: u64) -> bool {
        self.0.load(Relaxed) <= now
    }
}

impl<K: Eq + Hash> Buckets<K> {
    /// `None` without a limit.
    pub(crate) fn new(per_second: u32) -> Option<Self> {
        let rate = Rate::new(per_second)?;
        Some(Self { rate, table: Mutex::default(), others: Arc::default() })
    }

    /// The bucket of one.
    pub(crate) fn bucket(&self, key: K, now: Duration) -> Arc<Bucket> {
        let mut table = self.table.lock();
        if let Some(bucket) = table.get(&key) {
            return Arc::clone(bucket);
        }
        if table.len() >= TABLE_MAX {
            let now = nanos(now);
            table.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_full(now));
        }
        if table.len() >= TABLE_MAX {
            return Arc::clone(&self.others);
        }
        Arc::clone(table.entry(key).or_default())
    }

    /// Whether one may be taken now, and then it is.
    pub(crate) fn take(&self, key: K, now: Duration) -> bool {
        self.rate.take(&self.bucket(key, now), now, Duration::ZERO).is_some()
    }

    /// What its buckets are taken from at.
    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }
}

impl Network {
    /// The one that a client is of.
    pub(crate) fn of(client: ClientAddress) -> Self {
        let address = match client {
            ClientAddress::Host(address) => address.ip(),
            ClientAddress::Local { uid } => return Self::Local(uid),
        };
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
        }
    }
}

impl Failures {
    /// Nobody waits longer than `delay_max`; zero makes nobody wait.
    pub(crate) fn new(delay_max: Duration) -> Self {
        Self { delay_max, table: Mutex::default() }
    }

    /// How long a login from there has to wait before it may try.
    pub(crate) fn delay(&self, network: Network, now: Duration) -> Duration {
        if self.delay_max.is_zero() {
            return Duration::ZERO;
        }
        let failed = self.table.lock().get(&network).copied();
        let count = failed.map_or(0, |failed| failed.count_at(now));
        match count.checked_sub(FAILURES_FREE + 1) {
            Some(beyond) => DELAY_FIRST.saturating_mul(1 << beyond.min(16)).min(self.delay_max),
            None => Duration::ZERO,
        }
    }

    /// A login from there has failed.
    pub(crate) fn failed(&self, network: Network, now: Duration) {
        if self.delay_max.is_zero() {
            return;
        }
        let mut table = self.table.lock();
        if table.len() >= TABLE_MAX && !table.contains_key(&network) {
            table.retain(|_, failed| failed.count_at(now) > 0);
            if table.len() >= TABLE_MAX {
                return;
            }
        }
        let failed = table.entry(network).or_insert(Failed { count: 0, last: now });
        *failed = Failed { count: (failed.count_at(now) + 1).min(FAILURES_MAX), last: now };
    }
}

impl Failed {
    /// What is not forgotten yet.
    fn count_at(self, now: Duration) -> u32 {
        let forgotten = now.saturating_sub(self.last).as_millis() / FORGET.as_millis();
        self.count.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn network(text: &str) -> Network {
        let ip: IpAddr = text.parse().unwrap();
        Network::of(ClientAddress::Host((ip, 1).into()))
    }

    #[test]
    fn a_seconds_worth_comes_at_once_and_then_one_by_one() {
        let rate = Rate::new(4).unwrap();
        let bucket = Bucket::default();
        let taken = |now: u64| rate.take(&bucket, Duration::from_millis(now), Duration::ZERO);
        for _ in 0..4 {
            assert_eq!(taken(1000), Some(Duration::ZERO));
        }
        assert_eq!(taken(1000), None);
        assert_eq!(taken(1249), None);
        assert_eq!(taken(1250), Some(Duration::ZERO));
        assert_eq!(taken(1250), None);
        assert_eq!((0..9).filter(|_| taken(9000).is_some()).count(), 4);
        assert_eq!(Rate::new(0), None);
    }

    #[test]
    fn who_has_patience_is_given_a_time() {
        let rate = Rate::new(1).unwrap();
        let bucket = Bucket::default();
        let take = |patience| rate.take(&bucket, secs(10), secs(patience));
        assert_eq!(take(2), Some(secs(0)));
        assert_eq!(take(2), Some(secs(1)));
        assert_eq!(take(2), Some(secs(2)));
        assert_eq!(take(2), None);
        assert_eq!(take(3), Some(secs(3)));
    }

    #[test]
    fn a_table_is_bounded_and_forgets_only_what_is_unused() {
        let buckets = Buckets::<u32>::new(1).unwrap();
        assert!(buckets.take(0, secs(0)));
        for key in 1..=u32::try_from(TABLE_MAX * 2).unwrap() {
            buckets.bucket(key, secs(0));
        }
        assert!(buckets.table.lock().len() <= TABLE_MAX);
        assert!(!buckets.take(0, secs(0)), "what was taken is not given back");
        let busy = Buckets::<u32>::new(1).unwrap();
        let keys = 0..u32::try_from(TABLE_MAX + 1).unwrap();
        assert!(keys.clone().all(|key| busy.take(key, secs(0))), "others have one between them");
        assert!(!busy.take(keys.end, secs(0)));
        assert_eq!(busy.table.lock().len(), TABLE_MAX);
    }

    #[test]
    fn a_host_is_an_ipv4_address_or_a_64() {
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_eq!(network("2001:db8:0:1::1"), network("2001:db8:0:1:ffff::2"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
        let local = |uid| Network::of(ClientAddress::Local { uid });
        assert_eq!(local(7), local(7));
        assert_ne!(local(7), local(8));
    }

    #[test]
    fn failures_slow_their_address_down_and_no_other() {
        let failures = Failures::new(secs(1));
        let (bad, good) = (network("10.0.0.1"), network("10.0.0.2"));
        let mut delays = Vec::new();
        for _ in 0..10 {
            failures.failed(bad, secs(100));
            delays.push(failures.delay(bad, secs(100)).as_millis());
        }
        assert_eq!(delays, [0, 0, 0, 50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(failures.delay(good, secs(100)), Duration::ZERO);
        // They are forgotten one by one.
        assert_eq!(failures.delay(bad, secs(100 + 5 * 3)).as_millis(), 400);
        assert_eq!(failures.delay(bad, secs(100 + 5 * 7)), Duration::ZERO);
    }

    #[test]
    fn failures_of_any_number_of_addresses_take_bounded_room() {
        let failures = Failures::new(secs(1));
        for address in 0..u32::try_from(TABLE_MAX + 9).unwrap() {
            failures.failed(Network::V4(address), secs(0));
        }
        assert_eq!(failures.table.lock().len(), TABLE_MAX);
        failures.failed(Network::V6(1), secs(60));
        assert_eq!(failures.table.lock().len(), 1);
        let off = Failures::new(Duration::ZERO);
        off.failed(Network::V6(1), secs(0));
        assert!(off.table.lock().is_empty());
    }

    proptest! {
        #[test]
        fn no_more_is_taken_than_the_rate_allows(
            per_second in 1_u32..50,
            steps in prop::collection::vec(0_u64..400, 1..200),
        ) {
            let rate = Rate::new(per_second).unwrap();
            let bucket = Bucket::default();
            let (mut now, mut taken) = (0, 0_u64);
            for step in steps {
                now += step;
                let time = Duration::from_millis(now);
                taken += u64::from(rate.take(&bucket, time, Duration::ZERO).is_some());
                prop_assert!(taken * 1000 <= u64::from(per_second) * (now + 1000) + 1000);
            }
        }
    }
}
