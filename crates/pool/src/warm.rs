//! Warm standbys: servers logged in to the likeliest next primaries, so that a new epoch
//! begins with servers that need no login.
//!
//! A connection survives the promotion of its node. Before it is lent it says itself that its
//! node is out of recovery; until then it belongs to no epoch and is lent to nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::Target;
use session::{Catalog, ResetKind};
use topology::{Access, Address, Epoch, Fence, Snapshot};

use crate::keeper::{connected, new_server};
use crate::logins::{Failed, Purpose};
use crate::origin::Origin;
use crate::pool::Closed;
use crate::{Pool, Server};

/// The warm standbys of one pool.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    servers: Vec<Server>,
    /// Where logins are under way.
    connecting: Vec<Address>,
    /// No login before this, after one that failed.
    not_before: Option<Instant>,
    /// No question before this, after one that came before the promotion.
    ask_at: Option<Instant>,
}

/// A standby that refuses a login is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// For the question whether the node is out of recovery.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);

/// From one question to the next, while the node is being promoted.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// A login to a standby that counts as begun; however it ends, the count goes back.
struct PendingLogin {
    pool: Arc<Pool>,
    address: Address,
}

/// A standby that is becoming a server of the pool, and counts as one of its logins.
struct Adoption {
    pool: Arc<Pool>,
    over: bool,
}

impl Warm {
    /// Looks at a server whose socket has become readable. False if it is none of these.
    pub(crate) fn look_at(&mut self, id: u64, catalog: &Catalog) -> bool {
        let Some(at) = self.servers.iter().position(|server| server.id == id) else {
            return false;
        };
        if !self.servers.get_mut(at).is_some_and(|server| server.watch(catalog)) {
            self.servers.swap_remove(at);
        }
        true
    }

    /// Takes all that are there.
    pub(crate) fn leave(&mut self) -> Vec<Server> {
        std::mem::take(&mut self.servers)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.servers.iter().map(|server| server.id)
    }

    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// Takes the servers that are on this node.
    fn take(&mut self, address: &Address) -> Vec<Server> {
        self.servers.extract_if(.., |server| server.origin.address == *address).collect()
    }

    /// Where logins are missing for `wanted` to be there; drops what is nowhere in it.
    fn missing(
        &mut self,
        wanted: &[Address],
        keep: Option<&Address>,
        now: Instant,
    ) -> Vec<Address> {
        self.servers.retain(|server| {
            let is_kept = wanted.contains(server.address()) || keep == Some(server.address());
            is_kept && server.expires > now
        });
        let mut missing = wanted.to_vec();
        let there = self.servers.iter().map(|server| server.address()).chain(&self.connecting);
        for address in there {
            if let Some(at) = missing.iter().position(|wanted| wanted == address) {
                missing.swap_remove(at);
            }
        }
        missing
    }
}

/// Keeps the warm standbys, and hands them to the pool when their node has become the primary.
/// Returns when to look again.
pub(crate) fn tend(pool: &Arc<Pool>) -> Option<Instant> {
    let size = pool.settings().config.warm_standby_size;
    if size == 0 || pool.key.access != Access::ReadWrite {
        return None;
    }
    let snapshot = Arc::clone(&pool.shared.snapshot.borrow());
    let order = snapshot.orders().of(&pool.key.database);
    if order.is_paused {
        pool.warm.lock().servers.clear();
        return None;
    }
    let is_used = pool.core.lock().is_used();
    let wanted = if is_used { wanted(&snapshot, size) } else { Vec::new() };
    let now = Instant::now();
    let ask_at = adopt(pool, &snapshot, now);
    let mut warm = pool.warm.lock();
    warm.servers.retain(|it| order.fence(it.origin.born, Fence::Open) == Fence::Open);
    let successor = snapshot.successor().map(|(_, node)| node.address.clone());
    let missing = warm.missing(&wanted, successor.as_ref(), now);
    if missing.is_empty() {
        return ask_at;
    }
    if let Some(at) = warm.not_before.filter(|at| *at > now) {
        return Some(ask_at.map_or(at, |ask_at| ask_at.min(at)));
    }
    warm.connecting.extend(missing.iter().cloned());
    drop(warm);
    for address in missing {
        let login = PendingLogin { pool: Arc::clone(pool), address };
        // Detached on purpose: it ends within connect_timeout and login_timeout.
        tokio::spawn(connect(login));
    }
    ask_at
}

/// All on the one that will be next, if that is known; otherwise spread over the two likeliest.
fn wanted(snapshot: &Snapshot, size: usize) -> Vec<Address> {
    let candidates = snapshot.candidates();
    let is_certain = snapshot.switchover().is_some_and(|request| request.to.is_some())
        || candidates.first().is_some_and(|node| node.sync);
    let nodes = candidates.get(..if is_certain { 1 } else { 2 }).unwrap_or(candidates);
    nodes.iter().cycle().take(size).map(|node| node.address.clone()).collect()
}

