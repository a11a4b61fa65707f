//! Routes and refusals, epoch by epoch, on the events that a Patroni cluster makes.

#[expect(dead_code, reason = "each test file needs a part of it")]
mod cluster;

use std::time::Duration;

use cluster::{Cluster, address, answered, by_login, member, name};
use topology::{
    Access, Authority, Change, Config, Epoch, Event, Fallback, Fence, Lsn, Member, NodeState,
    Outcome, Refusal, Replay, Revision, Role, RoutePolicy, SourceState, Standing, Timeline,
};

#[test]
fn nothing_known_is_refused() {
    let cluster = Cluster::new(Authority::LeaderKey, by_login());
    assert_eq!(cluster.epoch(), 0);
    assert_eq!(cluster.snapshot().epoch(), Epoch::NONE);
    assert_eq!(cluster.primary(), Err(Refusal::PrimaryUnknown));
    assert_eq!(cluster.route(Access::ReadOnly), Err(Refusal::NoReplica));
    assert_eq!(cluster.route(Access::Any), Err(Refusal::NoNode));
}

#[test]
fn each_access_has_its_nodes() {
    let mut cluster = Cluster::led_by_n1(by_login());
    assert_eq!(cluster.primary().as_deref(), Ok("n1"));
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n2", "n3"]);
    assert_eq!(cluster.route(Access::Any).unwrap(), ["n1", "n2", "n3"]);

    let tagged = Member { noloadbalance: true, ..member("n2", Role::Replica, 1) };
    cluster.change(Change::Member(name("n2"), Some(tagged)));
    let stopped = Member { state: NodeState::Stopped, ..member("n3", Role::Replica, 1) };
    cluster.change(Change::Member(name("n3"), Some(stopped)));
    assert_eq!(cluster.route(Access::ReadOnly), Err(Refusal::NoReplica));
    assert_eq!(cluster.route(Access::Any).unwrap(), ["n1", "n2"]);
}

#[test]
fn a_new_leader_is_a_new_epoch_and_its_promotion_is_not_another() {
    let mut cluster = Cluster::led_by_n1(by_login());
    assert_eq!(cluster.epoch(), 1);

    cluster.leader(None);
    assert_eq!((cluster.epoch(), cluster.primary()), (1, Err(Refusal::LeaderGone)));
    assert_eq!(cluster.snapshot().leader(), None);
    assert_eq!(cluster.snapshot().primary().unwrap().name, name("n1"));

    cluster.member("n1", Role::Demoted, 1);
    cluster.leader(Some("n2"));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n2")));
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n3"]);
    assert_eq!(cluster.route(Access::Any).unwrap(), ["n2", "n3"], "not the demoted one");

    cluster.member("n2", Role::Primary, 2);
    assert_eq!(cluster.epoch(), 2);
    assert_eq!(cluster.snapshot().timeline(), Some(Timeline(2)));
}

/// Patroni's REST shows whoever holds the key as leader, promoted or not.
#[test]
fn a_leader_shown_before_its_promotion_is_one_epoch() {
    let mut cluster = Cluster::led_by_n1(by_login());
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
    let mut cluster = Cluster::led_by_n1(by_login());
    cluster.leader(None);
    cluster.leader(Some("n1"));
    assert_eq!(cluster.epoch(), 1, "the key alone does not end a tenure");
    cluster.member("n1", Role::Primary, 2);
    assert_eq!(cluster.epoch(), 2);
    cluster.member("n1", Role::Primary, 1);
    assert_eq!((cluster.epoch(), cluster.primary()), (2, Err(Refusal::PrimaryOldTimeline)));
    assert_eq!(cluster.snapshot().timeline(), Some(Timeline(2)));
}

#[test]
fn a_leader_that_moved_is_a_new_epoch() {
    let mut cluster = Cluster::led_by_n1(by_login());
    let moved = Member { address: address("elsewhere"), ..member("n1", Role::Primary, 1) };
    cluster.change(Change::Member(name("n1"), Some(moved)));
    assert_eq!(cluster.epoch(), 2);
    assert_eq!(cluster.snapshot().primary().unwrap().address, address("elsewhere"));
}

