//! Routes and refusals, epoch by epoch, on the events that a Patroni cluster makes.

use std::sync::Arc;

use topology::{
    Access, Address, Authority, Change, Epoch, Event, Lsn, Machine, Member, NodeName, NodeState,
    Outcome, Probe, Refusal, Replay, Revision, Role, Snapshot, SourceState, Standing, Timeline,
};

struct Cluster {
    machine: Machine,
    revision: u64,
}

impl Cluster {
    fn new(authority: Authority) -> Self {
        Self { machine: Machine::new(authority), revision: 0 }
    }

    /// Three nodes on timeline 1, n1 leads.
    fn led_by_n1() -> Self {
        let mut cluster = Self::new(Authority::LeaderKey);
        cluster.member("n1", Role::Primary, 1);
        cluster.member("n2", Role::Replica, 1);
        cluster.member("n3", Role::Replica, 1);
        cluster.leader(Some("n1"));
        cluster
    }

    fn change(&mut self, change: Change) -> Option<Arc<Snapshot>> {
        self.revision += 1;
        self.machine.apply(Event::Change { revision: Revision(self.revision), change })
    }

    fn leader(&mut self, leader: Option<&str>) -> Option<Arc<Snapshot>> {
        self.change(Change::Leader(leader.map(name)))
    }

    fn member(&mut self, node: &str, role: Role, timeline: u32) -> Option<Arc<Snapshot>> {
        self.change(Change::Member(name(node), Some(member(node, role, timeline))))
    }

    fn probe(&mut self, node: &str, outcome: Outcome) -> Option<Arc<Snapshot>> {
        let probe = Probe { node: name(node), address: address(node), outcome };
        self.machine.apply(Event::Probe(probe))
    }

    fn epoch(&self) -> u64 {
        self.machine.snapshot().epoch().get()
    }

    fn route(&self, access: Access) -> Result<Vec<String>, Refusal> {
        let route = self.machine.snapshot().route(access)?;
        assert_eq!(route.epoch, self.machine.snapshot().epoch());
        Ok(route.nodes.iter().map(|n| n.name.to_string()).collect())
    }

    fn primary(&self) -> Result<String, Refusal> {
        let mut nodes = self.route(Access::ReadWrite)?;
        assert_eq!(nodes.len(), 1);
        Ok(nodes.remove(0))
    }
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

fn address(host: &str) -> Address {
    Address::new(host, 5432).expect("an address")
}

fn member(host: &str, role: Role, timeline: u32) -> Member {
    Member {
        address: address(host),
        role,
        state: NodeState::Running,
        timeline: Some(Timeline(timeline)),
        replay: Replay::Unknown,
        noloadbalance: false,
    }
}

fn answered(in_recovery: bool, timeline: u32) -> Outcome {
    Outcome::Answered { in_recovery, timeline: Some(Timeline(timeline)), position: None }
}

#[test]
fn nothing_known_is_refused() {
    let cluster = Cluster::new(Authority::LeaderKey);
    assert_eq!(cluster.epoch(), 0);
    assert_eq!(cluster.machine.snapshot().epoch(), Epoch::NONE);
    assert_eq!(cluster.primary(), Err(Refusal::PrimaryUnknown));
    assert_eq!(cluster.route(Access::ReadOnly), Err(Refusal::NoNode));
    assert_eq!(cluster.route(Access::Any), Err(Refusal::NoNode));
}

#[test]
fn each_access_has_its_nodes() {
    let mut cluster = Cluster::led_by_n1();
    assert_eq!(cluster.primary().as_deref(), Ok("n1"));
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n2", "n3"]);
    assert_eq!(cluster.route(Access::Any).unwrap(), ["n1", "n2", "n3"]);

    let tagged = Member { noloadbalance: true, ..member("n2", Role::Replica, 1) };
    cluster.change(Change::Member(name("n2"), Some(tagged)));
    let stopped = Member { state: NodeState::Stopped, ..member("n3", Role::Replica, 1) };
    cluster.change(Change::Member(name("n3"), Some(stopped)));
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n1"], "falls back to the primary");
    assert_eq!(cluster.route(Access::Any).unwrap(), ["n1", "n2"]);
}

#[test]
fn a_new_leader_is_a_new_epoch_and_its_promotion_is_not_another() {
    let mut cluster = Cluster::led_by_n1();
    assert_eq!(cluster.epoch(), 1);

    cluster.leader(None);
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (1, Ok("n1")));
    assert_eq!(cluster.machine.snapshot().leader(), None);

