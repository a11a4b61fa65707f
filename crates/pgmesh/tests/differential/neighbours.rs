//! Several clients on fewer servers: each sees what it would see alone.

use crate::raw::{
    bind, close, copy_data, execute, flush, parse, query, run, run_unnamed, sync, terminate,
};
use crate::script::{Script, Way};
use crate::stage::Stage;
use crate::{cases, run as run_cases};

#[test]
fn clients_that_share_a_server_do_not_see_each_other() {
    let mut stage = Stage::new();
    let cases = cases![
        statements_of_one_name_are_each_clients_own,
        unnamed_statements_are_each_clients_own,
        a_missing_name_is_missing_beside_a_neighbours,
        an_error_stays_with_its_client,
        settings_stay_with_their_client,
        a_client_waits_for_the_server_and_is_answered,
        a_whole_pipeline_waits_for_the_server,
        a_client_that_skips_holds_no_neighbour_up,
        a_transaction_of_a_client_that_left_is_rolled_back,
        a_client_that_left_a_failed_transaction,
        a_client_that_left_in_the_middle_of_its_result,
        a_client_that_left_in_the_middle_of_copy_in,
        a_client_that_left_in_the_middle_of_copy_out,
        a_client_that_left_in_the_middle_of_a_batch,
        a_client_that_left_before_its_sync_has_committed_nothing,
        a_client_that_said_goodbye_before_its_sync_has_committed_nothing,
        a_client_that_left_behind_an_error,
        a_client_that_left_in_the_middle_of_a_message,
        a_client_that_left_with_a_pipeline_unanswered,
        a_client_that_said_goodbye_in_a_transaction,
        a_statement_is_cancelled,
        a_statement_of_a_transaction_is_cancelled,
        a_statement_of_the_extended_protocol_is_cancelled,
        a_cancel_behind_the_end_hits_nobody,
        a_cancel_hits_only_its_clients_statement,
        deallocate_all_of_a_neighbour_drops_nothing,
        discard_all_of_a_neighbour_drops_nothing,
        a_flush_with_nothing_open_lets_the_server_go,
    ];
    run_cases(cases, |_, script| {
        let route = stage.one_server();
        stage.compare_on(script, &[route])
    });
}

#[test]
fn a_session_keeps_everything_in_whatever_mode() {
    let mut stage = Stage::new();
    let cases = cases![
        session_state_stays,
        a_notification_reaches_an_idle_listener,
        a_cursor_that_is_held,
        locks_of_a_session,
        session_state_is_its_clients_alone,
        statements_of_one_name_are_each_clients_own,
    ];
    run_cases(cases, |_, script| stage.compare(script, &[Way::Session, Way::Alone]));
}

#[test]
fn statement_mode_answers_as_the_server() {
    let mut stage = Stage::new();
    let cases = cases![
        statements_of_one_name_are_each_clients_own,
        unnamed_statements_are_each_clients_own,
        an_error_stays_with_its_client,
        settings_stay_with_their_client,
        a_client_that_left_in_the_middle_of_a_batch,
        a_client_that_left_before_its_sync_has_committed_nothing,
        a_client_that_said_goodbye_before_its_sync_has_committed_nothing,
    ];
    run_cases(cases, |_, script| {
        let route = stage.statement_mode();
        stage.compare_on(script, &[route])
    });
}

fn statements_of_one_name_are_each_clients_own(s: &mut Script) {
    s.on(0).say(&[parse("s", "SELECT 'zero', $1"), sync()]);
    s.on(1).say(&[parse("s", "SELECT 1 + $1"), sync()]);
    for n in 0..3 {
        s.on(0).say(&[run("s", &["a"]), sync()]).on(1).say(&[run("s", &["1"]), sync()]);
        if n == 1 {
            s.on(0).say(&[close("s"), sync()]).say(&[parse("s", "SELECT $1 || '!'"), sync()]);
        }
    }
}

fn unnamed_statements_are_each_clients_own(s: &mut Script) {
    s.on(0).say(&[parse("", "SELECT 'zero'"), sync()]).on(1).say(&[run("", &[]), sync()]);
    s.say(&[parse("", "SELECT 'one'"), sync()]).on(0).say(&[run("", &[]), sync()]);
    s.on(1).say(&[run("", &[]), sync()]).query("SELECT 'drops'").on(0).say(&[run("", &[]), sync()]);
    s.on(1).say(&[run("", &[]), sync()]);
    s.on(0).send(&[run("", &[]), flush()]).until(b'C', 1).say(&[sync()]);
}