#[test]
fn a_leader_on_an_old_timeline_gets_no_write() {
    let mut cluster = Cluster::led_by_n1(by_login());
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
    let mut cluster = Cluster::led_by_n1(by_login());
    cluster.change(Change::Member(name("n1"), None));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (1, Ok("n1")));
    cluster.leader(Some("n9"));
    assert_eq!((cluster.epoch(), cluster.primary()), (2, Err(Refusal::PrimaryAddressUnknown)));
    cluster.member("n9", Role::Replica, 1);
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n9")));
}

#[test]
fn a_probe_that_finds_recovery_stops_writes_until_promoted() {
    let mut cluster = Cluster::led_by_n1(by_login());
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
    let mut cluster = Cluster::new(Authority::LeaderKey, by_login());
    cluster.member("n1", Role::StandbyLeader, 1);
    cluster.leader(Some("n1"));
    assert_eq!(cluster.primary(), Err(Refusal::StandbyCluster));
    assert_eq!(cluster.snapshot().standing(), Standing::StandbyLeader);
    assert_eq!(cluster.route(Access::Any).unwrap(), ["n1"]);
}

#[test]
fn reads_fall_back_to_the_primary_if_the_policy_says_so() {
    let replica_fallback = Fallback::Primary;
    let routes = RoutePolicy { replica_fallback, ..RoutePolicy::default() };
    let mut cluster = Cluster::led_by_n1(Config { routes, ..by_login() });
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n2", "n3"]);
    for node in ["n2", "n3"] {
        cluster.change(Change::Member(name(node), None));
    }
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n1"]);
    // Reads do not wait for a leader.
    cluster.leader(None);
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n1"]);
}

#[test]
fn a_replica_that_lags_serves_no_reads_and_its_servers_retire() {
    let routes = RoutePolicy { max_replica_lag: Some(500), ..RoutePolicy::default() };
    let mut cluster = Cluster::led_by_n1(Config { routes, ..by_login() });
    let at = |lsn| Member { replay: Replay::At(Lsn(lsn)), ..member("n2", Role::Replica, 1) };
    assert_eq!(cluster.route(Access::ReadOnly), Err(Refusal::NoReplica), "nothing is known");
    cluster.change(Change::Status(Some(Lsn(1000))));
    cluster.change(Change::Member(name("n2"), Some(at(500))));
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n2"], "n3 does not say");
    let epoch = cluster.snapshot().epoch();
    assert_eq!(cluster.fence(Access::ReadOnly, epoch, "n2"), Fence::Open);

    cluster.change(Change::Status(Some(Lsn(1001))));
    assert_eq!(cluster.route(Access::ReadOnly), Err(Refusal::NoReplica));
    assert_eq!(cluster.fence(Access::ReadOnly, epoch, "n2"), Fence::Retire);
    assert_eq!(cluster.fence(Access::Any, epoch, "n2"), Fence::Open, "any means any");
    cluster.change(Change::Member(name("n2"), None));
    assert_eq!(cluster.fence(Access::ReadOnly, epoch, "n2"), Fence::Close);
    assert_eq!(cluster.fence(Access::ReadOnly, epoch, "n1"), Fence::Retire);
}

#[test]
fn lags_alone_make_a_snapshot_a_second_and_none_is_forgotten() {
    let mut cluster = Cluster::led_by_n1(by_login());
    let mut at = |lsn| {
        let position = Some(Lsn(lsn));
        cluster.change(Change::Status(position)).map(|s| s.nodes()[1].lag)
    };
    assert_eq!(at(1000), None, "held back; no replay is known either");
    cluster.pass(Duration::from_secs(1));
    let replica = Member { replay: Replay::At(Lsn(900)), ..member("n2", Role::Replica, 1) };
    let made = cluster.change(Change::Member(name("n2"), Some(replica))).unwrap();
    assert_eq!(made.nodes()[1].lag, Some(100));
    cluster.pass(Duration::from_millis(400));
    assert!(cluster.change(Change::Status(Some(Lsn(1100)))).is_none());
    let due = cluster.now.monotonic + Duration::from_millis(600);
    assert_eq!(cluster.machine.wake_at(), Some(due));
    assert_eq!(cluster.wake().unwrap().nodes()[1].lag, Some(200));
    assert_eq!(cluster.machine.wake_at(), None);
}

