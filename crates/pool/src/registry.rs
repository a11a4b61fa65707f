//! All pools.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use backend::Dialer;
use parking_lot::Mutex;
use session::{Catalog, Mode, Schema, StateRules, Timeouts};
use tokio::sync::{Semaphore, watch};
use topology::{Access, Epoch, PoolKey, Snapshot};

use crate::hold::Hold;
use crate::limit::{Limit, Limits};
use crate::{Config, HoldLimits, Observe, Passwords, Pool, Welcome, keeper};

/// What a pool is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits and times.
    pub config: Config,
    /// When a lease ends.
    pub mode: Mode,
    /// What becomes of state that outlasts their transactions.
    pub state: StateRules,
    /// How long its clients may go on with what they do.
    pub timeouts: Timeouts,
    /// Bytes that a message of theirs may have, header included.
    pub max_packet_size: u32,
    /// As whom its servers log in, and where to; with what, [`Settings::passwords`] says.
    pub login: backend::Login,
    /// Asked before each of these logins.
    pub passwords: Arc<dyn Passwords>,
    /// Told of what happens to its servers.
    pub observer: Arc<dyn Observe>,
}

/// Finds the settings for a key: overrides per user and per database are its business.
pub type Resolve = Box<dyn Fn(&PoolKey) -> Settings + Send + Sync>;

/// Is told what the servers of an epoch show. Does not wait.
pub trait Report: Send + Sync {
    /// The primary has refused a write as a node in recovery does.
    fn refused(&self, epoch: Epoch);
    /// The first transaction of an epoch has ended.
    fn began(&self, epoch: Epoch);
}

/// All pools. A pool is made when its first client asks for it, and goes when it has been
/// empty and unused for a while.
pub struct Pools {
    shared: Arc<Shared>,
    resolve: Resolve,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pools: HashMap<PoolKey, Arc<Pool>>,
    databases: HashMap<(Arc<str>, Access), Arc<Limit>>,
    /// As long as there is a pool of the database.
    schemas: HashMap<Arc<str>, Arc<Schema>>,
    users: HashMap<Arc<str>, Arc<Limit>>,
    welcomes: HashMap<PoolKey, Arc<Welcome>>,
}

/// What all pools share.
pub(crate) struct Shared {
    pub(crate) dialer: Dialer,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(crate) hold: Arc<Hold>,
    /// Logins at one time over all pools: a new primary is not to be stampeded.
    pub(crate) logins: Semaphore,
    /// The same for warm standbys, for which nobody waits.
    pub(crate) warm_logins: Semaphore,
    /// The last epoch in which a transaction has ended.
    begun: AtomicU64,
    /// The number of the next server.
    pub(crate) next_server: AtomicU64,
    report: Arc<dyn Report>,
}

/// Each takes a Postgres a fork and two milliseconds of SCRAM.
const LOGINS_MAX: usize = 32;

/// A standby is not in a hurry.
const WARM_LOGINS_MAX: usize = 8;

/// Welcomes of pools that are gone, for clients that log in while there is no primary.
const WELCOMES_MAX: usize = 1024;

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("hold", &self.hold).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn refused(&self, epoch: Epoch) {
        self.report.refused(epoch);
    }

    /// A transaction has ended on a server of this epoch.
    #[inline]
    pub(crate) fn ended(&self, epoch: Epoch) {
        if self.begun.load(Relaxed) < epoch.get()
            && self.begun.fetch_max(epoch.get(), Relaxed) < epoch.get()
        {
            self.report.began(epoch);
        }
    }
}

impl Pools {
    /// No pools yet. Servers are opened by `dialer` on the nodes that `snapshot` routes to;
    /// `report` is told what they show.
    pub fn new(
        dialer: Dialer,
        catalog: Arc<Catalog>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        limits: HoldLimits,
        report: Arc<dyn Report>,
        resolve: Resolve,
    ) -> Arc<Self> {
        let hold = Hold::new(limits);
        let logins = Semaphore::new(LOGINS_MAX);
        let warm_logins = Semaphore::new(WARM_LOGINS_MAX);
        let begun = AtomicU64::new(0);
        let next_server = AtomicU64::new(1);
        let shared = Shared {
            dialer,
            catalog,
            snapshot,
            hold,
            logins,
            warm_logins,
            begun,
            next_server,
            report,
        };
        let shared = Arc::new(shared);
        Arc::new(Self { shared, resolve, inner: Mutex::default() })
    }

