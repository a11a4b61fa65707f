//! The core under a scripted and a random sequence of events.

use std::cell::Cell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::RETRY_MAX;

#[path = "resettle_tests.rs"]
mod resettle;

#[derive(Debug, PartialEq)]
struct Fake {
    id: u64,
    expires: Instant,
    load: usize,
    spare: bool,
}

#[derive(Debug, Clone)]
struct Client {
    got: Rc<Cell<Option<u64>>>,
    gone: Rc<Cell<bool>>,
}

impl Client {
    fn new() -> Self {
        Self { got: Rc::new(Cell::new(None)), gone: Rc::new(Cell::new(false)) }
    }
}

impl Member for Fake {
    fn id(&self) -> u64 {
        self.id
    }
    fn expires(&self) -> Instant {
        self.expires
    }
    fn load(&self) -> usize {
        self.load
    }
    fn lend(&mut self, spare: bool) {
        self.spare = spare;
    }
}

impl Waiter<Fake> for Client {
    fn give(self, server: Fake) -> Result<(), Fake> {
        if self.gone.get() {
            return Err(server);
        }
        self.got.set(Some(server.id));
        Ok(())
    }
    fn is_gone(&self) -> bool {
        self.gone.get()
    }
}

const IDLE: Duration = Duration::from_secs(600);

fn fake(id: u64, now: Instant) -> Fake {
    Fake { id, expires: now + Duration::from_secs(3600), load: 0, spare: false }
}

fn core(size: usize, reserve_size: usize, min_size: usize) -> Core<Fake, Client> {
    Core::new(Config { size, reserve_size, min_size, ..Config::default() })
}

#[test]
fn waiting_clients_are_served_in_order_and_nobody_overtakes_them() {
    let now = Instant::now();
    let mut core = core(1, 0, 0);
    let clients = [Client::new(), Client::new(), Client::new()];
    for client in &clients {
        core.wait(client.clone(), now);
    }
    assert_eq!(core.plan(now, true).connect, 1);
    core.connected(fake(1, now), now, IDLE);
    assert_eq!(clients[0].got.get(), Some(1));
    assert!(core.take().is_none());
    clients[1].gone.set(true);
    core.left();
    core.put(fake(1, now), now, IDLE);
    assert_eq!((clients[1].got.get(), clients[2].got.get()), (None, Some(1)));
    core.put(fake(1, now), now, IDLE);
    assert_eq!(core.take(), Some(fake(1, now)));
}

#[test]
fn the_server_used_last_is_lent_unless_they_are_shuffled() {
    let now = Instant::now();
    for (lending, wanted) in
        [(Lending::LastUsed, [3, 3, 3]), (Lending::LeastRecentlyUsed, [1, 2, 3])]
    {
        let config = Config { lending, ..Config::default() };
        let mut core: Core<Fake, Client> = Core::new(config);
        let clients: Vec<_> = (0..3).map(|_| Client::new()).collect();
        for client in &clients {
            core.wait(client.clone(), now);
        }
        assert_eq!(core.plan(now, true).connect, 3);
        (1..=3).for_each(|id| core.connected(fake(id, now), now, IDLE));
        (1..=3).for_each(|id| core.put(fake(id, now), now, IDLE));
        for (turn, id) in wanted.into_iter().enumerate() {
            let random = u64::try_from(turn).unwrap();
            let server = if turn == 2 { core.take_spread(random) } else { core.take() };
            assert_eq!(server.as_ref().map(|server| server.id), Some(id), "{lending:?}");
            core.put(server.unwrap(), now, IDLE);
        }
        // As in the race in which one comes back before its client has queued.
        let late = Client::new();
        core.wait(late.clone(), now);
        assert_eq!(late.got.get(), Some(if lending == Lending::LastUsed { 3 } else { 1 }));
    }
}

#[test]
fn a_server_that_came_back_before_the_client_queued_is_the_clients() {
    let now = Instant::now();
    let mut core = core(1, 0, 0);
    core.wait(Client::new(), now);
    assert_eq!(core.plan(now, true).connect, 1);
    core.connected(fake(1, now), now, IDLE);
    let late = Client::new();
    assert!(core.take().is_none());
    core.put(fake(1, now), now, IDLE);
    core.wait(late.clone(), now);
    assert_eq!(late.got.get(), Some(1));
    let counts = core.counts(now);
    assert_eq!((counts.idle, counts.active, counts.waiting), (0, 1, 0));
}

