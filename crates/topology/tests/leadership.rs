//! Proof, suspicion, drains and a lost leader key: when a primary may be written to, and what
//! becomes of its servers.

mod cluster;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use cluster::{Cluster, address, answered, by_login, member, name, required};
use topology::{
    Access, Change, Config, Epoch, Event, Fence, Group, Member, NodeState, Outcome, Refusal,
    Revision, Role, SourceState, Standing, Switchover, Synchronous, Timeline,
};

fn request(from: Option<&str>, to: Option<&str>, at: Option<&str>) -> Change {
    let scheduled_at = at.map(Into::into);
    Change::FailoverRequest(Some(Switchover {
        from: from.map(name),
        to: to.map(name),
        scheduled_at,
    }))
}

fn successor(cluster: &Cluster) -> Option<String> {
    cluster.snapshot().successor().map(|(_, node)| node.name.to_string())
}

fn candidates(cluster: &Cluster) -> Vec<String> {
    cluster.snapshot().candidates().iter().map(|node| node.name.to_string()).collect()
}

#[test]
fn a_tenure_begins_unproven_and_a_probe_of_it_proves() {
    let mut cluster = Cluster::led_by_n1(required());
    assert_eq!(cluster.primary(), Err(Refusal::PrimaryUnproven));
    assert_eq!((cluster.own_fence(), successor(&cluster).as_deref()), (Fence::Held, Some("n1")));
    assert!(!cluster.snapshot().is_proven());
    cluster.probe("n1", Outcome::Unreachable);
    cluster.probe("n2", answered(false, 1));
    assert_eq!(cluster.standing(), Standing::Unproven, "not by silence, not by another's word");
    cluster.probe("n1", answered(false, 1));
    assert_eq!((cluster.primary().as_deref(), cluster.own_fence()), (Ok("n1"), Fence::Open));
    assert!(cluster.snapshot().is_proven());
    cluster.probe("n1", Outcome::Unreachable);
    cluster.probe("n1", Outcome::Refused);
    assert_eq!(cluster.standing(), Standing::Proven, "its servers will tell");
    assert_eq!(cluster.epoch(), 1);
}

#[test]
fn where_probes_may_not_log_in_the_login_decides() {
    let mut cluster = Cluster::led_by_n1(required());
    cluster.probe("n1", Outcome::Refused);
    assert_eq!((cluster.standing(), cluster.own_fence()), (Standing::Named, Fence::Open));
    cluster.probe("n1", answered(true, 1));
    assert_eq!((cluster.standing(), cluster.own_fence()), (Standing::Recovering, Fence::Close));
    cluster.probe("n1", Outcome::Refused);
    assert_eq!(cluster.standing(), Standing::Recovering, "a refusal takes nothing back");
    assert_eq!(Cluster::led_by_n1(by_login()).standing(), Standing::Named);
}

#[test]
fn a_failover_is_one_epoch_that_is_held_until_the_promotion_ends() {
    let mut cluster = Cluster::proven();
    let old = cluster.snapshot().epoch();
    let early = cluster.begin_probe("n2", answered(false, 2));
    cluster.leader(None);
    assert_eq!((cluster.standing(), cluster.own_fence()), (Standing::LeaderGone, Fence::Held));
    assert_eq!((successor(&cluster), candidates(&cluster)), (None, vec!["n2".into(), "n3".into()]));
    cluster.leader(Some("n2"));
    assert_eq!((cluster.epoch(), cluster.primary()), (2, Err(Refusal::PrimaryUnproven)));
    assert_eq!(cluster.fence(Access::ReadWrite, old, "n1"), Fence::Close);
    assert_eq!(cluster.fence(Access::ReadWrite, old, "n2"), Fence::Close);
    assert_eq!(candidates(&cluster), ["n3"], "n1 says that it is a primary");

    assert!(cluster.apply(Event::Probe(early)).is_none(), "begun before the tenure");
    cluster.probe("n2", answered(true, 1));
    assert_eq!((cluster.standing(), cluster.own_fence()), (Standing::Promoting, Fence::Held));
    assert_eq!(successor(&cluster).as_deref(), Some("n2"));
    cluster.probe("n2", answered(false, 2));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n2")));
    cluster.member("n2", Role::Primary, 2);
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n2")));
}

