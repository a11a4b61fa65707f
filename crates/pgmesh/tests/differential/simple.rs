//! The simple query protocol, transactions, notices and function calls.

use crate::raw::{function_call, query, sync};
use crate::script::Script;
use crate::{cases, every_way};

#[test]
fn simple_queries_are_answered_as_by_the_server() {
    every_way(cases![
        a_query,
        an_empty_query,
        several_statements_in_one_query,
        a_failed_statement_ends_its_query,
        every_error_field_arrives,
        statements_in_one_query_are_one_transaction,
        a_transaction_block_over_many_queries,
        commit_of_a_failed_transaction_is_answered_rollback,
        savepoints_bring_a_failed_transaction_back,
        a_transaction_that_is_begun_and_ended_in_one_query,
        rollback_and_more_in_one_query,
        warnings_of_needless_begin_and_commit,
        and_chain_keeps_the_transaction,
        notices_arrive_where_they_were_raised,
        a_listener_is_notified_at_its_own_commit,
        a_notify_rolled_back_is_never_heard,
        cursors_live_within_their_transaction,
        session_state_hides_behind_no_comment,
        a_temporary_table_of_one_transaction,
        function_calls,
        a_failed_function_call_is_followed_by_ready,
        function_calls_in_a_transaction,
        many_queries_in_one_write,
        queries_behind_a_failed_one_run,
        a_sync_by_itself,
        multi_byte_text,
        read_only_transactions,
        a_two_phase_commit_that_the_server_refuses,
    ]);
}

fn a_query(s: &mut Script) {
    s.query("SELECT 1 AS one, 'two' AS two, NULL::int4 AS three");
}

fn an_empty_query(s: &mut Script) {
    s.query("").query("   ").query("-- nothing").query(";").query(";;SELECT 1;;");
}

fn several_statements_in_one_query(s: &mut Script) {
    s.query("SELECT 1; SELECT 2, 3; SELECT generate_series(1, 3); VALUES ('x')");
}

fn a_failed_statement_ends_its_query(s: &mut Script) {
    s.query("SELECT 1; SELECT 1/0; SELECT 2").query("SELECT 3");
    s.query("SELECT 1; SELEC 2").query("SELECT 'still here'");
}

fn every_error_field_arrives(s: &mut Script) {
    s.before(
        "DROP TABLE IF EXISTS fields; CREATE TABLE fields (n int4 CONSTRAINT small CHECK (n < 3))",
    );
    s.query("INSERT INTO fields VALUES (1)").query("INSERT INTO fields VALUES (7)");
    s.query("SELECT nothing FROM fields").query("SELECT 'abc'::int4");
    s.query("DO $$ BEGIN RAISE 'a' USING DETAIL = 'b', HINT = 'c', ERRCODE = 'P0123', COLUMN = 'd'; END $$");
}

fn statements_in_one_query_are_one_transaction(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS implicit; CREATE TABLE implicit (n int4)");
    s.query("INSERT INTO implicit VALUES (1); SELECT 1/0").query("TABLE implicit");
    s.query("INSERT INTO implicit VALUES (2); COMMIT; INSERT INTO implicit VALUES (3); SELECT 1/0");
    s.query("TABLE implicit");
}

fn a_transaction_block_over_many_queries(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS block; CREATE TABLE block (n int4)");
    s.query("BEGIN").query("INSERT INTO block VALUES (1)").query("COMMIT");
    s.query("BEGIN").query("INSERT INTO block VALUES (2)").query("ROLLBACK").query("TABLE block");
    s.query("START TRANSACTION ISOLATION LEVEL SERIALIZABLE").query("SHOW transaction_isolation");
    s.query("").query("END").query("SHOW transaction_isolation");
}

fn commit_of_a_failed_transaction_is_answered_rollback(s: &mut Script) {
    s.query("BEGIN").query("SELECT 1/0").query("SELECT 1").query("COMMIT").query("SELECT 2");
    s.query("BEGIN; SELECT 1/0").query("").query("ROLLBACK").query("SELECT 3");
}

fn savepoints_bring_a_failed_transaction_back(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS saved; CREATE TABLE saved (n int4)");
    s.query("BEGIN").query("INSERT INTO saved VALUES (1)").query("SAVEPOINT a");
    s.query("INSERT INTO saved VALUES (2)").query("SELECT 1/0").query("SAVEPOINT b");
    s.query("ROLLBACK TO a").query("TABLE saved").query("RELEASE a").query("RELEASE a");
    s.query("COMMIT").query("TABLE saved").query("SAVEPOINT outside");
}

fn a_transaction_that_is_begun_and_ended_in_one_query(s: &mut Script) {
    s.query("BEGIN; SELECT 1; COMMIT").query("SELECT 1; BEGIN; SELECT 2").query("SELECT 3");
    s.query("COMMIT; BEGIN").query("ROLLBACK; SELECT 4");
}

fn rollback_and_more_in_one_query(s: &mut Script) {
    s.query("BEGIN").query("ROLLBACK; DISCARD ALL").query("SELECT 1").query("ROLLBACK");
}

fn warnings_of_needless_begin_and_commit(s: &mut Script) {
    s.query("COMMIT").query("ROLLBACK").query("BEGIN").query("BEGIN").query("COMMIT; COMMIT");
    s.query("ROLLBACK TO nowhere");
}

fn and_chain_keeps_the_transaction(s: &mut Script) {
    s.query("BEGIN ISOLATION LEVEL REPEATABLE READ").query("COMMIT AND CHAIN");
    s.query("SHOW transaction_isolation").query("SELECT 1/0").query("ROLLBACK AND CHAIN");
    s.query("SELECT 1").query("COMMIT AND NO CHAIN");
}