fn a_missing_name_is_missing_beside_a_neighbours(s: &mut Script) {
    s.on(0).say(&[parse("s", "SELECT 'secret'"), parse("", "SELECT 'secret'"), sync()]);
    s.on(1)
        .say(&[run("s", &[]), sync()])
        .say(&[run("", &[]), sync()])
        .say(&[parse("s", "SELECT 1"), sync()]);
    s.say(&[run("s", &[]), sync()]).on(0).say(&[run("s", &[]), sync()]);
}

fn an_error_stays_with_its_client(s: &mut Script) {
    s.on(0).say(&[run_unnamed("SELECT 1/0", &[]), sync()]).on(1).query("SELECT 1");
    s.on(0).query("SELEC").on(1).say(&[run_unnamed("SELECT 2", &[]), sync()]);
    s.on(0).send(&[bind("", "nowhere", &[])]).until(b'E', 1).say(&[sync()]).on(1).query("SELECT 3");
}

fn settings_stay_with_their_client(s: &mut Script) {
    s.log_in(&[("TimeZone", "CET"), ("application_name", "zero")])
        .log_in_on(1, &[("application_name", "one")]);
    s.on(0).query("SET DateStyle = 'German'").on(1).query("SHOW DateStyle").query("SHOW TimeZone");
    s.on(0).query("SHOW application_name").query("SHOW TimeZone").query("SHOW DateStyle");
    s.on(1).query("SET TimeZone = 'EET'").query("SET application_name = 'two'");
    s.on(0)
        .say(&[run_unnamed("SHOW TimeZone", &[]), sync()])
        .query("RESET ALL")
        .query("SHOW DateStyle");
    s.on(1).query("SHOW TimeZone").query("SHOW application_name");
}

fn a_client_waits_for_the_server_and_is_answered(s: &mut Script) {
    s.on(1)
        .on(0)
        .query("BEGIN")
        .on(1)
        .send(&[query("SELECT 'waited'")])
        .on(0)
        .query("SELECT 1")
        .query("COMMIT");
    s.on(1).ready(1);
    s.on(0)
        .query("BEGIN")
        .on(1)
        .send(&[run_unnamed("SELECT 'waited'", &[]), sync()])
        .on(0)
        .query("ROLLBACK");
    s.on(1).ready(1);
}

fn a_whole_pipeline_waits_for_the_server(s: &mut Script) {
    let batch = [
        parse("s", "SELECT $1"),
        run("s", &["x"]),
        sync(),
        query("SELECT 1"),
        run("s", &["y"]),
        close("s"),
        sync(),
    ]
    .concat();
    s.on(1)
        .on(0)
        .query("BEGIN")
        .on(1)
        .send(&vec![batch; 40])
        .on(0)
        .query("COMMIT")
        .on(1)
        .ready(120);
}

fn a_client_that_skips_holds_no_neighbour_up(s: &mut Script) {
    s.on(1).on(0).send(&[bind("", "nowhere", &[])]).until(b'E', 1);
    s.send(&[parse("s", "SELECT 1"), query("SELECT 1")]).say(&[sync()]);
    s.on(1).query("SELECT 2").on(0).say(&[run("s", &[]), sync()]);
}

const TABLE: &str = "DROP TABLE IF EXISTS left_over; CREATE TABLE left_over (n int4)";

fn a_transaction_of_a_client_that_left_is_rolled_back(s: &mut Script) {
    s.before(TABLE).on(1).on(0).query("BEGIN").query("INSERT INTO left_over VALUES (1)").hang_up();
    s.on(1).query("TABLE left_over").query("BEGIN").query("COMMIT");
}

fn a_client_that_left_a_failed_transaction(s: &mut Script) {
    s.on(1).on(0).query("BEGIN").query("SELECT 1/0").hang_up().on(1).query("SELECT 1");
}

fn a_client_that_left_in_the_middle_of_its_result(s: &mut Script) {
    s.on(1)
        .on(0)
        .send(&[query("SELECT repeat('x', 1000) FROM generate_series(1, 10000)")])
        .until(b'D', 1)
        .hang_up();
    s.on(1).query("SELECT 1").say(&[run_unnamed("SELECT 2", &[]), sync()]);
}

fn a_client_that_left_in_the_middle_of_copy_in(s: &mut Script) {
    s.before(TABLE).on(1).on(0).send(&[query("COPY left_over FROM STDIN")]).until(b'G', 1);
    s.send(&[copy_data(b"1\n")]).hang_up().on(1).query("TABLE left_over").on(2);
    s.send(&[run_unnamed("COPY left_over FROM STDIN", &[]), flush()]).until(b'G', 1).hang_up();
    s.on(1).query("TABLE left_over");
}

