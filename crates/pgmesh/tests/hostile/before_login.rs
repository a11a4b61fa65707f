//! What clients send before they are logged in.

use crate::row::{End, Input, Row, State, initial_response, message, message_of_length, response};

use End::{Closed, Fatal, TimedOut};
use State::{Asked, Challenged, Connected};

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = no_startup_packets();
    rows.extend(startup_packets());
    rows.extend(encryption_requests());
    rows.extend(initial_responses());
    rows.extend(mechanisms());
    rows.extend(last_responses());
    rows
}

fn no_startup_packets() -> Vec<Row> {
    let row = |what, bytes: &[u8]| Row::new(what, Connected, bytes, Closed);
    let garbage: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let startup = b"\0\x03\0\0user\0app_user\0\0";
    vec![
        row("garbage", &garbage),
        row("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        row("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        row("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        row("TLS where there is none", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
        row("the PROXY protocol", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 5432\r\n"),
        row("zeros", &[0; 64]),
        row("ones", &[0xff; 64]),
        row("length zero", &packet(0, startup)),
        row("length 4", &packet(4, b"")),
        row("length 7", &packet(7, b"\0\x03\0")),
        row("a negative length", &packet(u32::MAX, startup)),
        row("the most negative length", &packet(1 << 31, startup)),
        row("a giant length", &packet(i32::MAX as u32, startup)),
        row("a packet that is one byte too long", &packet(10_005, startup)),
        row("a query", b"Q\0\0\0\x0eSELECT 1;\0"),
        row("a cancel request without a secret", &packet(12, b"\x04\xd2\x16\x2e\0\0\0\x01")),
        row("a cancel request of nobody's", &whole(b"\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x01")),
        row(
            "a cancel request with too long a secret",
            &whole(&[&b"\x04\xd2\x16\x2e\0\0\0\x01"[..], &[7; 4096]].concat()),
        ),
        row("half a hello of a peer", &whole(b"pgme\x01abc")),
        row("a hello of another version", &whole(&[&b"pgme\xff"[..], &[7; 16]].concat())),
        Row::new("nothing", Connected, b"", TimedOut),
        Row::new("one byte", Connected, b"\0", TimedOut),
        Row::new("half a startup packet", Connected, &packet(23, b"\0\x03\0\0user\0app"), TimedOut),
    ]
}

fn startup_packets() -> Vec<Row> {
    let row = |what, code, bytes: &[u8]| Row::new(what, Connected, &whole(bytes), Fatal(code));
    let longest = [&b"\0\x03\0\0"[..], &[b'x'; 9_992]].concat();
    let many = [&b"\0\x03\0\0"[..], &b"a\0b\0".repeat(2_000), b"\0"].concat();
    vec![
        row("no terminator", "08P01", b"\0\x03\0\0user\0xxx"),
        row("a version and nothing else", "08P01", b"\0\x03\0\0"),
        row("a name without a value", "08P01", b"\0\x03\0\0user\0"),
        row("a terminator too early", "08P01", b"\0\x03\0\0\0user\0app_us"),
        row("the longest packet, without a terminator", "08P01", &longest),
        row("two thousand settings and no user", "28000", &many),
        row("no user", "28000", b"\0\x03\0\0\0"),
        row("an empty user", "28000", b"\0\x03\0\0user\0\0\0"),
        row("a name that is not UTF-8", "08P01", b"\0\x03\0\0user\0\xff\xfe\xfd\0\0"),
        row("protocol 2", "0A000", b"\0\x02\0\0user\0x\0\0"),
        row("protocol 4", "0A000", b"\0\x04\0\0user\0x\0\0"),
        row("protocol 65535", "0A000", b"\xff\xff\0\0user\0x\0\0"),
        row("physical replication", "0A000", b"\0\x03\0\0user\0x\0replication\0true\0\0"),
        row("logical replication", "0A000", b"\0\x03\0\0user\0x\0replication\0database\0\0"),
        row(
            "replication that means nothing",
            "22023",
            b"\0\x03\0\0user\0x\0replication\0\xc3\xa4\0\0",
        ),
        row("a switch in options", "42601", b"\0\x03\0\0user\0x\0options\0-s\0\0"),
        row("options that end too early", "42601", b"\0\x03\0\0user\0x\0options\0-c\0\0"),
        row("options without a value", "42601", b"\0\x03\0\0user\0x\0options\0--geqo\0\0"),
    ]
}

fn encryption_requests() -> Vec<Row> {
    let row =
        |what, prelude, bytes: &[u8], end| Row { prelude, ..Row::new(what, Connected, bytes, end) };
    let startup = whole(b"\0\x03\0\0user\0app_user\0\0");
    vec![
        row(
            "a startup packet right behind SSLRequest",
            b"",
            &[SSL, &startup].concat(),
            Fatal("08P01"),
        ),
        row(
            "a startup packet right behind GSSENCRequest",
            b"",
            &[GSS, &startup].concat(),
            Fatal("08P01"),
        ),
        row("a second request right behind the first", b"", &[SSL, GSS].concat(), Fatal("08P01")),
        row(
            "a TLS hello right behind SSLRequest",
            b"",
            &[SSL, b"\x16\x03\x01"].concat(),
            Fatal("08P01"),
        ),
        row("an SSLRequest that is too long", b"", &whole(b"\x04\xd2\x16\x2fmore"), Fatal("08P01")),
        row(
            "a GSSENCRequest that is too long",
            b"",
            &whole(b"\x04\xd2\x16\x30more"),
            Fatal("08P01"),
        ),
        row("SSLRequest and silence", b"N", SSL, TimedOut),
    ]
}

fn initial_responses() -> Vec<Row> {
    let row = |what, bytes: &[u8]| Row::new(what, Asked, bytes, Fatal("08P01"));
    vec![
        row("a query", b"Q\0\0\0\x0eSELECT 1;\0"),
        row("a type that is none", b"\xff\0\0\0\x04"),
        row("length zero", b"p\0\0\0\0"),
        row("length 3", b"p\0\0\0\x03"),
        row("a negative length", b"p\xff\xff\xff\xff"),
        row("a giant length", b"p\x7f\xff\xff\xff"),
        row("a gigabyte", b"p\x40\0\0\0"),
        row("1025 bytes", &message(b'p', &[b'x'; 1025])),
        row("1024 bytes", &message(b'p', &[b'x'; 1024])),
        row("60,000 bytes", &message(b'p', &[b'x'; 60_000])),
        row("nothing", &message(b'p', b"")),
        row("a password", &message(b'p', b"app_password\0")),
        row("a mechanism without an end", &message(b'p', b"SCRAM-SHA-256")),
        row("a mechanism and nothing else", &message(b'p', b"SCRAM-SHA-256\0")),
        row("a response longer than its message", &message(b'p', b"SCRAM-SHA-256\0\0\0\xff\xff")),
        row("a response of length -2", &message(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xfe")),
        row("bytes behind the response", &message(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xffx")),
        Row::new("Terminate", Asked, b"X\0\0\0\x04", Closed),
        Row::new("silence", Asked, b"", TimedOut),
        Row::new("half a response", Asked, b"p\0\0\x04\x04SCRAM-SHA-256\0", TimedOut),
        Row::new(
            "the mechanism, then silence",
            Asked,
            &message(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
            TimedOut,
        )
        .answered(b"R\0\0\0\x08\0\0\0\x0b"),
    ]
}

fn mechanisms() -> Vec<Row> {
    let row = |what, code, mechanism: &str, data: &[u8]| {
        Row::new(what, Asked, &initial_response(mechanism, data), Fatal(code))
    };
    let long = "X".repeat(900);
    vec![
        row("PLAIN", "08P01", "PLAIN", b"\0user\0password"),
        row("SCRAM-SHA-1", "08P01", "SCRAM-SHA-1", b"n,,n=,r=abc"),
        row(
            "SCRAM-SHA-256-PLUS without TLS",
            "08P01",
            "SCRAM-SHA-256-PLUS",
            b"p=tls-server-end-point,,n=,r=abc",
        ),
        row("OAUTHBEARER", "08P01", "OAUTHBEARER", b"n,,\x01auth=Bearer x\x01\x01"),
        row("a mechanism without a name", "08P01", "", b"n,,n=,r=abc"),
        row("a mechanism with a long name", "08P01", &long, b"n,,n=,r=abc"),
        row("an empty first message", "08P01", SCRAM, b""),
        row("a first message of commas", "08P01", SCRAM, b",,,,,,,,"),
        row("a first message without a nonce", "08P01", SCRAM, b"n,,n="),
        row("a nonce that cannot be printed", "08P01", SCRAM, b"n,,n=,r=\x01\x02"),
        row("a first message that is not UTF-8", "08P01", SCRAM, b"n,,n=,r=\xff\xfe"),
        row("channel binding that was not offered", "08P01", SCRAM, b"p=tls-unique,,n=,r=abc"),
        row("an authorization identity", "0A000", SCRAM, b"n,a=somebody,n=,r=abc"),
        row("an extension that must be understood", "0A000", SCRAM, b"n,,m=x,n=,r=abc"),
    ]
}

fn last_responses() -> Vec<Row> {
    let row = |what, bytes: &[u8]| Row::new(what, Challenged, bytes, Fatal("08P01"));
    let answer = |what, code, of| Row {
        input: Input::Answer(of),
        ..Row::new(what, Challenged, b"", Fatal(code))
    };
    vec![
        row("a query", b"Q\0\0\0\x0eSELECT 1;\0"),
        row("length zero", b"p\0\0\0\0"),
        row("a giant length", b"p\x7f\xff\xff\xff"),
        row("1025 bytes", &response(&[b'x'; 1025])),
        row("nothing", &response(b"")),
        row("zeros", &response(&[0; 64])),
        row("the first message again", &response(b"n,,n=,r=abcdefgh")),
        row("another nonce", &response(b"c=biws,r=abcdefghother,p=AAAA")),
        answer("no proof", "08P01", |nonce| format!("c=biws,r={nonce}")),
        answer("a short proof", "08P01", |nonce| format!("c=biws,r={nonce},p=AAAA")),
        answer("a proof that is not base64", "08P01", |nonce| format!("c=biws,r={nonce},p=****")),
        answer("another channel binding", "08P01", |nonce| format!("c=eSws,r={nonce},p={WRONG}")),
        answer("a wrong proof", "28P01", |nonce| format!("c=biws,r={nonce},p={WRONG}")),
        Row::new("Terminate", Challenged, b"X\0\0\0\x04", Closed),
        Row::new("silence", Challenged, b"", TimedOut),
        Row::new("half a response", Challenged, &message_of_length(b'p', 100, b"c=biws"), TimedOut),
    ]
}

/// With this length field in front, whatever the length is.
fn packet(length: u32, rest: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), rest].concat()
}

/// With its own length in front.
fn whole(rest: &[u8]) -> Vec<u8> {
    packet(u32::try_from(rest.len() + 4).unwrap(), rest)
}

const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const SCRAM: &str = "SCRAM-SHA-256";

/// As long as a proof is.
const WRONG: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
