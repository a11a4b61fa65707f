//! What a scrape shows of pools.

use super::*;
use crate::labels::Role;

#[test]
fn pools_beyond_the_bound_are_added_up_per_role() {
    let pool = |index: usize| PoolState {
        labels: PoolLabels {
            database: index.to_string(),
            user: "u".to_owned(),
            role: if index.is_multiple_of(2) { Role::Primary } else { Role::Replica },
        },
        active: 1,
        kept: 7,
        idle: 2,
        login: 3,
        warm: 4,
        is_holding: false,
        is_paused: false,
        waiting: 5,
        oldest_wait: Duration::from_secs(index as u64),
        size: 6,
        max_pinned: 5,
        pinned: vec![PinState { reason: "listen", now: 1, total: 3 }],
        totals: PoolTotals {
            connects: 7,
            recalls: 1,
            connect_failures: vec![(ConnectFailure::Tls, 1)],
            resets: vec![(Reset::All, 8)],
            discards: vec![(Discard::Idle, 1), (Discard::Unclean, 2)],
        },
    };
    let all: Vec<_> = (0..POOLS_MAX + 4).map(pool).collect();
    let pools = bounded(all.clone());
    assert_eq!(pools.len(), POOLS_MAX + 2);
    assert_eq!(pools[..POOLS_MAX], all[..POOLS_MAX]);
    let last = &pools[POOLS_MAX];
    assert_eq!(last.labels, PoolLabels::other(Role::Primary));
    assert_eq!((last.active, last.idle, last.login), (2, 4, 6));
    assert_eq!(last.totals.connects, 14);
    assert_eq!(last.totals.resets.iter().map(|(_, count)| count).sum::<u64>(), 16);
    assert_eq!(last.totals.discards.iter().map(|(_, count)| count).sum::<u64>(), 6);
    assert_eq!((last.waiting, last.size, last.max_pinned), (10, 12, 10));
    assert_eq!(last.pinned.iter().map(|pin| pin.now).sum::<u64>(), 2);
    assert_eq!(last.oldest_wait, Duration::from_secs(POOLS_MAX as u64 + 2));
    assert_eq!(bounded(all[..3].to_vec()), all[..3]);
}
