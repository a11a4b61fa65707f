//! One pool: lends servers, takes them back, counts.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use session::{Disposition, ParameterSet, ResetKind, Schema};
use tokio::sync::watch;
use topology::{Access, Address, Epoch, Fence, PoolKey, Snapshot};
use wire::ErrorMessage;

use crate::badge::Census;
use crate::checkout::Place;
use crate::core::{Core, Counts};
use crate::gate::Lends;
use crate::limit::Limits;
use crate::pins::PinCounts;
use crate::recall::Servers;
use crate::registry::Shared;
use crate::spare::Resting;
use crate::warm::Warm;
use crate::watch::Woken;
use crate::{Checkout, CheckoutError, Lease, Passwords, Pinned, Server, Settings, reset};

/// The servers of one (database, user, access).
#[derive(Debug)]
pub struct Pool {
    pub(crate) key: PoolKey,
    pub(crate) settings: RwLock<Arc<Settings>>,
    pub(crate) observer: Arc<dyn Observe>,
    pub(crate) passwords: Arc<dyn Passwords>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
    /// That of its database, whoever the users are.
    pub(crate) schema: Arc<Schema>,
    pub(crate) core: Mutex<Kept>,
    pub(crate) woken: Arc<Woken>,
    pub(crate) servers: Servers,
    pub(crate) census: Census,
    pub(crate) warm: Mutex<Warm>,
    pub(crate) pins: PinCounts,
    pub(crate) sequences: Arc<session::SequenceUses>,
    /// Servers lent per node, where there are several.
    loads: Mutex<HashMap<Address, Arc<AtomicUsize>>>,
    /// Goes up with every snapshot: a server found valid under another one is looked at again.
    pub(crate) generation: AtomicU64,
    /// Goes up with every login that is tried: of several nodes the next one's turn.
    pub(crate) turn: AtomicUsize,
    pub(crate) last_failure: Mutex<Option<Arc<ErrorMessage>>>,
    welcome: Mutex<Option<Arc<Welcome>>>,
    /// The login of its servers, with what the last one has made cheaper.
    pub(crate) login: Mutex<backend::Login>,
    /// Whether there may be more servers than its settings allow, since these have changed.
    pub(crate) is_over: AtomicBool,
}

/// How a server comes to the core: back from a lease, or from its login.
type Put = fn(&mut Core<Box<Server>, Arc<Place>>, Box<Server>, Instant, Duration);

/// The core, and the snapshot that it follows.
#[derive(Debug)]
pub(crate) struct Kept {
    core: Core<Box<Server>, Arc<Place>>,
    pub(crate) resting: Resting,
    snapshot: watch::Receiver<Arc<Snapshot>>,
}

/// A server that was not looked at yet has none.
const FIRST_GENERATION: u64 = 1;

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
    /// An operator has paused or killed the pool, or wants its servers new.
    Ordered,
    /// A client needed its database empty.
    Vacated,
}

/// Told of what happens to a pool's servers; counts, and does not wait.
pub trait Observe: std::fmt::Debug + Send + Sync {
    /// A login has succeeded.
    fn connected(&self);
    /// So many lent servers were called back.
    fn recalled(&self, servers: usize);
    /// A login has failed.
    fn connect_failed(&self, error: &backend::ConnectError);
    /// A server was reset for its next client, so thoroughly.
    fn reset(&self, kind: ResetKind);
    /// A server was closed.
    fn closed(&self, why: Closed);
}

impl Pool {
    pub(crate) fn new(
        key: PoolKey,
        settings: Settings,
        shared: Arc<Shared>,
        limits: Limits,
        schema: Arc<Schema>,
    ) -> Self {
        let login = settings.login.clone();
        Self {
            core: Mutex::new(Kept::new(&key, &settings, &shared)),
            key,
            observer: Arc::clone(&settings.observer),
            passwords: Arc::clone(&settings.passwords),
            settings: RwLock::new(Arc::new(settings)),
            shared,
            limits,
            schema,
            woken: Arc::default(),
            servers: Servers::default(),
            census: Census::default(),
            warm: Mutex::default(),
            pins: PinCounts::default(),
            sequences: Arc::default(),
            loads: Mutex::default(),
            generation: AtomicU64::new(FIRST_GENERATION),
            turn: AtomicUsize::new(0),
            last_failure: Mutex::new(None),
            welcome: Mutex::new(None),
            login: Mutex::new(login),
            is_over: AtomicBool::new(false),
        }
    }

