//! The machine: snapshot and event in, next snapshot out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::drain::Drain;
use crate::source::{Change, Event, Member, Outcome, Probe, Replay, Role, SourceState};
use crate::tenure::{Authority, Proof, Stop, Succession};
use crate::time::Now;
use crate::view::{Beside, Probed, evidence, without_record};
use crate::{Group, Lsn, NodeName, Orders, Revision, RoutePolicy, Snapshot};

/// Most deleted members whose revision is remembered.
const TOMBSTONES_MAX: usize = 1024;

/// A snapshot that differs from the last one only in lags waits until that is this old: probes
/// make one at every turn, and each wakes every pool.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// The rules that a machine goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the primary has to show.
    pub proof: Proof,
    /// Which replicas serve reads.
    pub routes: RoutePolicy,
    /// Longest time that a switchover request stops new transactions without a new leader.
    pub drain_timeout: Duration,
}

impl Config {
    /// Patroni stops a primary within seconds of the request, or not at all.
    pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
}

/// Proof by login, replicas at any lag and no fallback to the primary.
impl Default for Config {
    fn default() -> Self {
        Self {
            proof: Proof::ByLogin,
            routes: RoutePolicy::default(),
            drain_timeout: Self::DRAIN_TIMEOUT,
        }
    }
}

/// A key of the source, for telling which revision it was last seen at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Config,
    Failover,
    Leader,
    Member(NodeName),
    Status,
    Sync,
}

impl Key {
    fn of(change: &Change) -> Self {
        match change {
            Change::Config { .. } => Self::Config,
            Change::FailoverRequest(_) => Self::Failover,
            Change::Leader(_) => Self::Leader,
            Change::Member(name, _) => Self::Member(name.clone()),
            Change::Status(_) => Self::Status,
            Change::Sync(_) => Self::Sync,
        }
    }
}

/// Folds events into snapshots. One per cluster, owned by its source's task.
#[derive(Debug)]
pub struct Machine {
    authority: Authority,
    config: Config,
    state: SourceState,
    /// Revision of the last whole read: older changes are part of it.
    horizon: Revision,
    /// Revisions past the horizon, by key: a key's older value never replaces a newer one.
    seen: BTreeMap<Key, Revision>,
    /// The last probe of each member, and of a primary without a record.
    probes: BTreeMap<NodeName, Probed>,
    succession: Succession,
    drain: Drain,
    /// The other Citus groups. Nothing is written to them from here.
    groups: BTreeMap<u32, Self>,
    orders: Arc<Orders>,
    snapshot: Arc<Snapshot>,
    /// When the snapshot was made.
    made: Option<Duration>,
    /// When to show lags that were held back.
    lags_due: Option<Duration>,
}

impl Machine {
    /// Knows nothing yet.
    pub fn new(authority: Authority, config: Config) -> Self {
        Self {
            authority,
            succession: Succession::new(config.proof),
            drain: Drain::new(config.drain_timeout),
            config,
            state: SourceState::default(),
            horizon: Revision::default(),
            seen: BTreeMap::new(),
            probes: BTreeMap::new(),
            groups: BTreeMap::new(),
            orders: Arc::default(),
            snapshot: Arc::new(Snapshot::empty()),
            made: None,
            lags_due: None,
        }
    }

    /// The current snapshot.
    pub const fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// When [`Event::Tick`] is wanted, on the monotonic clock, if nothing else comes before: a
    /// drain ends, a scheduled switchover begins, a lag is due.
    pub fn wake_at(&self) -> Option<Duration> {
        let groups = self.groups.values().filter_map(Self::wake_at);
        groups.chain(self.drain.wake_at()).chain(self.lags_due).min()
    }

