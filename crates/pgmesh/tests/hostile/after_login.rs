//! What clients send when they are logged in.

use crate::row::{End, Row, State, message, message_of_length};

use End::{Awaited, Closed, Error, Fatal, Ignored};
use State::{Failed, Idle, InBatch, InCopy, InTransaction, Skipping};

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for state in [Idle, InTransaction, Failed, InBatch, Skipping, InCopy] {
        rows.extend(anywhere(state));
    }
    rows.extend([Idle, InTransaction, Failed, InBatch].into_iter().flat_map(malformed));
    rows.extend(alone());
    rows.extend(binds());
    rows.extend(out_of_place());
    rows.extend(copies());
    rows
}

/// What ends the connection in every state, or at least keeps nothing.
fn anywhere(state: State) -> Vec<Row> {
    let fatal = |what, bytes: &[u8]| Row::new(what, state, bytes, Fatal("08P01"));
    vec![
        fatal("an unknown type", b"y\0\0\0\x04"),
        fatal("a type that is none", b"\xff\0\0\0\x04"),
        fatal("a server's message", b"Z\0\0\0\x05I"),
        fatal("a password", b"p\0\0\0\x05x"),
        fatal("length zero", b"Q\0\0\0\0"),
        fatal("length 3", b"Q\0\0\0\x03"),
        fatal("a negative length", b"Q\xff\xff\xff\xff"),
        fatal("a gigabyte and a byte", b"d\x40\0\0\0"),
        fatal("a giant length", b"d\x7f\xff\xff\xff"),
        fatal("garbage", &[0xa5; 512]),
        Row::new("Terminate", state, b"X\0\0\0\x04", Closed),
        Row::new("half a header", state, b"Q\0\0", Awaited),
        Row::new("half a Query", state, &message_of_length(b'Q', 100, b"SELECT"), Awaited),
        Row::new(
            "the front of a gigabyte",
            state,
            &message_of_length(b'd', GIGABYTE, b"x"),
            Awaited,
        ),
    ]
}

/// What we read and cannot.
fn malformed(state: State) -> Vec<Row> {
    let fatal = |what, bytes: &[u8]| Row::new(what, state, bytes, Fatal("08P01"));
    vec![
        fatal("a Parse without an end", &message(b'P', b"aaaa")),
        fatal("a Parse of more types than there are", &message(b'P', b"\0SELECT 1\0\xff\xff")),
        fatal("a Bind without an end", &message(b'B', b"aa")),
        fatal("a Bind with an endless name", &message(b'B', &[b'x'; 20_000])),
        fatal("a Describe of nothing", &message(b'D', b"")),
        fatal("a Describe of an unknown kind", &message(b'D', b"xy\0")),
        fatal("a Close of nothing", &message(b'C', b"")),
        fatal("a Close of an unknown kind", &message(b'C', b"xy\0")),
        fatal("a Close without an end", &message(b'C', b"Sy")),
    ]
}

fn alone() -> Vec<Row> {
    let error = |what, code, bytes: &[u8]| Row::new(what, Idle, bytes, Error(code));
    vec![
        error("a syntax error", "42601", &query(b"?\0")),
        error("a Query without an end", "08P01", &query(b"SELECT 1")),
        error("a Query of two texts", "08P01", &query(b"SELECT 1\0SELECT 2\0")),
        error("a Query of no text", "08P01", &query(b"")),
        error("a Query that is not UTF-8", "22021", &query(b"SELECT '\xff\xfe'\0")),
        error("an Execute of no portal", "34000", &message(b'E', b"none\0\0\0\0\0")),
        error("an Execute without an end", "08P01", &message(b'E', b"none")),
        error("a Describe of no statement", "26000", &message(b'D', b"Snone\0")),
        error("a Describe of no portal", "34000", &message(b'D', b"Pnone\0")),
        error("a FunctionCall of nothing", "08P01", &message(b'F', b"")),
        error("a FunctionCall of no function", "42883", &message(b'F', b"\0\0\0\0\0\0\0\0\0\0")),
        error(
            "a call of int4pl with endless arguments",
            "08P01",
            &message(b'F', b"\0\0\0\xb1\0\0\xff\xff\0\0"),
        ),
        Row::new("a Query of nothing", Idle, &query(b"\0"), Ignored),
        Row::new("a Sync with a body", Idle, &message(b'S', b"more"), Ignored),
        Row::new("a thousand Flushes", Idle, &b"H\0\0\0\x04".repeat(1000), Ignored),
        Row::new("a Close of no statement", Idle, &message(b'C', b"Snone\0"), Ignored),
        Row::new("a Close of no portal", Idle, &message(b'C', b"Pnone\0"), Ignored),
    ]
}