    cluster.member("n1", Role::Demoted, 1);
    cluster.leader(Some("n2"));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n2")));
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n3"]);
    assert_eq!(cluster.route(Access::Any).unwrap(), ["n2", "n3"], "not the demoted one");

    cluster.member("n2", Role::Primary, 2);
    assert_eq!(cluster.epoch(), 2);
    assert_eq!(cluster.machine.snapshot().timeline(), Some(Timeline(2)));
}

/// Patroni's REST shows whoever holds the key as leader, promoted or not.
#[test]
fn a_leader_shown_before_its_promotion_is_one_epoch() {
    let mut cluster = Cluster::led_by_n1();
    cluster.member("n2", Role::Primary, 1);
    cluster.leader(Some("n2"));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n2")));
    cluster.member("n2", Role::Primary, 2);
    assert_eq!(cluster.epoch(), 2);
    cluster.member("n2", Role::Primary, 3);
    assert_eq!(cluster.epoch(), 3);
}

#[test]
fn the_same_leader_on_a_higher_timeline_is_a_new_epoch() {
    let mut cluster = Cluster::led_by_n1();
    cluster.leader(None);
    cluster.leader(Some("n1"));
    assert_eq!(cluster.epoch(), 1, "the key alone does not end a tenure");
    cluster.member("n1", Role::Primary, 2);
    assert_eq!(cluster.epoch(), 2);
    cluster.member("n1", Role::Primary, 1);
    assert_eq!((cluster.epoch(), cluster.primary()), (2, Err(Refusal::PrimaryOldTimeline)));
    assert_eq!(cluster.machine.snapshot().timeline(), Some(Timeline(2)));
}

#[test]
fn a_leader_that_moved_is_a_new_epoch() {
    let mut cluster = Cluster::led_by_n1();
    let moved = Member { address: address("elsewhere"), ..member("n1", Role::Primary, 1) };
    cluster.change(Change::Member(name("n1"), Some(moved)));
    assert_eq!(cluster.epoch(), 2);
    assert_eq!(cluster.machine.snapshot().primary().unwrap().address, address("elsewhere"));
}

#[test]
fn a_leader_on_an_old_timeline_gets_no_write() {
    let mut cluster = Cluster::led_by_n1();
    cluster.leader(Some("n2"));
    cluster.member("n2", Role::Primary, 2);
    // n1 takes the key back while its record is from its first tenure.
    cluster.leader(Some("n1"));
    assert_eq!((cluster.epoch(), cluster.primary()), (3, Err(Refusal::PrimaryOldTimeline)));
    cluster.member("n1", Role::Primary, 3);
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (3, Ok("n1")));
}

#[test]
fn a_primary_keeps_its_address_when_its_record_goes() {
    let mut cluster = Cluster::led_by_n1();
    cluster.change(Change::Member(name("n1"), None));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (1, Ok("n1")));
    cluster.leader(Some("n9"));
    assert_eq!((cluster.epoch(), cluster.primary()), (2, Err(Refusal::PrimaryAddressUnknown)));
    cluster.member("n9", Role::Replica, 1);
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n9")));
}

#[test]
fn a_probe_that_finds_recovery_stops_writes_until_promoted() {
    let mut cluster = Cluster::led_by_n1();
    cluster.probe("n2", answered(true, 1));
    cluster.leader(Some("n2"));
    assert_eq!(cluster.primary().as_deref(), Ok("n2"), "probes from before the key do not count");
    cluster.probe("n2", answered(true, 1));
    assert_eq!(cluster.primary(), Err(Refusal::PrimaryRecovering));
    cluster.member("n2", Role::Primary, 2);
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n2")));
}

