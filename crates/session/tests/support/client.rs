//! A client's messages, whole.

use wire::message;
use wire::tag::frontend as f;

fn frame(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    message::put(&mut out, tag, |out| parts.iter().for_each(|part| out.extend_from_slice(part)));
    out
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    frame(f::QUERY, &[sql.as_bytes(), b"\0"])
}

pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    frame(f::PARSE, &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"])
}

pub(crate) fn bind(portal: &str, statement: &str) -> Vec<u8> {
    frame(f::BIND, &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0\0\0\0\0"])
}

/// A Bind with one parameter in text.
pub(crate) fn bind_with(portal: &str, statement: &str, value: &str) -> Vec<u8> {
    let len = u32::try_from(value.len()).unwrap().to_be_bytes();
    let names = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0"].concat();
    frame(f::BIND, &[&names, b"\0\0\0\x01", &len, value.as_bytes(), b"\0\0"])
}

pub(crate) fn describe_statement(name: &str) -> Vec<u8> {
    frame(f::DESCRIBE, &[b"S", name.as_bytes(), b"\0"])
}

pub(crate) fn describe_portal(name: &str) -> Vec<u8> {
    frame(f::DESCRIBE, &[b"P", name.as_bytes(), b"\0"])
}

pub(crate) fn execute(portal: &str, max_rows: u32) -> Vec<u8> {
    frame(f::EXECUTE, &[portal.as_bytes(), b"\0", &max_rows.to_be_bytes()])
}

pub(crate) fn close_statement(name: &str) -> Vec<u8> {
    frame(f::CLOSE, &[b"S", name.as_bytes(), b"\0"])
}

pub(crate) fn close_portal(name: &str) -> Vec<u8> {
    frame(f::CLOSE, &[b"P", name.as_bytes(), b"\0"])
}

pub(crate) fn flush() -> Vec<u8> {
    frame(f::FLUSH, &[])
}

pub(crate) fn sync() -> Vec<u8> {
    frame(f::SYNC, &[])
}

pub(crate) fn terminate() -> Vec<u8> {
    frame(f::TERMINATE, &[])
}

pub(crate) fn function_call() -> Vec<u8> {
    frame(f::FUNCTION_CALL, &[&2026_u32.to_be_bytes(), b"\0\0\0\0\0\0"])
}

pub(crate) fn copy_data(data: &str) -> Vec<u8> {
    frame(f::COPY_DATA, &[data.as_bytes()])
}

pub(crate) fn copy_done() -> Vec<u8> {
    frame(f::COPY_DONE, &[])
}

pub(crate) fn copy_fail() -> Vec<u8> {
    frame(f::COPY_FAIL, &[b"enough\0"])
}

/// Parse, Bind, Describe, Execute and Sync of the unnamed statement.
pub(crate) fn unnamed(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", ""), describe_portal(""), execute("", 0), sync()].concat()
}

/// Bind, Describe, Execute and Sync of a named statement.
pub(crate) fn run_described(name: &str) -> Vec<u8> {
    [bind("", name), describe_portal(""), execute("", 0), sync()].concat()
}

/// Bind, Execute and Sync of a named statement.
pub(crate) fn run(name: &str) -> Vec<u8> {
    [bind("", name), execute("", 0), sync()].concat()
}