#[test]
fn a_primary_on_a_timeline_that_is_over_proves_nothing() {
    let mut cluster = Cluster::proven();
    cluster.leader(Some("n2"));
    cluster.probe("n2", answered(false, 2));
    cluster.leader(Some("n1"));
    cluster.member("n1", Role::Replica, 1);
    cluster.probe("n1", answered(false, 1));
    assert_eq!((cluster.epoch(), cluster.primary()), (3, Err(Refusal::PrimaryOldTimeline)));
    assert_eq!((cluster.own_fence(), successor(&cluster)), (Fence::Close, None));
    cluster.probe("n1", answered(false, 3));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (3, Ok("n1")));
}

#[test]
fn a_restart_in_place_is_the_same_epoch_and_a_promotion_in_place_the_next() {
    let mut cluster = Cluster::proven();
    cluster.probe("n1", Outcome::Unreachable);
    cluster.probe("n1", answered(false, 1));
    assert_eq!((cluster.epoch(), cluster.standing()), (1, Standing::Proven));
    // Patroni starts a crashed leader as a standby first.
    cluster.probe("n1", Outcome::Unreachable);
    cluster.probe("n1", answered(true, 1));
    assert_eq!(
        (cluster.primary(), cluster.own_fence()),
        (Err(Refusal::PrimaryRecovering), Fence::Close)
    );
    cluster.probe("n1", answered(false, 2));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n1")));
}

#[test]
fn a_postmaster_that_has_gone_is_held_for_and_proves_itself_anew() {
    let mut cluster = Cluster::proven();
    let early = cluster.begin_probe("n1", answered(false, 1));
    cluster.probe("n1", Outcome::Gone);
    assert_eq!(
        (cluster.primary(), cluster.own_fence()),
        (Err(Refusal::PrimaryUnproven), Fence::Held)
    );
    assert!(cluster.probe("n1", Outcome::Gone).is_none(), "once is enough");
    cluster.apply(Event::Probe(early));
    assert_eq!(cluster.standing(), Standing::Unproven);
    cluster.probe("n1", answered(true, 1));
    assert_eq!((cluster.standing(), cluster.own_fence()), (Standing::Promoting, Fence::Held));
    cluster.probe("n1", answered(false, 2));
    assert_eq!((cluster.epoch(), cluster.standing()), (2, Standing::Proven));
    cluster.probe("n1", Outcome::Gone);
    cluster.probe("n1", answered(false, 2));
    assert_eq!((cluster.epoch(), cluster.standing()), (2, Standing::Proven));

    let mut cluster = Cluster::led_by_n1(by_login());
    cluster.probe("n1", Outcome::Gone);
    assert_eq!(cluster.primary().as_deref(), Ok("n1"), "the next login decides");
    cluster.probe("n1", answered(false, 1));
    cluster.apply(Event::Suspect { epoch: cluster.snapshot().epoch() });
    assert_eq!(cluster.standing(), Standing::Suspect);
    cluster.probe("n1", Outcome::Gone);
    assert_eq!(cluster.standing(), Standing::Named, "and so ends a suspicion");
}

/// The record may come before the probe that sees the promotion.
#[test]
fn a_promotion_that_a_record_tells_of_is_proven_anew() {
    let mut cluster = Cluster::proven();
    cluster.member("n1", Role::Primary, 2);
    assert_eq!((cluster.epoch(), cluster.standing()), (2, Standing::Unproven));
    cluster.probe("n1", answered(false, 2));
    assert_eq!((cluster.epoch(), cluster.standing()), (2, Standing::Proven));
}