#[test]
fn a_standby_cluster_takes_reads_only() {
    let mut cluster = Cluster::new(Authority::LeaderKey);
    cluster.member("n1", Role::StandbyLeader, 1);
    cluster.leader(Some("n1"));
    assert_eq!(cluster.primary(), Err(Refusal::StandbyCluster));
    assert_eq!(cluster.machine.snapshot().standing(), Standing::StandbyLeader);
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n1"]);
}

#[test]
fn lag_comes_from_the_best_known_positions() {
    let mut cluster = Cluster::led_by_n1();
    let at = |lsn| Member { replay: Replay::At(Lsn(lsn)), ..member("n2", Role::Replica, 1) };
    cluster.change(Change::Status(Some(Lsn(1000))));
    cluster.change(Change::Member(name("n2"), Some(at(400))));
    let lag = |cluster: &Cluster, n: usize| cluster.machine.snapshot().nodes()[n].lag;
    assert_eq!([lag(&cluster, 0), lag(&cluster, 1), lag(&cluster, 2)], [Some(0), Some(600), None]);
    cluster.change(Change::Member(name("n2"), Some(at(1400))));
    assert_eq!(lag(&cluster, 1), Some(0), "ahead of an older reading is no lag");
}

#[test]
fn unchanged_means_no_snapshot() {
    let mut cluster = Cluster::led_by_n1();
    assert!(cluster.leader(Some("n1")).is_none());
    assert!(cluster.member("n2", Role::Replica, 1).is_none());
    let mut state = SourceState { leader: Some(name("n1")), ..SourceState::default() };
    for (node, role) in [("n1", Role::Primary), ("n2", Role::Replica), ("n3", Role::Replica)] {
        state.members.insert(name(node), member(node, role, 1));
    }
    assert!(cluster.machine.apply(Event::Resync { revision: Revision(90), state }).is_none());
}

#[test]
fn a_store_restored_from_a_backup_is_followed() {
    let mut cluster = Cluster::led_by_n1();
    let mut state = SourceState { leader: Some(name("n3")), ..SourceState::default() };
    state.members.insert(name("n3"), member("n3", Role::Primary, 2));
    cluster.machine.apply(Event::Resync { revision: Revision(500), state: state.clone() });
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n3")));
    state.leader = Some(name("n4"));
    state.members.insert(name("n4"), member("n4", Role::Primary, 3));
    cluster.machine.apply(Event::Resync { revision: Revision(7), state });
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (3, Ok("n4")));
}

#[test]
fn probes_elect_the_highest_timeline_once_all_were_asked() {
    let mut cluster = Cluster::new(Authority::Probes);
    for node in ["n1", "n2", "n3"] {
        cluster.member(node, Role::Other, 0);
    }
    cluster.probe("n1", answered(false, 1));
    cluster.probe("n2", answered(false, 2));
    assert_eq!(cluster.primary(), Err(Refusal::PrimaryUnknown));
    cluster.probe("n3", Outcome::Unreachable);
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (1, Ok("n2")));
    assert_eq!(cluster.route(Access::Any).unwrap(), ["n2"], "not the rival, not the silent one");

    // The primary falls silent; the old one still claims timeline 1, and a stranger 2.
    cluster.probe("n2", Outcome::Unreachable);
    cluster.probe("n3", answered(false, 2));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (1, Ok("n2")));

    cluster.probe("n3", answered(false, 3));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n3")));
}

#[test]
fn probes_that_claim_one_timeline_twice_elect_nobody() {
    let mut cluster = Cluster::new(Authority::Probes);
    cluster.member("n1", Role::Other, 0);
    cluster.member("n2", Role::Other, 0);
    cluster.probe("n1", answered(false, 1));
    cluster.probe("n2", answered(false, 1));
    assert_eq!(cluster.primary(), Err(Refusal::PrimaryUnknown));
    cluster.probe("n2", answered(true, 1));
    assert_eq!(cluster.primary().as_deref(), Ok("n1"));
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n2"]);
}

#[test]
fn a_probe_of_another_address_is_dropped() {
    let mut cluster = Cluster::led_by_n1();
    let probe =
        Probe { node: name("n1"), address: address("elsewhere"), outcome: answered(true, 1) };
    assert!(cluster.machine.apply(Event::Probe(probe)).is_none());
    assert!(cluster.probe("n9", answered(false, 9)).is_none());
}
