//! Messages that are none: what the server refuses, pgmesh refuses with the same code, and what
//! the server survives, the client's connection survives.

use crate::raw::{flush, message, message_of_length, parse, query, run, run_unnamed, sync};
use crate::script::Script;
use crate::{cases, every_way};

#[test]
fn broken_messages_are_answered_as_by_the_server() {
    every_way(cases![
        an_unknown_type_closes,
        a_password_after_login_closes,
        a_truncated_bind,
        a_bind_with_bytes_behind_its_end,
        a_bind_with_more_values_than_bytes,
        a_bind_with_a_value_longer_than_its_message,
        a_bind_with_a_negative_length,
        a_query_without_its_terminator,
        a_query_with_bytes_behind_its_terminator,
        an_empty_query_body,
        an_execute_without_its_limit,
        an_execute_with_a_negative_limit,
        a_sync_with_a_body,
        a_flush_with_a_body,
        a_truncated_function_call,
        text_that_is_not_of_the_encoding,
        parameters_that_are_not_of_the_encoding,
        a_goodbye_with_a_body,
    ]);
}

fn an_unknown_type_closes(s: &mut Script) {
    s.send(&[message(b'!', b"abc")]).closed();
    s.on(1).query("BEGIN").send(&[message(b'y', b"abc"), query("SELECT 1")]).closed();
    s.on(2)
        .send(&[run_unnamed("SELECT 1", &[])])
        .send(&[flush()])
        .until(b'C', 1)
        .send(&[message(0, b"")])
        .closed();
}

fn a_password_after_login_closes(s: &mut Script) {
    s.send(&[message(b'p', b"secret\0")]).closed();
}

fn a_truncated_bind(s: &mut Script) {
    s.say(&[parse("s", "SELECT $1"), sync()]);
    for body in [&b"\0s\0"[..], b"\0s\0\0", b"\0s\0\0\0\0\x01\0\0\0", b"\0s\0\0\x02\0\0"] {
        s.say(&[message(b'B', body), sync()]);
    }
    s.say(&[run("s", &["still there"]), sync()]);
}

fn a_bind_with_bytes_behind_its_end(s: &mut Script) {
    s.say(&[parse("s", "SELECT 1"), sync()])
        .say(&[message(b'B', b"\0s\0\0\0\0\0\0\0more"), sync()]);
    s.say(&[run("s", &[]), sync()]);
}

fn a_bind_with_more_values_than_bytes(s: &mut Script) {
    s.say(&[parse("s", "SELECT $1"), sync()]).say(&[message(b'B', b"\0s\0\0\0\xff\xff"), sync()]);
    s.say(&[message(b'B', b"\0s\0\xff\xff\0\0"), sync()]).say(&[run("s", &["x"]), sync()]);
}

fn a_bind_with_a_value_longer_than_its_message(s: &mut Script) {
    s.say(&[parse("s", "SELECT $1"), sync()]);
    s.say(&[message(b'B', b"\0s\0\0\0\0\x01\x7f\xff\xff\xffabc"), sync()])
        .say(&[run("s", &["x"]), sync()]);
}

fn a_bind_with_a_negative_length(s: &mut Script) {
    s.say(&[parse("s", "SELECT $1"), sync()]);
    s.say(&[message(b'B', b"\0s\0\0\0\0\x01\xff\xff\xff\xfeabc\0\0"), sync()])
        .say(&[run("s", &["x"]), sync()]);
}

fn a_query_without_its_terminator(s: &mut Script) {
    s.say(&[message(b'Q', b"SELECT 1")])
        .query("SELECT 2")
        .query("BEGIN")
        .say(&[message(b'Q', b"X")]);
    s.query("ROLLBACK");
}

fn a_query_with_bytes_behind_its_terminator(s: &mut Script) {
    s.say(&[message(b'Q', b"SELECT 1\0SELECT 2\0")]).query("SELECT 3");
}

fn an_empty_query_body(s: &mut Script) {
    s.say(&[message(b'Q', b"")]).query("SELECT 1");
}

fn an_execute_without_its_limit(s: &mut Script) {
    s.say(&[message(b'E', b"\0"), sync()])
        .say(&[message(b'E', b"\0\0\0"), sync()])
        .say(&[message(b'E', b""), sync()]);
    s.query("SELECT 1");
}

fn an_execute_with_a_negative_limit(s: &mut Script) {
    let execute = message(b'E', b"\0\xff\xff\xff\xff");
    s.say(&[parse("s", "SELECT 1"), crate::raw::bind("", "s", &[]), execute, sync()]);
}

fn a_sync_with_a_body(s: &mut Script) {
    s.send(&[run_unnamed("SELECT 1", &[]), message(b'S', b"body"), query("SELECT 2")]).ready(2);
    s.query("BEGIN").say(&[message(b'S', b"body")]).query("ROLLBACK");
}

fn a_flush_with_a_body(s: &mut Script) {
    s.send(&[run_unnamed("SELECT 1", &[]), message(b'H', b"body"), sync(), query("SELECT 2")])
        .ready(2);
}

fn a_truncated_function_call(s: &mut Script) {
    s.say(&[message(b'F', b"\0\0")])
        .say(&[message(b'F', b"\0\0\0\xb1\0\0\0\x02\0\0\0\x01")])
        .query("SELECT 1");
}

fn text_that_is_not_of_the_encoding(s: &mut Script) {
    s.say(&[message(b'Q', b"SELECT '\xff\xfe'\0")])
        .say(&[message(b'P', b"\0SELECT '\xff'\0\0\0"), sync()]);
    s.query("SELECT 1");
}

fn parameters_that_are_not_of_the_encoding(s: &mut Script) {
    s.say(&[parse("s", "SELECT $1"), sync()]);
    s.say(&[message(b'B', b"\0s\0\0\0\0\x01\0\0\0\x01\xff\0\0"), sync()])
        .say(&[run("s", &["x"]), sync()]);
}

fn a_goodbye_with_a_body(s: &mut Script) {
    s.send(&[message_of_length(b'X', 8, b"body")]).closed();
}
