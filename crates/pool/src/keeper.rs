//! The task that keeps a pool: opens and closes servers, watches the idle ones, follows the
//! topology.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use backend::{ConnectError, Ready, Target};
use session::ServerState;
use tokio::sync::watch;
use topology::{Address, Epoch, Snapshot};

use crate::cancel::Cancels;
use crate::limit::DatabasePermit;
use crate::pool::Closed;
use crate::recall::Recall;
use crate::warm;
use crate::{CheckoutError, Config, Pool, Pools, Server, Welcome};

/// How often an otherwise quiet pool is looked at: servers that come back do not wake the
/// keeper, so this is how late one may be closed for its age or idleness.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How often at the most, however short the limits of age and idleness are.
const LOOK_MIN: Duration = Duration::from_millis(100);

/// Runs until the pool is removed from `pools`, or those have gone.
pub(crate) async fn run(pool: Arc<Pool>, pools: Weak<Pools>) {
    let mut snapshot = pool.shared.snapshot.clone();
    let mut topology_ended = false;
    loop {
        if snapshot.has_changed().unwrap_or(false) {
            snapshot.mark_unchanged();
            pool.follow();
        }
        look_at_woken(&pool);
        let warm_at = warm::tend(&pool);
        let wake_at = maintain(&pool).into_iter().chain(warm_at).min();
        let look_at = tokio::time::Instant::now() + look_every(&pool.settings.config);
        let wake_at = wake_at.map_or(look_at, |at| look_at.min(at.into()));
        tokio::select! {
            () = pool.woken.notify.notified() => {}
            changed = changed(&mut snapshot), if !topology_ended => {
                topology_ended = changed.is_err();
            }
            () = tokio::time::sleep_until(wake_at) => {
                let Some(pools) = pools.upgrade() else { return };
                if pools.remove_unused(&pool) {
                    return;
                }
            }
        }
    }
}

fn look_every(config: &Config) -> Duration {
    let shortest = config.server_idle_timeout.min(config.server_lifetime);
    shortest.clamp(LOOK_MIN, LOOK_EVERY)
}

/// Waits for a newer snapshot, and leaves it to be seen at the top of the loop, before
/// anything is done with the servers.
///
/// # Cancel safety
/// Cancel safe.
async fn changed(
    snapshot: &mut watch::Receiver<Arc<Snapshot>>,
) -> Result<(), watch::error::RecvError> {
    snapshot.changed().await?;
    snapshot.mark_changed();
    Ok(())
}

/// Looks at the idle servers whose socket has become readable.
fn look_at_woken(pool: &Pool) {
    for id in pool.woken.take() {
        if pool.warm.lock().look_at(id, &pool.shared.catalog) {
            continue;
        }
        let Some(mut server) = pool.core.lock().take_idle(id) else { continue };
        if server.watch(&pool.shared.catalog) {
            let idle_for = pool.jittered(pool.settings.config.server_idle_timeout, id);
            pool.core.lock().put(server, Instant::now(), idle_for);
        } else {
            tracing::info!(pool = %pool.key, server = id, "an idle server has gone");
            pool.discard(server, Closed::ServerClosed);
        }
    }
}

/// Carries the core's plan out. Returns when to look again.
fn maintain(pool: &Arc<Pool>) -> Option<Instant> {
    let target = target(pool);
    let plan = pool.core.lock().plan(Instant::now(), target.is_some());
    for place in plan.expired {
        place.fail(CheckoutError::Held { detail: pool.obstacle() });
    }
    for server in plan.close {
        let lifetime_is_over = server.expires <= Instant::now();
        pool.observer().closed(if lifetime_is_over { Closed::Lifetime } else { Closed::Idle });
    }
    let mut begun = 0;
    let logins = target.iter().cycle().take(plan.connect);
    for (target, epoch) in logins {
        let Some(permit) = pool.limit.acquire(pool).or_else(|| permit_of_sibling(pool)) else {
            break;
        };
        begun += 1;
        let login = PendingLogin { pool: Arc::clone(pool), over: false };
        // Detached on purpose: it ends within connect_timeout and login_timeout.
        tokio::spawn(connect(login, target.clone(), *epoch, permit));
    }
    for _ in begun..plan.connect {
        pool.core.lock().connect_withdrawn();
    }
    plan.wake_at
}

/// The node to open a server on: of several the next one.
fn target(pool: &Pool) -> Option<(Address, Epoch)> {
    let snapshot = pool.shared.snapshot.borrow();
    let route = snapshot.route(pool.key.access).ok()?;
    let turn = usize::try_from(pool.next_id.load(Relaxed)).unwrap_or(0);
    let node = route.nodes.get(turn % route.nodes.len().max(1))?;
    Some((node.address.clone(), route.epoch))
}

