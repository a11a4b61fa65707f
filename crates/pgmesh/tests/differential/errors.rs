//! Errors in the extended protocol: what is skipped, up to where, and what runs again behind it.

use crate::raw::{
    bind, close, close_portal, copy_data, copy_done, copy_fail, describe, execute, flush,
    function_call, parse, query, run, run_unnamed, sync,
};
use crate::script::Script;
use crate::{cases, every_way};

#[test]
fn errors_are_answered_as_by_the_server() {
    every_way(cases![
        everything_is_skipped_up_to_sync,
        nothing_is_completed_between_error_and_ready,
        an_error_is_sent_before_its_sync_is,
        an_error_reaches_a_client_that_has_not_sent_sync,
        a_batch_sent_behind_an_error_is_not_lost,
        batches_of_a_pipeline_behind_an_error_run,
        a_failed_parse_leaves_no_name,
        a_failed_parse_of_the_unnamed_statement_leaves_none,
        a_simple_query_while_skipping_is_skipped,
        a_function_call_while_skipping_is_skipped,
        copy_messages_while_skipping_are_skipped,
        a_flush_while_skipping_is_silent,
        an_error_in_a_transaction_and_what_is_refused_until_its_end,
        a_failed_bind_and_a_failed_execute,
        an_error_behind_rows_that_were_sent,
        an_error_at_sync,
        a_statement_of_a_batch_that_failed_is_not_there,
        a_statement_parsed_before_the_error_is_there,
        skipped_closes_close_nothing,
        skipped_parses_parse_nothing,
        two_errors_in_two_batches,
        the_end_of_an_idle_transaction_is_heard_once,
        a_statement_that_takes_too_long,
    ]);
}

fn everything_is_skipped_up_to_sync(s: &mut Script) {
    let failed = run_unnamed("SELECT 1/0", &[]);
    s.say(&[failed, run_unnamed("SELECT 1", &[]), describe("x"), close("x"), sync()]);
    s.say(&[run_unnamed("SELECT 2", &[]), sync()]);
}

fn nothing_is_completed_between_error_and_ready(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), sync()]);
    s.say(&[parse("", "SELEC"), parse("s2", "SELECT 1"), close("s"), close("nowhere"), sync()]);
    s.say(&[
        bind("", "nowhere", &[]),
        parse("s2", "SELECT 1"),
        close_portal("p"),
        close("s2"),
        sync(),
    ]);
    s.say(&[run("s", &[]), sync()]);
}

fn an_error_is_sent_before_its_sync_is(s: &mut Script) {
    s.send(&[parse("", "SELEC"), flush()]).until(b'E', 1).say(&[sync()]);
    s.send(&[bind("", "nowhere", &[]), flush()]).until(b'E', 1).say(&[sync()]).query("SELECT 1");
}

fn an_error_reaches_a_client_that_has_not_sent_sync(s: &mut Script) {
    s.send(&[run_unnamed("SELECT 1/0", &[])]).until(b'E', 1).send(&[run_unnamed("SELECT 1", &[])]);
    s.say(&[sync()]).send(&[execute("nowhere", 0)]).until(b'E', 1).say(&[sync()]);
    s.send(&[describe("nowhere")]).until(b'E', 1).say(&[sync()]);
    s.send(&[parse("s", "SELECT 1"), parse("s", "SELECT 1")]).until(b'E', 1).say(&[sync()]);
}

fn a_batch_sent_behind_an_error_is_not_lost(s: &mut Script) {
    s.send(&[bind("", "nowhere", &[]), sync(), parse("s", "SELECT 1"), describe("s"), flush()]);
    s.ready(1).until(b'T', 1).send(&[run("s", &[]), flush()]).until(b'C', 1).say(&[sync()]);
}

fn batches_of_a_pipeline_behind_an_error_run(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS piped; CREATE TABLE piped (n int4)");
    let insert = |n: &str| [run_unnamed("INSERT INTO piped VALUES ($1)", &[n]), sync()].concat();
    s.send(&[
        insert("1"),
        insert("x"),
        insert("3"),
        insert("y"),
        insert("5"),
        query("TABLE piped"),
    ]);
    s.ready(6);
}

fn a_failed_parse_leaves_no_name(s: &mut Script) {
    s.say(&[parse("s", "SELECT nothing"), sync()]).say(&[run("s", &[]), sync()]);
    s.say(&[parse("s", "SELECT 1"), run("s", &[]), sync()]);
    s.say(&[parse("s", "SELECT nothing"), sync()]).say(&[run("s", &[]), sync()]);
}

fn a_failed_parse_of_the_unnamed_statement_leaves_none(s: &mut Script) {
    s.say(&[parse("", "SELECT 1"), sync()]).say(&[run("", &[]), sync()]);
    s.say(&[parse("", "SELECT nothing"), sync()]).say(&[run("", &[]), sync()]);
    s.say(&[parse("", "SELECT 1"), sync()])
        .say(&[parse("", "SELEC"), sync()])
        .say(&[run("", &[]), sync()]);
}

fn a_simple_query_while_skipping_is_skipped(s: &mut Script) {
    s.say(&[run_unnamed("SELECT 1/0", &[]), query("SELECT 'skipped'"), sync()]).query("SELECT 1");
    s.send(&[bind("", "nowhere", &[]), flush()]).until(b'E', 1).send(&[query("SELECT 'skipped'")]);
    s.say(&[sync()]).query("SELECT 2");
}