#[test]
fn a_server_can_be_spared_while_there_is_another_or_room_for_one() {
    let now = Instant::now();
    let mut core = core(2, 1, 0);
    let clients: Vec<_> = (0..2).map(|_| Client::new()).collect();
    core.wait(clients[0].clone(), now);
    assert!(!core.can_spare(), "somebody waits");
    assert_eq!(core.plan(now, true).connect, 1);
    core.connected(fake(1, now), now, IDLE);
    assert!(core.can_spare(), "there is room");
    core.wait(clients[1].clone(), now);
    assert_eq!(core.plan(now, true).connect, 1);
    core.connected(fake(2, now), now, IDLE);
    assert!(!core.can_spare(), "the reserve is no room");
    core.put(fake(1, now), now, IDLE);
    assert!(core.can_spare(), "one is idle");
    let lent = core.take();
    assert_eq!(lent.map(|server| server.spare), Some(false));
    core.lost();
    core.put(fake(2, now), now, IDLE);
    let lent = core.take();
    assert_eq!(lent.map(|server| server.spare), Some(true));
    core.set_gate(Lends::NotNow, now);
    assert!(!core.can_spare());
}

#[test]
fn the_reserve_opens_only_after_its_timeout() {
    let now = Instant::now();
    let mut core = core(1, 1, 0);
    core.wait(Client::new(), now);
    assert_eq!(core.plan(now, true).connect, 1);
    core.connected(fake(1, now), now, IDLE);
    core.wait(Client::new(), now);
    let plan = core.plan(now, true);
    assert_eq!((plan.connect, plan.wake_at), (0, Some(now + Duration::from_secs(3))));
    assert_eq!(core.plan(now + Duration::from_secs(3), true).connect, 1);
}

#[test]
fn the_first_retry_comes_at_once_and_the_next_ones_later_one_at_a_time() {
    let now = Instant::now();
    let mut core = core(10, 0, 0);
    for _ in 0..3 {
        core.wait(Client::new(), now);
    }
    assert_eq!(core.plan(now, true).connect, 3);
    for _ in 0..3 {
        core.connect_failed(now, 0.0);
    }
    let plan = core.plan(now, true);
    assert_eq!(plan.connect, 0);
    let retry_at = plan.wake_at.unwrap();
    assert!(retry_at > now && retry_at < now + RETRY_MAX);
    assert_eq!(core.plan(retry_at, true).connect, 1);
}

#[test]
fn old_idle_servers_are_closed_down_to_min_size_and_expired_ones_below_it() {
    let now = Instant::now();
    let mut core = core(10, 0, 1);
    for _ in 0..3 {
        core.wait(Client::new(), now);
    }
    assert_eq!(core.plan(now, true).connect, 3);
    for id in 0..3 {
        core.connected(fake(id, now), now, IDLE);
    }
    for id in 0..3 {
        core.put(fake(id, now), now, IDLE);
    }
    let later = now + IDLE;
    assert_eq!(core.plan(later, true).close.len(), 2);
    let expired = core.plan(now + Duration::from_secs(3600), true);
    assert_eq!((expired.close.len(), expired.connect), (1, 1));
}

proptest! {
    /// Any sequence of events: limits hold, nothing leaks, nobody waits beside an idle server.
    #[test]
    fn no_sequence_breaks_the_arithmetic(events in prop::collection::vec(0..10_u8, 0..200)) {
        let mut now = Instant::now();
        let mut core = core(3, 2, 1);
        let mut lent: Vec<Fake> = Vec::new();
        let mut waiting: Vec<Client> = Vec::new();
        let (mut connecting, mut next) = (0_usize, 0_u64);
        let mut lends = Lends::Yes;
        for event in events {
            now += Duration::from_millis(700);
            match event {
                0 => match core.take() {
                    Some(server) => lent.push(server),
                    None => {
                        let client = Client::new();
                        core.wait(client.clone(), now);
                        waiting.push(client);
                    }
                },
                1 => {
                    if let Some(server) = lent.pop() {
                        core.put(server, now, IDLE);
                    }
                }
                2 => {
                    if lent.pop().is_some() {
                        core.lost();
                    }
                }
                3 => {
                    if connecting > 0 {
                        connecting -= 1;
                        next += 1;
                        core.connected(fake(next, now), now, IDLE);
                    }
                }
                4 => {
                    if connecting > 0 {
                        connecting -= 1;
                        core.connect_failed(now, 0.5);
                    }
                }
                5 => {
                    if let Some(client) = waiting.pop() {
                        client.gone.set(true);
                        core.left();
                    }
                }
                6..=8 => {
                    lends = [Lends::Yes, Lends::NotNow, Lends::Paused][usize::from(event) - 6];
                    core.set_gate(lends, now);
                }
                // The client that found nothing, and queues after something has come back.
                _ => {
                    let client = Client::new();
                    core.wait(client.clone(), now);
                    waiting.push(client);
                }
            }
            let plan = core.plan(now, lends != Lends::NotNow);
            prop_assert!(lends != Lends::Paused || plan.connect == 0);
            connecting += plan.connect;
            for (client, _) in plan.expired {
                client.gone.set(true);
            }
            waiting.retain(|client| !client.gone.get());
            waiting.retain(|client| match client.got.get() {
                Some(id) => { lent.push(fake(id, now)); false }
                None => true,
            });
            let counts = core.counts(now);
            prop_assert_eq!((counts.active, counts.connecting), (lent.len(), connecting));
            prop_assert_eq!(counts.waiting, waiting.len());
            prop_assert!(counts.idle + counts.active + counts.connecting <= 5);
            prop_assert!(counts.idle == 0 || counts.waiting == 0 || lends != Lends::Yes);
            prop_assert!(lends != Lends::NotNow || counts.is_holding);
            prop_assert_eq!(counts.is_paused, lends == Lends::Paused);
            prop_assert!(!(counts.is_paused && counts.is_holding));
        }
    }
}

