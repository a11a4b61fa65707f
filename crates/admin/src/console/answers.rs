//! The rows behind each `SHOW`, from the facts of one moment.

mod connections;
mod stats;

use std::time::Duration;

use super::tables::Show;
use super::value::Value;
use crate::averages::Averages;
use crate::facts::{Facts, Right};
use crate::rows::{
    ClientRow, ConfigRow, DatabaseRow, FailoverRow, Lists, MemoryRow, NodeRow, PeerRow, PinRow,
    PoolMode, PoolRow, State, StatementRow, UserRow,
};

/// Characters of a statement's text that are shown.
const QUERY_MAX: usize = 1024;

/// What an answer is made from.
pub(crate) struct View<'a> {
    pub(crate) facts: &'a dyn Facts,
    pub(crate) averages: &'a Averages,
    /// The console's own clients.
    pub(crate) consoles: Vec<ClientRow>,
    /// The console's own database.
    pub(crate) database: &'a str,
    pub(crate) version: &'static str,
    /// Of who asks.
    pub(crate) right: Right,
}

/// Rows that are made as they are sent.
pub(crate) type Rows = Box<dyn Iterator<Item = Vec<Value>> + Send>;

/// The rows of a table: as many values in each as it has columns, of their types.
pub(crate) fn rows(show: Show, view: &View<'_>) -> Rows {
    let facts = view.facts;
    match show {
        Show::ActiveSockets => connections::sockets(view, connections::Which::Active),
        Show::Clients => connections::clients(view),
        Show::Cluster => made(facts.cluster(), node),
        Show::Config => made(facts.config(), config),
        Show::Databases => databases(view),
        // Names are resolved by the system, which tells nothing of it; help is a notice.
        Show::DnsHosts | Show::DnsZones | Show::Fds | Show::Help => Box::new(std::iter::empty()),
        Show::Failovers => made(facts.failovers(), failover),
        Show::Lists => made(lists(&facts.lists()), |(name, items)| vec![name.into(), items.into()]),
        Show::Mem => made(facts.memory(), memory),
        Show::PeerPools => made(facts.peers(), peer_pool),
        Show::Peers => made(facts.peers(), peer),
        Show::Pins => made(facts.pins(), pin),
        Show::Pools => pools(view),
        Show::PreparedStatements => {
            let right = view.right;
            made(facts.statements(), move |row| statement(row, right))
        }
        Show::Servers => connections::servers(view),
        Show::Sockets => connections::sockets(view, connections::Which::All),
        Show::State => made(state(facts.state()), |(key, value)| vec![key.into(), value.into()]),
        Show::Stats => stats::stats(view),
        Show::StatsAverages => stats::averages(view),
        Show::StatsTotals => stats::totals(view),
        Show::Totals => stats::sums(view),
        Show::Users => made(facts.users(), user),
        Show::Version => made([format!("pgmesh {}", view.version)], |it| vec![it.into()]),
    }
}

