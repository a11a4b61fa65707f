//! Cancel requests under way for one server.
//!
//! A server whose cancel is still in flight must not be lent: the signal would hit the next
//! client. So every request holds a [`CancelGuard`], and a server that comes back waits
//! until none is left.

use std::sync::Arc;

use backend::CancelTarget;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The cancel requests of one server.
#[derive(Debug)]
pub struct Cancels {
    target: CancelTarget,
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    in_flight: u32,
    /// Requests since the server was lent: one that has settled may still have left its
    /// signal pending in the server.
    since_lease: bool,
    /// A request ended in an unknown way: it may take effect at any time.
    uncertain: bool,
}

/// How a server stands when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Nothing was asked for.
    Untouched,
    /// All requests have ended; one round trip takes a late signal.
    Ended,
    /// One may still take effect: the server must be closed.
    Uncertain,
}

/// One request under way. Dropped without [`CancelGuard::ended`] it counts as one that may
/// still take effect.
#[derive(Debug)]
pub struct CancelGuard {
    cancels: Arc<Cancels>,
    ended: bool,
}

impl Cancels {
    pub(crate) fn new(target: CancelTarget) -> Self {
        Self { target, state: Mutex::default(), settled: Notify::new() }
    }

    /// Begins a request. To be called while it is certain that the server is still lent to
    /// the client that asks.
    pub fn begin(self: &Arc<Self>) -> CancelGuard {
        let mut state = self.state.lock();
        state.in_flight += 1;
        state.since_lease = true;
        drop(state);
        CancelGuard { cancels: Arc::clone(self), ended: false }
    }

    /// Whether nothing was asked for since the server was lent.
    pub(crate) fn is_untouched(&self) -> bool {
        let state = self.state.lock();
        !state.since_lease && state.in_flight == 0
    }

    /// Whether a request is on its way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.state.lock().in_flight > 0
    }

    /// Waits until no request is under way.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn settle(&self) -> Settled {
        loop {
            let notified = self.settled.notified();
            {
                let mut state = self.state.lock();
                if state.uncertain {
                    return Settled::Uncertain;
                }
                if state.in_flight == 0 {
                    let touched = std::mem::take(&mut state.since_lease);
                    return if touched { Settled::Ended } else { Settled::Untouched };
                }
            }
            notified.await;
        }
    }
}

impl CancelGuard {
    /// Where to send the request.
    pub fn target(&self) -> &CancelTarget {
        &self.cancels.target
    }

    /// The server has closed the request's connection: it takes effect now or never.
    pub fn ended(mut self) {
        self.ended = true;
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let mut state = self.cancels.state.lock();
        state.in_flight -= 1;
        state.uncertain |= !self.ended;
        drop(state);
        self.cancels.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use wire::{CancelKey, CancelSecret};

    fn cancels() -> Arc<Cancels> {
        let key = CancelKey { pid: 1, secret: CancelSecret::new(&[1; 4]).unwrap() };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        Arc::new(Cancels::new(CancelTarget { host: "h".into(), address, is_tls: false, key }))
    }

    #[tokio::test]
    async fn a_server_is_settled_only_when_its_cancels_have_ended() {
        let cancels = cancels();
        assert!(cancels.is_untouched());
        let guard = cancels.begin();
        assert!(!cancels.is_untouched());
        let waiting = tokio::spawn({
            let cancels = Arc::clone(&cancels);
            async move { cancels.settle().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        guard.ended();
        assert_eq!(waiting.await.unwrap(), Settled::Ended);
        assert_eq!(cancels.settle().await, Settled::Untouched);
    }

    #[tokio::test]
    async fn a_cancel_of_unknown_outcome_makes_the_server_unfit() {
        let cancels = cancels();
        drop(cancels.begin());
        assert_eq!(cancels.settle().await, Settled::Uncertain);
    }
}
