//! Notices what happens to an idle server when it happens.

use std::sync::Arc;
use std::task::{Wake, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Idle servers whose socket has become readable, and the keeper to be told.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    ids: Mutex<Vec<u64>>,
    pub(crate) notify: Notify,
}

/// The waker that an idle server leaves with its socket. It allocates once per server.
#[derive(Debug)]
struct IdleWaker {
    id: u64,
    woken: Arc<Woken>,
}

impl Woken {
    pub(crate) fn waker(self: &Arc<Self>, id: u64) -> Waker {
        Waker::from(Arc::new(IdleWaker { id, woken: Arc::clone(self) }))
    }

    /// Takes the ids. A server among them may have been lent or closed since.
    pub(crate) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.ids.lock())
    }
}

impl Wake for IdleWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut ids = self.woken.ids.lock();
        if !ids.contains(&self.id) {
            ids.push(self.id);
        }
        drop(ids);
        self.woken.notify.notify_one();
    }
}