fn a_client_that_left_in_the_middle_of_copy_out(s: &mut Script) {
    s.on(1)
        .on(0)
        .send(&[query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 10000)) TO STDOUT")]);
    s.until(b'd', 1).hang_up().on(1).query("SELECT 1");
}

fn a_client_that_left_in_the_middle_of_a_batch(s: &mut Script) {
    s.on(1).on(0).send(&[parse("s", "SELECT 1")]).hang_up();
    s.on(1).say(&[parse("s", "SELECT 2"), run("s", &[]), sync()]);
    s.on(2).send(&[run_unnamed("SELECT 1", &[]), flush()]).until(b'C', 1).hang_up();
    s.on(1).query("SELECT 2");
}

fn a_client_that_left_before_its_sync_has_committed_nothing(s: &mut Script) {
    let insert = run_unnamed("INSERT INTO left_over VALUES (1)", &[]);
    s.before(TABLE).on(1).on(0).send(&[insert, flush()]).until(b'C', 1).hang_up();
    s.on(1).query("LOCK TABLE left_over; TABLE left_over");
}

fn a_client_that_said_goodbye_before_its_sync_has_committed_nothing(s: &mut Script) {
    let insert = run_unnamed("INSERT INTO left_over VALUES (1)", &[]);
    s.before(TABLE).on(1).on(0).send(&[insert, terminate()]).closed();
    s.on(1).query("LOCK TABLE left_over; TABLE left_over");
}

fn a_client_that_left_behind_an_error(s: &mut Script) {
    s.on(1)
        .on(0)
        .send(&[bind("", "nowhere", &[])])
        .until(b'E', 1)
        .send(&[parse("s", "SELECT 1")])
        .hang_up();
    s.on(1).query("SELECT 1").say(&[run("s", &[]), sync()]);
}

fn a_client_that_left_in_the_middle_of_a_message(s: &mut Script) {
    let long = query(&format!("SELECT length('{}')", "x".repeat(200_000)));
    for (client, cut) in [(0, 3), (2, 12), (3, 150_000)] {
        s.on(1).on(client).send(&[long[..cut].to_vec()]).hang_up().on(1).query("SELECT 1");
    }
    s.on(4)
        .send(&[run_unnamed("SELECT 1", &[]), long[..150_000].to_vec()])
        .hang_up()
        .on(1)
        .query("SELECT 2");
}

fn a_client_that_left_with_a_pipeline_unanswered(s: &mut Script) {
    let batch =
        [parse("s", "SELECT repeat('x', 10000)"), run("s", &[]), close("s"), sync()].concat();
    s.on(1)
        .on(0)
        .send(&vec![batch; 200])
        .hang_up()
        .on(1)
        .query("SELECT 1")
        .say(&[run("s", &[]), sync()]);
}

fn a_client_that_said_goodbye_in_a_transaction(s: &mut Script) {
    s.before(TABLE).on(1).on(0).query("BEGIN").query("INSERT INTO left_over VALUES (1)");
    s.send(&[terminate()]).closed().on(1).query("TABLE left_over");
}

fn session_state_is_its_clients_alone(s: &mut Script) {
    // The neighbour sees nothing of it.
    s.on(1)
        .on(0)
        .query("SET search_path = hidden; SET work_mem = '123kB'; CREATE TEMP TABLE t (n int4)");
    s.on(1).query("SHOW search_path").query("SHOW work_mem").query("TABLE t");
    s.on(0).query("SELECT pg_advisory_lock(1), set_config('my.secret', 'x', false)");
    s.on(1).query(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    );
    s.query("SELECT coalesce(current_setting('my.secret', true), '')")
        .on(0)
        .query("SELECT pg_advisory_unlock_all()");
    s.on(0).query("DECLARE c CURSOR WITH HOLD FOR SELECT 1").on(1).query("FETCH c");
    s.on(0)
        .query("PREPARE q AS SELECT 'secret'")
        .on(1)
        .query("EXECUTE q")
        .query("SELECT count(*) FROM pg_prepared_statements");
    s.on(0).query("SET ROLE pg_monitor").on(1).query("SELECT current_user");
    s.on(0).query("LISTEN c").on(1).query("SELECT count(*) FROM pg_listening_channels()");
    s.on(0)
        .query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        .on(1)
        .query("SHOW transaction_read_only");
}

/// Says that it runs, and then does not end by itself.
const BUSY: &str = "DO $$ BEGIN RAISE NOTICE 'runs'; PERFORM pg_sleep(600); END $$";