    /// The pool of a key, made if there is none. Must be called on a tokio runtime, on which
    /// its keeper then lives.
    pub fn get(self: &Arc<Self>, key: &PoolKey) -> Arc<Pool> {
        let mut inner = self.inner.lock();
        if let Some(pool) = inner.pools.get(key) {
            return Arc::clone(pool);
        }
        let settings = (self.resolve)(key);
        let limits = inner.limits(key, &settings.config);
        let shared = Arc::clone(&self.shared);
        let schema = Arc::clone(inner.schemas.entry(Arc::clone(&key.database)).or_default());
        let pool = Arc::new(Pool::new(key.clone(), settings, shared, limits, schema));
        if let Some(welcome) = inner.welcomes.get(key) {
            pool.set_welcome(Arc::clone(welcome));
        }
        pool.limits.join(&pool);
        inner.pools.insert(key.clone(), Arc::clone(&pool));
        // Detached on purpose: it ends when the pool is removed or the runtime goes.
        tokio::spawn(keeper::run(Arc::clone(&pool), Arc::downgrade(self)));
        pool
    }

    /// Gives every pool the settings that are found for it now. Nobody loses a server or a place.
    /// The databases whose servers were opened for other settings, which an order may renew.
    pub fn renew(&self) -> BTreeSet<Arc<str>> {
        let inner = self.inner.lock();
        let mut outdated = BTreeSet::new();
        for pool in inner.pools.values() {
            let settings = (self.resolve)(&pool.key);
            pool.limits.database.set_max(settings.config.max_db_connections);
            pool.limits.user.set_max(max_of_user(&settings.config));
            if pool.set_settings(settings) {
                outdated.insert(Arc::clone(&pool.key.database));
            }
        }
        outdated
    }

    /// All pools there are now.
    pub fn all(&self) -> Vec<Arc<Pool>> {
        self.inner.lock().pools.values().cloned().collect()
    }

    /// Bytes that clients which wait for a server have sent ahead.
    pub fn held_bytes(&self) -> usize {
        self.shared.hold.bytes()
    }

    /// The most clients that have waited for servers at one time, over all pools, since
    /// [`Pools::forget_most_waiting`].
    pub fn most_waiting(&self) -> usize {
        self.shared.hold.most()
    }

    /// Begins to count them anew, with those who wait now.
    pub fn forget_most_waiting(&self) {
        self.shared.hold.forget_most();
    }

    /// Cancels a statement as [`backend::Dialer::cancel`] does.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// A dropped call counts as one that failed.
    pub async fn cancel(
        &self,
        target: &backend::CancelTarget,
        limit: std::time::Duration,
    ) -> Result<(), backend::ConnectError> {
        self.shared.dialer.cancel(target, limit).await
    }

    /// Removes a pool that nobody uses. True if it has gone.
    pub(crate) fn remove_unused(&self, pool: &Arc<Pool>) -> bool {
        let mut inner = self.inner.lock();
        // The map's, the keeper's: anybody else who has one may ask for a server any time.
        let unused = Arc::strong_count(pool) <= 2 && pool.core.lock().is_empty();
        if unused {
            inner.pools.remove(&pool.key);
            if inner.welcomes.len() >= WELCOMES_MAX {
                inner.welcomes.clear();
            }
            inner.welcomes.extend(pool.welcome().map(|welcome| (pool.key.clone(), welcome)));
            inner.forget_limits(&pool.key);
        }
        unused
    }
}

/// As many as can be counted where there is no limit.
fn max_of_user(config: &Config) -> usize {
    config.max_user_connections.unwrap_or(usize::MAX)
}

impl Inner {
    fn limits(&mut self, key: &PoolKey, config: &Config) -> Limits {
        let limit = |max| move || Arc::new(Limit::new(max));
        let database = self.databases.entry((Arc::clone(&key.database), key.access));
        let database = Arc::clone(database.or_insert_with(limit(config.max_db_connections)));
        let user = self.users.entry(Arc::clone(&key.user));
        let user = Arc::clone(user.or_insert_with(limit(max_of_user(config))));
        Limits { database, user }
    }

    /// A pool of this key has gone; its limits go with the last one.
    fn forget_limits(&mut self, key: &PoolKey) {
        let mut keys = self.pools.keys();
        if !keys.any(|other| (&other.database, other.access) == (&key.database, key.access)) {
            self.databases.remove(&(Arc::clone(&key.database), key.access));
        }
        if !self.pools.keys().any(|other| other.database == key.database) {
            self.schemas.remove(&key.database);
        }
        if !self.pools.keys().any(|other| other.user == key.user) {
            self.users.remove(&key.user);
        }
    }
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}
