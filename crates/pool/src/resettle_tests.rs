//! The core with other limits than it began with.

use super::*;

#[test]
fn of_a_smaller_pool_the_oldest_idle_servers_go_and_the_lent_ones_come_back() {
    let now = Instant::now();
    let config = |size| Config { size, reserve_size: 0, ..Config::default() };
    let mut core = core(5, 0, 0);
    core.adopting(5);
    (1..=5).for_each(|id| core.connected(fake(id, now), now, IDLE));
    let lent = [core.take(), core.take(), core.take()].map(Option::unwrap);
    let surplus: Vec<_> = core.set_config(config(2)).iter().map(|server| server.id).collect();
    assert_eq!(surplus, [1, 2]);
    let client = Client::new();
    core.wait(client.clone(), now);
    assert_eq!((core.plan(now, true).connect, core.is_over()), (0, true));
    // As the pool does with the first one that comes back.
    core.lost();
    assert!(!core.is_over());
    let [_, second, third] = lent;
    core.put(second, now, IDLE);
    assert!(client.got.get().is_some(), "it has kept its place");
    core.put(third, now, IDLE);
    assert!(core.set_config(config(9)).is_empty());
    for _ in 0..2 {
        core.wait(Client::new(), now);
    }
    assert_eq!(core.plan(now, true).connect, 1);
}