fn binds() -> Vec<Row> {
    let parse = message(b'P', b"\0SELECT $1::text\0\0\0");
    let row = |what, code, body: &[u8]| {
        Row::new(what, Idle, &[&parse[..], &message(b'B', body)].concat(), Error(code))
    };
    vec![
        Row::new(
            "a Bind of no statement",
            Idle,
            &message(b'B', b"\0none\0\0\0\0\0\0\0"),
            Error("26000"),
        ),
        row("a Bind of too few values", "08P01", b"\0\0\0\0\0\0\0\0"),
        row("a Bind of values that are not there", "08P01", b"\0\0\0\0\xff\xff"),
        row("a Bind of a value that is too long", "08P01", b"\0\0\0\0\0\x01\x7f\xff\xff\xffx\0\0"),
        row("a Bind of a value of length -2", "08P01", b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
        row("a Bind of an unknown format", "22023", b"\0\0\0\x01\0\x09\0\x01\0\0\0\x01x\0\0"),
        row("a Bind of formats that are not there", "08P01", b"\0\0\xff\xff"),
        row("a Bind with more behind it", "08P01", b"\0\0\0\0\0\x01\0\0\0\x01x\0\0more"),
        row("a Bind of a value that is not UTF-8", "22021", b"\0\0\0\0\0\x01\0\0\0\x01\xff\0\0"),
    ]
}

fn out_of_place() -> Vec<Row> {
    let row = |what, state, bytes: &[u8], end| Row::new(what, state, bytes, end);
    let data = [message(b'd', b"1\n"), message(b'c', b""), message(b'f', b"\0")].concat();
    let select = query(b"SELECT 1\0");
    let parse = message(b'P', b"\0SELECT 1\0\0\0");
    vec![
        row("the data of a COPY", Idle, &data, Ignored),
        row("the data of a COPY", InTransaction, &data, Ignored),
        row("the data of a COPY", Failed, &data, Ignored),
        row("the data of a COPY", Skipping, &data, Ignored),
        row("a syntax error", InTransaction, &query(b"?\0"), Error("42601")),
        row(
            "an Execute of no portal",
            InTransaction,
            &message(b'E', b"none\0\0\0\0\0"),
            Error("34000"),
        ),
        row("a Query", Failed, &select, Error("25P02")),
        row("a Parse", Failed, &parse, Error("25P02")),
        row("a FunctionCall", Failed, &message(b'F', b"\0\0\0\x01\0\0\0\0\0\0"), Error("25P02")),
        row("a syntax error", InBatch, &query(b"?\0"), Error("42601")),
        row("an Execute of no portal", InBatch, &message(b'E', b"none\0\0\0\0\0"), Error("34000")),
        row("a Query", Skipping, &select, Ignored),
        row("a Parse without an end", Skipping, &message(b'P', b"aaaa"), Ignored),
        row("a Bind without an end", Skipping, &message(b'B', b"aa"), Ignored),
        row("a thousand Flushes", Skipping, &b"H\0\0\0\x04".repeat(1000), Ignored),
    ]
}

fn copies() -> Vec<Row> {
    let row = |what, bytes: &[u8], end| Row::new(what, InCopy, bytes, end);
    let done = message(b'c', b"");
    let nowhere = query(b"COPY nowhere FROM STDIN\0");
    let behind = [message(b'd', b"1\n").repeat(100), done.clone()].concat();
    vec![
        row("a Query", &query(b"SELECT 1\0"), Fatal("08P01")),
        row("a Parse", &message(b'P', b"\0SELECT 1\0\0\0"), Fatal("08P01")),
        row("an Execute", &message(b'E', b"\0\0\0\0\0"), Fatal("08P01")),
        row("a FunctionCall", &message(b'F', b"\0\0\0\x01\0\0\0\0\0\0"), Fatal("08P01")),
        row("CopyFail", &message(b'f', b"why\0"), Error("57014")),
        row("a CopyFail without an end", &message(b'f', b""), Error("08P01")),
        row("CopyFail twice", &message(b'f', b"why\0").repeat(2), Error("57014")),
        row("CopyDone twice", &done.repeat(2), Ignored),
        row("Sync and Flush", b"S\0\0\0\x04H\0\0\0\x04S\0\0\0\x04", Error("57014")),
        row("a thousand pieces of nothing", &message(b'd', b"").repeat(1000), Error("57014")),
        row("data that is wrong", &[message(b'd', b"x\n"), done.clone()].concat(), Error("22P02")),
        row(
            "data behind what was wrong",
            &[message(b'd', b"x\n"), behind.clone()].concat(),
            Error("22P02"),
        ),
        Row::new(
            "COPY to nowhere, and its data",
            Idle,
            &[nowhere, behind].concat(),
            Error("42P01"),
        ),
    ]
}

fn query(body: &[u8]) -> Vec<u8> {
    message(b'Q', body)
}

/// The longest that a message may be.
const GIGABYTE: u32 = 0x3fff_fffe;
