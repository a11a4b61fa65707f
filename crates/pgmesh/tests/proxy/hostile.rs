//! Bytes that no client sends end in an error or a close, and nobody else notices.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use testbed::Pgmesh;

use crate::clients::Raw;
use crate::metrics::{eventually, wait_for};
use crate::postgres;
use crate::proxy::Setup;

/// Long beside what it takes to refuse something, short beside `client_login_timeout`.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends bytes and waits for the end of the connection, however it comes.
fn ends(client: &Raw, bytes: &[u8], what: &str) {
    let mut socket = client.socket();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be closed before all is sent.
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{what}: still open after {answer:?}: {error}"),
    }
}

fn is_well(mesh: &mut Pgmesh) {
    assert_eq!(mesh.app().psql("SELECT 1").unwrap(), "1");
    assert!(mesh.exited().unwrap().is_none());
    let log = mesh.log();
    assert!(!log.contains("panicked"), "{log}");
}

fn packet(len: u32, rest: &[u8]) -> Vec<u8> {
    [&len.to_be_bytes(), rest].concat()
}

#[test]
fn before_login() {
    let postgres = postgres();
    let mut mesh = Setup::before(&postgres).start();
    let startup = b"\0\x03\0\0user\0app_user\0\0";
    let garbage: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let cases: [(&str, Vec<u8>); 21] = [
        ("garbage", garbage),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("TLS without asking", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec()),
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("length zero", packet(0, startup)),
        ("length 4", packet(4, b"")),
        ("length 7", packet(7, b"\0\x03\0")),
        ("length 8 and a version", packet(8, b"\0\x03\0\0")),
        ("a negative length", packet(u32::MAX, startup)),
        ("the most negative length", packet(1 << 31, startup)),
        ("a giant length", packet(i32::MAX as u32, startup)),
        ("more than a startup packet may have", packet(10_005, startup)),
        ("16 bytes without a terminator", packet(16, b"\0\x03\0\0user\0xxx")),
        ("a name without a value", packet(13, b"\0\x03\0\0user\0")),
        ("a terminator too early", packet(20, b"\0\x03\0\0\0user\0app_us")),
        ("no user", packet(9, b"\0\x03\0\0\0")),
        ("not UTF-8", packet(18, b"\0\x03\0\0user\0\xff\xfe\xfd\0\0")),
        ("a short cancel request", packet(12, b"\x04\xd2\x16\x2e\0\0\0\x01")),
        ("a cancel request of nobody's", packet(16, b"\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x01")),
        (
            "bytes ahead of the TLS answer",
            [&packet(8, b"\x04\xd2\x16\x2f")[..], &packet(26, startup)].concat(),
        ),
    ];
    for (what, bytes) in cases {
        ends(&Raw::connect(mesh.port()), &bytes, what);
    }
    // After the startup packet only a SASL response counts.
    let whole = packet(23, startup);
    for (what, bytes) in [
        ("a query", &b"Q\0\0\0\x0eSELECT 1;\0"[..]),
        ("a SASL response of length zero", b"p\0\0\0\0"),
        ("a negative SASL response", b"p\xff\xff\xff\xff"),
        ("a giant SASL response", b"p\x7f\xff\xff\xff"),
        ("another mechanism", b"p\0\0\0\x0ePLAIN\0\0\0\0\0"),
        ("a response longer than its message", b"p\0\0\0\x16SCRAM-SHA-256\0\0\0\xff\xff"),
        ("a first message of nothing", b"p\0\0\0\x16SCRAM-SHA-256\0\0\0\0\0"),
    ] {
        let client = Raw::connect(mesh.port());
        ends(&client, &[&whole, bytes].concat(), what);
    }
    is_well(&mut mesh);
}

#[test]
fn after_login() {
    let postgres = postgres();
    let mut mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let mut next = Raw::log_in(&mesh.app());
    next.value("CREATE TABLE t (n int)");
    let cases: [(&str, &[u8]); 14] = [
        ("an unknown type", b"y\0\0\0\x04"),
        ("a type that is none", b"\xff\0\0\0\x04"),
        ("a server's message", b"Z\0\0\0\x05I"),
        ("a password", b"p\0\0\0\x05x"),
        ("length zero", b"Q\0\0\0\0"),
        ("length 3", b"Q\0\0\0\x03"),
        ("a negative length", b"Q\xff\xff\xff\xff"),
        ("a giant length", b"Q\x7f\xff\xff\xff"),
        ("a Sync of giant length", b"S\x7f\xff\xff\xff"),
        ("a Parse without an end", b"P\0\0\0\x08aaaa"),
        ("a Bind without an end", b"B\0\0\0\x06aa"),
        ("a Close of nothing", b"C\0\0\0\x04"),
        ("a Close of an unknown kind", b"C\0\0\0\x06xy\0"),
        ("garbage", &[0xa5; 512]),
    ];
    for (what, bytes) in cases {
        for in_transaction in [false, true] {
            let mut client = Raw::log_in(&mesh.app());
            if in_transaction {
                client.query("BEGIN; INSERT INTO t VALUES (1)");
            }
            // Without a Sync the server may wait for more; the client's end is more.
            client.send(bytes);
            client.send(b"S\0\0\0\x04X\0\0\0\x04");
            ends(&client, b"", what);
            let answer = next.query("SELECT count(*) FROM t");
            assert_eq!((answer.rows, answer.status), (vec![vec!["0".to_owned()]], 'I'), "{what}");
        }
    }
    is_well(&mut mesh);
}

#[test]
fn whoever_is_too_slow_to_log_in_is_not_waited_for() {
    let postgres = postgres();
    let setup = Setup::before(&postgres).with("proxy", "client_login_timeout = \"300ms\"");
    let mut mesh = setup.start();
    let (silent, started) = (Raw::connect(mesh.port()), Raw::connect(mesh.port()));
    let dripping = Raw::connect(mesh.port());
    ends(&started, &packet(23, b"\0\x03\0\0user\0app_user\0\0"), "no password");
    ends(&silent, b"", "nothing at all");
    // One byte after another does not buy time.
    eventually("the end of one that drips", || {
        dripping.socket().write_all(b"\0").is_err() || {
            dripping.socket().set_nonblocking(true).unwrap();
            let ended = !matches!(
                dripping.socket().read(&mut [0; 64]),
                Err(error) if error.kind() == ErrorKind::WouldBlock
            );
            dripping.socket().set_nonblocking(false).unwrap();
            ended
        }
    });
    drop(dripping);
    wait_for(&mesh, "pgmesh_clients", "", 0.0);
    is_well(&mut mesh);
}

#[test]
fn bytes_may_come_one_by_one() {
    let postgres = postgres();
    let mut mesh = Setup::before(&postgres).with("pool", "size = 1\nreserve_size = 0").start();
    let (mut slow, mut other) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    let mut bytes = Vec::new();
    crate::clients::parse(&mut bytes, "s", "SELECT $1::text");
    crate::clients::run(&mut bytes, "s", &["in pieces"]);
    crate::clients::sync(&mut bytes);
    for (at, byte) in bytes.iter().enumerate() {
        slow.send(&[*byte]);
        // A message half way holds no server, until one that is whole has got it one.
        if at == 3 {
            assert_eq!(other.value("SELECT 'other'"), "other");
        }
    }
    assert_eq!(slow.answer().rows, [["in pieces"]]);
    is_well(&mut mesh);
}
