//! COPY in both directions, simple and extended, and what is left over of one that failed.

use crate::raw::{
    bind, copy_data, copy_done, copy_fail, execute, flush, parse, query, run, run_unnamed, sync,
};
use crate::script::Script;
use crate::{cases, every_way};

#[test]
fn copy_is_answered_as_by_the_server() {
    every_way(cases![
        copy_in,
        copy_in_of_the_extended_protocol,
        copy_in_sent_without_waiting,
        a_sync_during_copy_is_ignored,
        syncs_sent_in_front_of_the_data_are_ignored,
        copy_in_given_up_by_the_client,
        copy_fail_of_the_extended_protocol,
        late_copy_data_behind_an_error_is_swallowed,
        late_copy_data_of_the_extended_protocol_is_swallowed,
        an_error_at_the_end_of_the_data,
        copy_out,
        copy_out_of_the_extended_protocol,
        copy_out_that_fails_half_way,
        copies_in_one_query,
        copy_in_a_transaction,
        a_failed_copy_in_a_transaction,
        copy_without_data,
        copy_rows_cut_anywhere,
        the_server_is_usable_after_every_copy,
        a_query_during_copy_in_fails_it,
        a_flush_during_copy_is_ignored,
        binary_copy,
        copy_data_and_done_outside_of_copy,
        large_copies_in_both_directions,
        copy_that_is_refused_is_followed_by_its_data,
    ]);
}

const TABLE: &str = "DROP TABLE IF EXISTS copied; CREATE TABLE copied (n int4, t text)";

const COPY: &str = "COPY copied FROM STDIN";

fn copy_in(s: &mut Script) {
    s.before(TABLE).send(&[query(COPY)]).until(b'G', 1);
    s.send(&[copy_data(b"1\ta\n"), copy_data(b"2\tb\n3"), copy_data(b"\tc\n"), copy_done()])
        .ready(1);
    s.query("TABLE copied");
}

fn copy_in_of_the_extended_protocol(s: &mut Script) {
    s.before(TABLE).send(&[run_unnamed(COPY, &[]), flush()]).until(b'G', 1);
    s.say(&[copy_data(b"1\ta\n"), copy_done(), sync()]).query("TABLE copied");
    s.say(&[parse("s", COPY), sync()])
        .send(&[bind("", "s", &[]), execute("", 0), flush()])
        .until(b'G', 1);
    s.send(&[copy_data(b"2\tb\n"), copy_done(), flush()])
        .until(b'C', 1)
        .say(&[run_unnamed("TABLE copied", &[]), sync()]);
}

fn copy_in_sent_without_waiting(s: &mut Script) {
    s.before(TABLE).say(&[query(COPY), copy_data(b"1\ta\n"), copy_done()]);
    s.say(&[run_unnamed(COPY, &[]), copy_data(b"2\tb\n"), copy_done(), sync()])
        .query("TABLE copied");
    s.send(&[
        query(COPY),
        copy_data(b"3\tc\n"),
        copy_done(),
        query("TABLE copied"),
        query("SELECT 1"),
    ])
    .ready(3);
}

fn a_sync_during_copy_is_ignored(s: &mut Script) {
    s.before(TABLE).send(&[run_unnamed(COPY, &[]), flush()]).until(b'G', 1);
    s.send(&[sync(), copy_data(b"1\ta\n"), sync(), copy_data(b"2\tb\n"), sync()]);
    s.say(&[copy_done(), sync()]).query("TABLE copied");
    s.send(&[query(COPY)])
        .until(b'G', 1)
        .send(&[sync(), copy_data(b"3\tc\n"), flush(), copy_done()])
        .ready(1);
    s.query("TABLE copied");
}

fn syncs_sent_in_front_of_the_data_are_ignored(s: &mut Script) {
    // As libpq does: Execute and Sync go out together, the data follows CopyInResponse.
    s.before(TABLE).send(&[run_unnamed(COPY, &[]), sync()]).until(b'G', 1);
    s.send(&[copy_data(b"1\ta\n"), copy_data(b"2\tb\n"), copy_done()])
        .say(&[sync()])
        .query("TABLE copied");
    s.send(&[run_unnamed(COPY, &[]), sync()]).until(b'G', 1).say(&[copy_fail("no"), sync()]);
    s.query("TABLE copied");
}

