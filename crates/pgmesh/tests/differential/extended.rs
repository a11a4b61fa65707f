//! The extended query protocol: statements, portals, Describe, Close, Flush.

use crate::raw::{
    bind, bind_formats, close, close_portal, describe, describe_portal, execute, flush, parse,
    parse_typed, query, run, run_unnamed, sync,
};
use crate::script::Script;
use crate::{cases, every_way};

#[test]
fn the_extended_protocol_is_answered_as_by_the_server() {
    every_way(cases![
        the_unnamed_statement,
        a_named_statement,
        parameters_and_results_in_binary,
        null_parameters,
        describe_of_statement_and_portal,
        no_data_of_a_statement_without_rows,
        an_empty_statement,
        a_portal_read_in_pages,
        a_portal_paged_by_flush_survives_it,
        flush_answers_without_sync,
        a_flush_of_nothing,
        flush_in_the_middle_of_a_transaction,
        closing_a_portal_leaves_its_statement,
        closing_a_statement_leaves_its_name_free,
        close_of_what_is_not_there_succeeds,
        portals_end_with_their_transaction,
        an_existing_portal_is_42p03,
        a_missing_portal_is_34000,
        transactions_of_extended_messages,
        an_implicit_transaction_ends_at_sync,
        commit_in_the_middle_of_a_batch,
        the_simple_protocol_in_the_middle_of_a_batch,
        one_message_at_a_time_up_to_sync,
        a_describe_alone,
        statements_returning_rows_from_writes,
        a_utility_statement,
        declared_cursors_are_portals,
        a_wrong_number_of_parameters,
        execute_with_a_limit_and_no_more_rows,
    ]);
}

fn the_unnamed_statement(s: &mut Script) {
    s.say(&[run_unnamed("SELECT $1::int4 + 1, $2", &["41", "x"]), sync()]);
    s.say(&[run_unnamed("SELECT 'again'", &[]), sync()]);
}

fn a_named_statement(s: &mut Script) {
    s.say(&[parse("s", "SELECT $1::int4 * 2"), sync()]);
    s.say(&[run("s", &["4"]), sync()]).say(&[run("s", &["5"]), sync()]);
    s.say(&[parse("t", "SELECT $1::text"), run("t", &["x"]), run("s", &["6"]), sync()]);
}

fn parameters_and_results_in_binary(s: &mut Script) {
    let seven = 7_i32.to_be_bytes();
    let bound = bind_formats("", "s", &[1, 0], &[Some(&seven), Some(b"7")], &[1]);
    s.say(&[parse("s", "SELECT $1::int4, $2::int8"), bound, execute("", 0), sync()]);
    let mixed = bind_formats("", "s", &[1, 0], &[Some(&seven), Some(b"8")], &[0, 1]);
    s.say(&[mixed, describe_portal(""), execute("", 0), sync()]);
    s.say(&[bind_formats("", "s", &[1], &[Some(b"abc"), None], &[]), execute("", 0), sync()]);
    s.say(&[bind_formats("", "s", &[1, 1, 1], &[None, None], &[]), sync()]);
    s.say(&[bind_formats("", "s", &[], &[None, None], &[1, 1, 1]), sync()]);
    s.say(&[bind_formats("", "s", &[7], &[None, None], &[]), sync()]);
}

fn null_parameters(s: &mut Script) {
    let nulls = bind_formats("", "", &[], &[None, Some(b"")], &[]);
    s.say(&[parse("", "SELECT $1::int4 IS NULL, $2::text"), nulls, execute("", 0), sync()]);
}

fn describe_of_statement_and_portal(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS described; CREATE TABLE described (a int4, b varchar(7))");
    s.say(&[parse("s", "SELECT a, b, $1 = a FROM described WHERE b = $2"), describe("s"), sync()]);
    s.say(&[describe("s"), describe("s"), sync()]);
    s.say(&[
        bind("p", "s", &["1", "x"]),
        describe_portal("p"),
        describe("s"),
        execute("p", 0),
        sync(),
    ]);
    s.say(&[parse_typed("", "SELECT $1, $2", &[20, 0]), describe(""), sync()]);
}

fn no_data_of_a_statement_without_rows(s: &mut Script) {
    s.before("CREATE TABLE IF NOT EXISTS filled (n int4)");
    s.say(&[parse("s", "INSERT INTO filled VALUES ($1)"), describe("s"), sync()]);
    s.say(&[run("s", &["1"]), sync()]);
}

fn an_empty_statement(s: &mut Script) {
    s.say(&[parse("s", ""), describe("s"), sync()]).say(&[run("s", &[]), sync()]);
    s.say(&[run_unnamed("  ;", &[]), sync()])
        .query("BEGIN")
        .query("X")
        .say(&[run("s", &[]), sync()]);
    s.query("ROLLBACK");
}

fn a_portal_read_in_pages(s: &mut Script) {
    let bound = [parse("", "SELECT generate_series(1, 7)"), bind("p", "", &[])].concat();
    s.say(&[bound.clone(), execute("p", 3), execute("p", 3), execute("p", 3), sync()]);
    s.query("BEGIN").say(&[bound, execute("p", 2), sync()]);
    s.say(&[execute("p", 2), sync()])
        .say(&[execute("p", 0), sync()])
        .say(&[execute("p", 1), sync()]);
    s.query("COMMIT").say(&[execute("p", 1), sync()]);
}

