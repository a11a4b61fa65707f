//! What a source holds and what probes found, as the nodes of a snapshot.

use std::sync::Arc;

use crate::source::{Member, NodeState, Outcome, Replay, Role};
use crate::tenure::Evidence;
use crate::{Address, Lsn, Node, NodeName, Synchronous, Timeline};

/// The last probe of a node.
#[derive(Clone, Debug)]
pub(crate) struct Probed {
    pub(crate) outcome: Outcome,
    /// Bytes behind what was known of the primary when the answer came. Not measured again until
    /// the next answer: the primary's position would move on alone and make everybody lag.
    pub(crate) lag: Option<u64>,
}

impl Probed {
    pub(crate) fn new(outcome: Outcome, primary: Option<Lsn>) -> Self {
        let lag = match outcome {
            Outcome::Answered { position: Some(at), .. } => lag(Replay::At(at), primary),
            Outcome::Answered { .. } | Outcome::Gone | Outcome::Refused | Outcome::Unreachable => {
                None
            }
        };
        Self { outcome, lag }
    }

    /// The timeline and position at which it found a primary.
    pub(crate) const fn as_primary(&self) -> Option<(Option<Timeline>, Option<Lsn>)> {
        match self.outcome {
            Outcome::Answered { in_recovery: false, timeline, position } => {
                Some((timeline, position))
            }
            Outcome::Answered { .. } | Outcome::Gone | Outcome::Refused | Outcome::Unreachable => {
                None
            }
        }
    }
}

/// What the record and the last probe say of a named primary. Records and probes have no order
/// between them, so the higher timeline is the newer one.
pub(crate) fn evidence<'a>(member: Option<&'a Member>, probe: Option<&Probed>) -> Evidence<'a> {
    let recorded = member.filter(|m| m.role == Role::Primary).and_then(|m| m.timeline);
    let probed = probe.and_then(Probed::as_primary).and_then(|(timeline, _)| timeline);
    Evidence {
        address: member.map(|m| &m.address),
        timeline: recorded.max(probed),
        standby_leader: member.is_some_and(|m| m.role == Role::StandbyLeader),
    }
}

/// What every node of a snapshot is seen beside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside<'a> {
    /// Who is the primary, whether it has the key or not.
    pub(crate) primary: Option<&'a NodeName>,
    /// Up to where it has written.
    pub(crate) position: Option<Lsn>,
    pub(crate) synchronous: &'a Synchronous,
}

impl Beside<'_> {
    pub(crate) fn node(&self, name: &NodeName, member: &Member, probe: Option<&Probed>) -> Node {
        let mut node = Node {
            name: name.clone(),
            address: member.address.clone(),
            role: member.role,
            state: member.state,
            timeline: member.timeline,
            lag: lag(member.replay, self.position),
            noloadbalance: member.noloadbalance,
            nofailover: member.nofailover,
            sync: self.primary.is_some()
                && self.synchronous.leader.as_ref() == self.primary
                && self.synchronous.standbys.contains(name),
        };
        match probe.map(|probe| (&probe.outcome, probe.lag)) {
            Some((Outcome::Answered { in_recovery, timeline, .. }, lag)) => {
                node.role = match (in_recovery, member.role) {
                    (false, _) => Role::Primary,
                    (true, Role::StandbyLeader) => Role::StandbyLeader,
                    (true, _) => Role::Replica,
                };
                if node.state == NodeState::Unknown {
                    node.state = NodeState::Running;
                }
                node.timeline = node.timeline.max(*timeline);
                node.lag = lag.or(node.lag);
            }
            Some((Outcome::Gone | Outcome::Unreachable, _)) => node.state = NodeState::Unreachable,
            Some((Outcome::Refused, _)) | None => {}
        }
        if self.primary == Some(name) {
            node.lag = Some(0);
        }
        node
    }
}

/// Bytes between a replica's position and the primary's. The two are not read at one moment, so
/// a replica may seem to be ahead; that is no lag.
fn lag(replay: Replay, primary: Option<Lsn>) -> Option<u64> {
    match replay {
        Replay::At(position) => primary.map(|p| p.0.saturating_sub(position.0)),
        Replay::Behind(bytes) => Some(bytes),
        Replay::Unknown => None,
    }
}

/// The primary whose member record is gone.
pub(crate) fn without_record(name: &NodeName, address: Address) -> Arc<Node> {
    Arc::new(Node {
        name: name.clone(),
        address,
        role: Role::Other,
        state: NodeState::Unknown,
        timeline: None,
        lag: Some(0),
        noloadbalance: false,
        nofailover: false,
        sync: false,
    })
}