/// Patroni writes the role of a primary before it knows of the new timeline; the probe may have
/// seen that before.
#[test]
fn a_record_that_comes_after_the_proof_speaks_of_the_time_before_it() {
    let mut cluster = Cluster::proven();
    cluster.leader(Some("n2"));
    cluster.probe("n2", answered(false, 2));
    let proven = (2, Standing::Proven, Fence::Open);
    let stands = |cluster: &Cluster| (cluster.epoch(), cluster.standing(), cluster.own_fence());
    for timeline in [1, 2, 1] {
        cluster.member("n2", Role::Replica, timeline);
        assert_eq!(stands(&cluster), proven, "replica on {timeline}");
        cluster.member("n2", Role::Primary, timeline);
        assert_eq!(stands(&cluster), proven, "primary on {timeline}");
    }
    cluster.change(Change::Member(name("n2"), None));
    cluster.member("n2", Role::Primary, 1);
    assert_eq!(stands(&cluster), proven, "put anew");
    assert_eq!(cluster.snapshot().timeline(), Some(Timeline(2)));

    cluster.probe("n2", answered(false, 1));
    assert_eq!((cluster.standing(), cluster.own_fence()), (Standing::OldTimeline, Fence::Close));
    cluster.member("n2", Role::Replica, 1);
    cluster.member("n2", Role::Primary, 1);
    assert_eq!(cluster.standing(), Standing::OldTimeline, "a probe has the last word");
    cluster.probe("n2", answered(false, 2));
    assert_eq!(stands(&cluster), proven);
}

#[test]
fn a_late_record_says_nothing_of_a_proven_primary_that_falls_silent() {
    let mut cluster = Cluster::proven();
    cluster.leader(Some("n2"));
    cluster.member("n2", Role::Primary, 1);
    cluster.probe("n2", answered(false, 2));
    for silence in [Outcome::Unreachable, Outcome::Refused] {
        cluster.probe("n2", silence);
        assert_eq!((cluster.epoch(), cluster.standing()), (2, Standing::Proven), "{silence:?}");
    }
    cluster.member("n2", Role::Primary, 2);
    assert_eq!((cluster.epoch(), cluster.standing()), (2, Standing::Proven), "it has caught up");
    cluster.member("n2", Role::Primary, 1);
    cluster.probe("n2", Outcome::Gone);
    assert_eq!((cluster.standing(), cluster.own_fence()), (Standing::Unproven, Fence::Held));
    cluster.leader(None);
    cluster.leader(Some("n2"));
    assert_eq!((cluster.standing(), cluster.own_fence()), (Standing::Unproven, Fence::Held));

    // Another postmaster, another promotion, another tenure: the proof was not of them.
    let moved = Member { address: address("elsewhere"), ..member("n2", Role::Primary, 1) };
    cluster.change(Change::Member(name("n2"), Some(moved)));
    assert_eq!((cluster.epoch(), cluster.standing()), (3, Standing::OldTimeline));
    cluster.member("n2", Role::Primary, 3);
    cluster.probe("n2", answered(false, 3));
    cluster.member("n2", Role::Primary, 4);
    cluster.member("n2", Role::Primary, 3);
    assert_eq!((cluster.epoch(), cluster.standing()), (5, Standing::OldTimeline));
    cluster.leader(Some("n1"));
    assert_eq!((cluster.epoch(), cluster.standing()), (6, Standing::OldTimeline));
}

#[test]
fn a_key_that_was_lost_and_taken_back_is_proven_anew() {
    let mut cluster = Cluster::proven();
    let early = cluster.begin_probe("n1", answered(false, 1));
    cluster.leader(None);
    cluster.leader(Some("n1"));
    assert_eq!((cluster.epoch(), cluster.standing()), (1, Standing::Unproven));
    cluster.apply(Event::Probe(early));
    assert_eq!(cluster.standing(), Standing::Unproven);
    cluster.probe("n1", answered(false, 1));
    assert_eq!((cluster.epoch(), cluster.standing()), (1, Standing::Proven));
}

