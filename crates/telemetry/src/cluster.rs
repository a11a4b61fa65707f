//! The cluster as a scrape shows it.

use prometheus::proto::Metric;

use crate::family::Spec;

/// Nodes that are exposed, over all Citus groups: whoever can write to the store must not be
/// able to flood the metrics.
pub const NODES_MAX: usize = 512;

/// The cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// The epoch that pools are on; 0 before the first.
    pub epoch: u64,
    /// Its primary.
    pub leader: Option<String>,
    /// How that stands, in a word.
    pub standing: &'static str,
    /// The nodes of every group. Those beyond [`NODES_MAX`] are not exposed.
    pub nodes: Vec<NodeState>,
}

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Its Citus group; empty without Citus.
    pub group: String,
    /// Its name.
    pub name: String,
    /// What it says it is.
    pub role: &'static str,
    /// Whether it runs.
    pub state: &'static str,
    /// Whether it holds its group's leader key.
    pub is_leader: bool,
    /// Bytes of log that it has yet to replay.
    pub lag: Option<u64>,
}

impl ClusterState {
    fn shown(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.iter().take(NODES_MAX)
    }

    pub(crate) fn standing(&self, spec: &Spec) -> Vec<Metric> {
        let word = (!self.standing.is_empty()).then_some(self.standing);
        word.iter().map(|word| spec.sample(&[word], 1)).collect()
    }

    pub(crate) fn nodes(&self, spec: &Spec) -> Vec<Metric> {
        let sample =
            |node: &NodeState| spec.sample(&[&node.group, &node.name, node.role, node.state], 1);
        self.shown().map(sample).collect()
    }

    pub(crate) fn leaders(&self, spec: &Spec) -> Vec<Metric> {
        let leaders = self.shown().filter(|node| node.is_leader);
        leaders.map(|node| spec.sample(&[&node.group, &node.name], 1)).collect()
    }

    pub(crate) fn lags(&self, spec: &Spec) -> Vec<Metric> {
        let lag = |node: &NodeState| Some(spec.sample(&[&node.group, &node.name], node.lag?));
        self.shown().filter_map(lag).collect()
    }
}
