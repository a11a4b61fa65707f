//! Orders of operators: what each command changes, and what becomes of servers.

#[expect(dead_code, reason = "each test file needs a part of it")]
mod cluster;

use std::sync::Arc;

use cluster::{Cluster, by_login, name};
use proptest::prelude::*;
use topology::{Access, Command, Event, Fence, Order, OrderError, Orders, Role, Target};

fn of(database: &str) -> Target {
    Target::Database(database.into())
}

/// The orders after all of `commands`, none of which fails.
fn ordered(cluster: &Cluster, commands: &[Command]) -> Orders {
    commands.iter().fold(Orders::default(), |orders, command| {
        orders.after(command.clone(), cluster.snapshot()).expect("it makes sense")
    })
}

fn give(cluster: &mut Cluster, orders: &Orders) {
    cluster.apply(Event::Orders(Arc::new(orders.clone()))).expect("they are newer");
}

#[test]
fn a_pause_is_of_all_or_of_one_and_ends_as_it_began() {
    let cluster = Cluster::led_by_n1(by_login());
    let after = |orders: &Orders, command| orders.after(command, cluster.snapshot());
    let none = Orders::default();
    assert_eq!(after(&none, Command::Resume(Target::All)), Err(OrderError::NotPaused));
    let error = OrderError::DatabaseNotPaused("a".into());
    assert_eq!(after(&none, Command::Resume(of("a"))), Err(error.clone()));

    let one = after(&none, Command::Pause(of("a"))).unwrap();
    assert!(one.of("a").is_paused && !one.of("b").is_paused);
    let all = after(&one, Command::Pause(Target::All)).unwrap();
    assert!(all.of("b").is_paused);
    assert_eq!(after(&all, Command::Pause(Target::All)), Err(OrderError::AlreadyPaused));

    let one = after(&all, Command::Resume(Target::All)).unwrap();
    assert!(one.of("a").is_paused && !one.of("b").is_paused);
    let none = after(&one, Command::Resume(of("a"))).unwrap();
    assert_eq!(none.of("a"), Order::default());
    assert_eq!(none.revision(), 4);
    assert_eq!(after(&none, Command::Resume(of("a"))), Err(error));
}

#[test]
fn servers_are_closed_by_when_they_were_opened() {
    let cluster = Cluster::led_by_n1(by_login());
    let orders = ordered(
        &cluster,
        &[Command::Reconnect(of("a")), Command::Kill(of("b")), Command::Resume(of("b"))],
    );
    let fence = |database, born| orders.of(database).fence(born, Fence::Open);
    assert_eq!([fence("a", 0), fence("a", 1)], [Fence::Retire, Fence::Open]);
    assert_eq!([fence("b", 1), fence("b", 2)], [Fence::Close, Fence::Open]);
    assert_eq!(fence("c", 0), Fence::Open);
    let paused = ordered(&cluster, &[Command::Pause(Target::All)]);
    for (fence, becomes) in [
        (Fence::Open, Fence::Retire),
        (Fence::Held, Fence::Retire),
        (Fence::Retire, Fence::Retire),
        (Fence::Close, Fence::Close),
    ] {
        assert_eq!(paused.of("a").fence(9, fence), becomes);
    }
}

#[test]
fn a_drained_node_serves_nothing_unless_it_becomes_the_primary() {
    let mut cluster = Cluster::led_by_n1(by_login());
    let none = Orders::default();
    let drain =
        |node: &str, cluster: &Cluster| none.after(Command::Drain(name(node)), cluster.snapshot());
    assert_eq!(drain("n1", &cluster), Err(OrderError::IsPrimary(name("n1"))));
    assert_eq!(drain("n9", &cluster), Err(OrderError::NoNode(name("n9"))));

    let epoch = cluster.snapshot().epoch();
    let orders = drain("n2", &cluster).unwrap();
    give(&mut cluster, &orders);
    assert_eq!(cluster.route(Access::ReadOnly).unwrap(), ["n3"]);
    assert_eq!(cluster.route(Access::Any).unwrap(), ["n1", "n3"]);
    assert_eq!(cluster.fence(Access::ReadOnly, epoch, "n2"), Fence::Retire);
    let next: Vec<_> = cluster.snapshot().candidates().iter().map(|n| n.name.clone()).collect();
    assert_eq!(next, [name("n3")]);

    cluster.member("n1", Role::Demoted, 1);
    cluster.leader(Some("n2"));
    assert_eq!(cluster.primary().as_deref(), Ok("n2"));
    assert_eq!(cluster.route(Access::Any).unwrap(), ["n2", "n3"]);

    let orders = orders.after(Command::Undrain(name("n2")), cluster.snapshot()).unwrap();
    assert_eq!(
        orders.after(Command::Undrain(name("n2")), cluster.snapshot()),
        Err(OrderError::NotDrained(name("n2")))
    );
}