fn a_statement_is_cancelled(s: &mut Script) {
    s.send(&[query(BUSY)]).until(b'N', 1).cancel().ready(1).query("SELECT 1");
    s.send(&[query(BUSY), query("SELECT 2")]).until(b'N', 1).cancel().ready(2);
}

fn a_statement_of_a_transaction_is_cancelled(s: &mut Script) {
    s.query("BEGIN")
        .send(&[query(BUSY)])
        .until(b'N', 1)
        .cancel()
        .ready(1)
        .query("SELECT 1")
        .query("ROLLBACK");
    s.query("BEGIN").query("SAVEPOINT a").send(&[query(BUSY)]).until(b'N', 1).cancel().ready(1);
    s.query("ROLLBACK TO a").query("SELECT 2").query("COMMIT");
}

fn a_statement_of_the_extended_protocol_is_cancelled(s: &mut Script) {
    s.say(&[parse("s", BUSY), sync()]);
    s.send(&[bind("", "s", &[]), execute("", 0), run_unnamed("SELECT 1", &[]), sync()])
        .until(b'N', 1)
        .cancel()
        .ready(1);
    s.query("SELECT 2");
}

fn a_cancel_behind_the_end_hits_nobody(s: &mut Script) {
    s.on(1)
        .on(0)
        .query("SELECT 1")
        .cancel()
        .on(1)
        .query("SELECT 2")
        .on(0)
        .query("SELECT 3")
        .cancel();
    s.say(&[run_unnamed("SELECT 4", &[]), sync()]);
}

/// Says that it runs, and waits for whoever has the lock.
const WAITS: &str = "DO $$ BEGIN RAISE NOTICE 'runs'; PERFORM pg_advisory_xact_lock(7); END $$";

fn a_cancel_hits_only_its_clients_statement(s: &mut Script) {
    s.on(0).on(1).aside("SELECT pg_advisory_lock(7)").on(0).query("SELECT 1");
    s.on(1).send(&[query(WAITS)]).until(b'N', 1).on(0).cancel();
    s.on(1).aside("SELECT pg_advisory_unlock(7)").ready(1);
}

fn deallocate_all_of_a_neighbour_drops_nothing(s: &mut Script) {
    s.on(0)
        .say(&[parse("s", "SELECT 1"), parse("", "SELECT 2"), sync()])
        .on(1)
        .query("DEALLOCATE ALL");
    s.on(0).say(&[run("s", &[]), run("", &[]), sync()]);
}

fn discard_all_of_a_neighbour_drops_nothing(s: &mut Script) {
    s.on(0).query("SET TimeZone = 'CET'").say(&[
        parse("s", "SELECT 1"),
        parse("", "SELECT 2"),
        sync(),
    ]);
    s.on(1)
        .query("DISCARD ALL")
        .on(0)
        .say(&[run("s", &[]), run("", &[]), sync()])
        .query("SHOW TimeZone");
}

fn a_flush_with_nothing_open_lets_the_server_go(s: &mut Script) {
    s.on(1)
        .on(0)
        .send(&[flush()])
        .on(1)
        .query("SELECT 1")
        .on(0)
        .query("SELECT 2")
        .send(&[flush(), sync()])
        .ready(1);
    s.on(1).query("SELECT 3");
}

fn session_state_stays(s: &mut Script) {
    s.query("SET search_path = mine; SET work_mem = '123kB'")
        .query("SHOW search_path")
        .query("SHOW work_mem");
    s.query("CREATE TEMP TABLE t AS SELECT 1 AS n")
        .query("TABLE t")
        .query("PREPARE q AS SELECT 2")
        .query("EXECUTE q");
    s.say(&[run_unnamed("EXECUTE q", &[]), sync()])
        .query("DISCARD ALL")
        .query("TABLE t")
        .query("EXECUTE q");
}

fn a_notification_reaches_an_idle_listener(s: &mut Script) {
    s.on(1)
        .on(0)
        .query("LISTEN c")
        .on(1)
        .query("NOTIFY c, 'to an idle client'")
        .on(0)
        .until(b'A', 1)
        .query("SELECT 1");
}

fn a_cursor_that_is_held(s: &mut Script) {
    s.query("DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 5)").query("FETCH 2 FROM c");
    s.say(&[execute("c", 2), sync()]).query("CLOSE c").query("FETCH c");
}

fn locks_of_a_session(s: &mut Script) {
    s.on(1).on(0).query("SELECT pg_advisory_lock(5)").on(1).query("SELECT pg_try_advisory_lock(5)");
    s.on(0)
        .query("SELECT pg_advisory_unlock(5)")
        .on(1)
        .query("SELECT pg_try_advisory_lock(5)")
        .query("SELECT pg_advisory_unlock_all()");
}