    /// Takes one event; gives the next snapshot if anything in it changed.
    pub fn apply(&mut self, event: Event, now: Now) -> Option<Arc<Snapshot>> {
        let mut revision = self.snapshot.revision;
        let mut answer = None;
        match event {
            Event::Change { revision: at, change } => {
                self.change(at, change)?;
                revision = at;
            }
            Event::GroupChange { group, revision: at, change } => {
                self.group_change(group, Event::Change { revision: at, change }, now)?;
                revision = at;
            }
            Event::Groups { revision: at, states } => {
                self.groups_read(at, states, now);
                revision = at;
            }
            Event::Probe(probe) => answer = Some(self.probe(probe)?),
            Event::Resync { revision: at, state } => {
                self.resync(at, state);
                revision = at;
            }
            Event::SecondHand(state) => self.second_hand(state)?,
            Event::Orders(orders) => {
                (orders.revision() > self.orders.revision()).then_some(())?;
                self.orders = orders;
            }
            Event::Suspect { epoch } => {
                self.succession.suspect(epoch, now.monotonic).then_some(())?;
            }
            Event::Tick => {
                for group in self.groups.values_mut() {
                    group.apply(Event::Tick, now);
                }
            }
        }
        self.publish(revision, answer, now)
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
                    if self.succession.is_led_by(name) {
                        self.succession.reconsider();
                    }
                }
            }
            // What the node was before it took the key says nothing about now; and who lost the
            // key and has it back may have been something else in between.
            Change::Leader(Some(name)) if self.state.leader.as_ref() != Some(name) => {
                self.probes.remove(name);
                if self.succession.is_led_by(name) && !self.state.paused {
                    self.succession.doubt();
                }
            }
            Change::Leader(_)
            | Change::Config { .. }
            | Change::FailoverRequest(_)
            | Change::Status(_)
            | Change::Sync(_) => {}
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
        changes.push(Change::Sync(state.synchronous));

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

    /// `None` if what is said is of a leader whose time is over.
    fn second_hand(&mut self, mut state: SourceState) -> Option<()> {
        let record = state.leader.as_ref().and_then(|name| state.members.get(name));
        let timeline = record.and_then(|member| member.timeline);
        if timeline.is_some() && timeline < self.succession.floor() {
            return None;
        }
        for (name, member) in std::mem::take(&mut state.members) {
            self.adopt(Change::Member(name, Some(member)));
        }
        if state.leader.is_some() {
            self.adopt(Change::Leader(state.leader));
        }
        Some(())
    }

    fn group_change(&mut self, group: u32, change: Event, now: Now) -> Option<()> {
        if self.groups.len() >= Group::MAX && !self.groups.contains_key(&group) {
            return None;
        }
        let machine = self.groups.entry(group).or_insert_with(Self::of_group);
        let changed = machine.apply(change, now).is_some();
        self.forget_empty_groups();
        changed.then_some(())
    }

    fn groups_read(&mut self, revision: Revision, states: BTreeMap<u32, SourceState>, now: Now) {
        self.groups.retain(|group, _| states.contains_key(group));
        for (group, state) in states.into_iter().take(Group::MAX) {
            let machine = self.groups.entry(group).or_insert_with(Self::of_group);
            machine.apply(Event::Resync { revision, state }, now);
        }
        self.forget_empty_groups();
    }

    fn of_group() -> Self {
        Self::new(Authority::LeaderKey, Config::default())
    }

    fn forget_empty_groups(&mut self) {
        self.groups.retain(|_, machine| {
            !machine.state.members.is_empty() || machine.state.leader.is_some()
        });
    }

    /// Keeps what a probe found, and gives it back. `None` if it is of a node or an address that
    /// is not known (any more), or of the primary and begun before proof was asked for.
    fn probe(&mut self, probe: Probe) -> Option<(NodeName, Outcome)> {
        let tenure = self.succession.tenure().filter(|tenure| tenure.leader == probe.node);
        if tenure.is_some() && probe.round != self.succession.round() {
            return None;
        }
        let recorded = self.state.members.get(&probe.node).map(|member| &member.address);
        let address = recorded.or_else(|| tenure?.address.as_ref());
        if address != Some(&probe.address) {
            return None;
        }
        let members = &self.state.members;
        self.probes.retain(|name, _| members.contains_key(name));
        let probed = Probed::new(probe.outcome, self.primary_position());
        self.probes.insert(probe.node.clone(), probed);
        Some((probe.node, probe.outcome))
    }

    fn publish(
        &mut self,
        revision: Revision,
        answer: Option<(NodeName, Outcome)>,
        now: Now,
    ) -> Option<Arc<Snapshot>> {
        let named = match self.authority {
            Authority::LeaderKey => self.state.leader.clone(),
            Authority::Probes => self.elect(),
        };
        let current = || self.succession.tenure().map(|t| t.leader.clone());
        if let Some(name) = named.clone().or_else(current) {
            let evidence = evidence(self.state.members.get(&name), self.probes.get(&name));
            self.succession.observe(named.as_ref(), evidence);
        }
        // After the epoch that the answer itself may have begun.
        if let Some((node, outcome)) = answer
            && self.succession.is_led_by(&node)
        {
            self.succession.judge(&outcome);
        }
        let leader = self.succession.tenure().map(|tenure| &tenure.leader);
        self.drain.observe(self.state.switchover.as_ref(), leader, now);

        let mut next = self.view(named);
        next.revision = self.snapshot.revision;
        self.lags_due = None;
        if next == *self.snapshot {
            return None;
        }
        let due = self.made.map(|made| made + LAG_INTERVAL).filter(|due| now.monotonic < *due);
        if due.is_some() && next.is_like(&self.snapshot) {
            self.lags_due = due;
            return None;
        }
        next.revision = revision;
        self.made = Some(now.monotonic);
        self.snapshot = Arc::new(next);
        Some(Arc::clone(&self.snapshot))
    }

    /// What stops new transactions without saying anything about the primary.
    fn stop(&self) -> Option<Stop> {
        let by_key = self.authority == Authority::LeaderKey;
        if by_key && self.state.leader.is_none() && !self.state.paused {
            return Some(Stop::LeaderGone);
        }
        self.drain.holds().then_some(Stop::SwitchingOver)
    }

    /// The one node that claims the highest timeline, once every node was asked.
    fn elect(&self) -> Option<NodeName> {
        if self.state.members.keys().any(|name| !self.probes.contains_key(name)) {
            return None;
        }
        let claim = |(name, probe): (_, &Probed)| Some((probe.as_primary()?.0, name));
        let claims = self.probes.iter().filter_map(claim);
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
        let beside = Beside {
            primary: tenure.map(|tenure| &tenure.leader),
            position: self.primary_position(),
            synchronous: &self.state.synchronous,
        };
        let node = |(name, member): (&NodeName, &Member)| {
            Arc::new(beside.node(name, member, self.probes.get(name)))
        };
        let nodes: Box<[_]> = self.state.members.iter().map(node).collect();
        let primary = tenure.and_then(|tenure| {
            let known = nodes.iter().find(|node| node.name == tenure.leader).cloned();
            known.or_else(|| Some(without_record(&tenure.leader, tenure.address.clone()?)))
        });
        let group = |(id, machine): (&u32, &Self)| Group {
            id: *id,
            leader: machine.snapshot.leader.clone(),
            nodes: machine.snapshot.nodes.clone(),
        };
        Snapshot {
            epoch: self.succession.epoch(),
            round: self.succession.round(),
            timeline: self.succession.floor(),
            standing: self.succession.standing(self.stop()),
            leader,
            primary,
            nodes,
            groups: self.groups.iter().map(group).collect(),
            paused: self.state.paused,
            switchover: self.state.switchover.clone(),
            orders: Arc::clone(&self.orders),
            ..Snapshot::empty()
        }
        .with_routes(&self.config.routes)
    }

    /// The best known log position of the primary.
    fn primary_position(&self) -> Option<Lsn> {
        let leader = &self.succession.tenure()?.leader;
        let probed = self.probes.get(leader).and_then(Probed::as_primary);
        let recorded = self.state.members.get(leader).and_then(|member| match member.replay {
            Replay::At(lsn) => Some(lsn),
            Replay::Behind(_) | Replay::Unknown => None,
        });
        self.state.position.max(probed.and_then(|(_, position)| position)).max(recorded)
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