    /// What it serves.
    pub fn key(&self) -> &PoolKey {
        &self.key
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
        limit: Duration,
    ) -> Result<(), backend::ConnectError> {
        self.shared.dialer.cancel(target, limit).await
    }

    /// Servers and waiting clients now.
    pub fn counts(&self) -> Counts {
        let warm = self.warm.lock().len();
        let kept = self.core.lock();
        let counts = kept.counts(Instant::now());
        let resting = kept.resting.len();
        Counts { warm, kept: resting, active: counts.active.saturating_sub(resting), ..counts }
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
        loop {
            let mut kept = self.core.lock();
            if kept.is_behind() {
                drop(kept);
                self.follow();
                kept = self.core.lock();
            }
            let server = match self.key.access {
                Access::ReadWrite => kept.take(),
                Access::Any | Access::ReadOnly => kept.take_spread(rand::random()),
            }?;
            drop(kept);
            let mut lease = Lease::new(server, Arc::clone(self));
            // What died in this moment must not take a statement with it.
            if lease.is_alive() {
                return Some(lease);
            }
            lease.close(Closed::ServerClosed);
        }
    }

    /// A place in the queue for a server, for at most `query_wait_timeout`; while no server
    /// can be had, for at most `failover.hold_timeout`.
    pub fn checkout(self: &Arc<Self>) -> Checkout {
        let place = Arc::new(Place::new());
        let mut kept = self.core.lock();
        let must_plan = if kept.is_holding() && self.shared.hold.is_full() {
            place.fail(CheckoutError::HeldTooMany);
            false
        } else {
            let must_plan = kept.wait(Arc::clone(&place), Instant::now());
            kept.want_for_waiters();
            must_plan
        };
        drop(kept);
        if must_plan {
            self.wake_keeper();
        }
        Checkout::new(Arc::clone(self), place, self.shared.hold.enter())
    }

    /// Whether one more client may keep its server between two transactions.
    pub fn may_pin(&self) -> bool {
        self.pins.kept() < self.settings.read().config.max_pinned()
    }

    /// How many servers are kept, for each reason.
    pub fn pinned(&self) -> impl Iterator<Item = Pinned> {
        self.pins.of_reasons()
    }

    /// Whether transactions may begin now: for leases that last longer than one.
    pub fn is_open(&self) -> bool {
        let mut kept = self.core.lock();
        if kept.is_behind() {
            drop(kept);
            self.follow();
            kept = self.core.lock();
        }
        kept.is_open()
    }

    /// Whether no server can be had until the cluster has changed.
    pub fn is_holding(&self) -> bool {
        self.core.lock().is_holding()
    }

    /// A server of this epoch has refused a write although it was proven to be the primary.
    pub fn suspect(&self, epoch: Epoch) {
        if self.key.access == Access::ReadWrite {
            self.shared.refused(epoch);
        }
    }

    /// Takes the newest snapshot: shuts or opens the gate, closes idle servers that it does
    /// not allow, and calls lent ones back whose epoch is over.
    pub(crate) fn follow(&self) {
        let mut kept = self.core.lock();
        let snapshot = Arc::clone(&kept.snapshot.borrow_and_update());
        self.generation.fetch_add(1, Relaxed);
        let unwanted = kept.take_unwanted(|server| {
            matches!(server.fence(&snapshot, &self.key), Fence::Open | Fence::Held)
        });
        kept.set_gate(Lends::of(&self.key, &snapshot), Instant::now());
        if !kept.is_open() {
            kept.resting.want_all();
        }
        // Under the lock: whoever follows an older snapshot must not call newer servers back.
        let recalled =
            self.servers.recall(|origin| origin.fence(&snapshot, &self.key) != Fence::Close);
        drop(kept);
        for server in &unwanted {
            self.observer().closed(server.origin.why_closed(&snapshot, &self.key));
        }
        if !unwanted.is_empty() || recalled > 0 {
            self.observer().recalled(recalled);
            let closed = unwanted.len();
            tracing::info!(event = "servers_fenced", pool = %self.key, closed, recalled, "servers that serve no more");
        }
    }

    /// What counts the servers lent on a node; `None` if there is only ever one.
    pub(crate) fn load(&self, address: &Address) -> Option<Arc<AtomicUsize>> {
        if self.key.access == Access::ReadWrite {
            return None;
        }
        let mut loads = self.loads.lock();
        loads.retain(|known, load| known == address || Arc::strong_count(load) > 1);
        Some(Arc::clone(loads.entry(address.clone()).or_default()))
    }