fn notices_arrive_where_they_were_raised(s: &mut Script) {
    s.query("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; RAISE INFO 'three'; END $$");
    s.query("SELECT 1; DO 'BEGIN RAISE NOTICE ''between''; END'; SELECT 2");
    s.query("DROP TABLE IF EXISTS never_there").query("SET client_min_messages = error");
}

fn a_listener_is_notified_at_its_own_commit(s: &mut Script) {
    s.keeps_server();
    s.query("BEGIN").query("LISTEN channel").query("NOTIFY channel, 'payload'");
    s.query("SELECT pg_notify('channel', 'more')").query("NOTIFY unheard").query("COMMIT");
    s.query("BEGIN; LISTEN c; NOTIFY c, 'in one query'; COMMIT; SELECT 'behind'");
    s.query("LISTEN c; NOTIFY c").query("UNLISTEN *");
}

fn a_notify_rolled_back_is_never_heard(s: &mut Script) {
    s.keeps_server();
    s.query("BEGIN; LISTEN c; NOTIFY c, 'never'; ROLLBACK")
        .query("BEGIN; LISTEN c; NOTIFY c; COMMIT");
}

fn cursors_live_within_their_transaction(s: &mut Script) {
    s.query("BEGIN").query("DECLARE c SCROLL CURSOR FOR SELECT generate_series(1, 9)");
    s.query("FETCH 2 FROM c").query("MOVE 3 FROM c").query("FETCH BACKWARD 1 FROM c");
    s.query("CLOSE c").query("FETCH c").query("COMMIT").query("DECLARE d CURSOR FOR SELECT 1");
}

fn session_state_hides_behind_no_comment(s: &mut Script) {
    // Within its query and transaction it is there, and afterwards as well.
    s.query("/* a */ SELECT set_config('search_path', 'hidden', false); SHOW search_path");
    s.query("BEGIN; sElEcT /* b */ pg_catalog.set_config($$work_mem$$, '123kB', false)");
    s.query("SHOW work_mem").query("ROLLBACK").query("SHOW work_mem");
}

fn a_temporary_table_of_one_transaction(s: &mut Script) {
    s.query("BEGIN; CREATE TEMP TABLE t (n int4) ON COMMIT DROP").query("INSERT INTO t VALUES (1)");
    s.query("TABLE t").query("COMMIT").query("TABLE t");
    s.query("SELECT 2 AS n INTO TEMP t; TABLE t; DROP TABLE t").query("TABLE t");
}

/// The function int4pl(int4, int4).
const INT4_PLUS: u32 = 177;

/// The function int4div(int4, int4).
const INT4_DIV: u32 = 154;

fn function_calls(s: &mut Script) {
    s.say(&[function_call(INT4_PLUS, &["20", "22"])]);
    s.send(&[function_call(INT4_PLUS, &["1", "1"]), function_call(INT4_PLUS, &["2", "2"])])
        .ready(2);
}

fn a_failed_function_call_is_followed_by_ready(s: &mut Script) {
    s.say(&[function_call(INT4_DIV, &["1", "0"])]).say(&[function_call(1, &[])]);
    s.say(&[function_call(INT4_PLUS, &["1"])]).query("SELECT 1");
}

fn function_calls_in_a_transaction(s: &mut Script) {
    s.query("BEGIN").say(&[function_call(INT4_PLUS, &["1", "2"])]);
    s.say(&[function_call(INT4_DIV, &["1", "0"])]).say(&[function_call(INT4_PLUS, &["1", "2"])]);
    s.query("ROLLBACK");
}

fn many_queries_in_one_write(s: &mut Script) {
    let queries: Vec<_> = (0..300).map(|n| query(&format!("SELECT {n}"))).collect();
    s.send(&queries).ready(300);
    s.send(&[query("BEGIN"), query("SELECT 1"), query("COMMIT"), query("SELECT 2")]).ready(4);
}

fn queries_behind_a_failed_one_run(s: &mut Script) {
    s.send(&[
        query("SELECT 1/0"),
        query("SELECT 1"),
        query("BEGIN"),
        query("X"),
        query("SELECT 2"),
    ]);
    s.ready(5).send(&[query("ROLLBACK"), query("SELECT 3")]).ready(2);
}

fn a_sync_by_itself(s: &mut Script) {
    s.say(&[sync()]).send(&[sync(), sync(), query("SELECT 1"), sync()]).ready(4);
    s.query("BEGIN")
        .say(&[sync()])
        .query("SELECT 1/0")
        .say(&[sync()])
        .query("ROLLBACK")
        .say(&[sync()]);
}

fn multi_byte_text(s: &mut Script) {
    s.query("SELECT 'Grüße, 世界, 🦀' AS \"Ünïcödé\"").query("SELECT 'ü' AS ü, ü");
}

fn read_only_transactions(s: &mut Script) {
    s.before("CREATE TABLE IF NOT EXISTS writable (n int4)");
    s.query("BEGIN READ ONLY").query("INSERT INTO writable VALUES (1)").query("ROLLBACK");
    s.query("BEGIN; SET TRANSACTION READ ONLY; SELECT 1").query("DROP TABLE writable").query("END");
}

fn a_two_phase_commit_that_the_server_refuses(s: &mut Script) {
    s.query("BEGIN")
        .query("PREPARE TRANSACTION 'x'")
        .query("COMMIT PREPARED 'x'")
        .query("ROLLBACK");
}
