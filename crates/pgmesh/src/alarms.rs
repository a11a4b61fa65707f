//! Wakes clients whose deadline has passed: one task that looks at all of them now and then.
//!
//! A timer per statement would cost each transaction a registration in the runtime's wheel. A
//! deadline here is a number that its client overwrites; nothing else happens until it passes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;
use topology::{Group, NodeState, Role, Snapshot};

use crate::follow::Snapshots;

/// The alarms of all clients.
#[derive(Debug)]
pub(crate) struct Alarms {
    start: Instant,
    list: Mutex<Vec<Arc<Alarm>>>,
    /// When a worker was last seen without its primary: milliseconds from `start`, and one.
    disturbed: AtomicU64,
}

/// The alarm of one client.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// Milliseconds from the start, [`NEVER`] or [`RINGS`].
    due: AtomicU64,
    /// A task has the same waker as long as it lives.
    waker: OnceLock<Waker>,
}

/// No deadline.
const NEVER: u64 = u64::MAX;

/// The deadline has passed, and the client has not noticed yet.
const RINGS: u64 = 0;

/// A deadline is noticed after at most this part of the shortest limit there is …
const PARTS: u32 = 10;

/// … but looking costs a little per client, so not more often than this,
const PERIOD_MIN: Duration = Duration::from_millis(10);

/// nor less often than this.
const PERIOD_MAX: Duration = Duration::from_millis(500);

impl Alarms {
    /// None yet, and no deadline before `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, list: Mutex::default(), disturbed: AtomicU64::new(0) }
    }

    /// An alarm for a client; it goes with its last other owner.
    pub(crate) fn add(&self) -> Arc<Alarm> {
        let alarm = Arc::new(Alarm { due: AtomicU64::new(NEVER), waker: OnceLock::new() });
        self.list.lock().push(Arc::clone(&alarm));
        alarm
    }

    /// The time that alarms are set in: from the start.
    #[inline]
    pub(crate) fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    /// Wakes those whose deadline has passed.
    pub(crate) fn ring(&self, now: Instant) {
        let now = millis(self.time(now));
        self.list.lock().retain(|alarm| {
            alarm.ring(now);
            Arc::strong_count(alarm) > 1
        });
    }

    /// Whether a worker was seen without its primary after `since`: a statement that waited for
    /// it was held by the coordinator, through no fault of its own.
    pub(crate) fn was_disturbed_since(&self, since: Duration) -> bool {
        self.disturbed.load(Ordering::Relaxed) > millis(since)
    }

    /// A worker is seen without its primary.
    pub(crate) fn disturb(&self, now: Instant) {
        self.disturbed.store(millis(self.time(now)) + 1, Ordering::Relaxed);
    }
}

impl Alarm {
    /// Sets when it rings next, or that it does not.
    #[inline]
    pub(crate) fn set(&self, at: Option<Duration>) {
        // Later than the deadline rather than before it.
        let due = at.map_or(NEVER, |at| millis(at).saturating_add(1));
        // The client alone reads it back; whoever rings exchanges it.
        self.due.store(due, Ordering::Relaxed);
    }

    /// Whether it has rung and was not set since. From now on this task is woken.
    #[inline]
    pub(crate) fn rings(&self, waker: &Waker) -> bool {
        // Before the look: what rings in between wakes us.
        self.waker.get_or_init(|| waker.clone());
        self.due.load(Ordering::Acquire) == RINGS
    }

    fn ring(&self, now: u64) {
        let due = self.due.load(Ordering::Relaxed);
        if due == RINGS || due > now {
            return;
        }
        // It may have been set anew in this moment.
        let rings = self.due.compare_exchange(due, RINGS, Ordering::Release, Ordering::Relaxed);
        if rings.is_ok()
            && let Some(waker) = self.waker.get()
        {
            waker.wake_by_ref();
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER)
}

/// Rings whatever is due, for ever. `shortest` is the shortest limit that there is.
pub(crate) async fn run(alarms: Arc<Alarms>, shortest: Duration, snapshots: Snapshots) {
    let mut period = tokio::time::interval((shortest / PARTS).clamp(PERIOD_MIN, PERIOD_MAX));
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let now = Instant::now();
        if lacks_a_worker(&snapshots.borrow()) {
            alarms.disturb(now);
        }
        alarms.ring(now);
    }
}