/// Closes an idle server of another user of the same database, whose turn is over.
fn permit_of_sibling(pool: &Arc<Pool>) -> Option<DatabasePermit> {
    for sibling in pool.limit.siblings(pool) {
        let oldest = sibling.core.lock().take_oldest_idle();
        if let Some(server) = oldest {
            sibling.observer().closed(Closed::Idle);
            drop(server);
            return pool.limit.acquire(pool);
        }
    }
    None
}

/// A login that the core counts as begun; however it ends, the count goes back.
struct PendingLogin {
    pool: Arc<Pool>,
    over: bool,
}

async fn connect(mut login: PendingLogin, address: Address, epoch: Epoch, permit: DatabasePermit) {
    let pool = Arc::clone(&login.pool);
    let target = Target::new(address.host(), address.port());
    let with = pool.login.lock().clone();
    // Closed never, and the login's own limits bound those before it.
    let _turn = pool.shared.logins.acquire().await;
    match pool.shared.dialer.connect(&target, &with).await {
        Ok(mut ready) => {
            pool.login.lock().remember(ready.scram_keys.take());
            let server = new_server(&pool, ready, address, epoch, Some(permit));
            login.over = true;
            pool.observer().connected();
            connected(&pool, server);
        }
        Err(error) => {
            login.over = true;
            drop(permit);
            failed(&pool, &target, &error);
        }
    }
    pool.wake_keeper();
}

pub(crate) fn new_server(
    pool: &Arc<Pool>,
    ready: Ready,
    address: Address,
    epoch: Epoch,
    permit: Option<DatabasePermit>,
) -> Box<Server> {
    let id = pool.next_id.fetch_add(1, Relaxed);
    let cancels = ready.cancel_target().map(|target| Arc::new(Cancels::new(target)));
    let carried = ready.parameters.iter().filter(|(name, _)| session::is_carried(name));
    let carried = pool.shared.catalog.parameters(carried);
    let reported = ready.parameters.iter().map(|(name, value)| (name.into(), value.into()));
    // A standby reports that it is one.
    if permit.is_some() {
        let reported = reported.collect();
        pool.set_welcome(Arc::new(Welcome { reported, carried: Arc::clone(&carried) }));
    }
    let lifetime = pool.jittered(pool.settings.config.server_lifetime, id);
    let recall: Arc<Recall> = Arc::default();
    if permit.is_some() {
        pool.servers.add(epoch, address.clone(), &recall);
    }
    Box::new(Server {
        stream: ready.stream,
        state: ServerState::new(carried, pool.settings.config.prepared_statements),
        unread: Vec::new(),
        unsent: Vec::new(),
        id,
        epoch,
        expires: Instant::now() + lifetime,
        generation: 0,
        cancels,
        waker: pool.woken.waker(id),
        load: pool.load(&address),
        address,
        recall,
        permit,
    })
}

pub(crate) fn connected(pool: &Arc<Pool>, mut server: Box<Server>) {
    tracing::debug!(pool = %pool.key, server = server.id, node = %server.address, "server connected");
    *pool.last_failure.lock() = None;
    if !pool.is_valid(&mut server) || !server.watch(&pool.shared.catalog) {
        pool.observer().closed(Closed::Epoch);
        pool.core.lock().connect_withdrawn();
        return;
    }
    let idle_for = pool.jittered(pool.settings.config.server_idle_timeout, server.id);
    pool.core.lock().connected(server, Instant::now(), idle_for);
}

/// A login has failed. Those who wait are told at once if waiting cannot help them: the
/// failure is final, and no other server of the pool can serve them.
fn failed(pool: &Pool, target: &Target, error: &ConnectError) {
    pool.observer().connect_failed(error);
    tracing::warn!(pool = %pool.key, server = %target, %error, "cannot connect to server");
    let message = Arc::new(error.client_error());
    *pool.last_failure.lock() = Some(Arc::clone(&message));
    let mut core = pool.core.lock();
    core.connect_failed(Instant::now(), rand::random());
    if error.is_definite() && core.is_empty() {
        for place in core.take_waiters() {
            place.fail(CheckoutError::Login(Arc::clone(&message)));
        }
    }
}

impl Drop for PendingLogin {
    fn drop(&mut self) {
        if !self.over {
            self.pool.core.lock().connect_withdrawn();
        }
    }
}
