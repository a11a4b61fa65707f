//! All pools.

use std::collections::HashMap;
use std::sync::Arc;

use backend::Dialer;
use parking_lot::Mutex;
use session::{Catalog, Mode};
use tokio::sync::watch;
use topology::{Access, PoolKey, Snapshot};

use crate::limit::DatabaseLimit;
use crate::{Config, Observe, Pool, keeper};

/// What a pool is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits and times.
    pub config: Config,
    /// When a lease ends.
    pub mode: Mode,
    /// As whom its servers log in, and where to.
    pub login: backend::Login,
    /// Told of what happens to its servers.
    pub observer: Arc<dyn Observe>,
}

/// Finds the settings for a key: overrides per user and per database are its business.
pub type Resolve = Box<dyn Fn(&PoolKey) -> Settings + Send + Sync>;

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
    limits: HashMap<(Arc<str>, Access), Arc<DatabaseLimit>>,
}

/// What all pools share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dialer: Dialer,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
}

impl Pools {
    /// No pools yet. Servers are opened by `dialer` on the nodes that `snapshot` routes to.
    pub fn new(
        dialer: Dialer,
        catalog: Arc<Catalog>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        resolve: Resolve,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared { dialer, catalog, snapshot });
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
        let max = settings.config.max_db_connections;
        let limit = inner.limits.entry((Arc::clone(&key.database), key.access));
        let limit = Arc::clone(limit.or_insert_with(|| Arc::new(DatabaseLimit::new(max))));
        let shared = Arc::clone(&self.shared);
        let pool = Arc::new(Pool::new(key.clone(), settings, shared, Arc::clone(&limit)));
        limit.join(&pool);
        inner.pools.insert(key.clone(), Arc::clone(&pool));
        // Detached on purpose: it ends when the pool is removed or the runtime goes.
        tokio::spawn(keeper::run(Arc::clone(&pool), Arc::downgrade(self)));
        pool
    }

    /// All pools there are now.
    pub fn all(&self) -> Vec<Arc<Pool>> {
        self.inner.lock().pools.values().cloned().collect()
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
            let database = (Arc::clone(&pool.key.database), pool.key.access);
            if !inner
                .pools
                .keys()
                .any(|key| (&key.database, key.access) == (&database.0, database.1))
            {
                inner.limits.remove(&database);
            }
        }
        unused
    }
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}
