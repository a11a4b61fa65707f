//! One pool: lends servers, takes them back, counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use session::{Disposition, ParameterSet};
use topology::{Access, PoolKey, Snapshot};
use wire::ErrorMessage;

use crate::cancel::{Cancels, Settled};
use crate::checkout::Place;
use crate::core::{Core, Counts};
use crate::limit::DatabaseLimit;
use crate::registry::Shared;
use crate::watch::Woken;
use crate::{Checkout, CheckoutError, Lease, Server, Settings};

/// The servers of one (database, user, access).
#[derive(Debug)]
pub struct Pool {
    pub(crate) key: PoolKey,
    pub(crate) settings: Settings,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limit: Arc<DatabaseLimit>,
    pub(crate) core: Mutex<Core<Box<Server>, Arc<Place>>>,
    pub(crate) woken: Arc<Woken>,
    /// Goes up with every snapshot: a server found valid under another one is looked at again.
    pub(crate) generation: AtomicU64,
    pub(crate) next_id: AtomicU64,
    pub(crate) last_failure: Mutex<Option<Arc<ErrorMessage>>>,
    welcome: Mutex<Option<Arc<Welcome>>>,
    /// The login of its servers, with what the last one has made cheaper.
    pub(crate) login: Mutex<backend::Login>,
}

/// What a server of this pool said at its login, for the logins of clients.
#[derive(Debug)]
pub struct Welcome {
    /// All that it reported, to be passed on.
    pub reported: Vec<(String, String)>,
    /// Those that follow a client, as a set.
    pub carried: Arc<ParameterSet>,
}

/// Why a server was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Its client left while it was owed replies.
    ClientGone,
    /// Its node no longer serves its pool.
    Epoch,
    /// Its client broke the rules of the pool's mode, or it came back with something
    /// outstanding.
    Unclean,
    /// `server_idle_timeout`, or its place was needed for another user.
    Idle,
    /// `server_lifetime`.
    Lifetime,
    /// It broke the protocol.
    Protocol,
    /// It could not be reset, or a cancel may still hit it.
    Reset,
    /// It closed the connection.
    ServerClosed,
}

/// Told of what happens to a pool's servers; counts, and does not wait.
pub trait Observe: std::fmt::Debug + Send + Sync {
    /// A login has succeeded.
    fn connected(&self);
    /// A login has failed.
    fn connect_failed(&self, error: &backend::ConnectError);
    /// A server was reset for its next client.
    fn reset(&self);
    /// A server was closed.
    fn closed(&self, why: Closed);
}

impl Pool {
    pub(crate) fn new(
        key: PoolKey,
        settings: Settings,
        shared: Arc<Shared>,
        limit: Arc<DatabaseLimit>,
    ) -> Self {
        let login = settings.login.clone();
        Self {
            key,
            core: Mutex::new(Core::new(settings.config.clone())),
            settings,
            shared,
            limit,
            woken: Arc::default(),
            generation: AtomicU64::new(0),
            next_id: AtomicU64::new(0),
            last_failure: Mutex::new(None),
            welcome: Mutex::new(None),
            login: Mutex::new(login),
        }
    }

    /// What it serves.
    pub fn key(&self) -> &PoolKey {
        &self.key
    }

