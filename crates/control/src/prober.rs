//! One task per node of the snapshot, each asking at intervals.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use auth::Secret;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;
use topology::{Address, NodeName, Outcome, Probe, Snapshot};
use tracing::{error, info, warn};

use crate::node::Node;

/// Who asks, and how often.
#[derive(Clone, Debug)]
pub struct Config {
    /// An ordinary role; it needs no privilege.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// A database that it may connect to.
    pub database: String,
    /// From one question to a node to the next.
    pub interval: Duration,
    /// Longest wait for a connection, and again for an answer.
    pub timeout: Duration,
}

impl Config {
    /// As often as a load balancer's health check, and cheaper.
    pub const INTERVAL: Duration = Duration::from_secs(1);
    /// A node that takes longer is as good as lost.
    pub const TIMEOUT: Duration = Duration::from_secs(2);

    /// With the default times.
    pub fn new(user: impl Into<String>, password: Option<Secret>, database: &str) -> Self {
        Self {
            user: user.into(),
            password,
            database: database.into(),
            interval: Self::INTERVAL,
            timeout: Self::TIMEOUT,
        }
    }
}

/// The running prober.
#[derive(Debug)]
pub struct Prober {
    /// Ends when either channel is closed, or when dropped.
    pub task: AbortOnDropHandle<()>,
}

/// Starts to ask every node of the current snapshot, and sends what each answered. A full channel
/// makes the asking wait.
pub fn spawn(
    config: Config,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    probes: mpsc::Sender<Probe>,
) -> Prober {
    let task = tokio::spawn(supervise(Arc::new(config), snapshots, probes));
    Prober { task: AbortOnDropHandle::new(task) }
}

/// Keeps one task for each node and address.
async fn supervise(
    config: Arc<Config>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    probes: mpsc::Sender<Probe>,
) {
    let mut tasks: BTreeMap<(NodeName, Address), AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let known = |name: &NodeName, address: &Address| {
            snapshot.nodes().iter().any(|n| n.name == *name && n.address == *address)
        };
        tasks.retain(|(name, address), _| known(name, address));
        for node in snapshot.nodes() {
            let key = (node.name.clone(), node.address.clone());
            tasks.entry(key).or_insert_with_key(|(name, address)| {
                let task = follow(
                    Arc::clone(&config),
                    name.clone(),
                    address.clone(),
                    snapshots.clone(),
                    probes.clone(),
                );
                AbortOnDropHandle::new(tokio::spawn(task))
            });
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            () = probes.closed() => return,
        }
    }
}

/// Asks one node for ever.
async fn follow(
    config: Arc<Config>,
    name: NodeName,
    address: Address,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    probes: mpsc::Sender<Probe>,
) {
    let node = match Node::new(&config, &address) {
        Ok(node) => node,
        Err(error) => {
            error!(node = %name, %error, "node cannot be probed");
            return;
        }
    };
    let mut ticks = tokio::time::interval(config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reachable = None;
    loop {
        ticks.tick().await;
        let round = snapshots.borrow().round();
        let outcome = match node.ask().await {
            Ok(outcome) => {
                if reachable.replace(true) == Some(false) {
                    info!(node = %name, %address, "node answers probes");
                }
                outcome
            }
            Err(failure) => {
                if reachable.replace(false) != Some(false) {
                    warn!(node = %name, %address, error = chain(&failure), "node does not answer probes");
                }
                Outcome::Unreachable
            }
        };
        let probe = Probe { node: name.clone(), address: address.clone(), round, outcome };
        if probes.send(probe).await.is_err() {
            return;
        }
    }
}

/// An error with what caused it; none of it quotes a password.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