fn copy_in_given_up_by_the_client(s: &mut Script) {
    s.before(TABLE)
        .send(&[query(COPY)])
        .until(b'G', 1)
        .say(&[copy_data(b"1\ta\n"), copy_fail("enough")]);
    s.query("TABLE copied").say(&[query(COPY), copy_fail("")]).query("TABLE copied");
}

fn copy_fail_of_the_extended_protocol(s: &mut Script) {
    s.before(TABLE).send(&[run_unnamed(COPY, &[]), flush()]).until(b'G', 1);
    s.send(&[copy_data(b"1\ta\n"), copy_fail("enough")])
        .until(b'E', 1)
        .say(&[run_unnamed("SELECT 1", &[]), sync()]);
    s.query("TABLE copied");
}

fn late_copy_data_behind_an_error_is_swallowed(s: &mut Script) {
    s.before(TABLE).send(&[query(COPY)]).until(b'G', 1);
    s.send(&[copy_data(b"x\ta\n"), copy_data(b"y\n")]).ready(1);
    s.send(&[copy_data(b"2\tb\n"), copy_data(b"3\tc\n"), copy_done()]).query("TABLE copied");
    s.send(&[query(COPY)]).until(b'G', 1).send(&[copy_data(b"x\n")]).ready(1);
    s.send(&[copy_data(b"2\tb\n"), copy_fail("late")]).query("SELECT 1");
}

fn late_copy_data_of_the_extended_protocol_is_swallowed(s: &mut Script) {
    s.before(TABLE).send(&[run_unnamed(COPY, &[]), flush()]).until(b'G', 1);
    s.send(&[copy_data(b"x\ta\n"), copy_data(b"y\n")]).until(b'E', 1);
    s.say(&[copy_data(b"2\tb\n"), copy_done(), sync()]).query("TABLE copied");
    s.send(&[run_unnamed(COPY, &[]), flush()])
        .until(b'G', 1)
        .send(&[copy_data(b"x\n")])
        .until(b'E', 1);
    s.say(&[sync()]).send(&[copy_data(b"3\tc\n"), copy_done()]).query("TABLE copied");
}

fn an_error_at_the_end_of_the_data(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS ended; CREATE TABLE ended (n int4 UNIQUE DEFERRABLE INITIALLY DEFERRED)");
    s.send(&[query("COPY ended FROM STDIN")]).until(b'G', 1);
    s.say(&[copy_data(b"1\n1\n"), copy_done()]).query("TABLE ended");
    s.send(&[run_unnamed("COPY ended FROM STDIN", &[]), flush()]).until(b'G', 1);
    s.say(&[copy_data(b"1\n1\n"), copy_done(), sync()]).query("TABLE ended");
}

fn copy_out(s: &mut Script) {
    s.query("COPY (SELECT n, 'row ' || n FROM generate_series(1, 5) n) TO STDOUT");
    s.query("COPY (SELECT 1) TO STDOUT (FORMAT csv, HEADER)")
        .query("COPY (SELECT 1 WHERE false) TO STDOUT");
}

fn copy_out_of_the_extended_protocol(s: &mut Script) {
    let copy = "COPY (SELECT generate_series(1, 5)) TO STDOUT";
    s.say(&[run_unnamed(copy, &[]), run_unnamed("SELECT 1", &[]), sync()]);
    s.send(&[parse("s", copy), bind("", "s", &[]), execute("", 2), flush()])
        .until(b'C', 1)
        .say(&[sync()]);
}

fn copy_out_that_fails_half_way(s: &mut Script) {
    let copy = "COPY (SELECT 1 / (3 - n) FROM generate_series(1, 5) n) TO STDOUT";
    s.query(copy)
        .say(&[run_unnamed(copy, &[]), run_unnamed("SELECT 1", &[]), sync()])
        .query("SELECT 1");
}

fn copies_in_one_query(s: &mut Script) {
    s.before(TABLE);
    s.send(&[query(
        "COPY copied FROM STDIN; SELECT 1; COPY copied FROM STDIN; COPY copied TO STDOUT",
    )]);
    s.until(b'G', 1).send(&[copy_data(b"1\ta\n"), copy_done()]).until(b'G', 1);
    s.say(&[copy_data(b"2\tb\n"), copy_done()]);
    s.send(&[query("COPY copied FROM STDIN; SELECT 1")]).until(b'G', 1).say(&[copy_fail("no")]);
    s.query("TABLE copied");
}