#[test]
fn orders_outlive_what_the_source_says_and_older_ones_are_ignored() {
    let mut cluster = Cluster::led_by_n1(by_login());
    let first = ordered(&cluster, &[Command::Pause(Target::All)]);
    let second = first.after(Command::Resume(Target::All), cluster.snapshot()).unwrap();
    give(&mut cluster, &second);
    assert!(cluster.apply(Event::Orders(Arc::new(first))).is_none());
    cluster.leader(None);
    cluster.leader(Some("n2"));
    assert_eq!(**cluster.snapshot().orders(), second);
}

#[test]
fn no_more_databases_are_remembered_than_may_be() {
    let cluster = Cluster::led_by_n1(by_login());
    let mut orders = Orders::default();
    for at in 0..Orders::DATABASES_MAX {
        let command = Command::Disable(at.to_string().into());
        orders = orders.after(command, cluster.snapshot()).unwrap();
    }
    let more = |command| orders.after(command, cluster.snapshot());
    assert_eq!(more(Command::Disable("more".into())), Err(OrderError::TooMany));
    let fewer = more(Command::Enable("7".into())).unwrap();
    assert!(fewer.after(Command::Disable("more".into()), cluster.snapshot()).is_ok());
}

fn command() -> impl Strategy<Value = Command> {
    let database = || prop::sample::select(vec!["a", "b"]).prop_map(Arc::from);
    let target = || prop_oneof![Just(Target::All), database().prop_map(Target::Database)];
    let node = || prop::sample::select(vec!["n1", "n2", "n9"]).prop_map(name);
    prop_oneof![
        database().prop_map(Command::Disable),
        database().prop_map(Command::Enable),
        node().prop_map(Command::Drain),
        node().prop_map(Command::Undrain),
        target().prop_map(Command::Kill),
        target().prop_map(Command::Pause),
        target().prop_map(Command::Reconnect),
        target().prop_map(Command::Resume),
    ]
}

proptest! {
    /// Whatever was ordered: a server from before a kill is never kept, revisions only grow, and
    /// after both resumes nothing is paused.
    #[test]
    fn orders_hold(commands in prop::collection::vec(command(), 0..40)) {
        let cluster = Cluster::led_by_n1(by_login());
        let mut orders = Orders::default();
        for command in commands {
            let Ok(next) = orders.after(command.clone(), cluster.snapshot()) else { continue };
            prop_assert_eq!(next.revision(), orders.revision() + 1);
            let killed = match &command {
                Command::Kill(Target::All) => &["a", "b", "c"][..],
                Command::Kill(Target::Database(name)) if **name == *"a" => &["a"],
                Command::Kill(Target::Database(_)) => &["b"],
                _ => &[],
            };
            for database in killed {
                let order = next.of(database);
                prop_assert_eq!(order.fence(orders.revision(), Fence::Open), Fence::Close);
                prop_assert!(order.is_paused);
            }
            for database in ["a", "b", "c"] {
                let (before, after) = (orders.of(database), next.of(database));
                prop_assert!(before.kill <= after.kill && before.renew <= after.renew);
            }
            orders = next;
        }
        for target in [Target::All, of("a"), of("b")] {
            if let Ok(next) = orders.after(Command::Resume(target), cluster.snapshot()) {
                orders = next;
            }
        }
        prop_assert!(["a", "b", "c"].iter().all(|database| !orders.of(database).is_paused));
    }
}
