//! The machine: snapshot and event in, next snapshot out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::source::{Change, Event, Member, NodeState, Outcome, Probe, Replay, Role, SourceState};
use crate::tenure::{Authority, Evidence, Succession};
use crate::{Address, Lsn, Node, NodeName, Revision, Snapshot};

/// Most deleted members whose revision is remembered.
const TOMBSTONES_MAX: usize = 1024;

/// A key of the source, for telling which revision it was last seen at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Config,
    Failover,
    Leader,
    Member(NodeName),
    Status,
}

impl Key {
    fn of(change: &Change) -> Self {
        match change {
            Change::Config { .. } => Self::Config,
            Change::FailoverRequest(_) => Self::Failover,
            Change::Leader(_) => Self::Leader,
            Change::Member(name, _) => Self::Member(name.clone()),
            Change::Status(_) => Self::Status,
        }
    }
}

/// Folds events into snapshots. One per cluster, owned by its source's task.
#[derive(Debug)]
pub struct Machine {
    authority: Authority,
    state: SourceState,
    /// Revision of the last whole read: older changes are part of it.
    horizon: Revision,
    /// Revisions past the horizon, by key: a key's older value never replaces a newer one.
    seen: BTreeMap<Key, Revision>,
    /// The last probe of each member. At most one per member.
    probes: BTreeMap<NodeName, Outcome>,
    succession: Succession,
    snapshot: Arc<Snapshot>,
}

impl Machine {
    /// Knows nothing yet.
    pub fn new(authority: Authority) -> Self {
        Self {
            authority,
            state: SourceState::default(),
            horizon: Revision::default(),
            seen: BTreeMap::new(),
            probes: BTreeMap::new(),
            succession: Succession::default(),
            snapshot: Arc::new(Snapshot::empty()),
        }
    }

    /// The current snapshot.
    pub const fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Takes one event; gives the next snapshot if anything in it changed.
    pub fn apply(&mut self, event: Event) -> Option<Arc<Snapshot>> {
        let revision = match event {
            Event::Change { revision, change } => {
                self.change(revision, change)?;
                revision
            }
            Event::Probe(probe) => {
                self.probe(probe)?;
                self.snapshot.revision
            }
            Event::Resync { revision, state } => {
                self.resync(revision, state);
                revision
            }
        };
        self.publish(revision)
    }

    /// `None` if the change is older than what is known of its key.
    fn change(&mut self, revision: Revision, change: Change) -> Option<()> {
        let key = Key::of(&change);
        if revision <= self.horizon || self.seen.get(&key).is_some_and(|seen| revision <= *seen) {
            return None;
        }
        self.seen.insert(key, revision);
        if self.seen.len() > TOMBSTONES_MAX + SourceState::MEMBERS_MAX {
            // Order is kept by the source; the tombstones only guard a whole read that races the
            // watch, and the next one repairs what that could resurrect.
            let members = &self.state.members;
            self.seen.retain(|key, _| !matches!(key, Key::Member(n) if !members.contains_key(n)));
        }
        self.adopt(change);
        Some(())
    }

    /// Applies a change, and drops the probes that it makes meaningless.
    fn adopt(&mut self, change: Change) {
        match &change {
            Change::Member(name, after) => {
                let before = self.state.members.get(name);
                if outdates_probe(self.authority, before, after.as_ref()) {
                    self.probes.remove(name);
                }
            }
            // What the node was before it took the key says nothing about now.
            Change::Leader(Some(name)) if self.state.leader.as_ref() != Some(name) => {
                self.probes.remove(name);
            }
            Change::Leader(_)
            | Change::Config { .. }
            | Change::FailoverRequest(_)
            | Change::Status(_) => {}
        }
        self.state.apply(change);
    }

    fn resync(&mut self, revision: Revision, mut state: SourceState) {
        while state.members.len() > SourceState::MEMBERS_MAX {
            state.members.pop_last();
        }
        let mut gone: Vec<_> = self.state.members.keys().cloned().collect();
        gone.retain(|name| !state.members.contains_key(name));
        let mut changes: Vec<_> = gone.into_iter().map(|n| Change::Member(n, None)).collect();
        changes.extend(state.members.into_iter().map(|(n, m)| Change::Member(n, Some(m))));
        changes.push(Change::Leader(state.leader));
        changes.push(Change::Status(state.position));
        changes.push(Change::FailoverRequest(state.switchover));
        changes.push(Change::Config { paused: state.paused });

        // A watch may be ahead of the read it runs beside; a replaced store is never behind.
        if revision < self.horizon {
            self.seen.clear();
        }
        self.seen.retain(|_, seen| *seen > revision);
        self.horizon = revision;
        for change in changes {
            if !self.seen.contains_key(&Key::of(&change)) {
                self.adopt(change);
            }
        }
    }

    /// `None` if the probe is of a node or an address that is not known (any more).
    fn probe(&mut self, probe: Probe) -> Option<()> {
        let member = self.state.members.get(&probe.node)?;
        if member.address != probe.address {
            return None;
        }
        self.probes.insert(probe.node, probe.outcome);
        Some(())
    }