#[test]
fn in_maintenance_a_lost_key_changes_nothing() {
    let mut cluster = Cluster::proven();
    cluster.change(Change::Config { paused: true });
    cluster.leader(None);
    assert_eq!((cluster.standing(), cluster.own_fence()), (Standing::Proven, Fence::Open));
    cluster.leader(Some("n1"));
    assert_eq!((cluster.epoch(), cluster.standing()), (1, Standing::Proven));
    cluster.leader(None);
    cluster.change(Change::Config { paused: false });
    assert_eq!(cluster.standing(), Standing::LeaderGone);
}

#[test]
fn a_primary_without_a_record_is_proven_too() {
    let mut cluster = Cluster::led_by_n1(required());
    cluster.change(Change::Member(name("n1"), None));
    assert_eq!(cluster.standing(), Standing::Unproven);
    cluster.probe("n1", answered(false, 1));
    assert_eq!(cluster.primary().as_deref(), Ok("n1"));
}

// --- suspicion

#[test]
fn a_suspicion_holds_until_the_next_probe() {
    let mut cluster = Cluster::proven();
    let early = cluster.begin_probe("n1", answered(false, 1));
    let epoch = cluster.snapshot().epoch();
    assert!(cluster.apply(Event::Suspect { epoch: Epoch::NONE }).is_none());
    assert!(cluster.apply(Event::Suspect { epoch }).is_some());
    assert_eq!(
        (cluster.primary(), cluster.own_fence()),
        (Err(Refusal::PrimarySuspect), Fence::Held)
    );
    cluster.apply(Event::Probe(early));
    assert_eq!(cluster.standing(), Standing::Suspect, "begun before the suspicion");
    cluster.probe("n1", answered(false, 1));
    assert_eq!((cluster.epoch(), cluster.standing()), (1, Standing::Proven));
}

#[test]
fn one_suspicion_a_second_is_honoured() {
    let mut cluster = Cluster::proven();
    let epoch = cluster.snapshot().epoch();
    let suspect = |cluster: &mut Cluster| {
        let honoured = cluster.apply(Event::Suspect { epoch }).is_some();
        cluster.probe("n1", answered(false, 1));
        honoured
    };
    assert!(suspect(&mut cluster));
    assert!(!suspect(&mut cluster));
    cluster.pass(Duration::from_millis(999));
    assert!(!suspect(&mut cluster));
    cluster.pass(Duration::from_millis(1));
    assert!(suspect(&mut cluster));
}

#[test]
fn a_suspicion_that_is_right_closes_everything() {
    let mut cluster = Cluster::proven();
    cluster.apply(Event::Suspect { epoch: cluster.snapshot().epoch() });
    cluster.probe("n1", answered(true, 1));
    assert_eq!((cluster.standing(), cluster.own_fence()), (Standing::Recovering, Fence::Close));
}

// --- switchover

/// As measured: request, key deleted, key put, request taken away, promoted.
#[test]
fn a_switchover_holds_from_the_request_to_the_proof() {
    let mut cluster = Cluster::proven();
    let old = cluster.snapshot().epoch();
    cluster.change(request(Some("n1"), Some("n3"), None));
    assert_eq!(
        (cluster.primary(), cluster.own_fence()),
        (Err(Refusal::SwitchingOver), Fence::Held)
    );
    assert_eq!((successor(&cluster), candidates(&cluster)), (None, vec!["n3".into(), "n2".into()]));
    cluster.leader(None);
    assert_eq!(cluster.own_fence(), Fence::Held);
    let stopping = Member { state: NodeState::Stopping, ..member("n1", Role::Demoted, 1) };
    cluster.leader(Some("n3"));
    cluster.change(Change::Member(name("n1"), Some(stopping)));
    assert_eq!((cluster.epoch(), cluster.standing()), (2, Standing::Unproven));
    assert_eq!(cluster.fence(Access::ReadWrite, old, "n1"), Fence::Close);
    cluster.change(Change::FailoverRequest(None));
    cluster.probe("n3", answered(true, 1));
    cluster.probe("n3", answered(false, 2));
    assert_eq!((cluster.epoch(), cluster.primary().as_deref()), (2, Ok("n3")));
}

