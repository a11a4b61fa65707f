//! One hub, and a client's part in it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pool::Pool;
use tokio::sync::Notify;
use wire::ErrorMessage;

use crate::core::{Core, Delivery, Refused, Wakers};
use crate::stats::{Counters, add};
use crate::{Config, Event, HubError, Notification};

/// All clients of one (database, user, client encoding) that listen, and what their connection
/// has to do.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Its login is the hub's.
    pub(crate) pool: Arc<Pool>,
    /// As the server spells it.
    pub(crate) encoding: Box<str>,
    /// There is something to ask the server, or somebody has gone.
    pub(crate) demand: Notify,
    pub(crate) counters: Arc<Counters>,
    core: Mutex<Core>,
}

/// A client's part in a hub. Dropped, it listens on nothing.
pub struct Subscriber {
    hub: Arc<Hub>,
    id: usize,
}

// === impl Hub ===

impl Hub {
    pub(crate) fn new(
        pool: Arc<Pool>,
        encoding: Box<str>,
        config: Config,
        counters: Arc<Counters>,
    ) -> Self {
        let core = Mutex::new(Core::new(config, Instant::now()));
        Self { pool, encoding, demand: Notify::new(), counters, core }
    }

    pub(crate) fn subscriber(self: &Arc<Self>) -> Subscriber {
        let id = self.core.lock().join();
        Subscriber { hub: Arc::clone(self), id }
    }

    /// Looks at the core, or changes it where nobody is to be woken.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        act(&mut self.core.lock())
    }

    /// The request under way was answered.
    pub(crate) fn answered(&self) {
        let delivery = self.with(|core| core.answered(Instant::now()));
        add(&self.counters.lagged, delivery.lagged);
        wake(delivery.wakers);
    }

    /// The request under way was refused. `false` if that ends the connection.
    pub(crate) fn refused(&self, error: &Arc<ErrorMessage>) -> bool {
        let error = HubError::Refused(Arc::clone(error));
        match self.with(|core| core.refused(&error, Instant::now())) {
            Refused::Settled(wakers) => {
                wake(wakers);
                true
            }
            Refused::Broken => false,
        }
    }

    /// A notification has come.
    pub(crate) fn notified(&self, notification: &Notification) {
        let Delivery { wakers, told, lagged } =
            self.with(|core| core.notified(notification, Instant::now()));
        add(&self.counters.received, 1);
        add(&self.counters.delivered, told);
        add(&self.counters.lagged, lagged);
        wake(wakers);
    }

    /// Ends the session soon if nobody wants it.
    pub(crate) fn hasten(&self) {
        self.with(|core| core.hasten(Instant::now()));
        self.demand.notify_one();
    }

    /// Fails those who have waited for `limit` for a channel to be in effect.
    pub(crate) fn expire(&self, limit: Duration, error: &HubError) {
        let now = Instant::now();
        // A limit beyond the age of the machine is none.
        if let Some(before) = now.checked_sub(limit) {
            wake(self.with(|core| core.expire(before, error, now)));
        }
    }
}

/// Out of the lock, since whoever is woken wants it.
fn wake(wakers: Wakers) {
    wakers.into_iter().for_each(std::task::Waker::wake);
}

// === impl Subscriber ===

impl Subscriber {
    /// Wants a channel, named by the bytes of the identifier as Postgres keeps it: folded to
    /// lower case where it stood without quotes, and cut. Whether it is in effect,
    /// [`Subscriber::poll_ready`] tells; one that is wanted already costs nothing.
    ///
    /// # Errors
    /// A limit is met, or it is not a name. Nothing has changed then.
    pub fn listen(&self, channel: &[u8]) -> Result<(), HubError> {
        if self.hub.with(|core| core.listen(self.id, channel, Instant::now()))? {
            self.hub.demand.notify_one();
        }
        Ok(())
    }

    /// Wants a channel no more: nothing of it is put down from here on. What waits to be read
    /// stays.
    pub fn unlisten(&self, channel: &[u8]) {
        self.hub.with(|core| core.unlisten(self.id, channel, Instant::now()));
        self.hub.demand.notify_one();
    }

    /// Wants no channel.
    pub fn unlisten_all(&self) {
        self.hub.with(|core| core.unlisten_all(self.id, Instant::now()));
        self.hub.demand.notify_one();
    }

    /// Wants these channels and no others; those that it has wanted before go on without a gap.
    ///
    /// # Errors
    /// As [`Subscriber::listen`]: some of the new ones may be wanted then, and no other is given
    /// up.
    pub fn set(&self, channels: &[&[u8]]) -> Result<(), HubError> {
        for channel in channels {
            self.listen(channel)?;
        }
        for channel in self.channels() {
            if !channels.contains(&&*channel) {
                self.unlisten(&channel);
            }
        }
        Ok(())
    }

    /// The channels that are wanted, in no order.
    pub fn channels(&self) -> Vec<Arc<[u8]>> {
        self.hub.with(|core| core.channels_of(self.id))
    }

    /// Ready when every channel that is wanted is in effect on the server: what is notified from
    /// then on comes, and what was notified before it was asked for does not. Not ready while the
    /// server is away. The waker is the one of [`Subscriber::poll_next`], too: one task polls
    /// both.
    ///
    /// # Errors
    /// Told once. What was wanted and not in effect is not wanted any more.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HubError>> {
        self.hub.with(|core| core.poll_ready(self.id, cx))
    }

    /// What this client is told next.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.hub.with(|core| core.poll_next(self.id, cx))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.hub.with(|core| core.leave(self.id, Instant::now()));
        self.hub.demand.notify_one();
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("id", &self.id).finish_non_exhaustive()
    }
}
