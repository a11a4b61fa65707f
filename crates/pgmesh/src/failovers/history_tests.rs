//! Rows of the history, from looks at a cluster that is made up.

use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::failovers::Stopwatch;

struct Told {
    stopwatch: Stopwatch,
    history: History,
    start: (Instant, SystemTime),
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn seen(epoch: u64, primary: &'static str, is_open: bool) -> Seen<'static> {
    Seen {
        epoch,
        timeline: Some(epoch + 10),
        primary: (!primary.is_empty()).then_some(primary),
        is_open,
        is_switching_over: false,
    }
}

impl Told {
    fn new() -> Self {
        let (stopwatch, history) = Default::default();
        Self { stopwatch, history, start: (Instant::now(), SystemTime::now()) }
    }

    fn look(&mut self, at: u64, seen: Seen<'_>) {
        let laps = self.stopwatch.step(seen.epoch, seen.is_open, self.start.0 + ms(at));
        self.history.note(&seen, &laps, self.start.1 + ms(at));
    }

    fn last(&self) -> FailoverRow {
        self.history.rows().pop().unwrap()
    }
}

fn names(row: &FailoverRow) -> (Option<&str>, Option<&str>, &str, &str) {
    (row.from.as_deref(), row.to.as_deref(), &row.kind, &row.outcome)
}

#[test]
fn a_failover_has_its_times_and_names() {
    let mut told = Told::new();
    told.look(0, seen(0, "", false));
    told.look(5, seen(1, "n1", true));
    assert!(told.history.rows().is_empty());
    assert_eq!(told.history.reign().unwrap().start, Start::Before);

    told.look(100, seen(1, "n1", false));
    assert_eq!(names(&told.last()), (Some("n1"), None, "hold", "under way"));
    told.look(900, seen(2, "n2", false));
    assert_eq!(names(&told.last()), (Some("n1"), Some("n2"), "failover", "under way"));
    told.look(1000, seen(2, "n2", true));
    told.history.waited(7);
    told.history.began(1, ms(1));
    told.history.began(2, ms(3));
    let row = told.last();
    assert_eq!(names(&row), (Some("n1"), Some("n2"), "failover", "over"));
    assert_eq!((row.epoch, row.timeline, row.clients_held), (2, Some(12), 7));
    assert_eq!(row.started, told.start.1 + ms(100));
    let times = (row.detect, row.hold, row.first_success);
    assert_eq!(times, (Some(ms(800)), Some(ms(900)), Some(ms(3))));
    let since = told.start.1 + ms(1000);
    let reign = Reign { node: "n2".to_owned(), epoch: 2, since, start: Start::Seen };
    assert_eq!(told.history.reign(), Some(reign));
}

#[test]
fn a_switchover_is_called_one_unless_it_is_called_off() {
    let mut told = Told::new();
    told.look(0, seen(1, "n1", true));
    told.look(10, Seen { is_switching_over: true, ..seen(1, "n1", false) });
    assert_eq!(told.last().kind, "switchover");
    told.look(20, seen(1, "n1", true));
    assert_eq!(names(&told.last()), (Some("n1"), Some("n1"), "hold", "over"));
    assert_eq!(told.history.reign().unwrap().since, told.start.1);

    // It is seen late, and the key of the leader goes before the next takes it.
    told.look(30, seen(1, "n1", false));
    told.look(35, Seen { is_switching_over: true, ..seen(1, "n1", false) });
    told.look(40, seen(1, "n1", false));
    told.look(50, seen(2, "n2", true));
    assert_eq!(names(&told.last()), (Some("n1"), Some("n2"), "switchover", "over"));

    told.look(60, seen(2, "n2", false));
    told.look(70, seen(3, "n1", true));
    assert_eq!(told.last().kind, "failover", "the next is not one for that");
}

#[test]
fn a_failover_is_one_though_only_its_end_is_seen() {
    let mut told = Told::new();
    told.look(0, seen(1, "n1", true));
    told.look(10, seen(2, "n2", true));
    assert_eq!(names(&told.last()), (Some("n1"), Some("n2"), "failover", "over"));
    assert_eq!(told.last().hold, Some(ms(0)));
}

#[test]
fn a_first_success_is_of_the_failover_and_not_of_a_hold_after_it() {
    let mut told = Told::new();
    for (at, seen) in [
        (0, seen(1, "n1", true)),
        (10, seen(1, "n1", false)),
        (20, seen(2, "n2", true)),
        (30, seen(2, "n2", false)),
        (40, seen(2, "n2", true)),
    ] {
        told.look(at, seen);
    }
    told.history.began(2, ms(50));
    let first: Vec<_> = told.history.rows().iter().map(|row| row.first_success).collect();
    assert_eq!(first, [Some(ms(50)), None]);
}

#[test]
fn the_oldest_row_makes_room() {
    let mut told = Told::new();
    told.look(0, seen(1, "n1", true));
    for round in 1..=100 {
        told.look(round * 10, seen(1, "n1", false));
        told.look(round * 10 + 1, seen(1, "n1", true));
    }
    let rows = told.history.rows();
    assert_eq!(rows.len(), ROWS_MAX);
    assert_eq!(rows[0].started, told.start.1 + ms(370));
}