/// Makes servers of the standbys whose node is the primary now, as many as the pool has room for.
/// Returns when to ask again those that are not yet out of recovery.
fn adopt(pool: &Arc<Pool>, snapshot: &Snapshot, now: Instant) -> Option<Instant> {
    let route = snapshot.route(Access::ReadWrite).ok()?;
    let node = route.nodes.first()?;
    let mut warm = pool.warm.lock();
    if let Some(at) = warm.ask_at.filter(|at| *at > now) {
        return Some(at);
    }
    let mut servers = warm.take(&node.address);
    while let Some(mut server) = servers.pop() {
        let mut core = pool.core.lock();
        let permit = if core.room() > 0 { pool.limits.try_acquire() } else { None };
        if permit.is_none() {
            drop(core);
            warm.servers.push(server);
            warm.servers.append(&mut servers);
            return None;
        }
        core.adopting(1);
        drop(core);
        server.permit = permit;
        let adoption = Adoption { pool: Arc::clone(pool), over: false };
        // Detached on purpose: it ends within PROOF_TIMEOUT.
        tokio::spawn(prove(adoption, server, route.epoch));
    }
    None
}

/// Lets the node say that it is out of recovery, and gives the server to the pool.
async fn prove(mut adoption: Adoption, mut server: Server, epoch: Epoch) {
    let pool = Arc::clone(&adoption.pool);
    let Server { stream, state, .. } = &mut server;
    let catalog = &pool.shared.catalog;
    let answer = backend::is_in_recovery(stream, PROOF_TIMEOUT, |name, value| {
        state.on_reset_parameter(ResetKind::All, catalog, name, value);
    });
    match answer.await {
        Ok(false) => {
            server.origin.epoch = epoch;
            server.badge.belongs_to(server.origin.clone());
            // It is as after its login.
            server.state.after_reset(ResetKind::All);
            pool.servers.add(server.origin.clone(), &server.recall);
            adoption.over = true;
            connected(&pool, Box::new(server));
        }
        // Named before it is promoted, and trusted for want of a prober.
        Ok(true) => {
            server.permit = None;
            if server.watch(catalog) {
                let mut warm = pool.warm.lock();
                warm.ask_at = Some(Instant::now() + ASK_AGAIN);
                warm.servers.push(server);
            }
        }
        Err(error) => {
            tracing::info!(event = "warm_standby_lost", pool = %pool.key, server = server.id, %error, "a warm standby is of no use");
            pool.observer().closed(Closed::ServerClosed);
        }
    }
    drop(adoption);
    pool.wake_keeper();
}

/// Waits until nobody wants a standby at this address any more.
///
/// # Cancel safety
/// Cancel safe.
async fn unwanted(pool: &Pool, address: &Address) {
    let mut snapshot = pool.shared.snapshot.clone();
    loop {
        let is_wanted = {
            let snapshot = snapshot.borrow_and_update();
            let successor = snapshot.successor().is_some_and(|(_, node)| node.address == *address);
            successor || snapshot.candidates().iter().any(|node| node.address == *address)
        };
        if !is_wanted {
            return;
        }
        if snapshot.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn connect(login: PendingLogin) {
    let pool = Arc::clone(&login.pool);
    let target = Target::new(login.address.host(), login.address.port());
    let born = pool.shared.snapshot.borrow().orders().revision();
    let dialed = async {
        let _turn = pool.shared.warm_logins.acquire().await;
        pool.log_in(&target, Purpose::Wait).await
    };
    let outcome = tokio::select! {
        biased;
        () = unwanted(&pool, &login.address) => {
            drop(login);
            return pool.wake_keeper();
        }
        outcome = dialed => outcome,
    };
    match outcome {
        Ok(ready) => {
            pool.observer().connected();
            let origin = Origin { epoch: Epoch::NONE, address: login.address.clone(), born };
            let mut server = new_server(&pool, ready, origin, None);
            let is_alive = server.watch(&pool.shared.catalog);
            let mut warm = pool.warm.lock();
            warm.not_before = (!is_alive).then(|| Instant::now() + RETRY);
            if is_alive {
                warm.servers.push(*server);
            }
        }
        Err(Failed { error, .. }) => {
            tracing::debug!(event = "warm_standby_failed", pool = %pool.key, server = %target, %error, "no warm standby");
            pool.warm.lock().not_before = Some(Instant::now() + RETRY);
        }
    }
    drop(login);
    pool.wake_keeper();
}

impl Drop for PendingLogin {
    fn drop(&mut self) {
        let mut warm = self.pool.warm.lock();
        if let Some(at) = warm.connecting.iter().position(|address| *address == self.address) {
            warm.connecting.swap_remove(at);
        }
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        if !self.over {
            self.pool.core.lock().connect_withdrawn();
        }
    }
}