#[test]
fn a_request_that_is_taken_back_lets_go() {
    let mut cluster = Cluster::proven();
    cluster.change(request(Some("n1"), None, None));
    assert_eq!(cluster.standing(), Standing::SwitchingOver);
    cluster.change(Change::FailoverRequest(None));
    assert_eq!((cluster.standing(), cluster.machine.wake_at()), (Standing::Proven, None));
}

#[test]
fn a_request_that_comes_to_nothing_lets_go_and_is_not_believed_again() {
    let mut cluster = Cluster::proven();
    let stuck = request(None, Some("n2"), None);
    cluster.change(stuck.clone());
    assert_eq!(cluster.standing(), Standing::SwitchingOver);
    cluster.pass(Config::DRAIN_TIMEOUT - Duration::from_millis(1));
    cluster.apply(Event::Tick);
    assert_eq!(cluster.standing(), Standing::SwitchingOver);
    cluster.wake();
    assert_eq!((cluster.standing(), cluster.machine.wake_at()), (Standing::Proven, None));
    cluster.change(stuck.clone());
    cluster.leader(Some("n1"));
    assert_eq!(cluster.standing(), Standing::Proven);
    // Another one, or the same one asked for again, is.
    cluster.change(request(None, Some("n3"), None));
    assert_eq!(cluster.standing(), Standing::SwitchingOver);
    cluster.wake();
    cluster.change(Change::FailoverRequest(None));
    cluster.change(stuck);
    assert_eq!(cluster.standing(), Standing::SwitchingOver);
}

#[test]
fn requests_that_are_not_of_this_leader_hold_nobody() {
    let mut cluster = Cluster::proven();
    for (from, to) in [(Some("n2"), Some("n3")), (None, Some("n1")), (Some("n1"), Some("n1"))] {
        cluster.change(request(from, to, None));
        assert_eq!(cluster.standing(), Standing::Proven, "{from:?} {to:?}");
    }
    // Patroni carries manual switchovers out in maintenance mode too.
    cluster.change(Change::Config { paused: true });
    cluster.change(request(Some("n1"), None, None));
    assert_eq!(cluster.standing(), Standing::SwitchingOver);
}

#[test]
fn a_scheduled_request_takes_effect_in_time() {
    let mut cluster = Cluster::proven();
    // 2030-01-01, and 90 seconds before it.
    cluster.now.wall = UNIX_EPOCH + Duration::from_secs(1_893_456_000 - 90);
    cluster.change(request(Some("n1"), None, Some("2030-01-01T01:00:00+01:00")));
    assert_eq!(cluster.standing(), Standing::Proven);
    cluster.wake();
    assert_eq!(cluster.standing(), Standing::Proven, "the clock is looked at every minute");
    cluster.pass(Duration::from_millis(29_799));
    cluster.apply(Event::Tick);
    assert_eq!(cluster.standing(), Standing::Proven);
    cluster.wake();
    assert_eq!(cluster.standing(), Standing::SwitchingOver);
    for never in ["tomorrow", "2030-01-01T00:00:00"] {
        cluster.change(request(Some("n1"), None, Some(never)));
        assert_eq!((cluster.standing(), cluster.machine.wake_at()), (Standing::Proven, None));
    }
}

// --- who follows

