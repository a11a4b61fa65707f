//! Prepared statements by name, from one server to the next, and the unnamed one.

use crate::raw::{
    bind, close, describe, execute, flush, parse, parse_typed, query, run, run_unnamed, sync,
};
use crate::script::Script;
use crate::{cases, every_way};

#[test]
fn prepared_statements_are_where_their_client_is() {
    every_way(cases![
        a_statement_is_parsed_in_one_transaction_and_bound_in_another,
        an_existing_name_is_42p05,
        a_missing_name_is_26000,
        an_existing_name_in_one_batch,
        one_text_with_different_parameter_types,
        one_text_under_many_names,
        the_unnamed_statement_is_used_in_a_later_batch,
        the_unnamed_statement_is_dropped_by_a_simple_query,
        the_unnamed_statement_is_dropped_by_close,
        the_unnamed_statement_of_a_failed_transaction,
        deallocate_all_drops_every_name,
        deallocate_drops_a_statement_of_the_protocol,
        discard_all_drops_every_name,
        discard_all_in_the_extended_protocol,
        deallocate_in_the_middle_of_a_transaction,
        sql_prepare_and_execute_within_a_transaction,
        sql_names_and_protocol_names_are_one_within_a_transaction,
        more_statements_than_a_server_keeps,
        more_statements_in_one_batch_than_a_server_keeps,
        statements_in_a_pipeline_of_many_batches,
        statements_used_and_closed_in_a_pipeline,
        a_name_of_any_bytes,
        a_statement_of_a_rolled_back_transaction_stays,
        a_statement_replaced_in_a_pipeline,
        a_statement_survives_its_table,
        a_describe_replays_its_parse,
        a_statement_whose_parse_fails_on_the_next_server,
        a_statement_is_planned_anew_when_its_table_changed,
        close_and_parse_in_one_pipeline_of_two_batches,
    ]);
}

fn a_statement_is_parsed_in_one_transaction_and_bound_in_another(s: &mut Script) {
    s.say(&[parse("s", "SELECT $1::int4"), parse("t", "SELECT $1::text"), sync()]);
    s.query("SELECT 1").say(&[run("s", &["2"]), sync()]).say(&[
        run("t", &["3"]),
        run("s", &["4"]),
        sync(),
    ]);
    s.query("BEGIN")
        .say(&[run("t", &["5"]), sync()])
        .query("COMMIT")
        .say(&[run("s", &["6"]), sync()]);
}

fn an_existing_name_is_42p05(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), sync()]).say(&[parse("s", "SELECT 1"), sync()]);
    s.say(&[parse("s", "SELECT 2"), run("s", &[]), sync()]).say(&[run("s", &[]), sync()]);
    s.send(&[parse("s", "SELECT 3"), flush()])
        .until(b'E', 1)
        .say(&[sync()])
        .say(&[run("s", &[]), sync()]);
    s.query("BEGIN").say(&[parse("s", "SELECT 4"), sync()]).query("SELECT 5").query("ROLLBACK");
}

fn a_missing_name_is_26000(s: &mut Script) {
    s.say(&[run("nowhere", &[]), sync()]).say(&[describe("nowhere"), sync()]);
    s.query("BEGIN").say(&[bind("", "nowhere", &[]), sync()]).query("ROLLBACK");
    s.say(&[bind("", "", &[]), sync()]).say(&[describe(""), sync()]);
}

fn an_existing_name_in_one_batch(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), parse("s", "SELECT 1"), sync()]).say(&[run("s", &[]), sync()]);
    s.send(&[
        parse("t", "SELECT 1"),
        sync(),
        parse("t", "SELECT 2"),
        sync(),
        run("t", &[]),
        sync(),
    ])
    .ready(3);
}

fn one_text_with_different_parameter_types(s: &mut Script) {
    for (name, kind) in [("s", 23), ("t", 25), ("u", 20)] {
        s.say(&[parse_typed(name, "SELECT $1", &[kind]), describe(name), sync()]);
    }
    s.say(&[run("s", &["1"]), run("t", &["1"]), run("u", &["1"]), sync()]);
}

fn one_text_under_many_names(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), parse("t", "SELECT 1"), sync()]).say(&[close("s"), sync()]);
    s.say(&[run("t", &[]), sync()]).say(&[run("s", &[]), sync()]);
    s.say(&[parse("s", "SELECT 1"), close("t"), run("s", &[]), sync()]);
}

fn the_unnamed_statement_is_used_in_a_later_batch(s: &mut Script) {
    s.say(&[parse("", "SELECT $1 || '!'"), sync()]).say(&[run("", &["a"]), sync()]);
    s.say(&[run("", &["b"]), run("", &["c"]), sync()]).say(&[describe(""), sync()]);
    s.send(&[run("", &["d"]), flush()])
        .until(b'C', 1)
        .say(&[sync()])
        .say(&[parse("s", "SELECT 1"), sync()]);
    s.say(&[run("s", &[]), run("", &["e"]), sync()]).say(&[bind("", "", &[]), sync()]);
    s.say(&[run("", &["f"]), sync()]);
}