#[test]
fn a_probed_lag_is_measured_when_the_probe_comes() {
    let mut cluster = Cluster::led_by_n1(by_login());
    let at = |in_recovery, lsn| Outcome::Answered {
        in_recovery,
        timeline: Some(Timeline(1)),
        position: Some(Lsn(lsn)),
    };
    cluster.probe("n1", at(false, 1000));
    cluster.pass(Duration::from_secs(1));
    cluster.probe("n2", at(true, 990));
    assert_eq!(cluster.snapshot().nodes()[1].lag, Some(10));
    cluster.pass(Duration::from_secs(1));
    assert!(cluster.probe("n1", at(false, 9000)).is_none(), "n2 was not asked since");
    cluster.probe("n2", at(true, 8000));
    assert_eq!(cluster.snapshot().nodes()[1].lag, Some(1000));
}

#[test]
fn lag_comes_from_the_best_known_positions() {
    let mut cluster = Cluster::led_by_n1(by_login());
    let at = |lsn| Member { replay: Replay::At(Lsn(lsn)), ..member("n2", Role::Replica, 1) };
    cluster.pass(Duration::from_secs(1));
    cluster.change(Change::Status(Some(Lsn(1000))));
    cluster.change(Change::Member(name("n2"), Some(at(400))));
    let lag = |cluster: &Cluster, n: usize| cluster.snapshot().nodes()[n].lag;
    assert_eq!([lag(&cluster, 0), lag(&cluster, 1), lag(&cluster, 2)], [Some(0), Some(600), None]);
    cluster.pass(Duration::from_secs(1));
    cluster.change(Change::Member(name("n2"), Some(at(1400))));
    assert_eq!(lag(&cluster, 1), Some(0), "ahead of an older reading is no lag");
}

#[test]
fn unchanged_means_no_snapshot() {
    let mut cluster = Cluster::led_by_n1(by_login());
    assert!(cluster.leader(Some("n1")).is_none());
    assert!(cluster.member("n2", Role::Replica, 1).is_none());
    let mut state = SourceState { leader: Some(name("n1")), ..SourceState::default() };
    for (node, role) in [("n1", Role::Primary), ("n2", Role::Replica), ("n3", Role::Replica)] {
        state.members.insert(name(node), member(node, role, 1));
    }
    assert!(cluster.apply(Event::Resync { revision: Revision(90), state }).is_none());
}

#[test]
fn a_store_restored_from_a_backup_is_followed() {
    let mut cluster = Cluster::led_by_n1(by_login());
    let mut state = SourceState { leader: Some(name("n3")), ..SourceState::default() };
    state.members.insert(name("n3"), member("n3", Role::Primary, 2));
    cluster.apply(Event::Resync { revision: Revision(500), state: state.clone() });
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n3")));
    state.leader = Some(name("n4"));
    state.members.insert(name("n4"), member("n4", Role::Primary, 3));
    cluster.apply(Event::Resync { revision: Revision(7), state });
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (3, Ok("n4")));
}

#[test]
fn probes_elect_the_highest_timeline_once_all_were_asked() {
    let mut cluster = Cluster::new(Authority::Probes, by_login());
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
    let mut cluster = Cluster::new(Authority::Probes, by_login());
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
    let mut cluster = Cluster::led_by_n1(by_login());
    let mut probe = cluster.begin_probe("n1", answered(true, 1));
    probe.address = address("elsewhere");
    assert!(cluster.apply(Event::Probe(probe)).is_none());
    assert!(cluster.probe("n9", answered(false, 9)).is_none());
}