    pub(crate) fn wake_keeper(&self) {
        self.woken.notify.notify_one();
    }

    /// What keeps clients waiting: what the cluster lacks, or what the last login met with.
    pub(crate) fn obstacle(&self) -> Option<Arc<str>> {
        let snapshot = Arc::clone(&self.shared.snapshot.borrow());
        if snapshot.orders().of(&self.key.database).is_paused {
            return Some(format!("database \"{}\" is paused", self.key.database).into());
        }
        let refusal = snapshot.route(self.key.access).err();
        let refusal = refusal.map(|refusal| Arc::from(refusal.to_string()));
        let failure = || self.last_failure.lock().as_ref().map(|error| Arc::from(&*error.message));
        refusal.or_else(failure)
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
                tokio::spawn(reset::reset(Arc::clone(self), server));
            }
        }
    }

    /// A server that was given to a client which never touched it.
    pub(crate) fn give_back(self: &Arc<Self>, server: Box<Server>) {
        self.checkin_clean(server, Instant::now());
    }

    fn checkin_clean(self: &Arc<Self>, server: Box<Server>, now: Instant) {
        let mut server = server;
        server.badge.used(server.state.statement_count(), now);
        if self.key.access == Access::ReadWrite {
            self.shared.ended(server.origin.epoch);
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
        if self.is_over.load(Relaxed) && self.is_still_over() {
            return self.discard(server, Closed::Idle);
        }
        if self.limits.others_starve(self) && !self.core.lock().has_waiters() {
            return self.discard(server, Closed::Idle);
        }
        if let Err(server) = self.put(server, now, Core::put) {
            let why = self.why_closed(&server);
            self.discard(server, why);
        }
    }

    /// Why a server is closed that serves no more.
    pub(crate) fn why_closed(&self, server: &Server) -> Closed {
        server.origin.why_closed(&self.shared.snapshot.borrow(), &self.key)
    }

    /// Puts a server where it belongs, by `put`: to the first client that waits, or to the idle
    /// ones. Gives it back if its node does not serve this pool any more, in the newest
    /// snapshot there is: that is looked at under the same lock.
    pub(crate) fn put(
        &self,
        mut server: Box<Server>,
        now: Instant,
        put: Put,
    ) -> Result<(), Box<Server>> {
        let idle_for = server.idle_for;
        let mut kept = self.core.lock();
        while kept.is_behind() {
            drop(kept);
            self.follow();
            kept = self.core.lock();
        }
        let generation = self.generation.load(Relaxed);
        if server.generation != generation {
            let fence = server.fence(&kept.snapshot.borrow(), &self.key);
            if server.recall.is_called() || !matches!(fence, Fence::Open | Fence::Held) {
                return Err(server);
            }
            server.generation = generation;
        }
        put(&mut kept, server, now, idle_for);
        Ok(())
    }

    /// Closes a lent server.
    pub(crate) fn discard(&self, server: Box<Server>, why: Closed) {
        self.observer().closed(why);
        let mut core = self.core.lock();
        core.lost();
        let wanted = core.has_waiters();
        drop(core);
        drop(server);
        if wanted || self.settings.read().config.min_size > 0 {
            self.wake_keeper();
        }
    }

    /// `limit` give or take a tenth, the same for one server always: a storm of logins at
    /// one moment must not come back every `server_lifetime`.
    pub(crate) fn jittered(&self, limit: Duration, id: u64) -> Duration {
        // A multiplicative hash spreads consecutive ids evenly.
        let spread = u32::try_from(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).unwrap_or(0);
        limit.mul_f64(0.9 + 0.2 * f64::from(spread) / f64::from(u32::MAX))
    }
}

impl Kept {
    fn new(key: &PoolKey, settings: &Settings, shared: &Shared) -> Self {
        let mut core = Core::new(settings.config.clone());
        let mut snapshot = shared.snapshot.clone();
        core.set_gate(Lends::of(key, &snapshot.borrow_and_update()), Instant::now());
        Self { core, resting: Resting::default(), snapshot }
    }

    /// Whether there is a newer snapshot than the one that was followed last.
    #[inline]
    fn is_behind(&self) -> bool {
        self.snapshot.has_changed().unwrap_or(false)
    }
}

impl Deref for Kept {
    type Target = Core<Box<Server>, Arc<Place>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.core
    }
}

impl DerefMut for Kept {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.core
    }
}