fn the_unnamed_statement_is_dropped_by_a_simple_query(s: &mut Script) {
    s.say(&[parse("", "SELECT 1"), sync()]).query("SELECT 2").say(&[run("", &[]), sync()]);
    s.say(&[parse("", "SELECT 1"), sync()]).query("").say(&[run("", &[]), sync()]);
    s.send(&[parse("", "SELECT 1"), sync(), query("X"), run("", &[]), sync()]).ready(3);
}

fn the_unnamed_statement_is_dropped_by_close(s: &mut Script) {
    s.say(&[parse("", "SELECT 1"), sync()]).say(&[close(""), sync()]).say(&[run("", &[]), sync()]);
    s.say(&[parse("", "SELECT 1"), close(""), run("", &[]), sync()]);
    s.send(&[parse("", "SELECT 1"), sync(), close(""), sync(), run("", &[]), sync()]).ready(3);
}

fn the_unnamed_statement_of_a_failed_transaction(s: &mut Script) {
    s.say(&[run_unnamed("BEGIN", &[]), parse("", "SELECT 1"), sync()]);
    s.say(&[run("", &[]), run("nowhere", &[]), sync()]).say(&[run("", &[]), sync()]);
    s.say(&[parse("", "ROLLBACK"), sync()])
        .say(&[run("", &[]), sync()])
        .say(&[run("", &[]), sync()]);
}

fn deallocate_all_drops_every_name(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), parse("t", "SELECT 2"), sync()]).query("DEALLOCATE ALL");
    s.say(&[run("s", &[]), sync()]).say(&[run("t", &[]), sync()]);
    s.say(&[parse("s", "SELECT 3"), run("s", &[]), sync()]);
    s.say(&[run_unnamed("DEALLOCATE ALL", &[]), sync()]).say(&[run("s", &[]), sync()]);
    s.send(&[parse("s", "SELECT 4"), sync(), query("DEALLOCATE ALL"), run("s", &[]), sync()])
        .ready(3);
}

fn deallocate_drops_a_statement_of_the_protocol(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), parse("t", "SELECT 2"), sync()]).query("DEALLOCATE s");
    s.say(&[run("s", &[]), sync()]).say(&[parse("s", "SELECT 3"), run("s", &[]), sync()]);
    s.query("BEGIN").query("DEALLOCATE PREPARE t").say(&[run("t", &[]), sync()]).query("ROLLBACK");
    s.query("DEALLOCATE nowhere").say(&[run("s", &[]), sync()]);
}

fn discard_all_drops_every_name(s: &mut Script) {
    s.query("SET TimeZone = 'Asia/Tokyo'")
        .say(&[parse("s", "SELECT 1"), sync()])
        .query("DISCARD ALL");
    s.query("SHOW TimeZone").say(&[run("s", &[]), sync()]).say(&[
        parse("s", "SELECT 2"),
        run("s", &[]),
        sync(),
    ]);
    s.query("BEGIN").query("DISCARD ALL").query("ROLLBACK").say(&[run("s", &[]), sync()]);
}

fn discard_all_in_the_extended_protocol(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), parse("", "SELECT 'unnamed'"), sync()]);
    s.say(&[parse("d", "DISCARD ALL"), run("d", &[]), sync()]);
    s.say(&[run("s", &[]), sync()]).say(&[run("d", &[]), sync()]).say(&[run("", &[]), sync()]);
}

fn deallocate_in_the_middle_of_a_transaction(s: &mut Script) {
    s.query("BEGIN").say(&[parse("s", "SELECT 1"), run("s", &[]), sync()]).query("DEALLOCATE ALL");
    s.say(&[parse("s", "SELECT 2"), run("s", &[]), sync()])
        .query("ROLLBACK")
        .say(&[run("s", &[]), sync()]);
}

fn sql_prepare_and_execute_within_a_transaction(s: &mut Script) {
    s.keeps_server();
    s.query("BEGIN; PREPARE q (int4) AS SELECT $1 + 1")
        .query("EXECUTE q (1)")
        .query("PREPARE q AS SELECT 1");
    s.query("ROLLBACK").query("BEGIN; PREPARE r AS SELECT 1; EXECUTE r; DEALLOCATE r; COMMIT");
    s.query("BEGIN; EXECUTE r").query("ROLLBACK");
}

fn sql_names_and_protocol_names_are_one_within_a_transaction(s: &mut Script) {
    s.query("BEGIN; PREPARE q AS SELECT 'of SQL'; DEALLOCATE q; COMMIT");
    s.say(&[parse("q", "SELECT 'of the protocol'"), run("q", &[]), sync()]);
}

fn more_statements_than_a_server_keeps(s: &mut Script) {
    let name = |n: u32| format!("many{n}");
    for n in 0..30 {
        s.say(&[parse(&name(n), &format!("SELECT {n}")), run(&name(n), &[]), sync()]);
    }
    for n in (0..30).rev() {
        s.say(&[run(&name(n), &[]), sync()]);
    }
}

