//! Messages larger than every buffer, in both directions and in pieces of every size.

use crate::raw::{bind, describe, execute, flush, parse, query, run, run_unnamed, sync};
use crate::script::{Script, Way};
use crate::stage::Stage;
use crate::{cases, run as run_cases};

#[test]
fn large_messages_pass_whole() {
    let mut stage = Stage::new();
    let cases = cases![
        a_large_row,
        many_large_rows_to_a_slow_reader,
        a_large_query_in_small_pieces,
        a_large_query_in_odd_pieces,
        a_large_parse_of_the_unnamed_statement,
        a_large_parse_of_a_named_statement,
        large_parameters,
        a_large_error,
        a_large_notice,
        a_large_message_of_a_skipped_batch,
        large_messages_behind_each_other,
        many_small_rows,
        a_wide_row,
        large_messages_in_a_transaction,
    ];
    run_cases(cases, |_, script| {
        stage.compare(script, &[Way::Alone, Way::Alternating, Way::Session])
    });
}

/// An SQL text of about this many bytes that yields its length.
fn long_text(length: usize) -> String {
    format!("SELECT length('{}')", "x".repeat(length))
}

fn a_large_row(s: &mut Script) {
    s.query("SELECT repeat('x', 5000000), 1, repeat('y', 70000)");
    s.say(&[run_unnamed("SELECT repeat('x', 5000000)", &[]), sync()]).query("SELECT 1");
}

fn many_large_rows_to_a_slow_reader(s: &mut Script) {
    s.query("SELECT repeat('x', 300000) || n FROM generate_series(1, 30) n");
    s.query("SELECT repeat('x', 4085 + n) FROM generate_series(1, 30) n");
}

fn a_large_query_in_small_pieces(s: &mut Script) {
    s.in_chunks(&[977]).query(&long_text(3_000_000)).query("SELECT 1");
}

fn a_large_query_in_odd_pieces(s: &mut Script) {
    s.in_chunks(&[65_537, 1, 4099, 17, 131_072]).query(&long_text(3_000_000)).query("SELECT 1");
}

fn a_large_parse_of_the_unnamed_statement(s: &mut Script) {
    s.in_chunks(&[8191, 3]).say(&[run_unnamed(&long_text(3_000_000), &[]), sync()]);
    s.say(&[parse("", &long_text(70_000)), sync()])
        .say(&[describe(""), run("", &[]), sync()])
        .query("SELECT 1");
}

fn a_large_parse_of_a_named_statement(s: &mut Script) {
    s.in_chunks(&[4097]).say(&[parse("s", &long_text(300_000)), run("s", &[]), sync()]);
    s.say(&[run("s", &[]), sync()]).say(&[describe("s"), run("s", &[]), sync()]);
}

fn large_parameters(s: &mut Script) {
    let long = "x".repeat(3_000_000);
    s.say(&[parse("s", "SELECT length($1), $2"), sync()]);
    s.in_chunks(&[977, 65_537])
        .say(&[run("s", &[&long, "b"]), sync()])
        .say(&[run("s", &[&long, &long]), sync()]);
    s.send(&[bind("", "s", &[&long, "c"]), execute("", 0), flush()]).until(b'C', 1).say(&[sync()]);
}

fn a_large_error(s: &mut Script) {
    s.query("DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 500000); END $$").query("SELECT 1");
    s.say(&[parse("s", "SELECT $1::int4"), run("s", &[&"y".repeat(500_000)]), sync()])
        .say(&[run("s", &["1"]), sync()]);
}

fn a_large_notice(s: &mut Script) {
    s.query("DO $$ BEGIN RAISE NOTICE '%', repeat('x', 500000); END $$").query("SELECT 1");
}

fn a_large_message_of_a_skipped_batch(s: &mut Script) {
    let long = long_text(3_000_000);
    s.send(&[
        bind("", "nowhere", &[]),
        run_unnamed(&long, &[]),
        query(&long),
        sync(),
        query("SELECT 1"),
    ])
    .ready(2);
    s.send(&[bind("", "nowhere", &[]), flush()]).until(b'E', 1).in_chunks(&[1000]);
    s.send(&[run_unnamed(&long, &[]), parse("s", &long_text(100_000))])
        .say(&[sync()])
        .query("SELECT 2");
}

fn large_messages_behind_each_other(s: &mut Script) {
    let long = query(&long_text(700_000));
    s.in_chunks(&[100_003]).send(&vec![long; 8]).ready(8);
    let wide = [run_unnamed("SELECT $1", &[&"x".repeat(500_000)]), sync()].concat();
    s.send(&vec![wide; 8]).ready(8);
}

fn many_small_rows(s: &mut Script) {
    s.query("SELECT n, 'row' FROM generate_series(1, 50000) n");
    s.say(&[run_unnamed("SELECT generate_series(1, 50000)", &[]), sync()]);
}

fn a_wide_row(s: &mut Script) {
    let columns: Vec<_> = (0..1600).map(|n| format!("{n} AS \"column number {n}\"")).collect();
    s.query(&format!("SELECT {}", columns.join(", ")));
}

fn large_messages_in_a_transaction(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS heavy; CREATE TABLE heavy (t text)").query("BEGIN");
    s.query(&format!("INSERT INTO heavy VALUES ('{}')", "x".repeat(2_000_000)))
        .query("TABLE heavy")
        .query("ROLLBACK");
    s.query("TABLE heavy");
}