fn copy_in_a_transaction(s: &mut Script) {
    s.before(TABLE)
        .query("BEGIN")
        .send(&[query(COPY)])
        .until(b'G', 1)
        .say(&[copy_data(b"1\ta\n"), copy_done()]);
    s.query("TABLE copied").query("ROLLBACK").query("TABLE copied");
}

fn a_failed_copy_in_a_transaction(s: &mut Script) {
    s.before(TABLE)
        .query("BEGIN")
        .send(&[query(COPY)])
        .until(b'G', 1)
        .say(&[copy_data(b"x\n"), copy_done()]);
    s.query("SELECT 1").query("COMMIT").query("TABLE copied");
    s.query("BEGIN").send(&[run_unnamed(COPY, &[]), flush()]).until(b'G', 1);
    s.say(&[copy_fail("no"), sync()]).say(&[copy_data(b"x"), sync()]).query("ROLLBACK");
}

fn copy_without_data(s: &mut Script) {
    s.before(TABLE).say(&[query(COPY), copy_done()]);
    s.say(&[query(COPY), copy_data(b""), copy_data(b"\\.\n"), copy_done()]);
    s.say(&[run_unnamed(COPY, &[]), copy_done(), sync()]).query("TABLE copied");
}

fn copy_rows_cut_anywhere(s: &mut Script) {
    s.before(TABLE).in_chunks(&[1, 2, 3]).send(&[query(COPY)]).until(b'G', 1);
    s.say(&[copy_data(b"1\taaaa\n2\tb"), copy_data(b"bbb\n3\tcccc\n"), copy_done()])
        .query("TABLE copied");
}

fn the_server_is_usable_after_every_copy(s: &mut Script) {
    s.before(TABLE);
    for round in
        [copy_in, copy_fail_of_the_extended_protocol, syncs_sent_in_front_of_the_data_are_ignored]
    {
        round(s);
        s.say(&[run_unnamed("SELECT count(*) FROM copied", &[]), sync()]);
    }
}

fn a_query_during_copy_in_fails_it(s: &mut Script) {
    s.before(TABLE)
        .send(&[query(COPY)])
        .until(b'G', 1)
        .say(&[copy_data(b"1\ta\n"), query("SELECT 1")]);
    s.query("TABLE copied");
}

fn a_flush_during_copy_is_ignored(s: &mut Script) {
    s.before(TABLE).send(&[query(COPY), flush()]).until(b'G', 1);
    s.say(&[flush(), copy_data(b"1\ta\n"), flush(), copy_done()]).query("TABLE copied");
}

fn binary_copy(s: &mut Script) {
    s.before("DROP TABLE IF EXISTS binary_copied; CREATE TABLE binary_copied (n int4)");
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let row = b"\0\x01\0\0\0\x04\0\0\0\x07";
    s.send(&[query("COPY binary_copied FROM STDIN (FORMAT binary)")]).until(b'G', 1);
    s.say(&[copy_data(header), copy_data(row), copy_data(b"\xff\xff"), copy_done()]);
    s.query("COPY binary_copied TO STDOUT (FORMAT binary)");
}

fn copy_data_and_done_outside_of_copy(s: &mut Script) {
    s.send(&[copy_data(b"x"), copy_done(), copy_fail("x")]).query("SELECT 1");
    s.send(&[copy_done(), run_unnamed("SELECT 2", &[]), copy_data(b"x"), sync(), copy_fail("x")])
        .ready(1);
    s.query("BEGIN").send(&[copy_data(b"x"), copy_done()]).query("COMMIT");
}

fn large_copies_in_both_directions(s: &mut Script) {
    let row = [b"1\t".to_vec(), vec![b'x'; 1_000_000], b"\n".to_vec()].concat();
    s.before(TABLE).send(&[query(COPY)]).until(b'G', 1).send(&[copy_data(&row), copy_data(&row)]);
    let small: Vec<_> = (0..20_000).map(|_| copy_data(b"2\tsmall\n")).collect();
    s.send(&small).say(&[copy_done()]).query("COPY copied TO STDOUT");
}

fn copy_that_is_refused_is_followed_by_its_data(s: &mut Script) {
    s.send(&[query("COPY nowhere FROM STDIN"), copy_data(b"1\n"), copy_done()])
        .ready(1)
        .query("SELECT 1");
    s.say(&[run_unnamed("COPY nowhere FROM STDIN", &[]), copy_data(b"1\n"), copy_done(), sync()]);
    s.say(&[run("s", &[]), copy_data(b"1\n"), copy_done(), sync()]).query("SELECT 2");
}
