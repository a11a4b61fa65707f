//! `STATS` and its like: totals since the start, and averages of the last period.

use super::super::value::Value;
use super::{Rows, View, made};
use crate::averages::Average;
use crate::rows::Totals;

/// What is counted, in the order that all of these tables have.
const NAMES: [&str; 11] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
];

type Numbers = [u64; NAMES.len()];

struct Row {
    database: String,
    totals: Numbers,
    averages: Numbers,
}

fn total_numbers(it: &Totals) -> Numbers {
    [
        it.server_assignments,
        it.transactions,
        it.queries,
        it.received,
        it.sent,
        it.transaction_us,
        it.query_us,
        it.wait_us,
        it.client_parses,
        it.server_parses,
        it.binds,
    ]
}

fn average_numbers(it: &Average) -> Numbers {
    [
        it.server_assignments,
        it.transactions,
        it.queries,
        it.received,
        it.sent,
        it.transaction_us,
        it.query_us,
        it.wait_us,
        it.client_parses,
        it.server_parses,
        it.binds,
    ]
}

/// The console is listed with the databases, and does nothing.
fn all(view: &View<'_>) -> Vec<Row> {
    let console = Totals { database: view.database.to_owned(), ..Totals::default() };
    let databases = view.facts.totals().into_iter().chain([console]);
    let row = |totals: Totals| Row {
        averages: average_numbers(&view.averages.of(&totals.database)),
        totals: total_numbers(&totals),
        database: totals.database,
    };
    databases.map(row).collect()
}

fn values(database: String, numbers: impl IntoIterator<Item = u64>) -> Vec<Value> {
    std::iter::once(database.into()).chain(numbers.into_iter().map(Value::Number)).collect()
}

pub(super) fn stats(view: &View<'_>) -> Rows {
    made(all(view), |row| {
        let [_, _, queries, ..] = row.totals;
        values(row.database, row.totals.into_iter().chain(row.averages).chain([queries]))
    })
}

pub(super) fn totals(view: &View<'_>) -> Rows {
    made(all(view), |row| values(row.database, row.totals))
}

pub(super) fn averages(view: &View<'_>) -> Rows {
    made(all(view), |row| values(row.database, row.averages))
}

/// Over all databases, a row per number. An average time is weighed by what it is an average of.
pub(super) fn sums(view: &View<'_>) -> Rows {
    let rows = all(view);
    let sum = |numbers: fn(&Row) -> &Numbers, index: usize| {
        let one = |row: &Row| numbers(row).get(index).copied().unwrap_or(0);
        rows.iter().map(one).fold(0, u64::saturating_add)
    };
    let weighed = |time: usize, per: usize| {
        let of =
            |row: &Row, index: usize| u128::from(row.averages.get(index).copied().unwrap_or(0));
        let times = rows.iter().map(|row| of(row, time).saturating_mul(of(row, per)));
        let time = times.fold(0, u128::saturating_add);
        let items: u128 = rows.iter().map(|row| of(row, per)).sum();
        u64::try_from(time.checked_div(items).unwrap_or(0)).unwrap_or(u64::MAX)
    };
    let average = |index: usize| match NAMES.get(index) {
        Some(&"xact_time") => weighed(index, 1),
        Some(&"query_time") => weighed(index, 2),
        _ => sum(|row| &row.averages, index),
    };
    let named = |prefix: &str, name: &str, value: u64| (format!("{prefix}_{name}"), value);
    let totals = NAMES.iter().enumerate();
    let totals = totals.map(|(index, name)| named("total", name, sum(|row| &row.totals, index)));
    let averages = NAMES.iter().enumerate();
    let averages = averages.map(|(index, name)| named("avg", name, average(index)));
    let all: Vec<(String, u64)> = totals.chain(averages).collect();
    made(all, |(name, value)| vec![name.into(), value.into()])
}
