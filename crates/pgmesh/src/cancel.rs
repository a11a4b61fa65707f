//! Cancel keys: from a client's key to the statement that it has running, and to no other.
//!
//! A [`Slot`] belongs to one client. It names the server that the client has at this very
//! moment; a request begins under the slot's lock, and so does the end of a lease, so a
//! request finds either this client's server or none.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pool::{CancelGuard, Cancels, Pools};
use rand::Rng;
use telemetry::Cancel;
use tokio::sync::Notify;
use wire::{CancelKey, CancelSecret, KeyOwner, Version};

use crate::clients::{Activity, Call, Calls, Facts, View};

/// All cancel keys that clients hold.
#[derive(Debug)]
pub(crate) struct CancelKeys {
    owner: KeyOwner,
    /// How long a server may take to hear of a cancel.
    wait: Duration,
    slots: Mutex<HashMap<i32, Weak<Slot>>>,
}

/// One client: its key, what that would cancel now, and who it is.
#[derive(Debug)]
pub(crate) struct Slot {
    keys: Weak<CancelKeys>,
    key: CancelKey,
    facts: Facts,
    state: Mutex<State>,
    calls: Calls,
}

#[derive(Debug)]
struct State {
    link: Link,
    /// When it last began to wait for a server, or got one at once.
    asked: Instant,
}

#[derive(Debug)]
enum Link {
    /// The client has no server and wants none.
    Idle,
    /// It waits for one; the waker of its relay.
    Waiting(Waker),
    /// It was waiting when a request came.
    Cancelled,
    /// It has the server of this number, which cannot be asked to cancel if it has no key.
    Leased { server: u64, cancels: Option<Arc<Cancels>> },
    /// It talks to us.
    Console(Arc<Notify>),
}

/// What a request found.
enum Found {
    Nothing,
    Waiting,
    Statement(CancelGuard),
}

impl CancelKeys {
    /// None yet. Every key will have `owner` in it; a server may take as long as `wait` to hear
    /// of a cancel.
    pub(crate) fn new(owner: KeyOwner, wait: Duration) -> Self {
        Self { owner, wait, slots: Mutex::default() }
    }

    /// Whose keys these are.
    pub(crate) fn owner(&self) -> KeyOwner {
        self.owner
    }

    /// A key for a new client: 32 secret bytes for protocol 3.2, 4 for 3.0.
    pub(crate) fn issue(self: &Arc<Self>, version: Version, facts: Facts) -> Arc<Slot> {
        let asked = Instant::now();
        let mut random = rand::rng();
        let secret: [u8; 32] = random.random();
        let len = if version >= Version::V3_2 { 32 } else { 4 };
        let mut slots = self.slots.lock();
        loop {
            let pid = self.owner.pid(random.random());
            if slots.contains_key(&pid) {
                continue;
            }
            let Ok(secret) = CancelSecret::new(&secret[..len]) else { continue };
            let key = CancelKey { pid, secret };
            let keys = Arc::downgrade(self);
            let slot = Arc::new(Slot {
                keys,
                key,
                facts,
                state: Mutex::new(State { link: Link::Idle, asked }),
                calls: Calls::default(),
            });
            slots.insert(pid, Arc::downgrade(&slot));
            return slot;
        }
    }

    /// All clients that have logged in, for what is asked seldom: it takes the lock of every login.
    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// The client that has this process id and what else the asker `knows` of its key.
    pub(crate) fn find(
        &self,
        pid: i32,
        knows: impl FnOnce(&CancelKey) -> bool,
    ) -> Option<Arc<Slot>> {
        let slot = self.slots.lock().get(&pid).and_then(Weak::upgrade);
        slot.filter(|slot| knows(&slot.key))
    }
}

impl Slot {
    /// Carries a CancelRequest out. Nobody is told how it went; the outcome is for metrics.
    ///
    /// # Cancel safety
    /// Dropped half way, it makes the server concerned unfit for reuse.
    pub(crate) async fn cancel(&self, pools: &Pools) -> Cancel {
        let guard = match self.find() {
            Found::Nothing => return Cancel::Idle,
            Found::Waiting => return Cancel::Waiting,
            Found::Statement(guard) => guard,
        };
        let limit = self.keys.upgrade().map_or(Duration::ZERO, |keys| keys.wait);
        deliver(guard, async |target| pools.cancel(target, limit).await).await
    }

    /// Begins to cancel the statement that the client has under way, for a limit of ours.
    /// `None` if it has no server, or one that cannot be asked.
    pub(crate) fn begin_cancel(&self) -> Option<CancelGuard> {
        match &self.state.lock().link {
            Link::Leased { cancels, .. } => cancels.as_ref().map(Cancels::begin),
            Link::Idle | Link::Waiting(_) | Link::Cancelled | Link::Console(_) => None,
        }
    }

    /// The client of the same user that has this process id.
    pub(crate) fn peer(&self, pid: i32) -> Option<Arc<Self>> {
        let peer = self.keys.upgrade()?.find(pid, |_| true);
        peer.filter(|peer| peer.facts.key.user == self.facts.key.user)
    }

    /// Calls the client's session to its end.
    pub(crate) fn call(&self, how: Call) {
        self.calls.call(how);
    }

    /// How the session is called; wakes the client's task, which has one waker for as long as it
    /// lives, when it is.
    #[inline]
    pub(crate) fn called(&self, waker: &Waker) -> Option<Call> {
        self.calls.called(waker)
    }

    /// Whether the session is called at all.
    #[inline]
    pub(crate) fn is_called(&self) -> bool {
        self.calls.is_called()
    }

