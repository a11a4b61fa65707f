//! Averages over the last whole period, from totals that are sampled once per period.
//!
//! As in PgBouncer: counts and waiting time are per second, other times per item. Before two
//! samples were taken, and for a database that the older one does not know, an average is over
//! what is there.

use std::collections::HashMap;
use std::time::Duration;

use crate::rows::Totals;

/// The last two samples. Time is since any fixed moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Averages {
    older: Sample,
    newer: Sample,
}

#[derive(Debug, Clone, Default)]
struct Sample {
    at: Duration,
    totals: HashMap<String, Totals>,
}

/// What a database did in the last period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Average {
    /// Servers lent per second.
    pub(crate) server_assignments: u64,
    /// Transactions per second.
    pub(crate) transactions: u64,
    /// Statements per second.
    pub(crate) queries: u64,
    /// Bytes from clients per second.
    pub(crate) received: u64,
    /// Bytes to clients per second.
    pub(crate) sent: u64,
    /// Microseconds per transaction.
    pub(crate) transaction_us: u64,
    /// Microseconds per statement.
    pub(crate) query_us: u64,
    /// Microseconds that clients have waited, per second.
    pub(crate) wait_us: u64,
    /// Statements that clients have prepared per second.
    pub(crate) client_parses: u64,
    /// Statements that were prepared on servers per second.
    pub(crate) server_parses: u64,
    /// Uses of prepared statements per second.
    pub(crate) binds: u64,
}

impl Averages {
    /// Starts at `at`, when nothing was done yet.
    pub(crate) fn new(at: Duration) -> Self {
        let start = Sample { at, totals: HashMap::new() };
        Self { older: start.clone(), newer: start }
    }

    /// Takes a sample. One that is not later than the last is left out.
    pub(crate) fn sample(&mut self, at: Duration, totals: Vec<Totals>) {
        if at <= self.newer.at {
            return;
        }
        let totals = totals.into_iter().map(|it| (it.database.clone(), it)).collect();
        self.older = std::mem::replace(&mut self.newer, Sample { at, totals });
    }

    /// The averages of one database; zeros if it was not there.
    pub(crate) fn of(&self, database: &str) -> Average {
        let Some(newer) = self.newer.totals.get(database) else { return Average::default() };
        let zero = Totals::default();
        let older = self.older.totals.get(database).unwrap_or(&zero);
        average(older, newer, self.newer.at.saturating_sub(self.older.at))
    }
}

fn average(older: &Totals, newer: &Totals, period: Duration) -> Average {
    // A count that went back belongs to a database that was taken away and came again.
    let grown = |of: fn(&Totals) -> u64| of(newer).saturating_sub(of(older));
    let per_second = |of: fn(&Totals) -> u64| {
        ratio(u128::from(grown(of)).saturating_mul(1_000_000), period.as_micros())
    };
    let per_item = |time: fn(&Totals) -> u64, items: fn(&Totals) -> u64| {
        ratio(u128::from(grown(time)), u128::from(grown(items)))
    };
    Average {
        server_assignments: per_second(|it| it.server_assignments),
        transactions: per_second(|it| it.transactions),
        queries: per_second(|it| it.queries),
        received: per_second(|it| it.received),
        sent: per_second(|it| it.sent),
        transaction_us: per_item(|it| it.transaction_us, |it| it.transactions),
        query_us: per_item(|it| it.query_us, |it| it.queries),
        wait_us: per_second(|it| it.wait_us),
        client_parses: per_second(|it| it.client_parses),
        server_parses: per_second(|it| it.server_parses),
        binds: per_second(|it| it.binds),
    }
}

/// 0 of nothing.
fn ratio(amount: u128, of: u128) -> u64 {
    u64::try_from(amount.checked_div(of).unwrap_or(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn totals(transactions: u64, transaction_us: u64) -> Vec<Totals> {
        let database = "app".to_owned();
        vec![Totals { database, transactions, transaction_us, wait_us: 60, ..Totals::default() }]
    }

    #[test]
    fn an_average_is_over_the_last_whole_period_only() {
        let second = Duration::from_secs;
        let mut averages = Averages::new(second(100));
        assert_eq!(averages.of("app"), Average::default());
        averages.sample(second(160), totals(600, 6_000));
        let first = averages.of("app");
        assert_eq!((first.transactions, first.transaction_us, first.wait_us), (10, 10, 1));
        averages.sample(second(220), totals(720, 18_000));
        let second_period = averages.of("app");
        assert_eq!((second_period.transactions, second_period.transaction_us), (2, 100));
        assert_eq!(second_period.wait_us, 0);
        averages.sample(second(220), totals(9_999, 0));
        assert_eq!(averages.of("app"), second_period);
        assert_eq!(averages.of("other"), Average::default());
    }

    proptest! {
        #[test]
        fn no_numbers_break_it(
            samples in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 0..6),
        ) {
            let mut averages = Averages::default();
            for (transactions, time, at) in samples {
                averages.sample(Duration::from_micros(at.into()), totals(transactions, time));
                let average = averages.of("app");
                prop_assert_eq!(average.queries, 0);
            }
        }
    }
}