    /// Its limits and login.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn observer(&self) -> &dyn Observe {
        &*self.settings.observer
    }

    /// Servers and waiting clients now.
    pub fn counts(&self) -> Counts {
        self.core.lock().counts(Instant::now())
    }

    /// What a server of this pool said at its login; `None` before the first one.
    pub fn welcome(&self) -> Option<Arc<Welcome>> {
        self.welcome.lock().clone()
    }

    pub(crate) fn set_welcome(&self, welcome: Arc<Welcome>) {
        *self.welcome.lock() = Some(welcome);
    }

    /// A server, if one is idle and nobody waits.
    #[inline]
    pub fn try_checkout(self: &Arc<Self>) -> Option<Lease> {
        let server = self.core.lock().take()?;
        Some(Lease::new(server, Arc::clone(self)))
    }

    /// A place in the queue for a server, for at most `query_wait_timeout`.
    pub fn checkout(self: &Arc<Self>) -> Checkout {
        let place = Arc::new(Place::new());
        self.core.lock().wait(Arc::clone(&place), Instant::now());
        self.wake_keeper();
        let timeout = tokio::time::sleep(self.settings.config.query_wait_timeout);
        Checkout::new(Arc::clone(self), place, timeout)
    }

    pub(crate) fn wake_keeper(&self) {
        self.woken.notify.notify_one();
    }

    pub(crate) fn timeout_error(&self) -> CheckoutError {
        let refusal = || {
            let refusal = self.shared.snapshot.borrow().route(self.key.access).err()?;
            Some(Arc::from(refusal.to_string()))
        };
        let failure = || self.last_failure.lock().as_ref().map(|error| Arc::from(&*error.message));
        CheckoutError::Timeout { detail: refusal().or_else(failure) }
    }

    /// Takes a server back from a lease.
    pub(crate) fn checkin(self: &Arc<Self>, server: Box<Server>, how: Disposition, now: Instant) {
        let untouched = server.cancels.as_ref().is_none_or(|cancels| cancels.is_untouched());
        match how {
            Disposition::Discard => self.discard(server, Closed::Unclean),
            _ if !server.unread.is_empty() || !server.unsent.is_empty() => {
                self.discard(server, Closed::Unclean);
            }
            Disposition::Clean if untouched => self.checkin_clean(server, now),
            Disposition::Clean | Disposition::NeedsReset => {
                // Detached on purpose: it ends within reset_timeout and cancel_timeout.
                tokio::spawn(reset(Arc::clone(self), server));
            }
        }
    }

    /// A server that was given to a client which never touched it.
    pub(crate) fn give_back(self: &Arc<Self>, server: Box<Server>) {
        self.checkin_clean(server, Instant::now());
    }

    fn checkin_clean(self: &Arc<Self>, mut server: Box<Server>, now: Instant) {
        if !self.is_valid(&mut server) {
            return self.discard(server, Closed::Epoch);
        }
        if server.expires <= now {
            return self.discard(server, Closed::Lifetime);
        }
        if !server.is_clean() {
            return self.discard(server, Closed::Unclean);
        }
        if !server.watch(&self.shared.catalog) {
            return self.discard(server, Closed::ServerClosed);
        }
        let idle_for = self.jittered(self.settings.config.server_idle_timeout, server.id);
        let mut core = self.core.lock();
        if !core.has_waiters() && self.limit.others_starve(self) {
            core.lost();
            drop(core);
            self.observer().closed(Closed::Idle);
            drop(server);
            return;
        }
        core.put(server, now, idle_for);
    }

    /// Closes a lent server.
    pub(crate) fn discard(&self, server: Box<Server>, why: Closed) {
        self.observer().closed(why);
        let mut core = self.core.lock();
        core.lost();
        let wanted = core.has_waiters();
        drop(core);
        drop(server);
        if wanted || self.settings.config.min_size > 0 {
            self.wake_keeper();
        }
    }

    /// Whether the server's node still serves this pool's access in the current epoch.
    pub(crate) fn is_valid(&self, server: &mut Server) -> bool {
        let generation = self.generation.load(Relaxed);
        if server.generation == generation {
            return true;
        }
        let snapshot = self.shared.snapshot.borrow();
        let valid = serves(&snapshot, self.key.access, server);
        server.generation = generation;
        valid
    }

    /// `limit` give or take a tenth, the same for one server always: a storm of logins at
    /// one moment must not come back every `server_lifetime`.
    pub(crate) fn jittered(&self, limit: Duration, id: u64) -> Duration {
        // A multiplicative hash spreads consecutive ids evenly.
        let spread = u32::try_from(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or(0);
        limit.mul_f64(0.9 + 0.2 * f64::from(spread) / f64::from(u32::MAX))
    }
}

/// Whether a server may serve `access` in this snapshot. For writes its epoch counts as
/// well: a node that was primary before and is so again has been something else between.
pub(crate) fn serves(snapshot: &Snapshot, access: Access, server: &Server) -> bool {
    match snapshot.route(access) {
        Ok(route) => {
            (access != Access::ReadWrite || server.epoch == route.epoch)
                && route.nodes.iter().any(|node| node.address == server.address)
        }
        // Between two leaders the old one is not ours to use, for writes at least.
        Err(_) => access != Access::ReadWrite,
    }
}

/// Makes a server fit for another client: waits until no cancel can hit it, rolls back and
/// discards what was left, and puts it back. One round trip is made in any case, which
/// takes the signal of a cancel that came too late.
async fn reset(pool: Arc<Pool>, server: Box<Server>) {
    // Dropped in any other way, the lease closes the server.
    let mut lease = Lease::new(server, Arc::clone(&pool));
    let is_fit = make_fit(&pool, &mut lease).await;
    if is_fit {
        pool.observer().reset();
        lease.release(Disposition::Clean, Instant::now());
    } else {
        lease.close(Closed::Reset);
    }
}

async fn make_fit(pool: &Pool, server: &mut Server) -> bool {
    let config = &pool.settings.config;
    if let Some(cancels) = &server.cancels {
        let settled = tokio::time::timeout(config.cancel_timeout, Cancels::settle(cancels)).await;
        if !matches!(settled, Ok(Settled::Untouched | Settled::Ended)) {
            return false;
        }
    }
    for sql in server.state.reset_sql() {
        let Server { stream, state, .. } = server;
        let catalog = &pool.shared.catalog;
        let ran = backend::run(stream, sql, config.reset_timeout, |name, value| {
            state.on_reset_parameter(catalog, name, value);
        });
        if let Err(error) = ran.await {
            tracing::info!(pool = %pool.key, %error, "server could not be reset, closing it");
            return false;
        }
    }
    server.state.after_reset();
    true
}
