//! Cancel keys: from a client's key to the statement that it has running, and to no other.
//!
//! A [`Slot`] belongs to one client. It names the server that the client has at this very
//! moment; a request begins under the slot's lock, and so does the end of a lease, so a
//! request finds either this client's server or none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use pool::{CancelGuard, Cancels, Pools};
use rand::Rng;
use telemetry::Cancel;
use wire::{CancelKey, CancelSecret, KeyOwner, Version};

/// All cancel keys that clients hold.
#[derive(Debug)]
pub(crate) struct CancelKeys {
    owner: KeyOwner,
    /// How long a server may take to hear of a cancel.
    wait: Duration,
    slots: Mutex<HashMap<i32, Weak<Slot>>>,
}

/// One client's key, and what it would cancel now.
#[derive(Debug)]
pub(crate) struct Slot {
    keys: Weak<CancelKeys>,
    key: CancelKey,
    user: Box<str>,
    state: Mutex<State>,
    end: End,
}

/// Whether the client's session is to end, and who must know.
#[derive(Debug, Default)]
struct End {
    is_called: AtomicBool,
    waker: OnceLock<Waker>,
}

#[derive(Debug)]
enum State {
    /// The client has no server and wants none.
    Idle,
    /// It waits for one; the waker of its relay.
    Waiting(Waker),
    /// It was waiting when a request came.
    Cancelled,
    /// It has one.
    Leased(Arc<Cancels>),
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

    /// A key for a new client of `user`: 32 secret bytes for protocol 3.2, 4 for 3.0.
    pub(crate) fn issue(self: &Arc<Self>, version: Version, user: &str) -> Arc<Slot> {
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
                user: user.into(),
                state: Mutex::new(State::Idle),
                end: End::default(),
            });
            slots.insert(pid, Arc::downgrade(&slot));
            return slot;
        }
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
        match &*self.state.lock() {
            State::Leased(cancels) => Some(cancels.begin()),
            State::Idle | State::Waiting(_) | State::Cancelled => None,
        }
    }

    /// The client of the same user that has this process id.
    pub(crate) fn peer(&self, pid: i32) -> Option<Arc<Self>> {
        let peer = self.keys.upgrade()?.find(pid, |_| true);
        peer.filter(|peer| peer.user == self.user)
    }

    /// Ends the client's session.
    pub(crate) fn end(&self) {
        self.end.is_called.store(true, Ordering::Relaxed);
        // With the one below: either the waker is seen here, or the call there.
        fence(Ordering::SeqCst);
        if let Some(waker) = self.end.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Whether the session is to end; wakes the client's task, which has one waker for as long as
    /// it lives, when it is.
    #[inline]
    pub(crate) fn is_ended(&self, waker: &Waker) -> bool {
        if self.end.waker.get().is_none() {
            self.end.waker.get_or_init(|| waker.clone());
            fence(Ordering::SeqCst);
        }
        self.end.is_called.load(Ordering::Relaxed)
    }

    /// The key, for the client it belongs to.
    pub(crate) fn key(&self) -> &CancelKey {
        &self.key
    }

    /// The client has this server now.
    #[inline]
    pub(crate) fn leased(&self, cancels: Option<&Arc<Cancels>>) {
        *self.state.lock() = match cancels {
            Some(cancels) => State::Leased(Arc::clone(cancels)),
            None => State::Idle,
        };
    }

    /// The client has no server any more. To be called before the server is given back.
    #[inline]
    pub(crate) fn idle(&self) {
        *self.state.lock() = State::Idle;
    }

    /// The client waits for a server. True if it was cancelled meanwhile.
    pub(crate) fn waiting(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if matches!(*state, State::Cancelled) {
            *state = State::Idle;
            return true;
        }
        *state = State::Waiting(waker.clone());
        false
    }

    /// Cancels as a request would, if the client waits. Whether it did.
    #[cfg(test)]
    pub(crate) fn cancel_wait(&self) -> bool {
        matches!(self.find(), Found::Waiting)
    }

    fn find(&self) -> Found {
        let mut state = self.state.lock();
        match &*state {
            State::Idle | State::Cancelled => Found::Nothing,
            State::Leased(cancels) => Found::Statement(cancels.begin()),
            State::Waiting(waker) => {
                waker.wake_by_ref();
                *state = State::Cancelled;
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
            tracing::warn!(%error, "cancel request could not be delivered");
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
        let old = keys.issue(Version::V3_0, "app");
        let new = keys.issue(Version::V3_2, "app");
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
        let slot = keys.issue(Version::V3_0, "app");
        assert!(matches!(slot.find(), Found::Nothing));
        assert!(!slot.waiting(Waker::noop()));
        assert!(matches!(slot.find(), Found::Waiting));
        assert!(slot.waiting(Waker::noop()));
        assert!(!slot.waiting(Waker::noop()));
    }
}
