//! What the console shows, as plain values: one struct per row of a `SHOW`. Who has the facts
//! fills them in; names of columns, types and order are the console's (`console/tables.rs`).
//!
//! Counts are counts at this moment unless a field says otherwise.

use std::time::{Duration, SystemTime};

/// When a server goes back to its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// With the client.
    Session,
    /// With the statement.
    Statement,
    /// With the transaction.
    Transaction,
}

impl PoolMode {
    /// PgBouncer's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Statement => "statement",
            Self::Transaction => "transaction",
        }
    }
}

/// A pool: `SHOW POOLS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRow {
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// Which nodes it uses: `primary`, `replica` or `any`.
    pub role: String,
    /// Clients that have a server, or want none at the moment.
    pub clients_active: u64,
    /// Clients in the queue.
    pub clients_waiting: u64,
    /// Cancel requests that are on their way to a server.
    pub clients_cancelling: u64,
    /// Cancel requests that wait for their turn.
    pub clients_waiting_to_cancel: u64,
    /// Servers that are lent.
    pub servers_active: u64,
    /// Servers that carry a cancel request.
    pub servers_cancelling: u64,
    /// Servers that nobody gets before the cancel requests for them have ended.
    pub servers_being_cancelled: u64,
    /// Servers that can be lent at once.
    pub servers_idle: u64,
    /// Servers that are being reset or checked.
    pub servers_tested: u64,
    /// Servers that are logging in.
    pub servers_login: u64,
    /// How long the first in the queue has waited.
    pub max_wait: Duration,
    /// When servers go back.
    pub mode: PoolMode,
    /// Warm standbys: logged in on a replica, for the day it is promoted.
    pub servers_warm: u64,
    /// Clients in the queue that wait for a primary, not for a free server.
    pub clients_held: u64,
    /// Servers that stay with their client past the transaction.
    pub servers_pinned: u64,
}

/// One end of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Address, or `unix` for a Unix socket.
    pub address: String,
    /// Port; for a Unix socket the one in its name.
    pub port: u16,
}

impl From<std::net::SocketAddr> for Endpoint {
    fn from(address: std::net::SocketAddr) -> Self {
        // As it is written elsewhere, be it that the socket serves both kinds.
        Self { address: address.ip().to_canonical().to_string(), port: address.port() }
    }
}

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// It has a server, or wants none.
    Active,
    /// It has asked for a cancel, which is on its way.
    Cancelling,
    /// It is not known yet who it is.
    Login,
    /// It waits for a server.
    Waiting,
}

/// A client: `SHOW CLIENTS`, `SHOW SOCKETS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRow {
    /// Its number: what `KILL_CLIENT` takes. Never given twice by one process.
    pub id: u64,
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// What it does.
    pub state: ClientState,
    /// Where it came from.
    pub peer: Endpoint,
    /// Where it came in.
    pub local: Endpoint,
    /// Since when it is here.
    pub connected: SystemTime,
    /// When it last began to wait for a server or got one.
    pub requested: SystemTime,
    /// How long it has waited, if it waits.
    pub wait: Duration,
    /// The number of its server, if it has one.
    pub server: Option<u64>,
    /// The version of TLS, if it is inside TLS.
    pub tls: Option<String>,
    /// What it calls itself.
    pub application_name: String,
    /// Statements that it has prepared.
    pub prepared_statements: u64,
}

/// What a server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// It is lent.
    Active,
    /// A cancel request for it has not ended.
    BeingCancelled,
    /// It can be lent at once.
    Idle,
    /// It is being reset or checked.
    Tested,
    /// A warm standby.
    Warm,
}

/// What becomes of a server when its transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes back to its pool.
    Stays,
    /// It is closed: its epoch is over, its node is drained, or it was asked for.
    Closes,
}

/// A server: `SHOW SERVERS`, `SHOW SOCKETS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRow {
    /// Its number. Never given twice by one process.
    pub id: u64,
    /// The user it was logged in as.
    pub user: String,
    /// The database.
    pub database: String,
    /// What it does.
    pub state: ServerState,
    /// Where it is.
    pub peer: Endpoint,
    /// Our end.
    pub local: Endpoint,
    /// Since when it is connected.
    pub connected: SystemTime,
    /// When it was last lent.
    pub requested: SystemTime,
    /// What becomes of it.
    pub fate: Fate,
    /// The number of its client, if it has one.
    pub client: Option<u64>,
    /// Its process id at the node; 0 if it did not say.
    pub remote_pid: u64,
    /// The version of TLS, if it is inside TLS.
    pub tls: Option<String>,
    /// What it was last told of its client's name.
    pub application_name: String,
    /// Statements that it has prepared.
    pub prepared_statements: u64,
}

/// Whether a database takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// No.
    No,
    /// Yes.
    Yes,
}

impl Flag {
    /// `yes` or `no`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
        }
    }

    /// 0 or 1.
    pub fn number(self) -> u64 {
        match self {
            Self::No => 0,
            Self::Yes => 1,
        }
    }
}

impl From<bool> for Flag {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

/// A database: `SHOW DATABASES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseRow {
    /// What clients call it.
    pub name: String,
    /// The primary's host, if there is one.
    pub host: Option<String>,
    /// The primary's port; 0 if there is none.
    pub port: u16,
    /// What servers call it.
    pub database: String,
    /// The user that all of its servers log in as, if that is set.
    pub force_user: Option<String>,
    /// Servers per pool.
    pub pool_size: u64,
    /// Servers per pool that are kept.
    pub min_pool_size: u64,
    /// Servers per pool on top, for whoever has waited too long.
    pub reserve_pool_size: u64,
    /// Age at which a server is closed.
    pub server_lifetime: Duration,
    /// The mode, if it has one of its own.
    pub mode: Option<PoolMode>,
    /// Servers it may have; 0 without a limit.
    pub max_connections: u64,
    /// Servers it has.
    pub current_connections: u64,
    /// Clients it may have; 0 without a limit.
    pub max_client_connections: u64,
    /// Clients it has.
    pub current_client_connections: u64,
    /// Paused by an operator.
    pub paused: Flag,
    /// Takes no new clients, as an operator has ordered.
    pub disabled: Flag,
}

