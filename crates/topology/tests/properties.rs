//! Properties of the machine under any sequence of events.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use topology::{
    Access, Address, Authority, Change, Event, Lsn, Machine, Member, NodeName, NodeState, Outcome,
    Probe, Replay, Revision, Role, Snapshot, SourceState, Switchover, Timeline,
};

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
    (address(), role, state, timeline(), replay, any::<bool>()).prop_map(
        |(address, role, state, timeline, replay, noloadbalance)| Member {
            address,
            role,
            state,
            timeline,
            replay,
            noloadbalance,
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let request = prop::option::of(name()).prop_map(|to| {
        Change::FailoverRequest(to.map(|to| Switchover {
            from: None,
            to: Some(to),
            scheduled_at: None,
        }))
    });
    prop_oneof![
        3 => prop::option::weighted(0.8, name()).prop_map(Change::Leader),
        5 => (name(), prop::option::weighted(0.8, member()))
            .prop_map(|(name, member)| Change::Member(name, member)),
        1 => prop::option::of((0..99_u64).prop_map(Lsn)).prop_map(Change::Status),
        1 => any::<bool>().prop_map(|paused| Change::Config { paused }),
        1 => request,
    ]
}

fn probe() -> impl Strategy<Value = Probe> {
    let outcome = prop_oneof![
        1 => Just(Outcome::Unreachable),
        4 => (any::<bool>(), timeline()).prop_map(|(in_recovery, timeline)| Outcome::Answered {
            in_recovery,
            timeline,
            position: None
        }),
    ];
    (name(), address(), outcome).prop_map(|(node, address, outcome)| Probe {
        node,
        address,
        outcome,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let revision = || (0..40_u64).prop_map(Revision);
    let state = prop::collection::vec(change(), 0..8).prop_map(|changes| state_after(&changes));
    prop_oneof![
        6 => (revision(), change()).prop_map(|(revision, change)| Event::Change { revision, change }),
        3 => probe().prop_map(Event::Probe),
        1 => (revision(), state).prop_map(|(revision, state)| Event::Resync { revision, state }),
    ]
}

fn authority() -> impl Strategy<Value = Authority> {
    prop_oneof![Just(Authority::LeaderKey), Just(Authority::Probes)]
}

fn state_after(changes: &[Change]) -> SourceState {
    let mut state = SourceState::default();
    changes.iter().cloned().for_each(|change| state.apply(change));
    state
}

/// What of a snapshot depends on the source's state alone, not on the way there.
fn settled(snapshot: &Snapshot) -> impl PartialEq + std::fmt::Debug {
    let nodes: Vec<_> = snapshot
        .nodes()
        .iter()
        .map(|n| (n.name.clone(), n.address.clone(), n.role, n.state, n.timeline, n.noloadbalance))
        .collect();
    (nodes, snapshot.leader().cloned(), snapshot.paused(), snapshot.switchover().cloned())
}

fn of_state(state: &SourceState) -> Machine {
    let mut machine = Machine::new(Authority::LeaderKey);
    machine.apply(Event::Resync { revision: Revision(1), state: state.clone() });
    machine
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn epochs_and_timelines_never_go_back(
        authority in authority(),
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut machine = Machine::new(authority);
        let mut last = machine.snapshot().clone();
        for event in events {
            let before = last.clone();
            if let Some(next) = machine.apply(event) {
                prop_assert_ne!(&*next, &*before);
                last = next;
            }
            prop_assert!(last.epoch() >= before.epoch());
            prop_assert!(last.epoch().get() <= before.epoch().get() + 2);
            prop_assert!(last.timeline() >= before.timeline());
            prop_assert_eq!(&last, machine.snapshot());
        }
    }

    #[test]
    fn an_epoch_has_one_writable_node(
        authority in authority(),
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut machine = Machine::new(authority);
        let mut writable: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for event in events {
            machine.apply(event);
            let snapshot = machine.snapshot();
            if let Ok(route) = snapshot.route(Access::ReadWrite) {
                prop_assert_eq!(route.nodes.len(), 1);
                let node = &route.nodes[0];
                prop_assert_eq!(Some(node), snapshot.primary());
                let seen = writable.entry(route.epoch).or_default();
                seen.insert((node.name.clone(), node.address.clone()));
                prop_assert_eq!(seen.len(), 1);
            }
            for access in [Access::Any, Access::ReadOnly] {
                prop_assert!(snapshot.route(access).is_ok_and(|r| !r.nodes.is_empty())
                    || snapshot.route(access).is_err());
            }
        }
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

        let mut machine = Machine::new(Authority::LeaderKey);
        for (_, (revision, change)) in keyed {
            machine.apply(Event::Change { revision: Revision(revision), change });
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
        let mut machine = Machine::new(Authority::LeaderKey);
        for (at, change) in changes.iter().enumerate() {
            if at >= read || seen[at] {
                let revision = Revision(at as u64 + 1);
                machine.apply(Event::Change { revision, change: change.clone() });
            }
        }
        let state = state_after(&changes[..read]);
        machine.apply(Event::Resync { revision: Revision(read as u64), state });
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
    };
    let mut machine = Machine::new(Authority::LeaderKey);
    for n in 0..2000 {
        let name = NodeName::new(&format!("n{n}")).unwrap();
        let change = Change::Member(name, Some(member.clone()));
        machine.apply(Event::Change { revision: Revision(n + 1), change });
    }
    assert_eq!(machine.snapshot().nodes().len(), SourceState::MEMBERS_MAX);
}
