//! What `/cluster`, `/pools` and the status page show.

mod events;
mod history;
mod json;
mod page;
mod password;

use std::time::SystemTime;

use telemetry::Durations;

use crate::rows::{FailoverRow, NodeRow, PoolRow};

pub(crate) use events::{Hub, READING_MAX};
pub(crate) use json::{at, cluster, pools};
pub(crate) use page::Html;
pub use password::Login;
pub(crate) use password::{Door, Verdict};

/// What is looked at for `/cluster`, `/pools` and the status page, on the admin thread: each
/// method reads and copies, asks no client and never waits for a peer.
pub trait Look: Send + Sync + 'static {
    /// The cluster.
    fn cluster(&self) -> Cluster;
    /// The pools.
    fn pools(&self) -> PoolsView;
    /// What each database has done so far. Asked every few seconds, whether anybody looks or not.
    fn work(&self) -> Vec<Work>;
}

/// The cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// pgmesh's version.
    pub version: String,
    /// How the primary stands, in a word as in the metrics.
    pub standing: String,
    /// Whether an operator has paused all databases.
    pub paused: bool,
    /// The proven primary's reign; `None` before the first.
    pub reign: Option<Reign>,
    /// The nodes of all groups.
    pub nodes: Vec<NodeRow>,
    /// The last failovers, oldest first.
    pub failovers: Vec<FailoverRow>,
}

/// Who takes transactions that write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reign {
    /// The node.
    pub node: String,
    /// Its epoch.
    pub epoch: u64,
    /// When it was first seen to take them.
    pub since: SystemTime,
    /// What is known of the time before.
    pub start: Start,
}

/// How well the beginning of a reign is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It led already when pgmesh started.
    Before,
    /// pgmesh has seen it begin.
    Seen,
}

/// The pools at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolsView {
    /// Client connections, logins under way included.
    pub clients: u64,
    /// How many there may be.
    pub clients_max: u64,
    /// Each pool.
    pub pools: Vec<PoolRow>,
    /// In the same order: servers that each may have without its reserve.
    pub sizes: Vec<u64>,
}

/// What the pools of one database have done so far, and what they do at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    /// The database.
    pub database: String,
    /// How long clients had servers.
    pub transactions: Durations,
    /// How long statements took.
    pub queries: Durations,
    /// How long clients waited for servers.
    pub waits: Durations,
    /// Clients that wait now.
    pub waiting: u64,
    /// Servers that clients have now.
    pub active: u64,
}
