//! An immutable view of the cluster.

use std::sync::Arc;

use crate::routes::Routes;
use crate::{
    Address, Epoch, NodeName, NodeState, Orders, Revision, Role, Round, RoutePolicy, Standing,
    Switchover, Timeline,
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
    /// Bytes of log that it has yet to replay; `None` if unknown, 0 for the primary. Up to a
    /// second old.
    pub lag: Option<u64>,
    /// Gets no balanced reads.
    pub noloadbalance: bool,
    /// Never becomes the primary.
    pub nofailover: bool,
    /// The primary acknowledges no commit without it.
    pub sync: bool,
}

/// Another Citus group of the cluster, for to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub id: u32,
    /// Who holds its leader key.
    pub leader: Option<NodeName>,
    /// Its nodes, by name.
    pub nodes: Box<[Arc<Node>]>,
}

/// The cluster at one moment. Shared as `Arc<Snapshot>`, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub(crate) epoch: Epoch,
    pub(crate) round: Round,
    pub(crate) timeline: Option<Timeline>,
    pub(crate) standing: Standing,
    pub(crate) leader: Option<NodeName>,
    pub(crate) primary: Option<Arc<Node>>,
    pub(crate) nodes: Box<[Arc<Node>]>,
    pub(crate) groups: Box<[Group]>,
    pub(crate) paused: bool,
    pub(crate) switchover: Option<Switchover>,
    pub(crate) revision: Revision,
    pub(crate) orders: Arc<Orders>,
    pub(crate) routes: Routes,
}

impl Group {
    /// Most other groups that are kept; this bounds what a broken store can make us hold.
    pub const MAX: usize = 256;
}

impl Snapshot {
    pub(crate) fn empty() -> Self {
        Self {
            epoch: Epoch::NONE,
            round: Round::FIRST,
            timeline: None,
            standing: Standing::Unknown,
            leader: None,
            primary: None,
            nodes: Box::default(),
            groups: Box::default(),
            paused: false,
            switchover: None,
            revision: Revision::default(),
            orders: Arc::default(),
            routes: Routes::default(),
        }
    }

    /// Works the routes out from the other fields.
    pub(crate) fn with_routes(mut self, policy: &RoutePolicy) -> Self {
        self.routes = Routes::new(&self, policy);
        self
    }

    /// Whether nothing but numbers of lag is different; the revision does not count.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<Node>, &Arc<Node>)| Node { lag: b.lag, ..Node::clone(a) } == **b;
        let masked = |it: &Self| Self {
            primary: None,
            nodes: Box::default(),
            routes: Routes::default(),
            revision: Revision::default(),
            ..it.clone()
        };
        self.nodes.len() == other.nodes.len()
            && self.nodes.iter().zip(&other.nodes).all(same)
            && self.primary.is_some() == other.primary.is_some()
            && self.primary.iter().zip(&other.primary).all(same)
            && self.routes.is_like(&other.routes)
            && masked(self) == masked(other)
    }

    /// The epoch; [`Epoch::NONE`] until a primary was named.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The round in which proof of the primary was last asked for. A probe that is begun under
    /// this snapshot carries it.
    pub const fn round(&self) -> Round {
        self.round
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

    /// Whether a probe of this epoch has found the primary out of recovery, and nothing has
    /// spoken against it since.
    pub fn is_proven(&self) -> bool {
        self.standing == Standing::Proven
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

    /// The other Citus groups, by number; none without Citus.
    pub const fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether Patroni is in maintenance mode.
    pub const fn paused(&self) -> bool {
        self.paused
    }

    /// The switchover that was asked for.
    pub const fn switchover(&self) -> Option<&Switchover> {
        self.switchover.as_ref()
    }

    /// What operators have ordered.
    pub const fn orders(&self) -> &Arc<Orders> {
        &self.orders
    }

    /// The source's revision that made this snapshot different from the one before.
    pub const fn revision(&self) -> Revision {
        self.revision
    }
}