fn made<T: 'static, I>(rows: I, make: impl FnMut(T) -> Vec<Value> + Send + 'static) -> Rows
where
    I: IntoIterator<Item = T>,
    I::IntoIter: Send + 'static,
{
    Box::new(rows.into_iter().map(make))
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

/// As PgBouncer does, the console is listed with the pools: there is never no row.
fn pools(view: &View<'_>) -> Rows {
    let mut rows = view.facts.pools();
    rows.push(PoolRow {
        database: view.database.to_owned(),
        user: view.database.to_owned(),
        role: "console".to_owned(),
        clients_active: count(view.consoles.len()),
        clients_waiting: 0,
        clients_cancelling: 0,
        clients_waiting_to_cancel: 0,
        servers_active: 0,
        servers_cancelling: 0,
        servers_being_cancelled: 0,
        servers_idle: 0,
        servers_tested: 0,
        servers_login: 0,
        max_wait: Duration::ZERO,
        mode: PoolMode::Statement,
        servers_warm: 0,
        clients_held: 0,
        servers_pinned: 0,
    });
    made(rows, pool)
}

fn pool(row: PoolRow) -> Vec<Value> {
    vec![
        row.database.into(),
        row.user.into(),
        row.clients_active.into(),
        row.clients_waiting.into(),
        row.clients_cancelling.into(),
        row.clients_waiting_to_cancel.into(),
        row.servers_active.into(),
        row.servers_cancelling.into(),
        row.servers_being_cancelled.into(),
        row.servers_idle.into(),
        // No server is checked for having been idle: one that dies while idle is noticed.
        Value::Number(0),
        row.servers_tested.into(),
        row.servers_login.into(),
        row.max_wait.as_secs().into(),
        u64::from(row.max_wait.subsec_micros()).into(),
        row.mode.as_str().into(),
        Value::Null,
        row.role.into(),
        row.servers_warm.into(),
        row.clients_held.into(),
        row.servers_pinned.into(),
    ]
}

fn databases(view: &View<'_>) -> Rows {
    let mut rows = view.facts.databases();
    rows.push(DatabaseRow {
        name: view.database.to_owned(),
        host: None,
        port: 0,
        database: view.database.to_owned(),
        force_user: Some(view.database.to_owned()),
        pool_size: 0,
        min_pool_size: 0,
        reserve_pool_size: 0,
        server_lifetime: Duration::ZERO,
        mode: Some(PoolMode::Statement),
        max_connections: 0,
        current_connections: 0,
        max_client_connections: 0,
        current_client_connections: count(view.consoles.len()),
        paused: crate::rows::Flag::No,
        disabled: crate::rows::Flag::No,
    });
    made(rows, database)
}

fn database(row: DatabaseRow) -> Vec<Value> {
    vec![
        row.name.into(),
        row.host.into(),
        row.port.into(),
        row.database.into(),
        row.force_user.into(),
        row.pool_size.into(),
        row.min_pool_size.into(),
        row.reserve_pool_size.into(),
        row.server_lifetime.as_secs().into(),
        row.mode.map(PoolMode::as_str).into(),
        Value::Null,
        row.max_connections.into(),
        row.current_connections.into(),
        row.max_client_connections.into(),
        row.current_client_connections.into(),
        row.paused.number().into(),
        row.disabled.number().into(),
        row.reserve_pool_size.into(),
    ]
}

fn user(row: UserRow) -> Vec<Value> {
    vec![
        row.name.into(),
        row.pool_size.map(|size| size.to_string()).into(),
        row.reserve_pool_size.map(|size| size.to_string()).into(),
        row.mode.map(PoolMode::as_str).into(),
        row.max_connections.into(),
        row.current_connections.into(),
        row.max_client_connections.into(),
        row.current_client_connections.into(),
    ]
}

/// All the fourteen that PgBouncer has: tools look for them by name.
fn lists(lists: &Lists) -> [(&'static str, u64); 14] {
    [
        ("databases", lists.databases),
        ("users", lists.users),
        ("peers", lists.peers),
        ("pools", lists.pools),
        ("peer_pools", lists.peers),
        ("free_clients", 0),
        ("used_clients", lists.used_clients),
        ("login_clients", lists.login_clients),
        ("free_servers", lists.free_servers),
        ("used_servers", lists.used_servers),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ]
}

fn config(row: ConfigRow) -> Vec<Value> {
    vec![row.key.into(), row.value.into(), row.default.into(), row.changeable.as_str().into()]
}

fn memory(row: MemoryRow) -> Vec<Value> {
    vec![row.name.into(), row.size.into(), row.used.into(), row.free.into(), row.total.into()]
}

fn state(state: State) -> [(&'static str, &'static str); 4] {
    let active = state.paused.number() + state.draining.number() == 0;
    [
        ("active", if active { "yes" } else { "no" }),
        ("paused", state.paused.as_str()),
        ("suspended", "no"),
        ("draining", state.draining.as_str()),
    ]
}

fn peer(row: PeerRow) -> Vec<Value> {
    vec![row.id.into(), row.peer.address.into(), row.peer.port.into(), Value::Null]
}

fn peer_pool(row: PeerRow) -> Vec<Value> {
    vec![row.id.into(), row.cancelling.into(), 0_u64.into(), row.cancelling.into(), 0_u64.into()]
}

fn statement(row: StatementRow, right: Right) -> Vec<Value> {
    let query = match right {
        Right::Admin => Some(row.query.chars().take(QUERY_MAX).collect::<String>()),
        Right::Stats => None,
    };
    vec![row.name.into(), query.into(), row.bytes.into(), row.holders.into()]
}

fn pin(row: PinRow) -> Vec<Value> {
    vec![
        row.database.into(),
        row.user.into(),
        row.role.into(),
        row.reason.into(),
        row.client.into(),
        row.server.into(),
        row.client.map(connections::client_link).into(),
        Value::moment(row.since),
    ]
}

fn node(row: NodeRow) -> Vec<Value> {
    vec![
        row.group.into(),
        row.node.into(),
        row.role.into(),
        row.state.into(),
        row.leader.as_str().into(),
        row.address.into(),
        row.timeline.into(),
        row.lag_bytes.into(),
        row.sync.as_str().into(),
        row.epoch.into(),
        row.standing.into(),
        row.proof.into(),
        row.drained.as_str().into(),
        row.switchover.into(),
    ]
}

fn failover(row: FailoverRow) -> Vec<Value> {
    vec![
        Value::moment(row.started),
        row.kind.into(),
        row.from.into(),
        row.to.into(),
        row.epoch.into(),
        row.timeline.into(),
        Value::milliseconds(row.detect),
        Value::milliseconds(row.hold),
        Value::milliseconds(row.first_success),
        row.clients_held.into(),
        row.outcome.into(),
    ]
}
