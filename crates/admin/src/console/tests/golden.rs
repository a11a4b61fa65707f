//! Every table as text: names, types and order of columns, and which fact goes into which.
//! Whoever changes `tables.txt` changes what tools read.

use super::super::answers::{View, rows};
use super::super::tables::Show;
use super::super::value::Value;
use super::fake::{Fake, console_client};
use crate::averages::Averages;
use crate::facts::{Facts, Right};
use crate::rows::Totals;
use std::time::Duration;

fn averages() -> Averages {
    let mut averages = Averages::new(Duration::ZERO);
    let second = |n: u64| Duration::from_secs(n);
    averages.sample(second(10), Fake::default().totals());
    let more = |it: Totals| Totals {
        server_assignments: 1 + 110,
        transactions: 2 + 120,
        queries: 3 + 130,
        received: 4 + 140,
        sent: 5 + 150,
        transaction_us: 6 + 120 * 16,
        query_us: 7 + 130 * 17,
        wait_us: 8 + 180,
        client_parses: 9 + 190,
        server_parses: 10 + 200,
        binds: it.binds,
        ..it
    };
    averages.sample(second(20), Fake::default().totals().into_iter().map(more).collect());
    averages
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Null => "NULL".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("'{text}'"),
    }
}

fn table(show: Show, view: &View<'_>) -> String {
    let mut text = format!("SHOW {}\n", show.word());
    let rows: Vec<Vec<Value>> = rows(show, view).collect();
    for (index, (name, kind)) in show.columns().iter().enumerate() {
        let values: Vec<String> = rows.iter().map(|row| shown(&row[index])).collect();
        text += &format!("  {name} {} {}\n", kind.to_type(), values.join(" | "));
    }
    assert!(rows.iter().all(|row| row.len() == show.columns().len()), "{}", show.word());
    text
}

#[test]
fn every_table_is_as_it_is_written_down() {
    let view = View {
        facts: &Fake::default(),
        averages: &averages(),
        consoles: vec![console_client()],
        database: "pgmesh",
        version: "1.2.3",
        right: Right::Admin,
    };
    let text: Vec<String> = Show::ALL.iter().map(|show| table(*show, &view)).collect();
    let text = text.join("\n");
    let expected = include_str!("tables.txt");
    for (index, (line, expected)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(line, expected, "line {} of tables.txt", index + 1);
    }
    assert_eq!(text, expected, "{text}");
}
