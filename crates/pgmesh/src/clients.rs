//! Who the clients are, what they do, and how they are called to an end.

use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use frontend::{ClientAddress, Port};
use session::ParameterSet;
use topology::PoolKey;

/// What is known of a client from its login on.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Its number, which no other client of this process has had.
    pub(crate) id: u64,
    /// The pool that serves it. For the console nothing but names.
    pub(crate) key: PoolKey,
    /// Where it came from.
    pub(crate) from: ClientAddress,
    /// Where it came in.
    pub(crate) via: Port,
    /// The version of TLS, if it is inside TLS.
    pub(crate) tls: Option<&'static str>,
    /// When it was logged in.
    pub(crate) connected: SystemTime,
    /// Its settings then.
    pub(crate) settings: Arc<ParameterSet>,
}

impl Facts {
    /// It has logged in. Inside the span of its login, which has its number and its address.
    pub(crate) fn log_connected(&self) {
        let name = self.settings.get("application_name").unwrap_or_default();
        tracing::info!(
            event = "client_connected", pool = %self.key, tls = self.tls, application_name = name,
            "client logged in"
        );
    }

    /// Its transaction on this server has taken longer than `log.min_duration`.
    #[cold]
    pub(crate) fn log_slow(&self, server: u64, time: Duration) {
        tracing::info!(
            event = "slow_transaction", client = self.id, server, pool = %self.key,
            duration_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            "slow transaction"
        );
    }
}

/// What a client does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) activity: Activity,
    /// When it last began to wait for a server, or got one at once; before that, its login.
    pub(crate) asked: Instant,
}

/// See [`View`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It has no server and wants none.
    Idle,
    /// It waits for a server.
    Waiting,
    /// It has the server of this number.
    Leased(u64),
    /// It talks to the console.
    Console,
}

/// How a client is called to the end of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// As soon as it is between two transactions and has had all answers.
    Leave = 1,
    /// At once: what it has under way is cancelled.
    End = 2,
}

/// The most pressing call, and who must know of it.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    latest: AtomicU8,
    waker: OnceLock<Waker>,
}

impl Calls {
    pub(crate) fn call(&self, how: Call) {
        self.latest.fetch_max(how as u8, Ordering::Relaxed);
        // With the one below: either the waker is seen here, or the call there.
        fence(Ordering::SeqCst);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    #[inline]
    pub(crate) fn called(&self, waker: &Waker) -> Option<Call> {
        if self.waker.get().is_none() {
            self.waker.get_or_init(|| waker.clone());
            fence(Ordering::SeqCst);
        }
        match self.latest.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Call::Leave),
            _ => Some(Call::End),
        }
    }

    #[inline]
    pub(crate) fn is_called(&self) -> bool {
        self.latest.load(Ordering::Relaxed) != 0
    }
}

#[cfg(test)]
impl Facts {
    /// A client of `user`.
    pub(crate) fn for_test(user: &str) -> Self {
        Self {
            id: 1,
            key: PoolKey {
                database: "app".into(),
                user: user.into(),
                access: topology::Access::ReadWrite,
            },
            from: ClientAddress::Host(std::net::SocketAddr::from(([127, 0, 0, 1], 5))),
            via: Port::Primary,
            tls: None,
            connected: SystemTime::UNIX_EPOCH,
            settings: session::Catalog::default().parameters([]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_most_pressing_call_stays_and_each_wakes() {
        let (calls, woken) = (Calls::default(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        assert_eq!(calls.called(&waker), None);
        assert!(!calls.is_called());
        for (how, called) in
            [(Call::Leave, Call::Leave), (Call::End, Call::End), (Call::Leave, Call::End)]
        {
            calls.call(how);
            assert_eq!(calls.called(&waker), Some(called));
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_call_before_the_first_sleep_is_seen() {
        let calls = Calls::default();
        calls.call(Call::Leave);
        assert_eq!(calls.called(Waker::noop()), Some(Call::Leave));
    }
}
