//! A cluster that a test feeds event by event, on clocks that it sets.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use topology::{
    Access, Address, Authority, Change, Config, Epoch, Event, Fence, Machine, Member, NodeName,
    NodeState, Now, Outcome, Probe, Proof, Refusal, Replay, Revision, Role, Snapshot, Standing,
    Timeline,
};

pub(crate) struct Cluster {
    pub(crate) machine: Machine,
    pub(crate) revision: u64,
    pub(crate) now: Now,
}

impl Cluster {
    pub(crate) fn new(authority: Authority, config: Config) -> Self {
        let now = Now { monotonic: Duration::ZERO, wall: UNIX_EPOCH };
        Self { machine: Machine::new(authority, config), revision: 0, now }
    }

    /// Three nodes on timeline 1, n1 leads.
    pub(crate) fn led_by_n1(config: Config) -> Self {
        let mut cluster = Self::new(Authority::LeaderKey, config);
        cluster.member("n1", Role::Primary, 1);
        cluster.member("n2", Role::Replica, 1);
        cluster.member("n3", Role::Replica, 1);
        cluster.leader(Some("n1"));
        cluster
    }

    /// As before, with proof required and given.
    pub(crate) fn proven() -> Self {
        let mut cluster = Self::led_by_n1(required());
        cluster.probe("n1", answered(false, 1));
        assert_eq!(cluster.standing(), Standing::Proven);
        cluster
    }

    pub(crate) fn apply(&mut self, event: Event) -> Option<Arc<Snapshot>> {
        self.machine.apply(event, self.now)
    }

    pub(crate) fn change(&mut self, change: Change) -> Option<Arc<Snapshot>> {
        self.revision += 1;
        self.apply(Event::Change { revision: Revision(self.revision), change })
    }

    pub(crate) fn leader(&mut self, leader: Option<&str>) -> Option<Arc<Snapshot>> {
        self.change(Change::Leader(leader.map(name)))
    }

    pub(crate) fn member(
        &mut self,
        node: &str,
        role: Role,
        timeline: u32,
    ) -> Option<Arc<Snapshot>> {
        self.change(Change::Member(name(node), Some(member(node, role, timeline))))
    }

    /// A probe that was begun just before it came back.
    pub(crate) fn probe(&mut self, node: &str, outcome: Outcome) -> Option<Arc<Snapshot>> {
        let probe = self.begin_probe(node, outcome);
        self.apply(Event::Probe(probe))
    }

    /// A probe that is begun now, to be applied later.
    pub(crate) fn begin_probe(&self, node: &str, outcome: Outcome) -> Probe {
        let round = self.snapshot().round();
        Probe { node: name(node), address: address(node), round, outcome }
    }

    /// Both clocks go on, and nobody looks at them.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall += time;
    }

    /// Time passes up to the moment that the machine wants to be woken at.
    pub(crate) fn wake(&mut self) -> Option<Arc<Snapshot>> {
        let at = self.machine.wake_at().expect("something is due");
        self.pass(at.saturating_sub(self.now.monotonic));
        self.apply(Event::Tick)
    }

    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        self.machine.snapshot()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.snapshot().epoch().get()
    }

    pub(crate) fn standing(&self) -> Standing {
        self.snapshot().standing()
    }

    pub(crate) fn route(&self, access: Access) -> Result<Vec<String>, Refusal> {
        let route = self.snapshot().route(access)?;
        assert_eq!(route.epoch, self.snapshot().epoch());
        Ok(route.nodes.iter().map(|n| n.name.to_string()).collect())
    }

    pub(crate) fn primary(&self) -> Result<String, Refusal> {
        let mut nodes = self.route(Access::ReadWrite)?;
        assert_eq!(nodes.len(), 1);
        Ok(nodes.remove(0))
    }

    /// What becomes of a server that was opened in `epoch` on `node`.
    pub(crate) fn fence(&self, access: Access, epoch: Epoch, node: &str) -> Fence {
        self.snapshot().fence(access, epoch, &address(node))
    }

    /// What becomes of a read-write server of the current epoch.
    pub(crate) fn own_fence(&self) -> Fence {
        let snapshot = self.snapshot();
        let node = snapshot.primary().expect("a primary");
        snapshot.fence(Access::ReadWrite, snapshot.epoch(), &node.address)
    }
}

/// A prober is there.
pub(crate) fn required() -> Config {
    Config { proof: Proof::Required, ..Config::default() }
}

/// Nobody probes.
pub(crate) fn by_login() -> Config {
    Config::default()
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

pub(crate) fn address(host: &str) -> Address {
    Address::new(host, 5432).expect("an address")
}

pub(crate) fn member(host: &str, role: Role, timeline: u32) -> Member {
    Member {
        address: address(host),
        role,
        state: NodeState::Running,
        timeline: Some(Timeline(timeline)),
        replay: Replay::Unknown,
        noloadbalance: false,
        nofailover: false,
    }
}

pub(crate) fn answered(in_recovery: bool, timeline: u32) -> Outcome {
    Outcome::Answered { in_recovery, timeline: Some(Timeline(timeline)), position: None }
}