#[test]
fn a_shut_gate_holds_clients_and_keeps_servers_for_them() {
    let now = Instant::now();
    let mut core = core(5, 0, 0);
    core.adopting(1);
    core.connected(fake(1, now), now, IDLE);
    core.set_gate(Lends::NotNow, now);
    assert_eq!(core.take(), None);
    let clients = [Client::new(), Client::new()];
    for client in &clients {
        core.wait(client.clone(), now);
    }
    assert_eq!(clients[0].got.get(), None);
    assert!(core.counts(now).is_holding);
    core.set_gate(Lends::Yes, now);
    assert_eq!((clients[0].got.get(), clients[1].got.get()), (Some(1), None));
    // The next one that comes back is the second client's.
    core.put(fake(1, now), now, IDLE);
    assert_eq!(clients[1].got.get(), Some(1));
}

#[test]
fn a_server_that_comes_back_to_a_shut_gate_stays_idle() {
    let now = Instant::now();
    let mut core = core(5, 0, 0);
    core.adopting(1);
    core.connected(fake(1, now), now, IDLE);
    assert!(core.take().is_some());
    let client = Client::new();
    core.wait(client.clone(), now);
    core.set_gate(Lends::NotNow, now);
    core.put(fake(1, now), now, IDLE);
    assert_eq!((client.got.get(), core.counts(now).idle), (None, 1));
}

#[test]
fn a_paused_pool_lets_clients_wait_and_opens_nothing() {
    let second = Duration::from_secs(1);
    let start = Instant::now();
    let limits =
        Config { hold_timeout: second, query_wait_timeout: 90 * second, ..Config::default() };
    let mut core: Core<Fake, Client> = Core::new(limits);
    core.set_gate(Lends::NotNow, start);
    core.set_gate(Lends::Paused, start);
    let client = Client::new();
    core.wait(client.clone(), start);
    let plan = core.plan(start + 89 * second, true);
    assert_eq!((plan.connect, plan.expired.len()), (0, 0), "it is not held");
    core.adopting(1);
    core.connected(fake(1, start), start, IDLE);
    assert_eq!(client.got.get(), None);
    core.set_gate(Lends::Yes, start + 89 * second);
    assert_eq!(client.got.get(), Some(1));
    core.set_gate(Lends::Paused, start);
    core.wait(Client::new(), start);
    let plan = core.plan(start + 90 * second, true);
    assert_eq!(plan.expired[0].1, Over::Wait);
}

#[test]
fn a_hold_ends_in_time_for_each_client_and_not_before() {
    let second = Duration::from_secs(1);
    let start = Instant::now();
    let mut core: Core<Fake, Client> =
        Core::new(Config { hold_timeout: 30 * second, ..Config::default() });
    // Waiting before the gate is shut does not count.
    core.wait(Client::new(), start);
    core.set_gate(Lends::NotNow, start + 10 * second);
    core.wait(Client::new(), start + 20 * second);
    let plan = core.plan(start + 39 * second, false);
    assert_eq!((plan.expired.len(), plan.wake_at), (0, Some(start + 40 * second)));
    let plan = core.plan(start + 40 * second, false);
    assert_eq!((plan.expired.len(), plan.wake_at), (1, Some(start + 50 * second)));
    let plan = core.plan(start + 50 * second, false);
    assert_eq!((plan.expired.len(), core.counts(start).waiting), (1, 0));
}

#[test]
fn logins_that_fail_hold_clients_only_if_there_is_no_server() {
    let now = Instant::now();
    let mut core = core(5, 0, 0);
    core.adopting(2);
    core.connect_failed(now, 0.0);
    assert!(core.is_holding());
    core.connected(fake(1, now), now, IDLE);
    assert!(!core.is_holding());
}

