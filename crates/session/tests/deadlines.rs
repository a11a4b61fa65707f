//! What is due when.

use std::time::Duration;

use proptest::prelude::*;
use session::{Deadlines, Doing, Overdue, Timeouts};

const LIMITS: Timeouts = Timeouts {
    client_idle: Some(Duration::from_secs(100)),
    idle_transaction: Some(Duration::from_secs(20)),
    query: Some(Duration::from_secs(30)),
    transaction: Some(Duration::from_secs(50)),
    wait_notify: Some(Duration::from_secs(5)),
    cancel_wait: Duration::from_secs(10),
};

/// What is due when, of a client that does these things at these times.
fn due(limits: &Timeouts, script: &[(u64, Doing)]) -> Option<(u64, Overdue)> {
    let mut deadlines = Deadlines::default();
    let mut at = None;
    for (seconds, doing) in script {
        at = deadlines.mark(*doing, limits, Duration::from_secs(*seconds));
    }
    at.map(|at| at.as_secs()).zip(deadlines.take())
}

#[test]
fn each_thing_has_its_limit() {
    for (doing, after, overdue) in [
        (Doing::Idle, 100, Overdue::ClientIdle),
        (Doing::Waiting, 5, Overdue::Wait),
        (Doing::Statement, 30, Overdue::Query),
        (Doing::Cancelled, 10, Overdue::Cancel),
        (Doing::IdleInTransaction, 20, Overdue::IdleTransaction),
    ] {
        assert_eq!(due(&LIMITS, &[(7, doing)]), Some((7 + after, overdue)));
    }
}

#[test]
fn a_transaction_is_one_from_its_first_statement_to_its_end() {
    use Doing::{Idle, IdleInTransaction, Statement};
    let script = [(0, Idle), (1, Statement), (10, IdleInTransaction), (25, Statement)];
    assert_eq!(due(&LIMITS, &script), Some((51, Overdue::Transaction)));
    let script = [(1, Statement), (10, IdleInTransaction), (15, Idle), (25, Statement)];
    assert_eq!(due(&LIMITS, &script), Some((55, Overdue::Query)));
    // Whoever waits for a server has no transaction.
    let script = [(1, Statement), (2, Idle), (3, Doing::Waiting), (40, Statement)];
    assert_eq!(due(&LIMITS, &script), Some((70, Overdue::Query)));
}

#[test]
fn without_limits_nothing_is_due_but_the_end_of_what_was_cancelled() {
    let limits = Timeouts::default();
    assert_eq!(limits.shortest(), None);
    for doing in [Doing::Idle, Doing::Waiting, Doing::Statement, Doing::IdleInTransaction] {
        assert_eq!(due(&limits, &[(0, doing)]), None);
    }
    assert_eq!(due(&limits, &[(0, Doing::Cancelled)]), Some((10, Overdue::Cancel)));
    assert_eq!(LIMITS.shortest(), Some(Duration::from_secs(5)));
}

#[test]
fn what_is_overdue_is_told_once() {
    let now = Duration::from_secs(7);
    let mut deadlines = Deadlines::default();
    deadlines.mark(Doing::Idle, &LIMITS, now);
    assert_eq!(deadlines.take(), Some(Overdue::ClientIdle));
    assert_eq!(deadlines.take(), None);
}

proptest! {
    #[test]
    fn no_statement_outlives_its_transactions_limit(
        steps in prop::collection::vec((0_u64..30, 0_u8..3), 1..20),
    ) {
        let doing = |kind| match kind {
            0 => Doing::Statement,
            1 => Doing::Cancelled,
            _ => Doing::IdleInTransaction,
        };
        let mut now = 0;
        let script: Vec<_> = steps.into_iter().map(|(after, kind)| {
            now += after;
            (now, doing(kind))
        }).collect();
        let began = script[0].0;
        let (at, _) = due(&LIMITS, &script).unwrap();
        prop_assert!(at <= began + 50);
    }
}