fn a_portal_paged_by_flush_survives_it(s: &mut Script) {
    s.send(&[
        parse("", "SELECT generate_series(1, 7)"),
        bind("", "", &[]),
        execute("", 3),
        flush(),
    ]);
    s.until(b's', 1).send(&[execute("", 3), flush()]).until(b's', 1);
    s.send(&[execute("", 3), flush()]).until(b'C', 1).say(&[sync()]);
    s.send(&[parse("s", "SELECT generate_series(1, 3)"), describe("s"), flush()]).until(b'T', 1);
    s.send(&[bind("p", "s", &[]), describe_portal("p"), flush()]).until(b'T', 1);
    s.send(&[execute("p", 1), flush()]).until(b's', 1);
    s.send(&[close_portal("p"), flush()]).until(b'3', 1).say(&[sync()]);
}

fn flush_answers_without_sync(s: &mut Script) {
    s.send(&[parse("s", "SELECT 1"), flush()]).until(b'1', 1);
    s.send(&[bind("", "s", &[]), flush()]).until(b'2', 1);
    s.send(&[describe_portal(""), flush()]).until(b'T', 1);
    s.send(&[execute("", 0), flush()]).until(b'C', 1);
    s.send(&[close("s"), flush()]).until(b'3', 1).say(&[sync()]);
}

fn a_flush_of_nothing(s: &mut Script) {
    s.send(&[flush()])
        .say(&[flush(), sync()])
        .send(&[flush(), query("SELECT 1"), flush()])
        .ready(1);
    s.query("BEGIN").send(&[flush()]).query("COMMIT");
}

fn flush_in_the_middle_of_a_transaction(s: &mut Script) {
    s.query("BEGIN").send(&[run_unnamed("SELECT 1", &[]), flush()]).until(b'C', 1);
    s.query("SELECT 2").send(&[run_unnamed("SELECT 3", &[]), flush()]).until(b'C', 1);
    s.say(&[sync()]).query("COMMIT");
}

fn closing_a_portal_leaves_its_statement(s: &mut Script) {
    let all =
        [bind("p", "s", &[]), close_portal("p"), bind("p", "s", &[]), execute("p", 0)].concat();
    s.say(&[parse("s", "SELECT 1"), all.clone(), sync()]).say(&[all, sync()]);
    s.say(&[run("s", &[]), close_portal(""), sync()]).say(&[run("s", &[]), sync()]);
    s.say(&[run_unnamed("SELECT 2", &[]), close_portal(""), run("", &[]), sync()]);
}

fn closing_a_statement_leaves_its_name_free(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), close("s"), parse("s", "SELECT 'b'"), run("s", &[]), sync()]);
    s.say(&[close("s"), sync()]).say(&[run("s", &[]), sync()]);
    s.say(&[parse("s", "SELECT 3"), run("s", &[]), close("s"), run("s", &[]), sync()]);
    s.say(&[close("s"), close("s"), sync()]);
}

fn close_of_what_is_not_there_succeeds(s: &mut Script) {
    s.say(&[close("nowhere"), close_portal("nowhere"), close(""), close_portal(""), sync()]);
    s.send(&[close("nowhere"), flush()]).until(b'3', 1).say(&[sync()]);
}

fn portals_end_with_their_transaction(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), bind("p", "s", &[]), sync()]).say(&[execute("p", 0), sync()]);
    s.query("BEGIN")
        .say(&[bind("p", "s", &[]), sync()])
        .query("SELECT 2")
        .say(&[execute("p", 0), sync()]);
    s.query("COMMIT").say(&[describe_portal("p"), sync()]);
}

fn an_existing_portal_is_42p03(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), bind("p", "s", &[]), bind("p", "s", &[]), sync()]);
    s.say(&[bind("", "s", &[]), bind("", "s", &[]), execute("", 0), sync()]);
}

fn a_missing_portal_is_34000(s: &mut Script) {
    s.say(&[execute("p", 0), sync()])
        .say(&[describe_portal("p"), sync()])
        .say(&[execute("", 0), sync()]);
    s.say(&[parse("", "SELECT 1"), execute("", 0), sync()]);
}

fn transactions_of_extended_messages(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS extended; CREATE TABLE extended (n int4)");
    s.say(&[parse("b", "BEGIN"), parse("c", "COMMIT"), parse("r", "ROLLBACK"), sync()]);
    s.say(&[parse("s", "INSERT INTO extended VALUES ($1)"), sync()]);
    s.say(&[run("b", &[]), sync()]).say(&[run("s", &["1"]), sync()]).say(&[run("c", &[]), sync()]);
    s.say(&[run("b", &[]), sync()])
        .say(&[run("s", &["x"]), sync()])
        .say(&[run("s", &["2"]), sync()]);
    s.say(&[run("c", &[]), sync()]).say(&[run("b", &[]), run("s", &["3"]), run("r", &[]), sync()]);
    s.query("TABLE extended");
}

