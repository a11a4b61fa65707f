//! The task that keeps a pool: opens and closes servers, watches the idle ones, follows the
//! topology.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use backend::{Ready, Target};
use session::ServerState;
use tokio::sync::watch;
use topology::{Fence, Snapshot};

use crate::badge::Badge;
use crate::cancel::Cancels;
use crate::core::{Core, Over};
use crate::limit::{Limit, Permits};
use crate::logins::{Failed, Purpose};
use crate::origin::Origin;
use crate::pool::Closed;
use crate::recall::Recall;
use crate::warm;
use crate::{CheckoutError, Config, Pool, Pools, Server, ServerFacts, Welcome};

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
        let look_at = tokio::time::Instant::now() + look_every(&pool.settings().config);
        let wake_at = wake_at.map_or(look_at, |at| look_at.min(at.into()));
        tokio::select! {
            () = pool.woken.notify.notified() => {}
            changed = changed(&mut snapshot), if !topology_ended => {
                topology_ended = changed.is_err();
            }
            () = tokio::time::sleep_until(wake_at) => {
                let Some(pools) = pools.upgrade() else { return fail_all(&pool) };
                if pools.remove_unused(&pool) {
                    return;
                }
            }
        }
    }
}

/// Nobody looks after those who still wait.
fn fail_all(pool: &Pool) {
    for place in pool.core.lock().take_waiters() {
        place.fail(CheckoutError::ShuttingDown);
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
        if !server.watch(&pool.shared.catalog) {
            tracing::info!(event = "server_lost", pool = %pool.key, server = id, "an idle server has gone");
            pool.discard(server, Closed::ServerClosed);
        } else if let Err(server) = pool.put(server, Instant::now(), Core::put) {
            let why = pool.why_closed(&server);
            pool.discard(server, why);
        }
    }
}

/// Carries the core's plan out. Returns when to look again.
fn maintain(pool: &Arc<Pool>) -> Option<Instant> {
    let is_reachable = pool.shared.snapshot.borrow().route(pool.key.access).is_ok();
    let plan = pool.core.lock().plan(Instant::now(), is_reachable);
    for (place, over) in plan.expired {
        let detail = pool.obstacle();
        place.fail(match over {
            Over::Wait => CheckoutError::Timeout { detail },
            Over::Hold => CheckoutError::Held { detail },
        });
    }
    for server in plan.close {
        let lifetime_is_over = server.expires <= Instant::now();
        pool.observer().closed(if lifetime_is_over { Closed::Lifetime } else { Closed::Idle });
    }
    let mut begun = 0;
    while begun < plan.connect
        && let Some(origin) = target(pool)
    {
        let permits = pool.limits.acquire(pool).or_else(|full| permits_of_sibling(pool, full));
        let Ok(permit) = permits else { break };
        begun += 1;
        let login = PendingLogin { pool: Arc::clone(pool), over: false };
        // Detached on purpose: it ends within connect_timeout and login_timeout.
        tokio::spawn(connect(login, origin, permit));
    }
    for _ in begun..plan.connect {
        let mut kept = pool.core.lock();
        kept.connect_withdrawn();
        // A client waits for each, and none will be opened.
        kept.resting.want();
    }
    plan.wake_at
}

/// Where to open a server: of several nodes on the next one.
fn target(pool: &Pool) -> Option<Origin> {
    let snapshot = pool.shared.snapshot.borrow();
    let route = snapshot.route(pool.key.access).ok()?;
    let turn = pool.turn.fetch_add(1, Relaxed);
    let node = route.nodes.get(turn % route.nodes.len().max(1))?;
    let born = snapshot.orders().revision();
    Some(Origin { epoch: route.epoch, address: node.address.clone(), born })
}

/// Closes an idle server of another pool under the limit that is `full`: its turn is over.
fn permits_of_sibling<'a>(
    pool: &'a Arc<Pool>,
    full: &'a Arc<Limit>,
) -> Result<Permits, &'a Arc<Limit>> {
    for sibling in full.siblings(pool) {
        let oldest = sibling.core.lock().take_oldest_idle();
        if let Some(server) = oldest {
            sibling.observer().closed(Closed::Idle);
            drop(server);
            return pool.limits.acquire(pool);
        }
        sibling.want_resting();
    }
    Err(full)
}

/// A login that the core counts as begun; however it ends, the count goes back.
struct PendingLogin {
    pool: Arc<Pool>,
    over: bool,
}

async fn connect(mut login: PendingLogin, origin: Origin, permit: Permits) {
    let pool = Arc::clone(&login.pool);
    let target = Target::new(origin.address.host(), origin.address.port());
    let dialed = async {
        // Closed never, and the limits of the logins before it bound the wait.
        let _turn = pool.shared.logins.acquire().await;
        pool.log_in(&target, Purpose::Lend).await
    };
    let outcome = tokio::select! {
        biased;
        // A node that is gone must not take up the logins of the next.
        () = outdated(&pool, |snapshot| origin.fence(snapshot, &pool.key)) => {
            drop(login);
            return pool.wake_keeper();
        },
        outcome = dialed => outcome,
    };
    match outcome {
        Ok(ready) => {
            let server = new_server(&pool, ready, origin, Some(permit));
            login.over = true;
            pool.observer().connected();
            connected(&pool, server);
        }
        Err(failure) => {
            login.over = true;
            drop(permit);
            failed(&pool, &target, &failure);
        }
    }
    pool.wake_keeper();
}

