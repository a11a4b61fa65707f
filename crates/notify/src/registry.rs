//! All hubs.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use pool::Pools;
use topology::{Access, PoolKey};

use crate::hub::Hub;
use crate::stats::Counters;
use crate::{Config, HubError, Stats, Subscriber, channel, driver};

/// All hubs. A hub is made when its first client comes, connects when that wants a channel, and
/// goes when nobody has been there for a while.
pub struct Hubs {
    pools: Arc<Pools>,
    config: Config,
    counters: Arc<Counters>,
    hubs: Mutex<HashMap<Key, Arc<Hub>>>,
}

/// Whose login, and in which encoding.
type Key = (PoolKey, Box<str>);

impl Hubs {
    /// No hubs yet. They log in as the servers of `pools` do.
    pub fn new(pools: Arc<Pools>, config: Config) -> Arc<Self> {
        Arc::new(Self { pools, config, counters: Arc::default(), hubs: Mutex::default() })
    }

    /// A client of the pool with this key; whatever its access, it is the primary that listens.
    /// `encoding` is its `client_encoding`, as servers report it.
    ///
    /// Must be called on a tokio runtime, on which the hub then lives.
    ///
    /// # Errors
    /// [`HubError::TooManyConnections`], or `encoding` is no name.
    pub fn subscriber(
        self: &Arc<Self>,
        key: &PoolKey,
        encoding: &str,
    ) -> Result<Subscriber, HubError> {
        let encoding = channel::encoding(encoding)?;
        let key = PoolKey { access: Access::ReadWrite, ..key.clone() };
        let mut hubs = self.hubs.lock();
        let key = (key, encoding);
        if let Some(hub) = hubs.get(&key) {
            return Ok(hub.subscriber());
        }
        if hubs.len() >= self.config.max_connections {
            return Err(HubError::TooManyConnections);
        }
        let pool = self.pools.get(&key.0);
        let counters = Arc::clone(&self.counters);
        let hub = Arc::new(Hub::new(pool, key.1.clone(), self.config, counters));
        let subscriber = hub.subscriber();
        hubs.insert(key, Arc::clone(&hub));
        // Detached on purpose: it ends when the hub is removed or the runtime goes.
        tokio::spawn(driver::run(hub, Arc::downgrade(self)));
        Ok(subscriber)
    }

    /// The pools whose logins they use.
    pub fn pools(&self) -> &Arc<Pools> {
        &self.pools
    }

    /// Ends the sessions in a database on which nobody listens any more, and which only wait for
    /// clients to come back: who drops or renames the database must find it unused.
    pub fn leave_database(&self, database: &str) {
        let hubs = self.hubs.lock();
        let there = hubs.iter().filter(|((key, _), _)| &*key.database == database);
        there.for_each(|(_, hub)| hub.hasten());
    }

    /// What all hubs have and have done.
    pub fn stats(&self) -> Stats {
        let mut stats = self.counters.stats();
        let hubs: Vec<Arc<Hub>> = self.hubs.lock().values().cloned().collect();
        for hub in hubs {
            let (is_connected, clients, channels) = hub.with(|core| {
                let (clients, channels) = core.counts();
                (core.is_connected(), clients, channels)
            });
            stats.connections += u64::from(is_connected);
            stats.clients += clients as u64;
            stats.channels += channels as u64;
        }
        stats
    }

    /// Removes a hub that nobody uses. True if it has gone.
    pub(crate) fn remove_unused(&self, hub: &Hub) -> bool {
        let mut hubs = self.hubs.lock();
        // Who comes has this lock.
        let is_unused = !hub.with(|core| core.has_members());
        if is_unused {
            hubs.remove(&(hub.pool.key().clone(), hub.encoding.clone()));
        }
        is_unused
    }
}

impl fmt::Debug for Hubs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hubs").field("config", &self.config).finish_non_exhaustive()
    }
}