    /// Who the client is.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the client does at this moment.
    pub(crate) fn view(&self) -> View {
        let state = self.state.lock();
        let activity = match &state.link {
            Link::Idle | Link::Cancelled => Activity::Idle,
            Link::Waiting(_) => Activity::Waiting,
            Link::Leased { server, .. } => Activity::Leased(*server),
            Link::Console(_) => Activity::Console,
        };
        View { activity, asked: state.asked }
    }

    /// The client talks to the console: a request to cancel is told to `cancelled`.
    pub(crate) fn at_console(&self, cancelled: Arc<Notify>) {
        self.state.lock().link = Link::Console(cancelled);
    }

    /// The key, for the client it belongs to.
    pub(crate) fn key(&self) -> &CancelKey {
        &self.key
    }

    /// The client has the server of this number now, for which it asked at `asked`.
    #[inline]
    pub(crate) fn leased(&self, server: u64, cancels: Option<&Arc<Cancels>>, asked: Instant) {
        let link = Link::Leased { server, cancels: cancels.map(Arc::clone) };
        *self.state.lock() = State { link, asked };
    }

    /// The client has no server any more. To be called before the server is given back.
    #[inline]
    pub(crate) fn idle(&self) {
        self.state.lock().link = Link::Idle;
    }

    /// The client waits for a server since `asked`. True if it was cancelled meanwhile.
    pub(crate) fn waiting(&self, waker: &Waker, asked: Instant) -> bool {
        let mut state = self.state.lock();
        if matches!(state.link, Link::Cancelled) {
            state.link = Link::Idle;
            return true;
        }
        *state = State { link: Link::Waiting(waker.clone()), asked };
        false
    }

    /// Cancels as a request would, if the client waits. Whether it did.
    #[cfg(test)]
    pub(crate) fn cancel_wait(&self) -> bool {
        matches!(self.find(), Found::Waiting)
    }

    fn find(&self) -> Found {
        let mut state = self.state.lock();
        match &state.link {
            Link::Idle | Link::Cancelled | Link::Leased { cancels: None, .. } => Found::Nothing,
            Link::Leased { cancels: Some(cancels), .. } => Found::Statement(cancels.begin()),
            Link::Waiting(waker) => {
                waker.wake_by_ref();
                state.link = Link::Cancelled;
                Found::Waiting
            }
            Link::Console(cancelled) => {
                cancelled.notify_one();
                Found::Waiting
            }
        }
    }
}

/// Carries a cancel out that has begun, by `send`.
///
/// # Cancel safety
/// Dropped half way, it makes the server concerned unfit for reuse.
pub(crate) async fn deliver(
    guard: CancelGuard,
    send: impl AsyncFnOnce(&backend::CancelTarget) -> Result<(), backend::ConnectError>,
) -> Cancel {
    match send(guard.target()).await {
        Ok(()) => {
            guard.ended();
            Cancel::Delivered
        }
        Err(error) => {
            tracing::warn!(event = "cancel_failed", %error, "cancel request could not be delivered");
            Cancel::Failed
        }
    }
}

#[cfg(test)]
impl Default for CancelKeys {
    fn default() -> Self {
        Self::new(KeyOwner::new(1).unwrap(), Duration::from_secs(5))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(keys) = self.keys.upgrade() {
            keys.slots.lock().remove(&self.key.pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_for_those_who_ask_and_gone_with_its_client() {
        let keys = Arc::new(CancelKeys::default());
        let old = keys.issue(Version::V3_0, Facts::for_test("app"));
        let new = keys.issue(Version::V3_2, Facts::for_test("app"));
        assert_eq!(old.key().secret.expose().len(), 4);
        assert_eq!(new.key().secret.expose().len(), 32);
        assert_ne!(old.key().pid, new.key().pid);
        assert_eq!(KeyOwner::of(new.key().pid), Some(keys.owner()));
        assert!(keys.find(old.key().pid, |key| key == old.key()).is_some());
        assert!(keys.find(old.key().pid, |key| key == new.key()).is_none());
        drop(old);
        assert_eq!(keys.slots.lock().len(), 1);
    }

    #[test]
    fn a_waiting_client_is_cancelled_once() {
        let keys = Arc::new(CancelKeys::default());
        let slot = keys.issue(Version::V3_0, Facts::for_test("app"));
        assert!(matches!(slot.find(), Found::Nothing));
        let now = Instant::now();
        assert!(!slot.waiting(Waker::noop(), now));
        assert!(matches!(slot.find(), Found::Waiting));
        assert!(slot.waiting(Waker::noop(), now));
        assert!(!slot.waiting(Waker::noop(), now));
        assert_eq!(slot.view(), View { activity: Activity::Waiting, asked: now });
        slot.leased(7, None, now);
        assert_eq!(slot.view().activity, Activity::Leased(7));
        assert!(matches!(slot.find(), Found::Nothing), "it cannot be asked");
        slot.idle();
        assert_eq!(slot.view(), View { activity: Activity::Idle, asked: now });
    }

    #[tokio::test]
    async fn a_console_is_told_of_a_request() {
        let keys = Arc::new(CancelKeys::default());
        let slot = keys.issue(Version::V3_0, Facts::for_test("admin"));
        let cancelled = Arc::new(Notify::new());
        slot.at_console(Arc::clone(&cancelled));
        assert!(matches!(slot.find(), Found::Waiting));
        cancelled.notified().await;
        assert_eq!(keys.all().len(), 1);
    }

    /// What an idle client costs beside its task.
    #[test]
    fn a_slot_is_small() {
        let size = size_of::<Slot>();
        assert!(size <= 320, "{size} bytes");
    }
}