/// Waits until a server with this `fence` would be of no use.
///
/// # Cancel safety
/// Cancel safe.
pub(crate) async fn outdated(pool: &Pool, fence: impl Fn(&Snapshot) -> Fence) {
    let mut snapshot = pool.shared.snapshot.clone();
    loop {
        let fence = fence(&snapshot.borrow_and_update());
        if !matches!(fence, Fence::Open | Fence::Held) {
            return;
        }
        if snapshot.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

pub(crate) fn new_server(
    pool: &Arc<Pool>,
    ready: Ready,
    origin: Origin,
    permit: Option<Permits>,
) -> Box<Server> {
    let id = pool.shared.next_server.fetch_add(1, Relaxed);
    let target = ready.cancel_target();
    let pid = target.as_ref().map(|target| target.key.pid);
    let cancels = target.map(|target| Arc::new(Cancels::new(target)));
    let carried = ready.parameters.iter().filter(|(name, _)| session::is_carried(name));
    let carried = pool.shared.catalog.parameters(carried);
    let reported = ready.parameters.iter().map(|(name, value)| (name.into(), value.into()));
    // A standby reports that it is one.
    if permit.is_some() {
        let reported = reported.collect();
        pool.set_welcome(Arc::new(Welcome { reported, carried: Arc::clone(&carried) }));
    }
    let settings = pool.settings();
    let limits = &settings.config;
    let lifetime = pool.jittered(limits.server_lifetime, id);
    let idle_for = pool.jittered(limits.server_idle_timeout, id);
    let recall: Arc<Recall> = Arc::default();
    let badge = badge(&ready, (id, pid), &recall, cancels.as_ref());
    pool.census.add(&badge);
    if permit.is_some() {
        pool.servers.add(origin.clone(), &recall);
        badge.belongs_to(origin.clone());
    }
    Box::new(Server {
        stream: ready.stream,
        state: ServerState::new(carried, limits.prepared_statements)
            .with_pid(pid)
            .of_database(Arc::clone(&pool.schema))
            .of_pool(&pool.sequences),
        unread: Vec::new(),
        unsent: Vec::new(),
        vacancy: None,
        id,
        expires: Instant::now() + lifetime,
        idle_for,
        generation: 0,
        cancels,
        waker: pool.woken.waker(id),
        load: pool.load(&origin.address),
        origin,
        recall,
        badge,
        permit,
    })
}

/// What others can see of a server that has just logged in.
fn badge(
    ready: &Ready,
    (id, pid): (u64, Option<i32>),
    recall: &Arc<Recall>,
    cancels: Option<&Arc<Cancels>>,
) -> Arc<Badge> {
    let socket = ready.stream.get_ref();
    let facts = ServerFacts {
        id,
        pid,
        peer: socket.peer_addr().ok(),
        local: socket.local_addr().ok(),
        tls: ready.stream.tls_version(),
        connected: SystemTime::now(),
    };
    Badge::new(facts, Arc::clone(recall), cancels.cloned())
}

pub(crate) fn connected(pool: &Arc<Pool>, mut server: Box<Server>) {
    tracing::debug!(event = "server_connected", pool = %pool.key, server = server.id, node = %server.address(), "server connected");
    *pool.last_failure.lock() = None;
    if !server.watch(&pool.shared.catalog) {
        pool.observer().closed(Closed::ServerClosed);
        pool.core.lock().connect_failed(Instant::now(), rand::random());
    } else if pool.put(server, Instant::now(), Core::connected).is_err() {
        pool.observer().closed(Closed::Epoch);
        pool.core.lock().connect_withdrawn();
    }
}

/// A login has failed. Those who wait are told at once if waiting cannot help them: the
/// failure is final, and no other server of the pool can serve them.
fn failed(pool: &Pool, target: &Target, failure: &Failed) {
    let error = &failure.error;
    pool.observer().connect_failed(error);
    tracing::warn!(event = "server_connect_failed", pool = %pool.key, server = %target, %error, "cannot connect to server");
    let message = Arc::new(error.client_error());
    *pool.last_failure.lock() = Some(Arc::clone(&message));
    let mut core = pool.core.lock();
    core.connect_failed(Instant::now(), rand::random());
    core.want_for_waiters();
    // Each of the nodes must have had its turn.
    let nodes = pool.shared.snapshot.borrow().route(pool.key.access).map_or(1, |it| it.nodes.len());
    let is_refused = usize::try_from(core.failures()).is_ok_and(|failures| failures >= nodes);
    if failure.is_definite && is_refused && core.is_empty() {
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
