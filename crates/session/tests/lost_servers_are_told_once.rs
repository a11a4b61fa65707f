//! Whenever a server dies, each Query, FunctionCall and Sync is answered once, nothing is done
//! twice, and what the client is told of its rows is true.

mod support;

use proptest::prelude::*;
use session::Mode;
use support::client::*;
use support::relay::{Relay, Step};
use support::scene::LOGIN;
use support::transcript;

/// What is answered with one ReadyForQuery: messages, and the rows that they insert.
#[derive(Debug, Clone)]
struct Group {
    sends: Vec<Step>,
    statements: usize,
    rows: Vec<u32>,
    /// The text, if that is all.
    text: String,
}

/// A statement; `insert` gets a number.
fn statement() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just("insert"),
        2 => Just("begin"),
        2 => Just("commit"),
        1 => Just("rollback"),
        3 => prop::sample::select(vec![
            "select 1", "rows 3", "fail", "", "set timezone = a1", "set local timezone = b1",
            "show timezone", "copy t to stdout",
        ]),
    ]
}

/// How a group is sent.
#[derive(Debug, Clone)]
enum Shape {
    Query,
    /// With a name for the statements; with a Flush and a wait behind some.
    Batch(&'static str, u8),
    Function,
}

fn group() -> impl Strategy<Value = (Vec<&'static str>, Shape, bool)> {
    let texts = prop_oneof![
        4 => statement().prop_map(|one| vec![one]),
        1 => prop::collection::vec(statement().prop_filter("no", |text| !text.is_empty()), 2..4),
    ];
    let shape = prop_oneof![
        4 => Just(Shape::Query),
        4 => (prop::sample::select(vec!["", "s1", "s2"]), any::<u8>())
            .prop_map(|(name, flushes)| Shape::Batch(name, flushes)),
        1 => Just(Shape::Function),
    ];
    (texts, shape, any::<bool>())
}

fn build(groups: Vec<(Vec<&'static str>, Shape, bool)>) -> Vec<Group> {
    let mut row = 0;
    let mut built: Vec<Group> = Vec::new();
    for (texts, shape, waits) in groups {
        let mut rows = Vec::new();
        let texts: Vec<String> = texts
            .into_iter()
            .map(|text| {
                if text != "insert" {
                    return text.to_owned();
                }
                row += 1;
                rows.push(row);
                format!("insert {row}")
            })
            .collect();
        let text = texts.join("; ");
        let mut group = match shape {
            Shape::Query => {
                let sends = vec![Step::Send(query(&text))];
                Group { sends, statements: texts.len(), rows, text }
            }
            Shape::Function => {
                let sends = vec![Step::Send(function_call())];
                Group { sends, statements: 1, rows: Vec::new(), text: String::new() }
            }
            Shape::Batch(name, flushes) => {
                Group { sends: batch(name, flushes, &texts), statements: texts.len(), rows, text }
            }
        };
        if waits {
            group.sends.push(Step::Wait);
        }
        built.push(group);
    }
    built
}

/// When no server dies any more.
fn last_groups() -> [Group; 2] {
    ["rollback", "show timezone"].map(|text| Group {
        sends: vec![Step::Send(query(text)), Step::Wait],
        statements: 1,
        rows: Vec::new(),
        text: text.to_owned(),
    })
}

fn batch(name: &str, flushes: u8, texts: &[String]) -> Vec<Step> {
    let mut sends = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let portal = if flushes & 1 == 0 { "" } else { "p" };
        let messages =
            [close_statement(name), parse(name, text), close_portal(portal), bind(portal, name)];
        sends.push(Step::Send([messages.concat(), execute(portal, 0)].concat()));
        if flushes & (2 << at) != 0 {
            sends.extend([Step::Send(flush()), Step::Wait]);
        }
    }
    sends.push(Step::Send(sync()));
    sends
}

/// What the client has got, cut behind each ReadyForQuery.
fn answers(bytes: &[u8]) -> Vec<Vec<String>> {
    let lines = transcript::plain_lines(bytes);
    lines.split_inclusive(|line| line.starts_with('Z')).map(<[String]>::to_vec).collect()
}

/// The rows of a group behind the last COMMIT that has been answered, and whether there is one.
fn rows_behind_commit(group: &Group, answer: &[String]) -> (Vec<u32>, bool) {
    let done =
        answer.iter().filter(|line| line.starts_with("C ") || line.starts_with("I ")).count();
    let texts: Vec<&str> = group.text.split("; ").collect();
    let commit =
        texts.iter().take(done).collect::<Vec<_>>().into_iter().rposition(|&text| text == "commit");
    let behind = texts.iter().skip(commit.map_or(0, |at| at + 1));
    let rows = behind.filter_map(|text| text.strip_prefix("insert ")?.parse().ok());
    (rows.collect(), commit.is_some())
}

fn check(relay: &Relay, groups: &[Group], servers: usize) {
    let client = &relay.clients[0];
    assert_eq!(client.violation, None);
    let answers = answers(&client.transcript);
    assert_eq!(answers.len(), groups.len(), "one ReadyForQuery each");
    let rows = relay.database.rows.borrow();
    let is_there = |row: &u32| rows.contains(row);
    let mut once = rows.clone();
    once.sort_unstable();
    once.dedup_by(|a, b| a == b && *a != 0);
    assert_eq!(once.len(), rows.len(), "a row was inserted twice");
    // Of the transaction block that is open.
    let mut block: Vec<u32> = Vec::new();
    let mut is_in_block = false;
    for (group, answer) in groups.iter().zip(&answers) {
        let errors: Vec<_> = answer.iter().filter(|line| line.starts_with('E')).collect();
        assert!(errors.len() <= 1, "{answer:?}");
        let completed = answer.iter().filter(|line| line.starts_with('C')).count();
        assert!(completed <= group.statements, "{group:?}: {answer:?}");
        let has = |code: &str| errors.iter().any(|error| error.contains(&format!("|C{code}|")));
        let says = |tag: &str| answer.iter().any(|line| line == tag);
        let is_over = says("Z I");
        let (rows, has_committed) = rows_behind_commit(group, answer);
        if has_committed && !(errors.is_empty() && group.text == "commit") {
            block.clear();
        }
        if has("40001") || has("25P02") {
            let found = block.iter().chain(&rows).find(|row| is_there(row));
            assert_eq!(found, None, "{group:?}: {answer:?}");
        } else if errors.is_empty() && group.text == "rollback" {
            assert_eq!(block.iter().find(|row| is_there(row)), None, "{group:?}: {answer:?}");
        } else if errors.is_empty() && group.text == "commit" && says("C COMMIT|") {
            assert!(block.iter().all(is_there), "{group:?}: {answer:?}");
        } else if errors.is_empty() && !is_in_block && is_over && !group.text.contains("rollback") {
            assert!(group.rows.iter().all(is_there), "{group:?}: {answer:?}");
        }
        is_in_block = !is_over;
        block.extend(rows);
        let ends = group.text.contains("commit") || group.text.contains("rollback");
        if is_over || (ends && errors.is_empty()) {
            block.clear();
        }
    }
    let last = answers.last().expect("an answer");
    assert_eq!(last.last().expect("a line"), "Z I");
    let known = transcript::lines(&client.transcript, &LOGIN).pop().expect("a line");
    let shown = last.iter().find(|line| line.starts_with("D ")).expect("a row");
    let shown = shown.rsplit(|c: char| c.is_control() || c == '|').next().expect("a value");
    assert!(known.contains(&format!("\"TimeZone\": \"{shown}\"")), "{known} is not {shown}");
    assert_eq!(relay.idle.len(), servers, "a lease has not ended");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whenever_it_dies(
        mut groups in prop::collection::vec(group(), 1..8).prop_map(build),
        cuts in prop::collection::vec(0_usize..60, 1..5),
        seed: u64,
    ) {
        let mut relay = Relay::new(2, &LOGIN, 3, seed);
        let script = groups.iter().flat_map(|group| group.sends.clone()).collect();
        relay.client(Mode::Transaction, &[], script);
        for turns in cuts {
            relay.some_turns(turns);
            while relay.is_leased(0) && !relay.may_lose(0) {
                relay.some_turns(1);
            }
            if relay.is_leased(0) {
                relay.lose_server(0);
            }
        }
        for group in last_groups() {
            relay.send(0, group.sends.clone());
            groups.push(group);
        }
        relay.run();
        check(&relay, &groups, 2);
    }
}
