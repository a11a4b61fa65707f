//! Which nodes may serve which access, why none may, and what becomes of the servers there are.

use std::sync::Arc;

use crate::{Access, Address, Epoch, Node, NodeState, Role, Snapshot, Standing};

/// Lags are compared in steps of a log segment, in powers of two of bytes: a smaller difference
/// says nothing about who will be chosen, and would make the order flicker.
const LAG_STEP: u32 = 24;

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
    /// No node has the leader key.
    #[error("the cluster has no leader at the moment")]
    LeaderGone,
    /// No node is known to run.
    #[error("no node of the cluster is available")]
    NoNode,
    /// No replica runs, streams and is near enough, and the primary is not to be read from.
    #[error("no replica of the cluster is available")]
    NoReplica,
    /// The source names a primary but no address of it.
    #[error("the address of the primary is not known")]
    PrimaryAddressUnknown,
    /// The named primary is on an older timeline than its predecessor.
    #[error("the primary has not reached the current timeline")]
    PrimaryOldTimeline,
    /// The named primary is not yet out of recovery.
    #[error("the primary is being promoted")]
    PrimaryPromoting,
    /// The named primary went into recovery.
    #[error("the primary is in recovery")]
    PrimaryRecovering,
    /// A server of the primary said that it is read-only.
    #[error("the primary has refused a write and is being asked again")]
    PrimarySuspect,
    /// No primary was named yet.
    #[error("the primary is not known")]
    PrimaryUnknown,
    /// The named primary has not answered a probe yet.
    #[error("the primary has not yet proven that it takes writes")]
    PrimaryUnproven,
    /// The cluster follows another one and takes no writes.
    #[error("the cluster is a standby and takes no writes")]
    StandbyCluster,
    /// A switchover was asked for.
    #[error("a switchover to another primary is under way")]
    SwitchingOver,
}

/// What a pool does with a server that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fence {
    /// Of another epoch, or proven not to be a primary: closed at once, whatever runs.
    Close,
    /// Kept, but nothing starts on it: a switchover is under way, the leader key is gone, or the
    /// primary has to prove itself. What runs on it goes on.
    Held,
    /// May be lent.
    Open,
    /// Serves its access no more, such as a replica that lags: what runs ends, then it is closed;
    /// idle ones are closed.
    Retire,
}

/// Who serves reads when no replica can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Nobody: the primary is kept free of reads.
    #[default]
    None,
    /// The primary.
    Primary,
}

/// Which replicas serve reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoutePolicy {
    /// Most bytes of log that a replica for [`Access::ReadOnly`] may have yet to replay. No limit
    /// by default, as in Patroni's own `/replica`. Under a limit, a replica whose lag is unknown
    /// serves nothing.
    pub max_replica_lag: Option<u64>,
    /// Who serves [`Access::ReadOnly`] when no replica can.
    pub replica_fallback: Fallback,
}

/// Routes worked out once per snapshot, so that routing a transaction allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routes {
    read_write: Option<Arc<Node>>,
    read_only: Box<[Arc<Node>]>,
    any: Box<[Arc<Node>]>,
    /// Likely next primaries, best first.
    successors: Box<[Arc<Node>]>,
}

// === impl Refusal ===

impl Refusal {
    /// A short text for metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeaderGone => "leader_gone",
            Self::NoNode => "no_node",
            Self::NoReplica => "no_replica",
            Self::PrimaryAddressUnknown => "primary_address_unknown",
            Self::PrimaryOldTimeline => "primary_old_timeline",
            Self::PrimaryPromoting => "primary_promoting",
            Self::PrimaryRecovering => "primary_recovering",
            Self::PrimarySuspect => "primary_suspect",
            Self::PrimaryUnknown => "primary_unknown",
            Self::PrimaryUnproven => "primary_unproven",
            Self::StandbyCluster => "standby_cluster",
            Self::SwitchingOver => "switching_over",
        }
    }
}

// === impl Routes ===