#[test]
fn the_likeliest_candidates_come_first() {
    let mut cluster = Cluster::proven();
    cluster.member("n4", Role::Replica, 1);
    cluster.member("n5", Role::Replica, 1);
    assert_eq!(candidates(&cluster), ["n2", "n3", "n4", "n5"]);
    let synchronous = |leader: &str| {
        let standbys = ["n4", "n1"].map(name).into();
        Change::Sync(Synchronous { leader: Some(name(leader)), standbys })
    };
    cluster.change(synchronous("n9"));
    assert_eq!(candidates(&cluster), ["n2", "n3", "n4", "n5"], "written by another leader");
    cluster.change(synchronous("n1"));
    assert_eq!(candidates(&cluster), ["n4", "n2", "n3", "n5"]);
    assert!(cluster.snapshot().nodes()[3].sync);
    cluster.change(request(Some("n1"), Some("n5"), None));
    let tagged = Member { nofailover: true, ..member("n2", Role::Replica, 1) };
    cluster.change(Change::Member(name("n2"), Some(tagged)));
    assert_eq!(candidates(&cluster), ["n5", "n4", "n3"]);
    cluster.probe("n3", Outcome::Unreachable);
    assert_eq!(candidates(&cluster), ["n5", "n4"]);
}

// --- while the source is away

#[test]
fn what_others_say_counts_until_the_source_is_back() {
    let mut cluster = Cluster::proven();
    let said = |leader: Option<&str>, timeline| {
        let leader = leader.map(name);
        let mut state = SourceState { leader, ..SourceState::default() };
        state.members.insert(name("n2"), member("n2", Role::Primary, timeline));
        state
    };
    assert!(cluster.apply(Event::SecondHand(said(None, 1))).is_some(), "a newer record of n2");
    assert_eq!(
        (cluster.epoch(), cluster.snapshot().nodes().len()),
        (1, 3),
        "nothing is taken away"
    );
    cluster.apply(Event::SecondHand(said(Some("n2"), 2)));
    assert_eq!((cluster.epoch(), cluster.standing()), (2, Standing::Unproven));
    assert_eq!(cluster.snapshot().timeline(), Some(Timeline(2)));
    // A node that is cut off shows the time before.
    assert!(cluster.apply(Event::SecondHand(said(Some("n2"), 1))).is_none());

    let mut state = said(Some("n3"), 2);
    state.members.insert(name("n3"), member("n3", Role::Primary, 3));
    cluster.apply(Event::Resync { revision: Revision(cluster.revision + 5), state });
    assert_eq!((cluster.epoch(), cluster.snapshot().nodes().len()), (3, 2));
}

// --- Citus groups

#[test]
fn other_groups_are_shown_and_lead_nothing() {
    let mut cluster = Cluster::proven();
    let change = |group, revision, change| Event::GroupChange {
        group,
        revision: Revision(revision),
        change,
    };
    let worker = |timeline| Change::Member(name("w1"), Some(member("w1", Role::Primary, timeline)));
    cluster.apply(change(1, 20, worker(7)));
    cluster.apply(change(1, 21, Change::Leader(Some(name("w1")))));
    let [group] = cluster.snapshot().groups() else { panic!("one group") };
    assert_eq!((group.id, group.leader.clone(), group.nodes.len()), (1, Some(name("w1")), 1));
    assert_eq!((cluster.epoch(), cluster.standing()), (1, Standing::Proven));
    assert!(cluster.apply(change(1, 20, worker(6))).is_none(), "older than what is known");

    let state = SourceState {
        leader: Some(name("x1")),
        members: [(name("x1"), member("x1", Role::Primary, 1))].into(),
        ..SourceState::default()
    };
    let states: BTreeMap<_, _> = (2..1000).map(|group| (group, state.clone())).collect();
    cluster.apply(Event::Groups { revision: Revision(30), states });
    let groups = cluster.snapshot().groups();
    assert_eq!((groups.len(), groups[0].id), (Group::MAX, 2));
    assert!(cluster.apply(change(5000, 31, worker(1))).is_none(), "there is a limit");
    cluster.apply(Event::Groups { revision: Revision(32), states: BTreeMap::new() });
    assert!(cluster.snapshot().groups().is_empty());
    cluster.apply(change(4, 33, Change::Leader(None)));
    assert!(cluster.snapshot().groups().is_empty(), "a deletion makes no group");
}
