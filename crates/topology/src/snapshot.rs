//! An immutable view of the cluster, and routing in it.

use std::sync::Arc;

use crate::{
    Access, Address, Epoch, NodeName, NodeState, Revision, Role, Standing, Switchover, Timeline,
};

/// One node as a snapshot shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name in the source.
    pub name: NodeName,
    /// Where it listens.
    pub address: Address,
    /// What it last said it is; may lag behind the leader key.
    pub role: Role,
    /// Whether it runs.
    pub state: NodeState,
    /// Its timeline, if known.
    pub timeline: Option<Timeline>,
    /// Bytes of log that it has yet to replay; `None` if unknown, 0 for the primary.
    pub lag: Option<u64>,
    /// Gets no balanced reads.
    pub noloadbalance: bool,
}

/// Where a request may go. `nodes` is never empty.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The epoch that a server for this request must belong to.
    pub epoch: Epoch,
    /// The candidates, by name; for [`Access::ReadWrite`] exactly one.
    pub nodes: &'a [Arc<Node>],
}

/// Why a request can go nowhere now. The `Display` text is fit for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No node is known to run.
    #[error("no node of the cluster is available")]
    NoNode,
    /// The source names a primary but no address of it.
    #[error("the address of the primary is not known")]
    PrimaryAddressUnknown,
    /// The named primary is on an older timeline than its predecessor.
    #[error("the primary has not reached the current timeline")]
    PrimaryOldTimeline,
    /// The named primary is in recovery: a promotion or a restart is under way.
    #[error("the primary is in recovery")]
    PrimaryRecovering,
    /// No primary was named yet.
    #[error("the primary is not known")]
    PrimaryUnknown,
    /// The cluster follows another one and takes no writes.
    #[error("the cluster is a standby and takes no writes")]
    StandbyCluster,
}

impl Refusal {
    /// A short text for metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoNode => "no_node",
            Self::PrimaryAddressUnknown => "primary_address_unknown",
            Self::PrimaryOldTimeline => "primary_old_timeline",
            Self::PrimaryRecovering => "primary_recovering",
            Self::PrimaryUnknown => "primary_unknown",
            Self::StandbyCluster => "standby_cluster",
        }
    }
}

/// The cluster at one moment. Shared as `Arc<Snapshot>`, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub(crate) epoch: Epoch,
    pub(crate) timeline: Option<Timeline>,
    pub(crate) standing: Standing,
    pub(crate) leader: Option<NodeName>,
    pub(crate) primary: Option<Arc<Node>>,
    pub(crate) nodes: Box<[Arc<Node>]>,
    pub(crate) paused: bool,
    pub(crate) switchover: Option<Switchover>,
    pub(crate) revision: Revision,
    pub(crate) candidates: Candidates,
}

/// Routes worked out once per snapshot, so that routing a transaction allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidates {
    read_write: Option<Arc<Node>>,
    read_only: Box<[Arc<Node>]>,
    any: Box<[Arc<Node>]>,
}

impl Snapshot {
    /// Before anything is known.
    pub(crate) fn empty() -> Self {
        Self {
            epoch: Epoch::NONE,
            timeline: None,
            standing: Standing::Unknown,
            leader: None,
            primary: None,
            nodes: Box::default(),
            paused: false,
            switchover: None,
            revision: Revision::default(),
            candidates: Candidates::default(),
        }
    }

    /// Works the routes out from the other fields.
    pub(crate) fn with_routes(mut self) -> Self {
        let primary = self.primary.as_ref();
        let is_primary = |node: &Node| primary.is_some_and(|p| p.name == node.name);
        let read_write = primary.filter(|_| self.standing.refusal().is_none()).cloned();

        let streams = |n: &&Arc<Node>| {
            n.role == Role::Replica
                && n.state == NodeState::Running
                && !n.noloadbalance
                && !is_primary(n)
        };
        let mut read_only: Box<[_]> = self.nodes.iter().filter(streams).cloned().collect();
        if read_only.is_empty() && self.standing != Standing::OldTimeline {
            read_only = primary.cloned().into_iter().collect();
        }

        // A node whose record says it is the primary while another holds the key is the old one:
        // it may still answer, with rows that are going to be rewound.
        let healthy = |n: &&Arc<Node>| {
            let runs = matches!(n.state, NodeState::Running | NodeState::ArchiveRecovery);
            let rival = n.role == Role::Primary || n.role == Role::Demoted;
            let allowed = if is_primary(n) {
                self.standing != Standing::OldTimeline
            } else {
                !rival && n.role != Role::Other
            };
            runs && allowed
        };
        let any = self.nodes.iter().filter(healthy).cloned().collect();
        self.candidates = Candidates { read_write, read_only, any };
        self
    }

    /// The epoch; [`Epoch::NONE`] until a primary was named.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The highest timeline that a primary was seen on; never goes back from one snapshot to the
    /// next. A server on a lower one is not this epoch's primary.
    pub const fn timeline(&self) -> Option<Timeline> {
        self.timeline
    }

    /// How the epoch's primary stands.
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// What the leader key holds now: `None` between two leaders, when [`Self::primary`] is still
    /// the last one.
    pub const fn leader(&self) -> Option<&NodeName> {
        self.leader.as_ref()
    }

    /// The primary of this epoch, whether it takes writes now or not.
    pub const fn primary(&self) -> Option<&Arc<Node>> {
        self.primary.as_ref()
    }

    /// Every node with a usable record, by name.
    pub const fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Whether Patroni is in maintenance mode.
    pub const fn paused(&self) -> bool {
        self.paused
    }

    /// The switchover that was asked for.
    pub const fn switchover(&self) -> Option<&Switchover> {
        self.switchover.as_ref()
    }

    /// The source's revision that made this snapshot different from the one before.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The nodes that may serve `access`.
    ///
    /// Read-write: the primary. Read-only: running replicas without `noloadbalance`, or else the
    /// primary. Any: whatever runs.
    ///
    /// # Errors
    /// No node may serve it now.
    pub fn route(&self, access: Access) -> Result<Route<'_>, Refusal> {
        let nodes = match access {
            Access::Any => &*self.candidates.any,
            Access::ReadOnly => &*self.candidates.read_only,
            Access::ReadWrite => self.candidates.read_write.as_slice(),
        };
        if nodes.is_empty() {
            let writes = access == Access::ReadWrite;
            let refusal = self.standing.refusal().filter(|_| writes);
            return Err(refusal.unwrap_or(Refusal::NoNode));
        }
        Ok(Route { epoch: self.epoch, nodes })
    }
}
