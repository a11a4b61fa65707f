//! Calls a lent server back before its lease ends: the fence between two epochs.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;

use crate::origin::Origin;

/// Tells whoever has a server that it may be used no more.
#[derive(Debug, Default)]
pub struct Recall {
    is_called: AtomicBool,
    is_wanted: AtomicBool,
    waker: AtomicWaker,
}

/// The servers of a pool, lent or not. Those that were dropped are forgotten now and then.
#[derive(Debug, Default)]
pub(crate) struct Servers(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    origin: Origin,
    recall: Weak<Recall>,
}

impl Recall {
    /// Wakes this task when the server is called back. Registered once per lease: a task has
    /// the same waker as long as it lives.
    #[inline]
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Whether the server may be used no more.
    #[inline]
    pub fn is_called(&self) -> bool {
        // Pairs with the store before the wake: whoever was woken sees it.
        self.is_called.load(Ordering::Acquire)
    }

    /// Waits for it.
    ///
    /// # Cancel safety
    /// Cancel safe. One task at a time may wait or be registered.
    pub(crate) async fn called(&self) {
        poll_fn(|cx| {
            self.register(cx.waker());
            if self.is_called() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether another client needs the server more than who keeps it.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    pub(crate) fn want(&self) {
        self.is_wanted.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Nobody has wanted it from its next user.
    pub(crate) fn forget_want(&self) {
        self.is_wanted.store(false, Ordering::Relaxed);
    }

    pub(crate) fn call(&self) {
        self.is_called.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Servers {
    /// One more server.
    pub(crate) fn add(&self, origin: Origin, recall: &Arc<Recall>) {
        let mut entries = self.0.lock();
        entries.retain(|entry| entry.recall.strong_count() > 0);
        entries.push(Entry { origin, recall: Arc::downgrade(recall) });
    }

    /// Calls back those that `keep` refuses. How many.
    pub(crate) fn recall(&self, keep: impl Fn(&Origin) -> bool) -> usize {
        let mut called = 0;
        self.0.lock().retain(|entry| {
            if keep(&entry.origin) {
                return true;
            }
            if let Some(recall) = entry.recall.upgrade() {
                recall.call();
                called += 1;
            }
            false
        });
        called
    }
}