#[test]
fn of_two_idle_servers_the_one_with_less_to_do_is_lent() {
    let now = Instant::now();
    for random in 0..100 {
        let mut core = core(5, 0, 0);
        core.adopting(2);
        core.connected(Fake { load: 3, ..fake(1, now) }, now, IDLE);
        core.connected(Fake { load: 1, ..fake(2, now) }, now, IDLE);
        assert_eq!(core.take_spread(random).map(|server| server.id), Some(2));
        assert_eq!(core.take_spread(random).map(|server| server.id), Some(1));
        assert_eq!(core.take_spread(random), None);
    }
}

proptest! {
    #[test]
    fn two_places_differ_if_they_can(random: u64, len in 0_usize..100) {
        let [first, second] = two_of(random, len);
        prop_assert!(first < len.max(1) && second < len.max(1));
        prop_assert_eq!(first == second, len < 2);
    }
}

#[test]
fn a_wait_ends_in_time_without_a_plan_of_its_own() {
    let second = Duration::from_secs(1);
    let start = Instant::now();
    let config = Config { size: 1, query_wait_timeout: 10 * second, ..Config::default() };
    let mut core: Core<Fake, Client> = Core::new(Config { reserve_size: 0, ..config });
    assert!(core.wait(Client::new(), start), "the login has to begin");
    assert_eq!(core.plan(start, true).connect, 1);
    assert!(!core.wait(Client::new(), start + second), "it will be looked at before that is due");
    let plan = core.plan(start + 10 * second, true);
    let expired: Vec<Over> = plan.expired.iter().map(|(_, over)| *over).collect();
    assert_eq!((expired, plan.wake_at), (vec![Over::Wait], Some(start + 11 * second)));
    // The shorter of the two times ends it.
    core.set_gate(Lends::NotNow, start + 10 * second);
    let plan = core.plan(start + 11 * second, false);
    assert_eq!(plan.expired.first().map(|(_, over)| *over), Some(Over::Wait));
}

#[test]
fn no_time_is_too_long() {
    let now = Instant::now();
    let forever = Config { query_wait_timeout: Duration::MAX, ..Config::default() };
    let forever = Config { reserve_timeout: Duration::MAX, hold_timeout: Duration::MAX, ..forever };
    let mut core: Core<Fake, Client> = Core::new(forever);
    core.set_gate(Lends::NotNow, now);
    core.wait(Client::new(), now);
    assert!(core.plan(now, false).expired.is_empty());
}

proptest! {
    /// A keeper that plans only when it is told to, or when the last plan said so, misses neither
    /// a login that could begin nor a wait that is over.
    #[test]
    fn who_does_not_ask_for_a_plan_needs_none(events in prop::collection::vec(0..7_u8, 0..200)) {
        let mut now = Instant::now();
        let config = Config { size: 3, reserve_size: 2, min_size: 1, ..Config::default() };
        let query_wait_timeout = Duration::from_secs(20);
        let mut core: Core<Fake, Client> = Core::new(Config { query_wait_timeout, ..config });
        let (mut lent, mut connecting, mut gate) = (0_usize, 0_usize, 0);
        let mut waiting: Vec<Client> = Vec::new();
        for event in events {
            now += Duration::from_millis(700);
            let must_plan = match event {
                0 | 1 => {
                    let client = Client::new();
                    let must_plan = core.wait(client.clone(), now);
                    waiting.push(client);
                    must_plan
                }
                2 if lent > 0 => {
                    lent -= 1;
                    core.put(fake(1, now), now, IDLE);
                    false
                }
                3 if lent > 0 => {
                    lent -= 1;
                    core.lost();
                    true
                }
                4 | 5 if connecting > 0 => {
                    connecting -= 1;
                    match event {
                        4 => core.connected(fake(1, now), now, IDLE),
                        _ => core.connect_failed(now, 0.5),
                    }
                    true
                }
                6 => {
                    gate = (gate + 1) % 3;
                    core.set_gate([Lends::Yes, Lends::NotNow, Lends::Paused][gate], now);
                    true
                }
                _ => false,
            };
            if must_plan || core.planned.is_some_and(|at| at <= now) {
                connecting += core.plan(now, true).connect;
            }
            prop_assert_eq!(core.connects(now).0, 0);
            let first = core.waiters.front().map(|first| first.since);
            let end = first.map(|since| core.end_of_wait(since, core.held_since()).0);
            prop_assert!(end.is_none_or(|end| end > now));
            waiting.retain(|client| match client.got.get() {
                Some(_) => { lent += 1; false }
                None => true,
            });
        }
    }
}