    fn publish(&mut self, revision: Revision) -> Option<Arc<Snapshot>> {
        let named = match self.authority {
            Authority::LeaderKey => self.state.leader.clone(),
            Authority::Probes => self.elect(),
        };
        let current = || self.succession.tenure().map(|t| t.leader.clone());
        if let Some(name) = named.clone().or_else(current) {
            let evidence = evidence(self.state.members.get(&name), self.probes.get(&name));
            self.succession.observe(named.as_ref(), evidence);
        }
        let mut next = self.view(named);
        next.revision = self.snapshot.revision;
        if next == *self.snapshot {
            return None;
        }
        next.revision = revision;
        self.snapshot = Arc::new(next);
        Some(Arc::clone(&self.snapshot))
    }

    /// The one node that claims the highest timeline, once every node was asked.
    fn elect(&self) -> Option<NodeName> {
        if self.state.members.keys().any(|name| !self.probes.contains_key(name)) {
            return None;
        }
        let claims = self.probes.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Answered { in_recovery: false, timeline, .. } => Some((*timeline, name)),
            Outcome::Answered { .. } | Outcome::Unreachable => None,
        });
        let highest = claims.clone().map(|(timeline, _)| timeline).max()?;
        let mut tied = claims.filter(|(timeline, _)| *timeline == highest).map(|(_, name)| name);
        if let Some(tenure) = self.succession.tenure() {
            // An equal timeline is a claim of the tenure that is, not of a new one.
            if highest <= self.succession.floor() {
                return tied.find(|name| **name == tenure.leader).cloned();
            }
        }
        let first = tied.next()?;
        tied.next().is_none().then(|| first.clone())
    }

    fn view(&self, leader: Option<NodeName>) -> Snapshot {
        let tenure = self.succession.tenure();
        let position = self.primary_position();
        let node = |(name, member): (&NodeName, &Member)| {
            let is_primary = tenure.is_some_and(|t| t.leader == *name);
            Arc::new(node(name, member, self.probes.get(name), position, is_primary))
        };
        let nodes: Box<[_]> = self.state.members.iter().map(node).collect();
        let primary = tenure.and_then(|tenure| {
            let known = nodes.iter().find(|node| node.name == tenure.leader).cloned();
            known
                .or_else(|| Some(Arc::new(without_record(&tenure.leader, tenure.address.clone()?))))
        });
        Snapshot {
            epoch: self.succession.epoch(),
            timeline: self.succession.floor(),
            standing: self.succession.standing(),
            leader,
            primary,
            nodes,
            paused: self.state.paused,
            switchover: self.state.switchover.clone(),
            ..Snapshot::empty()
        }
        .with_routes()
    }

    /// The best known log position of the primary.
    fn primary_position(&self) -> Option<Lsn> {
        let leader = &self.succession.tenure()?.leader;
        let probed = self.probes.get(leader).and_then(|outcome| match outcome {
            Outcome::Answered { in_recovery: false, position, .. } => *position,
            Outcome::Answered { .. } | Outcome::Unreachable => None,
        });
        let recorded = self.state.members.get(leader).and_then(|member| match member.replay {
            Replay::At(lsn) => Some(lsn),
            Replay::Behind(_) | Replay::Unknown => None,
        });
        self.state.position.max(probed).max(recorded)
    }
}

/// Whether a new record of a member makes its last probe meaningless.
fn outdates_probe(authority: Authority, before: Option<&Member>, after: Option<&Member>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return true };
    let became_primary = authority == Authority::LeaderKey
        && after.role == Role::Primary
        && (before.role != Role::Primary || before.timeline < after.timeline);
    before.address != after.address || became_primary
}

/// What the record and the last probe say of a named primary. Records and probes have no order
/// between them, so the higher timeline is the newer one.
fn evidence<'a>(member: Option<&'a Member>, probe: Option<&Outcome>) -> Evidence<'a> {
    let recorded = member.filter(|m| m.role == Role::Primary).and_then(|m| m.timeline);
    let probed = match probe {
        Some(Outcome::Answered { in_recovery: false, timeline, .. }) => *timeline,
        Some(Outcome::Answered { .. } | Outcome::Unreachable) | None => None,
    };
    Evidence {
        address: member.map(|m| &m.address),
        timeline: recorded.max(probed),
        in_recovery: matches!(probe, Some(Outcome::Answered { in_recovery: true, .. })),
        standby_leader: member.is_some_and(|m| m.role == Role::StandbyLeader),
    }
}

fn node(
    name: &NodeName,
    member: &Member,
    probe: Option<&Outcome>,
    primary: Option<Lsn>,
    is_primary: bool,
) -> Node {
    let mut node = Node {
        name: name.clone(),
        address: member.address.clone(),
        role: member.role,
        state: member.state,
        timeline: member.timeline,
        lag: lag(member.replay, primary),
        noloadbalance: member.noloadbalance,
    };
    match probe {
        Some(Outcome::Answered { in_recovery, timeline, position }) => {
            node.role = match (in_recovery, member.role) {
                (false, _) => Role::Primary,
                (true, Role::StandbyLeader) => Role::StandbyLeader,
                (true, _) => Role::Replica,
            };
            if node.state == NodeState::Unknown {
                node.state = NodeState::Running;
            }
            node.timeline = node.timeline.max(*timeline);
            if let Some(position) = position {
                node.lag = lag(Replay::At(*position), primary);
            }
        }
        Some(Outcome::Unreachable) => node.state = NodeState::Unreachable,
        None => {}
    }
    if is_primary {
        node.lag = Some(0);
    }
    node
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
fn without_record(name: &NodeName, address: Address) -> Node {
    Node {
        name: name.clone(),
        address,
        role: Role::Other,
        state: NodeState::Unknown,
        timeline: None,
        lag: Some(0),
        noloadbalance: false,
    }
}
