//! Many batches at once, and messages cut anywhere.

use crate::raw::{bind, close, describe, execute, flush, parse, query, run, run_unnamed, sync};
use crate::script::Script;
use crate::{cases, every_way};

#[test]
fn pipelines_are_answered_in_order_whatever_their_chunks() {
    every_way(cases![
        many_batches_in_one_write,
        many_batches_of_simple_and_extended_queries,
        a_transaction_over_the_batches_of_a_pipeline,
        a_transaction_that_fails_in_a_pipeline,
        no_sync_is_inserted_into_a_long_batch,
        answers_larger_than_every_buffer_while_more_is_sent,
        one_byte_at_a_time,
        odd_pieces,
        pieces_that_end_in_a_header,
        a_sync_that_comes_apart_from_its_batch,
        a_batch_that_is_longer_than_what_is_remembered,
        flushes_between_the_batches_of_a_pipeline,
    ]);
}

fn many_batches_in_one_write(s: &mut Script) {
    let batches: Vec<_> =
        (0..500).map(|n| [run_unnamed(&format!("SELECT {n}"), &[]), sync()].concat()).collect();
    s.send(&batches).ready(500).query("SELECT 'behind'");
    s.say(&[parse("s", "SELECT $1"), sync()]);
    let runs: Vec<_> = (0..500).map(|n| [run("s", &[&n.to_string()]), sync()].concat()).collect();
    s.send(&runs).ready(500);
}

fn many_batches_of_simple_and_extended_queries(s: &mut Script) {
    let round = [
        run_unnamed("SELECT 1", &[]),
        sync(),
        query("SELECT 2; SELECT 3"),
        parse("s", "SELECT 4"),
        sync(),
        run("s", &[]),
        close("s"),
        sync(),
        query("SELECT 1/0"),
        run("s", &[]),
        sync(),
    ]
    .concat();
    s.send(&vec![round; 30]).ready(180);
}

fn a_transaction_over_the_batches_of_a_pipeline(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS batches; CREATE TABLE batches (n int4)");
    let one = |sql: &str| [run_unnamed(sql, &[]), sync()].concat();
    s.send(&[one("BEGIN"), one("INSERT INTO batches VALUES (1)"), one("COMMIT"), one("BEGIN")]);
    s.ready(4)
        .send(&[one("INSERT INTO batches VALUES (2)"), query("ROLLBACK"), one("TABLE batches")])
        .ready(3);
}

fn a_transaction_that_fails_in_a_pipeline(s: &mut Script) {
    let one = |sql: &str| [run_unnamed(sql, &[]), sync()].concat();
    s.send(&[one("BEGIN"), one("SELECT 1/0"), one("SELECT 1"), one("COMMIT"), one("SELECT 2")])
        .ready(5);
    s.send(&[
        one("BEGIN"),
        one("SELECT 1/0"),
        query("SELECT 1"),
        query("ROLLBACK"),
        one("SELECT 3"),
    ])
    .ready(5);
}

fn no_sync_is_inserted_into_a_long_batch(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS long; CREATE TABLE long (n int4)");
    let insert = parse("s", "INSERT INTO long VALUES ($1)");
    let runs: Vec<_> = (0..400).map(|n| run("s", &[&n.to_string()])).collect();
    s.say(&[insert, runs.concat(), run_unnamed("SELECT 1/0", &[]), sync()]);
    s.query("SELECT count(*) FROM long")
        .say(&[runs.concat(), sync()])
        .query("SELECT count(*) FROM long");
}

fn answers_larger_than_every_buffer_while_more_is_sent(s: &mut Script) {
    let wide = |n: u32| [run("s", &[&n.to_string()]), sync()].concat();
    s.say(&[parse("s", "SELECT repeat($1, 100000)"), sync()]);
    s.send(&(0..100).map(wide).collect::<Vec<_>>()).ready(100).query("SELECT 1");
}

/// Something of everything.
fn conversation(s: &mut Script) {
    s.query("SELECT 'a query'").say(&[parse("s", "SELECT $1::int4"), describe("s"), sync()]);
    s.say(&[run("s", &["7"]), run_unnamed("SELECT $1", &["seven"]), sync()])
        .say(&[run("", &["x"]), sync()]);
    s.send(&[bind("", "s", &["x"]), execute("", 0), sync(), query("SELECT 8"), query("")]).ready(3);
    s.query("BEGIN").send(&[run("s", &["9"]), flush()]).until(b'C', 1).say(&[close("s"), sync()]);
    s.query("COMMIT").say(&[run("s", &["9"]), sync()]).query("SET DateStyle = 'SQL'");
}

fn one_byte_at_a_time(s: &mut Script) {
    conversation(s.in_chunks(&[1]));
}

fn odd_pieces(s: &mut Script) {
    conversation(s.in_chunks(&[3, 1, 7, 2, 13]));
}

fn pieces_that_end_in_a_header(s: &mut Script) {
    let exact = [query("SELECT 1").len() - 3, 6, 4, 1];
    s.in_chunks(&exact).send(&vec![query("SELECT 1"); 20]).ready(20);
    conversation(s.in_chunks(&[5]));
    conversation(s.in_chunks(&[6]));
}

fn a_sync_that_comes_apart_from_its_batch(s: &mut Script) {
    s.send(&[run_unnamed("SELECT 1", &[])]).say(&[sync()]).send(&[
        parse("s", "SELECT 2"),
        sync(),
        run("s", &[]),
    ]);
    s.ready(1).send(&[sync(), run("s", &[]), flush()]).ready(1).until(b'C', 1).say(&[sync()]);
}

fn a_batch_that_is_longer_than_what_is_remembered(s: &mut Script) {
    let long = "x".repeat(50_000);
    s.say(&[parse("s", "SELECT length($1)"), sync()]);
    s.say(&[
        run("s", &[&long]),
        run("s", &[&long]),
        run_unnamed("SELECT $1", &[&long]),
        run("s", &["y"]),
        sync(),
    ]);
    s.say(&[run("", &[&long]), run("s", &[&long]), sync()]);
}

fn flushes_between_the_batches_of_a_pipeline(s: &mut Script) {
    let step =
        [run_unnamed("SELECT 1", &[]), flush(), run_unnamed("SELECT 2", &[]), sync(), flush()]
            .concat();
    s.send(&vec![step; 50]).ready(50);
}