/// A user: `SHOW USERS`. What is `None` is not set for this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// The name.
    pub name: String,
    /// Servers per pool.
    pub pool_size: Option<u64>,
    /// Servers per pool on top.
    pub reserve_pool_size: Option<u64>,
    /// The mode.
    pub mode: Option<PoolMode>,
    /// Servers it may have; 0 without a limit.
    pub max_connections: u64,
    /// Servers it has.
    pub current_connections: u64,
    /// Clients it may have; 0 without a limit.
    pub max_client_connections: u64,
    /// Clients it has.
    pub current_client_connections: u64,
}

/// What a database has done since the start: `SHOW STATS` and its like. Each number only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// The database.
    pub database: String,
    /// Servers that were lent.
    pub server_assignments: u64,
    /// Transactions.
    pub transactions: u64,
    /// Statements.
    pub queries: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// Microseconds in transactions.
    pub transaction_us: u64,
    /// Microseconds in statements.
    pub query_us: u64,
    /// Microseconds that clients have waited for servers.
    pub wait_us: u64,
    /// Statements that clients have prepared.
    pub client_parses: u64,
    /// Statements that were prepared on servers.
    pub server_parses: u64,
    /// Uses of prepared statements.
    pub binds: u64,
}

/// How many there are: `SHOW LISTS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    /// Databases.
    pub databases: u64,
    /// Users.
    pub users: u64,
    /// Peers.
    pub peers: u64,
    /// Pools.
    pub pools: u64,
    /// Clients that are logged in.
    pub used_clients: u64,
    /// Clients that are logging in.
    pub login_clients: u64,
    /// Servers that are not lent.
    pub free_servers: u64,
    /// Servers that are lent.
    pub used_servers: u64,
}

/// A setting: `SHOW CONFIG`. Never a secret one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigRow {
    /// PgBouncer's name where it is the same thing, or the path in `proxy.toml`.
    pub key: String,
    /// The value in use; times in seconds, sizes in bytes.
    pub value: String,
    /// The value if nothing is set.
    pub default: Option<String>,
    /// Whether it can be changed without a restart.
    pub changeable: Flag,
}

/// Memory of one kind: `SHOW MEM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRow {
    /// Of what.
    pub name: String,
    /// Bytes of one; 0 if they differ.
    pub size: u64,
    /// How many are in use.
    pub used: u64,
    /// How many are kept for later.
    pub free: u64,
    /// Bytes of all.
    pub total: u64,
}

/// What pgmesh is doing: `SHOW STATE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Whether all databases are paused.
    pub paused: Flag,
    /// Whether it is on its way out.
    pub draining: Flag,
}

/// A peer: `SHOW PEERS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRow {
    /// Its number.
    pub id: u64,
    /// Where it listens.
    pub peer: Endpoint,
    /// Cancel requests on their way to it.
    pub cancelling: u64,
}

/// A prepared statement: `SHOW PREPARED_STATEMENTS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementRow {
    /// Its name on servers.
    pub name: String,
    /// Its text, which only admins see.
    pub query: String,
    /// Bytes of text and types.
    pub bytes: u64,
    /// Clients and servers that have it.
    pub holders: u64,
}

/// A server that stays with its client: `SHOW PINS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinRow {
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// Which nodes the pool uses.
    pub role: String,
    /// Why it stays, as in the metrics.
    pub reason: String,
    /// The number of the client, if it is still known.
    pub client: Option<u64>,
    /// The number of the server.
    pub server: u64,
    /// Since when.
    pub since: SystemTime,
}

/// A node: `SHOW CLUSTER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// The Citus group, if there are groups.
    pub group: Option<u64>,
    /// Its name.
    pub node: String,
    /// `primary`, `replica` and so on, as it was last said.
    pub role: String,
    /// `running`, `starting` and so on, as it was last said.
    pub state: String,
    /// Whether it holds the leader key.
    pub leader: Flag,
    /// Where it listens.
    pub address: String,
    /// Its timeline.
    pub timeline: Option<u64>,
    /// Bytes of log that it has yet to replay.
    pub lag_bytes: Option<u64>,
    /// Whether the primary waits for it.
    pub sync: Flag,
    /// The epoch, for the leader.
    pub epoch: Option<u64>,
    /// For the leader: how its right to lead stands.
    pub standing: Option<String>,
    /// For the leader: what has proven it.
    pub proof: Option<String>,
    /// Whether an operator has drained it.
    pub drained: Flag,
    /// The switchover that it takes part in.
    pub switchover: Option<String>,
}

/// A failover, a switchover or a hold that is over: `SHOW FAILOVERS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverRow {
    /// When transactions could begin no more.
    pub started: SystemTime,
    /// `failover`, `switchover` or `hold`.
    pub kind: String,
    /// Who led.
    pub from: Option<String>,
    /// Who leads.
    pub to: Option<String>,
    /// The epoch that began.
    pub epoch: u64,
    /// Its timeline.
    pub timeline: Option<u64>,
    /// Until the next leader was named.
    pub detect: Option<Duration>,
    /// Until transactions could begin again.
    pub hold: Option<Duration>,
    /// From then until the first was over.
    pub first_success: Option<Duration>,
    /// The most clients that waited for it.
    pub clients_held: u64,
    /// `over`, or `under way`.
    pub outcome: String,
}