fn a_function_call_while_skipping_is_skipped(s: &mut Script) {
    s.say(&[bind("", "nowhere", &[]), function_call(177, &["1", "1"]), sync()]).query("SELECT 1");
}

fn copy_messages_while_skipping_are_skipped(s: &mut Script) {
    s.say(&[bind("", "nowhere", &[]), copy_data(b"x"), copy_done(), copy_fail("x"), sync()]);
    s.say(&[copy_data(b"x"), copy_done(), copy_fail("x"), sync()]).query("SELECT 1");
}

fn a_flush_while_skipping_is_silent(s: &mut Script) {
    s.send(&[parse("", "SELEC"), flush(), flush(), parse("s", "SELECT 1"), flush()]).until(b'E', 1);
    s.send(&[flush()]).say(&[sync()]).say(&[run("s", &[]), sync()]);
}

fn an_error_in_a_transaction_and_what_is_refused_until_its_end(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), parse("b", "BEGIN"), parse("r", "ROLLBACK"), sync()]);
    s.say(&[run("b", &[]), run_unnamed("SELECT 1/0", &[]), sync()]);
    s.say(&[run("s", &[]), sync()]).say(&[parse("t", "SELECT 2"), sync()]);
    s.say(&[parse("t", "COMMIT"), close("t"), describe("s"), sync()]).say(&[describe("r"), sync()]);
    s.say(&[run("r", &[]), run("s", &[]), sync()]).say(&[run("t", &[]), sync()]);
}

fn a_failed_bind_and_a_failed_execute(s: &mut Script) {
    s.say(&[parse("s", "SELECT 10 / $1::int4"), sync()]).say(&[run("s", &["x"]), sync()]);
    s.say(&[run("s", &["0"]), sync()]).say(&[run("s", &["2"]), sync()]);
    s.say(&[bind("p", "s", &["0"]), execute("p", 0), execute("p", 0), sync()]);
}

fn an_error_behind_rows_that_were_sent(s: &mut Script) {
    s.say(&[run_unnamed("SELECT 1 / (3 - n) FROM generate_series(1, 5) n", &[]), sync()]);
    s.query("SELECT 1 / (3 - n) FROM generate_series(1, 5) n");
}

fn an_error_at_sync(s: &mut Script) {
    s.before(
        "DROP TABLE IF EXISTS deferred;
         CREATE TABLE deferred (n int4 UNIQUE DEFERRABLE INITIALLY DEFERRED)",
    );
    let insert = run_unnamed("INSERT INTO deferred VALUES (1)", &[]);
    s.say(&[insert.clone(), insert.clone(), sync()]).query("TABLE deferred");
    s.send(&[insert.clone(), insert, sync(), run_unnamed("SELECT 1", &[]), sync()]).ready(2);
    s.query("INSERT INTO deferred VALUES (2), (2)").query("TABLE deferred");
}

fn a_statement_of_a_batch_that_failed_is_not_there(s: &mut Script) {
    s.say(&[run_unnamed("SELECT 1/0", &[]), parse("s", "SELECT 1"), sync()])
        .say(&[run("s", &[]), sync()]);
    s.send(&[bind("", "nowhere", &[]), parse("s", "SELECT 1"), sync(), run("s", &[]), sync()])
        .ready(2);
}

fn a_statement_parsed_before_the_error_is_there(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), run_unnamed("SELECT 1/0", &[]), sync()])
        .say(&[run("s", &[]), sync()]);
    s.say(&[parse("s", "SELECT 2"), sync()]).query("BEGIN");
    s.say(&[parse("t", "SELECT 3"), run_unnamed("SELECT 1/0", &[]), sync()]).query("ROLLBACK");
    s.say(&[run("t", &[]), run("s", &[]), sync()]);
}

fn skipped_closes_close_nothing(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), sync()]).say(&[bind("", "nowhere", &[]), close("s"), sync()]);
    s.say(&[run("s", &[]), sync()]).say(&[parse("s", "SELECT 2"), sync()]);
    s.send(&[bind("", "nowhere", &[]), flush()]).until(b'E', 1).say(&[close("s"), sync()]);
    s.say(&[run("s", &[]), sync()]);
}

fn skipped_parses_parse_nothing(s: &mut Script) {
    s.say(&[parse("", "SELECT 'old'"), sync()]);
    s.say(&[bind("", "nowhere", &[]), parse("", "SELECT 'new'"), sync()])
        .say(&[run("", &[]), sync()]);
    s.send(&[bind("", "nowhere", &[]), flush()]).until(b'E', 1);
    s.say(&[parse("", "SELECT 'new'"), parse("s", "SELECT 'new'"), sync()]);
    s.say(&[run("", &[]), sync()]).say(&[run("s", &[]), sync()]);
}

fn two_errors_in_two_batches(s: &mut Script) {
    s.send(&[run("nowhere", &[]), sync(), run_unnamed("SELECT 1/0", &[]), run("x", &[]), sync()]);
    s.ready(2).query("SELECT 1");
}

fn the_end_of_an_idle_transaction_is_heard_once(s: &mut Script) {
    s.query("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '1ms'").closed();
    s.log_in(&[]).query("SELECT 1");
}

fn a_statement_that_takes_too_long(s: &mut Script) {
    s.query("BEGIN; SET LOCAL statement_timeout = '1ms'")
        .query("DO 'BEGIN PERFORM pg_sleep(600); END'")
        .query("ROLLBACK");
    s.query("SELECT 1");
}