impl Routes {
    pub(crate) fn new(snapshot: &Snapshot, policy: &RoutePolicy) -> Self {
        let primary = snapshot.primary.as_ref();
        let is_primary = |node: &Node| primary.is_some_and(|p| p.name == node.name);
        let read_write = primary.filter(|_| snapshot.standing.refusal().is_none()).cloned();

        let near = |node: &Node| match policy.max_replica_lag {
            Some(most) => node.lag.is_some_and(|lag| lag <= most),
            None => true,
        };
        // A drained node that has become the primary serves as one: nobody else can.
        let drained = |n: &Node| snapshot.orders.is_drained(&n.name) && !is_primary(n);
        let serves = |n: &&Arc<Node>| {
            streams(n) && !n.noloadbalance && !is_primary(n) && near(n) && !drained(n)
        };
        let mut read_only: Box<[_]> = snapshot.nodes.iter().filter(serves).cloned().collect();
        if read_only.is_empty()
            && policy.replica_fallback == Fallback::Primary
            && snapshot.standing != Standing::OldTimeline
        {
            read_only = primary.cloned().into_iter().collect();
        }

        // A node whose record says it is the primary while another holds the key is the old one:
        // it may still answer, with rows that are going to be rewound.
        let healthy = |n: &&Arc<Node>| {
            let runs = matches!(n.state, NodeState::Running | NodeState::ArchiveRecovery);
            let rival = n.role == Role::Primary || n.role == Role::Demoted;
            let allowed = if is_primary(n) {
                snapshot.standing != Standing::OldTimeline
            } else {
                !rival && n.role != Role::Other
            };
            runs && allowed && !drained(n)
        };
        let any = snapshot.nodes.iter().filter(healthy).cloned().collect();

        let may_follow =
            |n: &&Arc<Node>| streams(n) && !n.nofailover && !is_primary(n) && !drained(n);
        let mut successors: Vec<_> = snapshot.nodes.iter().filter(may_follow).cloned().collect();
        let target = snapshot.switchover.as_ref().and_then(|request| request.to.as_ref());
        // Stable: equals stay in the order of their names.
        successors.sort_by_key(|node| (target != Some(&node.name), !node.sync, step(node.lag)));
        Self { read_write, read_only, any, successors: successors.into() }
    }

    fn of(&self, access: Access) -> &[Arc<Node>] {
        match access {
            Access::Any => &self.any,
            Access::ReadOnly => &self.read_only,
            Access::ReadWrite => self.read_write.as_slice(),
        }
    }

    /// Whether both name the same nodes in the same order.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let names = |nodes: &[Arc<Node>]| nodes.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
        let access = [Access::Any, Access::ReadOnly, Access::ReadWrite];
        names(&self.successors) == names(&other.successors)
            && access.iter().all(|a| names(self.of(*a)) == names(other.of(*a)))
    }
}

fn streams(node: &Node) -> bool {
    node.role == Role::Replica && node.state == NodeState::Running
}

fn step(lag: Option<u64>) -> u64 {
    lag.map_or(u64::MAX, |lag| lag >> LAG_STEP)
}

// === routing in a snapshot ===

impl Snapshot {
    /// The nodes that may serve a new transaction of `access`.
    ///
    /// Read-write: the primary, while its standing allows. Read-only: running replicas without
    /// `noloadbalance` that are near enough, or else the primary if the policy has it so. Any:
    /// whatever runs.
    ///
    /// # Errors
    /// No node may serve it now.
    pub fn route(&self, access: Access) -> Result<Route<'_>, Refusal> {
        let nodes = self.routes.of(access);
        if nodes.is_empty() {
            return Err(match access {
                Access::Any => Refusal::NoNode,
                Access::ReadOnly => Refusal::NoReplica,
                Access::ReadWrite => self.standing.refusal().unwrap_or(Refusal::NoNode),
            });
        }
        Ok(Route { epoch: self.epoch, nodes })
    }

    /// What becomes of a server for `access` that was opened in `epoch` at `address`.
    pub fn fence(&self, access: Access, epoch: Epoch, address: &Address) -> Fence {
        let here = |node: &Arc<Node>| node.address == *address;
        match access {
            Access::ReadWrite if epoch != self.epoch || !self.primary.iter().any(here) => {
                Fence::Close
            }
            Access::ReadWrite => self.standing.fence(),
            Access::Any | Access::ReadOnly if self.routes.of(access).iter().any(here) => {
                Fence::Open
            }
            Access::Any | Access::ReadOnly => {
                let known = self.nodes.iter().chain(&self.primary).any(here);
                if known { Fence::Retire } else { Fence::Close }
            }
        }
    }

    /// Where read-write servers of this epoch may be opened ahead of time: the primary while it
    /// is trusted or may soon be. `None` while it is about to go, or is known not to be one.
    pub fn successor(&self) -> Option<(Epoch, &Arc<Node>)> {
        let worth = match self.standing {
            Standing::Named
            | Standing::Promoting
            | Standing::Proven
            | Standing::Suspect
            | Standing::Unproven => true,
            Standing::LeaderGone
            | Standing::NoAddress
            | Standing::OldTimeline
            | Standing::Recovering
            | Standing::StandbyLeader
            | Standing::SwitchingOver
            | Standing::Unknown => false,
        };
        self.primary.as_ref().filter(|_| worth).map(|node| (self.epoch, node))
    }

    /// The likeliest next primaries, best first: the switchover's target, then synchronous
    /// standbys, then those that lag least. Running replicas without `nofailover` only, never
    /// the current primary.
    pub const fn candidates(&self) -> &[Arc<Node>] {
        &self.routes.successors
    }
}
