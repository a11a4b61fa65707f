//! What a source knows of the cluster, as values: members, the leader key, requests, probes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Address, Epoch, Lsn, NodeName, Orders, Revision, Round, Timeline};

/// What a node says it is. A record is refreshed on Patroni's schedule, so it is late by up to
/// one `loop_wait`: the leader key, not this, says who the primary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Was the primary and is stopping or being rewound.
    Demoted,
    /// None of the known words, or not yet initialised.
    Other,
    /// Accepts writes.
    Primary,
    /// Follows the primary.
    Replica,
    /// Leads a standby cluster: holds the leader key but is in recovery.
    StandbyLeader,
}

/// Whether a node's Postgres runs, as its record or the last probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// Runs, but replays from the archive instead of streaming.
    ArchiveRecovery,
    /// Failed to start, or crashed.
    Failed,
    /// Runs; a replica streams as far as its record says.
    Running,
    /// Starts, restarts, or is being created.
    Starting,
    /// Stopped.
    Stopped,
    /// Stops.
    Stopping,
    /// None of the known words, or no record of it.
    Unknown,
    /// The last probe got no answer.
    Unreachable,
}

impl Role {
    /// A short text for metric labels and SHOW.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demoted => "demoted",
            Self::Other => "other",
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::StandbyLeader => "standby_leader",
        }
    }
}

impl NodeState {
    /// A short text for metric labels and SHOW.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ArchiveRecovery => "archive_recovery",
            Self::Failed => "failed",
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::Stopping => "stopping",
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
        }
    }
}

/// How far a node has replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replay {
    /// Up to this position.
    At(Lsn),
    /// Behind the primary by this many bytes.
    Behind(u64),
    /// Not said.
    Unknown,
}

/// One member record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it listens.
    pub address: Address,
    /// Its role, as it says itself.
    pub role: Role,
    /// Whether it runs.
    pub state: NodeState,
    /// Its timeline, if it says.
    pub timeline: Option<Timeline>,
    /// How far it has replayed (a primary: written).
    pub replay: Replay,
    /// Tagged to get no balanced reads.
    pub noloadbalance: bool,
    /// Tagged never to become the primary.
    pub nofailover: bool,
}

/// A switchover or failover that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switchover {
    /// The leader that is to step down; absent in a manual failover.
    pub from: Option<NodeName>,
    /// The node that is to follow; absent when Patroni chooses.
    pub to: Option<NodeName>,
    /// When, in the source's own words (ISO 8601); absent for "now".
    pub scheduled_at: Option<Arc<str>>,
}

/// The synchronous standbys, as the leader has written them down. They mean something only while
/// that leader leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synchronous {
    /// Who wrote it.
    pub leader: Option<NodeName>,
    /// The standbys without which it acknowledges no commit.
    pub standbys: Box<[NodeName]>,
}

/// One key's new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Maintenance mode began or ended.
    Config {
        /// Patroni makes no decision by itself while paused.
        paused: bool,
    },
    /// The switchover request was put, or taken away.
    FailoverRequest(Option<Switchover>),
    /// The leader key was put, or it expired or was given up.
    Leader(Option<NodeName>),
    /// A member record was put, or deleted.
    Member(NodeName, Option<Member>),
    /// The leader's log position.
    Status(Option<Lsn>),
    /// The synchronous standbys.
    Sync(Synchronous),
}

/// Everything a source holds at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// The leader key.
    pub leader: Option<NodeName>,
    /// The member records.
    pub members: BTreeMap<NodeName, Member>,
    /// The leader's log position.
    pub position: Option<Lsn>,
    /// The switchover request.
    pub switchover: Option<Switchover>,
    /// Maintenance mode.
    pub paused: bool,
    /// The synchronous standbys.
    pub synchronous: Synchronous,
}

impl SourceState {
    /// Most members that are kept. Patroni clusters have a handful; this bounds what a hostile
    /// or broken store can make us hold.
    pub const MEMBERS_MAX: usize = 256;

    /// Applies one change. A new member beyond [`Self::MEMBERS_MAX`] is left out.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Config { paused } => self.paused = paused,
            Change::FailoverRequest(request) => self.switchover = request,
            Change::Leader(leader) => self.leader = leader,
            Change::Member(name, Some(member)) => {
                if self.members.len() < Self::MEMBERS_MAX || self.members.contains_key(&name) {
                    self.members.insert(name, member);
                }
            }
            Change::Member(name, None) => {
                self.members.remove(&name);
            }
            Change::Status(position) => self.position = position,
            Change::Sync(synchronous) => self.synchronous = synchronous,
        }
    }
}

/// What one probe of one node found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The node asked.
    pub node: NodeName,
    /// The address asked; a result for an address that the node has left is dropped.
    pub address: Address,
    /// [`crate::Snapshot::round`] of the snapshot under which it was begun.
    pub round: Round,
    /// What came back.
    pub outcome: Outcome,
}

/// The answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node answered.
    Answered {
        /// `pg_is_in_recovery()`.
        in_recovery: bool,
        /// The timeline it writes or replays.
        timeline: Option<Timeline>,
        /// Written (primary) or replayed (replica) up to here.
        position: Option<Lsn>,
    },
    /// Nothing listens there, so that no server of it is alive either.
    Gone,
    /// The node is there, but the probe may not log in or not ask.
    Refused,
    /// No connection, no server that takes logins, or no answer in time.
    Unreachable,
}

/// Something happened, or was found out.
#[derive(Clone, Debug)]
pub enum Event {
    /// One key changed.
    Change {
        /// The revision that changed it.
        revision: Revision,
        /// The new value.
        change: Change,
    },
    /// One key of another Citus group changed.
    GroupChange {
        /// The group.
        group: u32,
        /// The revision that changed it.
        revision: Revision,
        /// The new value.
        change: Change,
    },
    /// Every other Citus group was read whole; those that are not among them are gone.
    Groups {
        /// The store's revision at the read.
        revision: Revision,
        /// What each held. Those beyond [`crate::Group::MAX`] are left out.
        states: BTreeMap<u32, SourceState>,
    },
    /// A node was probed.
    Probe(Probe),
    /// The whole state was read. Resyncs are given in the order they were read; a revision lower
    /// than the one before means that the store was replaced (restored from a backup).
    Resync {
        /// The store's revision at the read.
        revision: Revision,
        /// What it held.
        state: SourceState,
    },
    /// What others say while the source itself is away. It may name a leader and bring records
    /// up to date, takes nothing away, and is not believed if its leader's timeline is over. The
    /// source's next word, a resync, is the last.
    SecondHand(SourceState),
    /// Operators have ordered something; orders older than those that stand are ignored.
    Orders(Arc<Orders>),
    /// A server of this epoch said that it is read-only (SQLSTATE 25006).
    Suspect {
        /// The epoch that the server belongs to.
        epoch: Epoch,
    },
    /// Time has passed: [`crate::Machine::wake_at`] asks for it.
    Tick,
}