fn an_implicit_transaction_ends_at_sync(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS synced; CREATE TABLE synced (n int4)");
    let insert = |n: &str| run_unnamed("INSERT INTO synced VALUES ($1)", &[n]);
    s.say(&[insert("1"), insert("2"), run_unnamed("SELECT 1/0", &[]), sync()])
        .query("TABLE synced");
    s.say(&[insert("3"), sync()]).query("TABLE synced");
    s.send(&[insert("4"), flush()]).until(b'C', 1).aside("TABLE synced");
    s.say(&[run_unnamed("SELECT 1/0", &[]), sync()]).query("TABLE synced");
}

fn commit_in_the_middle_of_a_batch(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS middle; CREATE TABLE middle (n int4)");
    let insert = |n: &str| run_unnamed("INSERT INTO middle VALUES ($1)", &[n]);
    s.say(&[
        insert("1"),
        run_unnamed("COMMIT", &[]),
        insert("2"),
        run_unnamed("SELECT 1/0", &[]),
        sync(),
    ]);
    s.query("TABLE middle");
    s.say(&[run_unnamed("BEGIN", &[]), insert("3"), sync()]).say(&[
        run_unnamed("COMMIT", &[]),
        insert("4"),
        sync(),
    ]);
    s.query("TABLE middle");
}

fn the_simple_protocol_in_the_middle_of_a_batch(s: &mut Script) {
    s.send(&[
        run_unnamed("SELECT 1", &[]),
        query("SELECT 2"),
        run_unnamed("SELECT 3", &[]),
        sync(),
    ]);
    s.ready(2)
        .send(&[parse("", "SELECT 4"), query("SELECT 5"), bind("", "", &[]), sync()])
        .ready(2);
    s.send(&[
        parse("s", "SELECT 6"),
        bind("p", "s", &[]),
        query("SELECT 7"),
        execute("p", 0),
        sync(),
    ]);
    s.ready(2).query("BEGIN").send(&[
        bind("p", "s", &[]),
        query("SELECT 8"),
        execute("p", 0),
        sync(),
    ]);
    s.ready(2).query("COMMIT");
}

fn one_message_at_a_time_up_to_sync(s: &mut Script) {
    for message in
        [parse("s", "SELECT $1"), bind("", "s", &["x"]), describe_portal(""), execute("", 0)]
    {
        s.send(&[message]);
    }
    s.say(&[sync()]);
}

fn a_describe_alone(s: &mut Script) {
    s.say(&[parse("s", "SELECT $1::int4 AS n"), sync()]).say(&[describe("s"), sync()]);
    s.send(&[describe("s"), flush()])
        .until(b'T', 1)
        .say(&[sync()])
        .say(&[run("s", &["1"]), sync()]);
    s.say(&[parse("", "SELECT 2"), sync()])
        .say(&[describe(""), sync()])
        .say(&[run("", &[]), sync()]);
}

fn statements_returning_rows_from_writes(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS written; CREATE TABLE written (n int4)");
    s.say(&[parse("s", "INSERT INTO written SELECT generate_series(1, 5) RETURNING n"), sync()]);
    s.say(&[bind("", "s", &[]), execute("", 2), sync()]).query("SELECT count(*) FROM written");
    s.say(&[
        run_unnamed("WITH d AS (DELETE FROM written RETURNING n) SELECT count(*) FROM d", &[]),
        sync(),
    ]);
}

fn a_utility_statement(s: &mut Script) {
    s.say(&[run_unnamed("SHOW server_encoding", &[]), sync()]);
    s.say(&[run_unnamed("EXPLAIN (COSTS OFF) SELECT 1", &[]), sync()]);
    s.say(&[run_unnamed("VACUUM pg_am", &[]), sync()]).query("BEGIN");
    s.say(&[run_unnamed("VACUUM pg_am", &[]), sync()]).query("ROLLBACK");
}

fn declared_cursors_are_portals(s: &mut Script) {
    s.query("BEGIN").query("DECLARE c CURSOR FOR SELECT generate_series(1, 5)");
    s.say(&[describe_portal("c"), execute("c", 2), sync()]).query("FETCH 1 FROM c");
    s.say(&[close_portal("c"), sync()]).query("FETCH 1 FROM c").query("COMMIT");
}

fn a_wrong_number_of_parameters(s: &mut Script) {
    s.say(&[parse("s", "SELECT $1::int4"), sync()]).say(&[
        bind("", "s", &[]),
        execute("", 0),
        sync(),
    ]);
    s.say(&[bind("", "s", &["1", "2"]), sync()]).say(&[run("s", &["1"]), sync()]);
}

fn execute_with_a_limit_and_no_more_rows(s: &mut Script) {
    s.say(&[
        parse("s", "SELECT generate_series(1, 2)"),
        bind("", "s", &[]),
        execute("", 2),
        execute("", 2),
        sync(),
    ]);
    s.say(&[bind("", "s", &[]), execute("", 3), execute("", 1), sync()]);
    s.say(&[bind("", "s", &[]), execute("", 0), execute("", 0), sync()]);
}
