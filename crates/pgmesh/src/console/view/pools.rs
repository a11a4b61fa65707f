//! Pools, and what they come to per database and per user.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use admin::rows::{DatabaseRow, PoolMode, PoolRow, Totals, UserRow};
use config::{Settings, UNLIMITED};
use pool::{Counts, Doing, Pool};
use session::Mode;

use super::role;
use crate::app::App;

/// Servers that a pool has, standbys aside.
pub(super) fn servers(counts: &Counts) -> usize {
    counts.idle + counts.active + counts.kept
}

pub(crate) fn row(pool: &Pool) -> PoolRow {
    let (key, counts) = (pool.key(), pool.counts());
    let waiting = counts.waiting as u64;
    let views = pool.server_views();
    let cancelled = views.iter().filter(|view| view.doing == Doing::BeingCancelled).count();
    let resetting = pool.resetting().min(counts.active);
    PoolRow {
        database: key.database.to_string(),
        user: key.user.to_string(),
        role: role(key.access),
        clients_active: (pool.clients() as u64).saturating_sub(waiting),
        clients_waiting: waiting,
        clients_cancelling: cancelled as u64,
        clients_waiting_to_cancel: 0,
        servers_active: (counts.active + counts.kept - resetting) as u64,
        servers_cancelling: cancelled as u64,
        servers_being_cancelled: cancelled as u64,
        servers_idle: counts.idle as u64,
        servers_tested: resetting as u64,
        servers_login: counts.connecting as u64,
        max_wait: counts.max_wait,
        mode: mode(pool.settings().mode),
        servers_warm: counts.warm as u64,
        clients_held: if counts.is_holding { waiting } else { 0 },
        servers_pinned: views.iter().filter(|view| !view.pins.is_empty()).count() as u64,
    }
}

fn mode(mode: Mode) -> PoolMode {
    match mode {
        Mode::Session => PoolMode::Session,
        Mode::Statement => PoolMode::Statement,
        Mode::Transaction => PoolMode::Transaction,
    }
}

/// Those of the configuration, and those that clients have asked for.
pub(super) fn names_of_databases(pools: &[Arc<Pool>], settings: &Settings) -> BTreeSet<String> {
    let used = pools.iter().map(|pool| pool.key().database.to_string());
    used.chain(settings.databases.keys().cloned()).collect()
}

/// Those of the configuration, and those that have a pool.
pub(super) fn names_of_users(pools: &[Arc<Pool>], settings: &Settings) -> BTreeSet<String> {
    let used = pools.iter().map(|pool| pool.key().user.to_string());
    used.chain(settings.users.keys().cloned()).collect()
}

/// Clients and servers of the pools that are `of` something.
fn used(pools: &[Arc<Pool>], of: impl Fn(&Pool) -> bool) -> (u64, u64) {
    let pools = pools.iter().filter(|pool| of(pool));
    pools.fold((0, 0), |(all_clients, all_servers), pool| {
        let servers = servers(&pool.counts()) as u64;
        (all_clients + pool.clients() as u64, all_servers + servers)
    })
}

/// 0 is no limit, as PgBouncer has it.
fn limit(limit: usize) -> u64 {
    if limit >= UNLIMITED { 0 } else { limit as u64 }
}

pub(super) fn databases(app: &App, settings: &Settings) -> Vec<DatabaseRow> {
    let snapshot = Arc::clone(&app.snapshots.borrow());
    let primary = snapshot.primary().map(|node| &node.address);
    let pools = app.pools.all();
    let row = |name: String| {
        // No user has this name: what is set for one is not the database's.
        let pool = settings.pool_for(&name, "");
        let own = settings.databases.get(&name);
        let order = snapshot.orders().of(&name);
        let (clients, servers) = used(&pools, |pool| *pool.key().database == *name);
        let clients_max = own.and_then(|own| own.max_db_client_connections);
        DatabaseRow {
            host: primary.map(|at| at.host().to_owned()),
            port: primary.map_or(0, topology::Address::port),
            database: name.clone(),
            force_user: None,
            pool_size: pool.config.size as u64,
            min_pool_size: pool.config.min_size as u64,
            reserve_pool_size: pool.config.reserve_size as u64,
            server_lifetime: pool.config.server_lifetime,
            mode: own.and_then(|own| own.pool_mode).map(mode),
            max_connections: limit(pool.config.max_db_connections),
            current_connections: servers,
            max_client_connections: clients_max
                .or(settings.limits.max_db_client_connections)
                .map_or(0, u64::from),
            current_client_connections: clients,
            paused: order.is_paused.into(),
            disabled: order.is_disabled.into(),
            name,
        }
    };
    names_of_databases(&pools, settings).into_iter().map(row).collect()
}

pub(super) fn users(app: &App, settings: &Settings) -> Vec<UserRow> {
    let pools = app.pools.all();
    let row = |name: String| {
        let own = settings.users.get(&name);
        let (clients, servers) = used(&pools, |pool| *pool.key().user == *name);
        let servers_max = own.and_then(|own| own.max_user_connections);
        let servers_max = servers_max.or(settings.pool.config.max_user_connections);
        let clients_max = own.and_then(|own| own.max_connections);
        UserRow {
            pool_size: own.and_then(|own| own.pool_size).map(|size| size as u64),
            reserve_pool_size: None,
            mode: own.and_then(|own| own.pool_mode).map(mode),
            max_connections: servers_max.map_or(0, limit),
            current_connections: servers,
            max_client_connections: clients_max
                .or(settings.limits.max_user_client_connections)
                .map_or(0, u64::from),
            current_client_connections: clients,
            name,
        }
    };
    names_of_users(&pools, settings).into_iter().map(row).collect()
}

/// The counters of pools, summed per database.
pub(super) fn totals(app: &App) -> Vec<Totals> {
    let mut databases: BTreeMap<String, Totals> = BTreeMap::new();
    for (labels, counters) in app.metrics.pools() {
        let database = labels.database.clone();
        let sum = databases
            .entry(labels.database)
            .or_insert_with(|| Totals { database, ..Totals::default() });
        let parses = counters.prepared_misses.value();
        sum.server_assignments += counters.wait.count();
        sum.transactions += counters.transaction.count();
        sum.queries += counters.query.count();
        sum.received += counters.client_received.value();
        sum.sent += counters.client_sent.value();
        sum.transaction_us += counters.transaction.sum_us();
        sum.query_us += counters.query.sum_us();
        sum.wait_us += counters.wait.sum_us();
        sum.client_parses += counters.client_parses.value();
        sum.server_parses += parses;
        sum.binds += counters.prepared_hits.value() + parses;
    }
    databases.into_values().collect()
}
