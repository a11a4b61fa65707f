//! One task per node of the snapshot, each asking at intervals: at leisure, or as fast as the
//! node answers while everybody waits for what it says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use auth::{Rotating, Secret};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use topology::{Address, Event, NodeName, Outcome, Probe, Snapshot};
use tracing::{info, warn};
use transport::Connector;

use crate::error::chain;
use crate::node::{Failure, Node};
use crate::pace::Pace;

/// Who asks, and how often.
#[derive(Clone, Debug)]
pub struct Config {
    /// An ordinary role; it needs no privilege.
    pub user: String,
    /// Its password.
    pub password: Option<Rotating>,
    /// A database that it may connect to.
    pub database: String,
    /// Encryption, as servers have it.
    pub tls: Connector,
    /// From one question to a node to the next, as long as nobody waits for the answer.
    pub interval: Duration,
    /// Longest wait for an answer, with the connection if there is none; while somebody waits,
    /// [`Config::URGENT_TIMEOUT`] at first.
    pub timeout: Duration,
}

impl Config {
    /// As often as a load balancer's health check, and cheaper.
    pub const INTERVAL: Duration = Duration::from_secs(1);
    /// A node that takes longer is as good as lost.
    pub const TIMEOUT: Duration = Duration::from_secs(2);

    /// From one question to the next while everybody waits for the answer: a promotion is seen
    /// half of it late on average.
    pub const URGENT_INTERVAL: Duration = Duration::from_millis(5);
    /// As [`Self::URGENT_INTERVAL`], where the connection has to be made first.
    pub const URGENT_RECONNECT: Duration = Duration::from_millis(25);
    /// A node that is needed now and does not answer is asked on a new connection.
    pub const URGENT_TIMEOUT: Duration = Duration::from_millis(500);

    /// With the default times, and no encryption.
    pub fn new(user: impl Into<String>, password: Option<Secret>, database: &str) -> Self {
        Self {
            user: user.into(),
            password: password.map(Rotating::new),
            database: database.into(),
            tls: Connector::disabled(),
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
    events: mpsc::Sender<Event>,
) -> Prober {
    let task = tokio::spawn(supervise(Arc::new(config), snapshots, events));
    Prober { task: AbortOnDropHandle::new(task) }
}

/// Keeps one task for each node and address.
async fn supervise(
    config: Arc<Config>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    events: mpsc::Sender<Event>,
) {
    let mut tasks: BTreeMap<(NodeName, Address), AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        // A primary whose record is gone has to prove itself too.
        let nodes = || snapshot.nodes().iter().chain(snapshot.primary());
        tasks
            .retain(|(name, address), _| nodes().any(|n| n.name == *name && n.address == *address));
        for node in nodes() {
            let key = (node.name.clone(), node.address.clone());
            tasks.entry(key).or_insert_with_key(|(name, address)| {
                let follower = Follower {
                    node: Node::new(&config, address),
                    config: Arc::clone(&config),
                    name: name.clone(),
                    address: address.clone(),
                    snapshots: snapshots.clone(),
                    last: None,
                    urgent_since: None,
                };
                AbortOnDropHandle::new(tokio::spawn(follower.run(events.clone())))
            });
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            () = events.closed() => return,
        }
    }
}

/// Asks one node for ever.
struct Follower {
    config: Arc<Config>,
    node: Node,
    name: NodeName,
    address: Address,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// What the last question came to.
    last: Option<Outcome>,
    /// Since when the answer is waited for.
    urgent_since: Option<Instant>,
}

impl Follower {
    async fn run(mut self, events: mpsc::Sender<Event>) {
        let mut due = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = sleep_until(due) => {}
                // The first sign of a postmaster that has gone.
                () = self.node.lost() => {
                    due = due.min(Instant::now() + Config::URGENT_RECONNECT);
                    continue;
                }
                changed = self.snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if self.pace() == Pace::Urgent && self.urgent_since.is_none() {
                        due = Instant::now();
                    }
                    continue;
                }
            }
            let began = Instant::now();
            // Read before the question is put: what it proves, it proves of this round.
            let round = self.snapshots.borrow_and_update().round();
            let answer = self.ask(began).await;
            let outcome = answer.as_ref().map_or_else(Failure::outcome, |outcome| *outcome);
            self.log(outcome, answer.err());
            let (node, address) = (self.name.clone(), self.address.clone());
            let probe = Probe { node, address, round, outcome };
            if events.send(Event::Probe(probe)).await.is_err() {
                return;
            }
            due = began
                + match self.pace() {
                    Pace::Leisurely => {
                        self.urgent_since = None;
                        self.config.interval
                    }
                    Pace::Urgent => {
                        let waited = self.urgent_since.get_or_insert(began).elapsed();
                        Pace::urgent_interval(waited, outcome).min(self.config.interval)
                    }
                };
        }
    }

    fn pace(&mut self) -> Pace {
        Pace::of(&self.snapshots.borrow_and_update(), &self.name, &self.address, self.last)
    }

    /// Asks, for as long as the pace of the moment allows.
    async fn ask(&mut self, began: Instant) -> Result<Outcome, Failure> {
        let (name, address, last) = (&self.name, &self.address, self.last);
        let waited = self.urgent_since.map_or(Duration::ZERO, |since| began - since);
        let mut snapshots = self.snapshots.clone();
        let mut question = std::pin::pin!(self.node.ask());
        loop {
            let limit = match Pace::of(&snapshots.borrow_and_update(), name, address, last) {
                Pace::Leisurely => self.config.timeout,
                Pace::Urgent => Pace::urgent_timeout(waited).min(self.config.timeout),
            };
            tokio::select! {
                biased;
                answer = &mut question => return answer,
                () = sleep_until(began + limit) => return Err(Failure::Timeout),
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return Err(Failure::Timeout);
                    }
                }
            }
        }
    }

    /// Says what has changed since the last question.
    fn log(&mut self, outcome: Outcome, failure: Option<Failure>) {
        let (name, address) = (&self.name, &self.address);
        let before = self.last.replace(outcome);
        let same =
            before.is_some_and(|b| std::mem::discriminant(&b) == std::mem::discriminant(&outcome));
        match (outcome, failure) {
            _ if same => {}
            (Outcome::Answered { .. }, _) if before.is_none() => {}
            (Outcome::Refused, Some(failure)) => {
                warn!(event = "node_refuses_probes", node = %name, %address, error = chain(&failure), "node refuses probes");
            }
            (_, Some(failure)) => {
                warn!(event = "node_unreachable", node = %name, %address, error = chain(&failure), "node does not answer probes");
            }
            (_, None) => {
                info!(event = "node_reachable", node = %name, %address, "node answers probes")
            }
        }
    }
}