/// Whether a group of workers has no primary that is known to run: Patroni makes the
/// coordinator hold what would touch it.
fn lacks_a_worker(snapshot: &Snapshot) -> bool {
    snapshot.groups().iter().any(lacks_its_primary)
}

fn lacks_its_primary(group: &Group) -> bool {
    let leader = group.leader.as_ref();
    let leader = leader.and_then(|name| group.nodes.iter().find(|node| node.name == *name));
    !leader.is_some_and(|node| node.role == Role::Primary && node.state == NodeState::Running)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use topology::{Address, Node, NodeName};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_client_is_woken_once_when_its_deadline_has_passed() {
        let start = Instant::now();
        let alarms = Alarms::new(start);
        let alarm = alarms.add();
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        alarms.ring(start + 9 * SECOND);
        assert!(!alarm.rings(&waker));
        alarm.set(Some(10 * SECOND));
        alarms.ring(start + 10 * SECOND);
        assert!(!alarm.rings(&waker), "never before");
        for _ in 0..2 {
            alarms.ring(start + 11 * SECOND);
            assert!(alarm.rings(&waker));
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        alarm.set(Some(20 * SECOND));
        assert!(!alarm.rings(&waker), "a new deadline replaces one that has passed");
        alarm.set(None);
        alarms.ring(start + 30 * SECOND);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_rang_before_anybody_listened_is_seen() {
        let start = Instant::now();
        let alarms = Alarms::new(start);
        let alarm = alarms.add();
        alarm.set(Some(Duration::ZERO));
        alarms.ring(start + SECOND);
        assert!(alarm.rings(Waker::noop()));
    }

    #[test]
    fn alarms_go_with_their_clients() {
        let alarms = Alarms::new(Instant::now());
        let (kept, gone) = (alarms.add(), alarms.add());
        drop(gone);
        alarms.ring(Instant::now());
        assert_eq!(alarms.list.lock().len(), 1);
        drop(kept);
    }

    #[test]
    fn a_group_of_workers_has_its_primary_if_the_leader_is_one_and_runs() {
        let name = |name: &str| NodeName::new(name).unwrap();
        let group = |leader: Option<&str>, role, state| {
            let node = Node {
                name: name("w1"),
                address: Address::parse("10.0.0.1:5432").unwrap(),
                role,
                state,
                timeline: None,
                lag: None,
                noloadbalance: false,
                nofailover: false,
                sync: false,
            };
            Group { id: 1, leader: leader.map(name), nodes: [Arc::new(node)].into() }
        };
        let (primary, running) = (Role::Primary, NodeState::Running);
        assert!(!lacks_its_primary(&group(Some("w1"), primary, running)));
        for lacking in [
            group(None, primary, running),
            group(Some("w2"), primary, running),
            group(Some("w1"), Role::Replica, running),
            group(Some("w1"), primary, NodeState::Stopping),
        ] {
            assert!(lacks_its_primary(&lacking), "{lacking:?}");
        }
    }

    #[test]
    fn a_disturbance_counts_for_what_was_under_way() {
        let start = Instant::now();
        let alarms = Alarms::new(start);
        assert!(!alarms.was_disturbed_since(Duration::ZERO));
        alarms.disturb(start + SECOND);
        assert!(alarms.was_disturbed_since(Duration::ZERO));
        assert!(alarms.was_disturbed_since(SECOND));
        assert!(!alarms.was_disturbed_since(2 * SECOND));
    }
}
