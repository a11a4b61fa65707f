//! Properties of the machine under any sequence of events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::sample::Index;
use topology::{
    Access, Address, Authority, Change, Config, Epoch, Event, Fallback, Fence, Group, Lsn, Machine,
    Member, Node, NodeName, NodeState, Now, Outcome, Probe, Proof, Replay, Revision, Role, Round,
    RoutePolicy, Snapshot, SourceState, Standing, Switchover, Synchronous, Timeline,
};

/// The wall clock when a run begins; a switchover may be scheduled for a little later.
const WALL: u64 = 1_893_456_000;

fn name() -> impl Strategy<Value = NodeName> {
    (1..5_u8).prop_map(|n| NodeName::new(&format!("n{n}")).expect("a name"))
}

fn address() -> impl Strategy<Value = Address> {
    (1..4_u16).prop_map(|port| Address::new("h", port).expect("an address"))
}

fn timeline() -> impl Strategy<Value = Option<Timeline>> {
    prop::option::of((1..5_u32).prop_map(Timeline))
}

fn member() -> impl Strategy<Value = Member> {
    let role = prop_oneof![
        Just(Role::Primary),
        Just(Role::Replica),
        Just(Role::Demoted),
        Just(Role::StandbyLeader),
        Just(Role::Other)
    ];
    let state =
        prop_oneof![Just(NodeState::Running), Just(NodeState::Stopped), Just(NodeState::Unknown)];
    let replay = prop_oneof![
        Just(Replay::Unknown),
        (0..99_u64).prop_map(Replay::Behind),
        (0..99_u64).prop_map(|n| Replay::At(Lsn(n)))
    ];
    (address(), role, state, timeline(), replay, any::<bool>(), any::<bool>()).prop_map(
        |(address, role, state, timeline, replay, noloadbalance, nofailover)| Member {
            address,
            role,
            state,
            timeline,
            replay,
            noloadbalance,
            nofailover,
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let at = prop_oneof![
        2 => Just(None),
        1 => (0..60_u64, 0..60_u64)
            .prop_map(|(m, s)| Some(format!("2030-01-01T00:{m:02}:{s:02}Z").into())),
        1 => Just(Some("soon".into())),
    ];
    let asked = (prop::option::of(name()), prop::option::of(name()), at)
        .prop_map(|(from, to, scheduled_at)| Switchover { from, to, scheduled_at });
    let request = prop::option::weighted(0.7, asked).prop_map(Change::FailoverRequest);
    let sync = (prop::option::of(name()), prop::collection::vec(name(), 0..3)).prop_map(
        |(leader, standbys)| Change::Sync(Synchronous { leader, standbys: standbys.into() }),
    );
    prop_oneof![
        3 => prop::option::weighted(0.8, name()).prop_map(Change::Leader),
        5 => (name(), prop::option::weighted(0.8, member()))
            .prop_map(|(name, member)| Change::Member(name, member)),
        1 => prop::option::of((0..99_u64).prop_map(Lsn)).prop_map(Change::Status),
        1 => any::<bool>().prop_map(|paused| Change::Config { paused }),
        1 => request,
        1 => sync,
    ]
}

/// A probe of which only the machine can tell when it was begun: some rounds ago.
#[derive(Clone, Debug)]
struct Answer {
    node: NodeName,
    address: Address,
    begun: Index,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Step {
    Answer(Answer),
    Event(Event),
    /// Of the current epoch, or of an early one.
    Suspect(bool),
    Wait(Duration),
}

fn answer() -> impl Strategy<Value = Answer> {
    let outcome = prop_oneof![
        1 => Just(Outcome::Unreachable),
        1 => Just(Outcome::Refused),
        1 => Just(Outcome::Gone),
        6 => (any::<bool>(), timeline()).prop_map(|(in_recovery, timeline)| Outcome::Answered {
            in_recovery,
            timeline,
            position: None
        }),
    ];
    (name(), address(), any::<Index>(), outcome)
        .prop_map(|(node, address, begun, outcome)| Answer { node, address, begun, outcome })
}

fn state() -> impl Strategy<Value = SourceState> {
    prop::collection::vec(change(), 0..8).prop_map(|changes| state_after(&changes))
}

fn step() -> impl Strategy<Value = Step> {
    let revision = || (0..40_u64).prop_map(Revision);
    let group = (0..3_u32, revision(), change())
        .prop_map(|(group, revision, change)| Event::GroupChange { group, revision, change });
    let groups = prop::collection::btree_map(0..3_u32, state(), 0..3);
    let event = prop_oneof![
        12 => (revision(), change()).prop_map(|(revision, change)| Event::Change { revision, change }),
        2 => (revision(), state()).prop_map(|(revision, state)| Event::Resync { revision, state }),
        1 => state().prop_map(Event::SecondHand),
        1 => group,
        1 => (revision(), groups).prop_map(|(revision, states)| Event::Groups { revision, states }),
    ];
    prop_oneof![
        8 => event.prop_map(Step::Event),
        6 => answer().prop_map(Step::Answer),
        1 => any::<bool>().prop_map(Step::Suspect),
        2 => (0..20_000_u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..100)
}

fn config() -> impl Strategy<Value = (Authority, Config)> {
    let authority = prop_oneof![3 => Just(Authority::LeaderKey), 1 => Just(Authority::Probes)];
    let proof = prop_oneof![Just(Proof::ByLogin), Just(Proof::Required)];
    let lag = prop::option::of(0..99_u64);
    let fallback = prop_oneof![Just(Fallback::None), Just(Fallback::Primary)];
    (authority, proof, lag, fallback).prop_map(
        |(authority, proof, max_replica_lag, replica_fallback)| {
            (
                authority,
                Config {
                    proof,
                    routes: RoutePolicy { max_replica_lag, replica_fallback },
                    ..Config::default()
                },
            )
        },
    )
}

fn clocks() -> Now {
    Now { monotonic: Duration::ZERO, wall: UNIX_EPOCH + Duration::from_secs(WALL) }
}

/// A machine on clocks of its own, and what happened to it.
struct Run {
    machine: Machine,
    now: Now,
    rounds: Vec<Round>,
    /// The rounds in which the primary answered that it takes writes, or that only a login tells.
    answered: BTreeSet<Round>,
}

impl Run {
    fn new((authority, config): (Authority, Config)) -> Self {
        let machine = Machine::new(authority, config);
        let rounds = vec![machine.snapshot().round()];
        Self { machine, now: clocks(), rounds, answered: BTreeSet::new() }
    }

    fn apply(&mut self, event: Event) {
        let before = self.machine.snapshot().clone();
        match self.machine.apply(event, self.now) {
            Some(next) => {
                assert_ne!(*next, *before);
                assert_eq!(&next, self.machine.snapshot());
            }
            None => assert_eq!(&before, self.machine.snapshot()),
        }
        let round = self.machine.snapshot().round();
        if self.rounds.last() != Some(&round) {
            self.rounds.push(round);
        }
    }

    fn answer(&mut self, answer: Answer) {
        let Answer { node, address, begun, outcome } = answer;
        // Every other one is of the current round.
        let round = *begun.get(&self.rounds);
        let round = if begun.index(2) == 0 { self.machine.snapshot().round() } else { round };
        let before = self.machine.snapshot().clone();
        let probe = Probe { node: node.clone(), address: address.clone(), round, outcome };
        self.apply(Event::Probe(probe));
        let snapshot = self.machine.snapshot();
        // Where probes elect, one of any round may begin a tenure.
        let current = round == before.round() || snapshot.epoch() != before.epoch();
        let is_primary = |p: &Arc<Node>| p.name == node && p.address == address;
        if !current || !snapshot.primary().is_some_and(is_primary) {
            return;
        }
        match outcome {
            Outcome::Answered { in_recovery: false, .. } | Outcome::Refused => {
                self.answered.insert(snapshot.round());
            }
            Outcome::Answered { .. } | Outcome::Gone | Outcome::Unreachable => {}
        }
        if outcome != Outcome::Unreachable {
            assert_ne!(snapshot.standing(), Standing::Suspect, "an answer ends a suspicion");
        }
    }

    /// A probe of now.
    fn probe(&mut self, node: &Node, outcome: Outcome) {
        let (name, address) = (node.name.clone(), node.address.clone());
        let round = self.machine.snapshot().round();
        self.apply(Event::Probe(Probe { node: name, address, round, outcome }));
    }

    /// The primary answers that it takes writes on the highest timeline.
    fn prove(&mut self, primary: &Node) -> Arc<Snapshot> {
        let timeline = self.machine.snapshot().timeline().or(Some(Timeline(1)));
        self.probe(primary, Outcome::Answered { in_recovery: false, timeline, position: None });
        self.machine.snapshot().clone()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Answer(answer) => self.answer(answer),
            Step::Event(event) => self.apply(event),
            Step::Suspect(current) => {
                let epoch = if current { self.machine.snapshot().epoch() } else { Epoch::NONE };
                self.apply(Event::Suspect { epoch });
            }
            Step::Wait(time) => {
                self.now.monotonic += time;
                self.now.wall += time;
                self.apply(Event::Tick);
            }
        }
    }

    /// Goes on in time for as long as the machine wants to be woken.
    fn settle(&mut self) {
        for _ in 0..200 {
            let Some(at) = self.machine.wake_at() else { return };
            self.step(Step::Wait(at.saturating_sub(self.now.monotonic)));
        }
        panic!("it wants to be woken for ever");
    }
}

fn state_after(changes: &[Change]) -> SourceState {
    let mut state = SourceState::default();
    changes.iter().cloned().for_each(|change| state.apply(change));
    state
}

/// What of a snapshot depends on the source's state alone, not on the way there. Without a leader
/// key the last primary stays, and who is synchronous to it.
fn settled(snapshot: &Snapshot) -> impl PartialEq + std::fmt::Debug {
    let sync = |n: &Node| snapshot.leader().is_some() && n.sync;
    let nodes: Vec<_> = snapshot
        .nodes()
        .iter()
        .map(|n| {
            let tags = (n.noloadbalance, n.nofailover, sync(n));
            (n.name.clone(), n.address.clone(), n.role, n.state, n.timeline, tags)
        })
        .collect();
    let groups: Vec<Group> = snapshot.groups().to_vec();
    let request = snapshot.switchover().cloned();
    (nodes, snapshot.leader().cloned(), snapshot.paused(), request, groups)
}

fn of_state(state: &SourceState) -> Machine {
    let mut machine = Machine::new(Authority::LeaderKey, Config::default());
    machine.apply(Event::Resync { revision: Revision(1), state: state.clone() }, clocks());
    machine
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn epochs_timelines_and_rounds_never_go_back(config in config(), steps in steps()) {
        let mut run = Run::new(config);
        for step in steps {
            let before = run.machine.snapshot().clone();
            run.step(step);
            let after = run.machine.snapshot();
            prop_assert!(after.epoch() >= before.epoch());
            prop_assert!(after.epoch().get() <= before.epoch().get() + 2);
            prop_assert!(after.timeline() >= before.timeline());
            prop_assert!(after.round() >= before.round());
            prop_assert!(after.round() > before.round() || after.epoch() == before.epoch());
        }
    }

    #[test]
    fn an_epoch_has_one_writable_node_and_it_has_proven_itself(
        config in config(),
        steps in steps(),
    ) {
        let proof = config.1.proof;
        let mut run = Run::new(config);
        let mut writable: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for step in steps {
            run.step(step);
            let snapshot = run.machine.snapshot();
            let Ok(route) = snapshot.route(Access::ReadWrite) else { continue };
            prop_assert_eq!(route.nodes.len(), 1);
            let node = &route.nodes[0];
            prop_assert_eq!(Some(node), snapshot.primary());
            let seen = writable.entry(route.epoch).or_default();
            seen.insert((node.name.clone(), node.address.clone()));
            prop_assert_eq!(seen.len(), 1);
            prop_assert!(proof == Proof::ByLogin || run.answered.contains(&snapshot.round()));
            prop_assert!(matches!(snapshot.standing(), Standing::Named | Standing::Proven));
        }
    }

    #[test]
    fn fences_agree_with_routes(config in config(), steps in steps()) {
        let mut run = Run::new(config);
        let mut epochs = BTreeSet::from([Epoch::NONE]);
        for step in steps {
            run.step(step);
            let snapshot = run.machine.snapshot();
            epochs.insert(snapshot.epoch());
            for port in 1..5 {
                let address = Address::new("h", port).expect("an address");
                let routed = |access| {
                    snapshot.route(access).is_ok_and(|r| r.nodes.iter().any(|n| n.address == address))
                };
                for epoch in &epochs {
                    let fence = snapshot.fence(Access::ReadWrite, *epoch, &address);
                    let open = routed(Access::ReadWrite) && *epoch == snapshot.epoch();
                    prop_assert_eq!(fence == Fence::Open, open);
                    prop_assert_ne!(fence, Fence::Retire);
                    prop_assert!(*epoch == snapshot.epoch() || fence == Fence::Close);
                }
                for access in [Access::Any, Access::ReadOnly] {
                    let fence = snapshot.fence(access, snapshot.epoch(), &address);
                    prop_assert_eq!(fence == Fence::Open, routed(access));
                    prop_assert_ne!(fence, Fence::Held);
                    let known = snapshot.nodes().iter().any(|n| n.address == address);
                    prop_assert!(!known || fence != Fence::Close);
                }
            }
            let primary = snapshot.primary().map(|node| &node.name);
            for node in snapshot.candidates() {
                prop_assert!(Some(&node.name) != primary && !node.nofailover);
            }
        }
    }

    #[test]
    fn every_drain_ends_and_then_silence_changes_nothing(config in config(), steps in steps()) {
        let mut run = Run::new(config);
        steps.into_iter().for_each(|step| run.step(step));
        run.settle();
        let settled = run.machine.snapshot().clone();
        prop_assert_ne!(settled.standing(), Standing::SwitchingOver);
        run.step(Step::Wait(Duration::from_secs(3600)));
        prop_assert_eq!(&settled, run.machine.snapshot());
        prop_assert_eq!(run.machine.wake_at(), None);
    }

    #[test]
    fn an_answer_of_now_ends_every_suspicion(config in config(), steps in steps()) {
        let mut run = Run::new(config);
        for step in steps {
            run.step(step);
            let snapshot = run.machine.snapshot().clone();
            if snapshot.standing() == Standing::Suspect {
                let proven = run.prove(snapshot.primary().expect("a primary"));
                prop_assert_eq!(proven.standing(), Standing::Proven);
            }
        }
    }

    #[test]
    fn no_record_up_to_the_proven_timeline_suspends_a_primary(
        config in config(),
        steps in steps(),
        later in prop::collection::vec((member(), prop::option::of(step())), 1..20),
    ) {
        let mut run = Run::new(config);
        steps.into_iter().for_each(|step| run.step(step));
        for (revision, (record, step)) in (99..).zip(later) {
            step.into_iter().for_each(|step| run.step(step));
            let Some(primary) = run.machine.snapshot().primary().cloned() else { continue };
            let proven = run.prove(&primary);
            if proven.standing() != Standing::Proven || record.role == Role::StandbyLeader {
                continue;
            }
            let timeline = record.timeline.min(proven.timeline());
            let record = Member { address: primary.address.clone(), timeline, ..record };
            let change = Change::Member(primary.name.clone(), Some(record));
            run.apply(Event::Change { revision: Revision(revision), change });
            let after = run.machine.snapshot().clone();
            prop_assert_eq!((after.epoch(), after.standing()), (proven.epoch(), Standing::Proven));
            run.probe(&primary, Outcome::Unreachable);
            let silent = run.machine.snapshot();
            // Where probes elect, this may have been the last that was waited for.
            let elected = silent.epoch() != proven.epoch();
            prop_assert!(elected || silent.standing() == Standing::Proven);
        }
    }

    #[test]
    fn a_whole_read_ends_whatever_went_before(steps in steps(), state in state()) {
        let mut run = Run::new((Authority::LeaderKey, Config::default()));
        // No probes: a role is what the record says until a probe says otherwise.
        for step in steps.into_iter().filter(|step| !matches!(step, Step::Answer(_))) {
            run.step(step);
        }
        run.apply(Event::Groups { revision: Revision(99), states: BTreeMap::new() });
        run.apply(Event::Resync { revision: Revision(99), state: state.clone() });
        run.settle();
        let direct = of_state(&state);
        prop_assert_eq!(settled(run.machine.snapshot()), settled(direct.snapshot()));
    }

    #[test]
    fn reordered_and_duplicate_changes_converge(
        changes in prop::collection::vec(change(), 1..30),
        picks in prop::collection::vec(any::<Index>(), 0..60),
        order in any::<u64>(),
    ) {
        let mut numbered: Vec<_> = (1_u64..).zip(changes.iter().cloned()).collect();
        let twice: Vec<_> = picks.iter().map(|pick| pick.get(&numbered).clone()).collect();
        numbered.extend(twice);
        // A fixed shuffle by a multiplicative hash of the position.
        let mut keyed: Vec<_> = numbered.into_iter().enumerate().collect();
        keyed.sort_by_key(|(at, _)| (*at as u64 ^ order).wrapping_mul(0x9E37_79B9_7F4A_7C15));

        let mut machine = Machine::new(Authority::LeaderKey, Config::default());
        for (_, (revision, change)) in keyed {
            machine.apply(Event::Change { revision: Revision(revision), change }, clocks());
        }
        let direct = of_state(&state_after(&changes));
        prop_assert_eq!(settled(machine.snapshot()), settled(direct.snapshot()));
    }

    #[test]
    fn a_whole_read_repairs_whatever_was_missed(
        changes in prop::collection::vec(change(), 1..30),
        seen in prop::collection::vec(any::<bool>(), 30),
        read_at in any::<Index>(),
    ) {
        // The read is of revision `read`, but comes after the watch has delivered later changes.
        let read = read_at.index(changes.len() + 1);
        let mut machine = Machine::new(Authority::LeaderKey, Config::default());
        for (at, change) in changes.iter().enumerate() {
            if at >= read || seen[at] {
                let revision = Revision(at as u64 + 1);
                machine.apply(Event::Change { revision, change: change.clone() }, clocks());
            }
        }
        let state = state_after(&changes[..read]);
        machine.apply(Event::Resync { revision: Revision(read as u64), state }, clocks());
        let direct = of_state(&state_after(&changes));
        prop_assert_eq!(settled(machine.snapshot()), settled(direct.snapshot()));
    }
}

#[test]
fn members_are_bounded() {
    let member = Member {
        address: Address::new("h", 1).unwrap(),
        role: Role::Replica,
        state: NodeState::Running,
        timeline: None,
        replay: Replay::Unknown,
        noloadbalance: false,
        nofailover: false,
    };
    let mut machine = Machine::new(Authority::LeaderKey, Config::default());
    for n in 0..2000 {
        let name = NodeName::new(&format!("n{n}")).unwrap();
        let change = Change::Member(name, Some(member.clone()));
        machine.apply(Event::Change { revision: Revision(n + 1), change }, clocks());
    }
    assert_eq!(machine.snapshot().nodes().len(), SourceState::MEMBERS_MAX);
}