fn more_statements_in_one_batch_than_a_server_keeps(s: &mut Script) {
    let all: Vec<_> = (0..40).map(|n| parse(&format!("many{n}"), &format!("SELECT {n}"))).collect();
    let runs: Vec<_> = (0..40).map(|n| run(&format!("many{n}"), &[])).collect();
    s.say(&[all.concat(), sync()]).say(&[runs.concat(), sync()]).say(&[
        runs.concat(),
        runs.concat(),
        sync(),
    ]);
}

fn statements_in_a_pipeline_of_many_batches(s: &mut Script) {
    let batch = |n: u32| [parse(&format!("many{n}"), &format!("SELECT {n}")), sync()].concat();
    let again = |n: u32| [run(&format!("many{n}"), &[]), sync()].concat();
    let batches: Vec<_> = (0..50).map(batch).chain((0..50).map(again)).collect();
    s.send(&batches).ready(100);
}

fn statements_used_and_closed_in_a_pipeline(s: &mut Script) {
    let batch =
        |n: u32| [parse("s", &format!("SELECT {n}")), run("s", &[]), close("s"), sync()].concat();
    s.send(&(0..60).map(batch).collect::<Vec<_>>()).ready(60);
    s.send(&(0..30).map(|n| batch(n % 3)).collect::<Vec<_>>()).ready(30);
}

fn a_name_of_any_bytes(s: &mut Script) {
    for name in ["with blank", "\"quoted\"", "it's", "ü", "\u{1}", "__pgmesh_1", "pgmesh_1", "S"] {
        s.say(&[parse(name, "SELECT 1"), run(name, &[]), sync()]).say(&[run(name, &[]), sync()]);
        s.say(&[parse(name, "SELECT 1"), sync()]).say(&[close(name), run(name, &[]), sync()]);
    }
}

fn a_statement_of_a_rolled_back_transaction_stays(s: &mut Script) {
    s.query("BEGIN")
        .say(&[parse("s", "SELECT 1"), sync()])
        .query("ROLLBACK")
        .say(&[run("s", &[]), sync()]);
    s.query("BEGIN").say(&[close("s"), sync()]).query("ROLLBACK").say(&[run("s", &[]), sync()]);
}

fn a_statement_replaced_in_a_pipeline(s: &mut Script) {
    s.send(&[
        [parse("s", "SELECT 1"), sync()].concat(),
        [run("s", &[]), close("s"), parse("s", "SELECT 'two'"), run("s", &[]), sync()].concat(),
        [close("s"), sync()].concat(),
        [parse("s", "SELECT 3.5"), run("s", &[]), sync()].concat(),
        [run("s", &[]), sync()].concat(),
    ]);
    s.ready(5);
}

fn a_statement_survives_its_table(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS dropped; CREATE TABLE dropped (n int4)");
    s.say(&[parse("s", "SELECT n FROM dropped"), run("s", &[]), sync()])
        .query("DROP TABLE dropped");
    s.say(&[run("s", &[]), sync()])
        .query("CREATE TABLE dropped (n int4)")
        .say(&[run("s", &[]), sync()]);
}

fn a_describe_replays_its_parse(s: &mut Script) {
    s.say(&[parse("s", "SELECT $1::int4 AS n"), sync()])
        .query("SELECT 1")
        .say(&[describe("s"), sync()]);
    s.send(&[describe("s"), flush()]).until(b'T', 1).send(&[
        bind("", "s", &["1"]),
        execute("", 0),
        flush(),
    ]);
    s.until(b'C', 1).say(&[sync()]);
}

fn a_statement_whose_parse_fails_on_the_next_server(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS gone; CREATE TABLE gone (n int4)");
    s.say(&[parse("s", "SELECT n FROM gone"), sync()]).query("DROP TABLE gone");
    s.send(&[run_unnamed("SELECT 1", &[]), run("s", &[]), run_unnamed("SELECT 2", &[]), sync()]);
    s.ready(1).query("SELECT 3");
}

fn a_statement_is_planned_anew_when_its_table_changed(s: &mut Script) {
    s.before(
        "DROP TABLE IF EXISTS grown; CREATE TABLE grown (n int4); INSERT INTO grown VALUES (1)",
    );
    s.say(&[parse("s", "SELECT n FROM grown"), run("s", &[]), sync()]);
    s.aside("ALTER TABLE grown ADD COLUMN m text").say(&[run("s", &[]), sync()]);
    s.aside("CREATE INDEX ON grown (n)").say(&[run("s", &[]), sync()]);
}

fn close_and_parse_in_one_pipeline_of_two_batches(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), sync()]);
    s.send(&[close("s"), sync(), parse("s", "SELECT 2"), run("s", &[]), sync()]).ready(2);
    s.send(&[close("s"), parse("s", "SELECT 3"), sync(), run("s", &[]), sync()]).ready(2);
}
