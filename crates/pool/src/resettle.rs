//! Other settings for a pool that is there: nobody loses a server or a place.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::core::{Core, Member, Waiter};
use crate::pool::Closed;
use crate::{Config, Observe, Pool, Settings};

impl Settings {
    /// Whether the parts that may change are the same.
    fn counts_as(&self, other: &Self) -> bool {
        self.config == other.config
            && self.mode == other.mode
            && self.state == other.state
            && self.timeouts == other.timeouts
            && self.max_packet_size == other.max_packet_size
    }

    /// Whether a server is as with the other ones: it goes by what there was at its login.
    fn opens_as(&self, other: &Self) -> bool {
        let of = |it: &Config| (it.server_lifetime, it.server_idle_timeout, it.prepared_statements);
        of(&self.config) == of(&other.config)
    }
}

impl Pool {
    /// Its limits and login as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    pub(crate) fn observer(&self) -> &dyn Observe {
        &*self.observer
    }

    /// Takes other settings; whether its servers were opened for others, and are to be renewed. Who
    /// waits and what is lent stay as they are; servers that there is no place for any more are
    /// closed when nobody has them.
    pub(crate) fn set_settings(&self, settings: Settings) -> bool {
        let before = self.settings();
        if before.counts_as(&settings) {
            return false;
        }
        let is_outdated = !before.opens_as(&settings);
        let config = settings.config.clone();
        *self.settings.write() = Arc::new(settings);
        let mut kept = self.core.lock();
        let surplus = kept.set_config(config);
        // Under the lock: who comes back and sees it, sees the new size, too.
        self.is_over.store(kept.is_over(), Relaxed);
        drop(kept);
        for _ in &surplus {
            self.observer().closed(Closed::Idle);
        }
        self.wake_keeper();
        is_outdated
    }

    /// Whether there are still more servers than the settings allow.
    #[cold]
    pub(crate) fn is_still_over(&self) -> bool {
        let kept = self.core.lock();
        let is_over = kept.is_over();
        self.is_over.store(is_over, Relaxed);
        is_over
    }
}

impl<T: Member, W: Waiter<T>> Core<T, W> {
    /// Takes other limits. The servers that there is no place for any more, of those that are
    /// idle; the others come back.
    pub(crate) fn set_config(&mut self, config: Config) -> Vec<T> {
        self.config = config;
        let mut surplus = Vec::new();
        while self.is_over()
            && let Some(server) = self.take_oldest_idle()
        {
            surplus.push(server);
        }
        surplus
    }

    /// Whether there are more servers than places, those of the reserve aside.
    pub(crate) fn is_over(&self) -> bool {
        self.total() > self.config.size
    }
}
