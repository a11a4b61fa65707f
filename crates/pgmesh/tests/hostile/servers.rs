//! A server may say anything at any stage: its client is told, and nobody else hears of it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use std::thread;

use testbed::{APP_USER, Login, Pgmesh};
use wire::{ErrorFields, HEADER_LEN, Header};

use crate::clients::{Raw, Told};
use crate::liar::{Behind, Liar, Lie, Stage, database};
use crate::memory;
use crate::metrics::{eventually, wait_for};
use crate::proxy::Setup;
use crate::row::{message, message_of_length};

/// What the process may hold on to, in KiB: a pool for each of the databases, and pages that its
/// allocator has not given back.
const KEPT_KB_MAX: u64 = 24 * 1024;

/// How a client fares with a lie.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// It was told, by an error with this severity and SQLSTATE.
    Told(String, String),
    /// Half a message had reached it, so it could not be told.
    Cut,
    /// It has got an answer to its query.
    Answered,
}

#[test]
fn whatever_a_server_says_its_client_is_told_and_nobody_else_hears_of_it() {
    let lies: Arc<[Lie]> = lies().into();
    let liar = Liar::start(Arc::clone(&lies));
    let mut mesh = Setup::before_nodes(&[liar.port])
        .with("pool", "query_wait_timeout = \"1s\"\nsize = 1\nreserve_size = 0")
        .with("proxy", "client_login_timeout = \"15s\"")
        .with("server", "login_timeout = \"1s\"")
        .with("server.tls", "mode = \"disable\"")
        .with("proxy", memory::READABLE)
        .start();
    let mut neighbour = Raw::log_in(&mesh.app());
    // What has happened once has left its pages behind.
    hear_all(&mesh, &neighbour, &lies);
    wait_for(&mesh, "pgmesh_clients", "", 1.0);
    let before = memory::held(&mesh);
    memory::forget_peak(&mesh);
    let mut census = BTreeMap::<_, usize>::new();
    for (lie, stage, fate) in hear_all(&mesh, &neighbour, &lies) {
        let what = lies[lie].what;
        assert_eq!(neighbour.value("SELECT 1"), "honest", "{what} at {stage:?}");
        if stage != Stage::Rows {
            assert!(
                matches!(&fate, Fate::Told(severity, code)
                if severity == "FATAL" && code.len() == 5),
                "{what} at {stage:?}: {fate:?}"
            );
        } else {
            assert_ne!(fate, Fate::Answered, "{what} at {stage:?}");
        }
        *census.entry(format!("{stage:?}: {fate:?}")).or_default() += 1;
    }
    wait_for(&mesh, "pgmesh_clients", "", 1.0);
    let peak = memory::peak(&mesh);
    eventually("the memory given back", || memory::held(&mesh) <= before + KEPT_KB_MAX);
    println!(
        "{} lies at {} stages; memory {before} kB before, {} kB after, {peak} kB resident at most\n{census:#?}",
        lies.len(),
        Stage::ALL.len(),
        memory::held(&mesh),
    );
    assert!(peak < before + 4 * KEPT_KB_MAX, "{peak} kB");
    assert!(mesh.exited().unwrap().is_none());
    assert!(!mesh.log().contains("panicked"), "{}", mesh.log());
}

/// Every lie at every stage, all at once.
fn hear_all(mesh: &Pgmesh, model: &Raw, lies: &[Lie]) -> Vec<(usize, Stage, Fate)> {
    let all = Stage::ALL.into_iter().flat_map(|stage| (0..lies.len()).map(move |lie| (lie, stage)));
    thread::scope(|scope| {
        let clients: Vec<_> = all
            .map(|(lie, stage)| {
                let login = mesh.login(APP_USER, &database(lie, stage));
                scope.spawn(move || (lie, stage, hear(model, &login)))
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

fn hear(model: &Raw, login: &Login) -> Fate {
    let mut client = match Raw::log_in_like(model, login) {
        Ok(client) => client,
        Err(Told { severity, code, .. }) => return Fate::Told(severity, code),
    };
    client.ask("SELECT 1");
    let mut socket = client.socket();
    let (mut unread, mut fate) = (Vec::new(), Fate::Cut);
    loop {
        let mut chunk = vec![0; 64 * 1024];
        let len = socket.read(&mut chunk).unwrap_or_default();
        if len == 0 {
            return fate;
        }
        unread.extend_from_slice(&chunk[..len]);
        while let Ok(Some(header)) = Header::peek(&unread)
            && header.frame_len() <= unread.len()
        {
            let frame: Vec<u8> = unread.drain(..header.frame_len()).collect();
            match header.tag {
                b'E' => {
                    let fields = ErrorFields::parse(&frame[HEADER_LEN..]).unwrap_or_default();
                    fate = Fate::Told(fields.severity.to_owned(), fields.code.to_owned());
                }
                b'Z' if fate == Fate::Cut => return Fate::Answered,
                b'Z' => return fate,
                _ => {}
            }
        }
    }
}

fn lies() -> Vec<Lie> {
    let lie = |what, bytes: &[u8]| Lie { what, bytes: bytes.to_vec(), behind: Behind::Close };
    let held = |what, bytes: &[u8]| Lie { what, bytes: bytes.to_vec(), behind: Behind::Hold };
    let garbage: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut lies = vec![
        lie("nothing", b""),
        held("silence", b""),
        lie("half a header", b"R\0\0"),
        held("half a header and silence", b"R\0\0"),
        lie("garbage", &garbage),
        lie("zeros", &[0; 4096]),
        lie("ones", &[0xff; 4096]),
        lie("HTTP", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
        lie("a TLS alert", b"\x15\x03\x01\0\x02\x02\x28"),
        lie("a client's message", &message(b'Q', b"SELECT 1\0")),
        lie("an unknown type", &message(b'?', b"")),
        lie("length zero", b"R\0\0\0\0"),
        lie("length 3", b"S\0\0\0\x03"),
        lie("a negative length", b"D\xff\xff\xff\xff"),
        lie("a giant length", b"D\x7f\xff\xff\xff"),
        lie("the front of a gigabyte", &message_of_length(b'D', 0x3fff_fffe, &[0; 70_000])),
        held(
            "the front of a gigabyte of an error",
            &message_of_length(b'E', 0x3fff_fffe, b"SERROR\0"),
        ),
    ];
    lies.extend(false_errors());
    lies.extend(false_logins());
    lies.extend(false_answers());
    lies
}

fn false_errors() -> Vec<Lie> {
    let lie = |what, bytes: Vec<u8>| Lie { what, bytes, behind: Behind::Close };
    vec![
        lie("an error of nothing", message(b'E', b"")),
        lie("an error without fields", message(b'E', b"\0")),
        lie("an error without an end", message(b'E', b"SERROR\0Mx")),
        lie("an error without a SQLSTATE", message(b'E', b"SFATAL\0VFATAL\0Mgo away\0\0")),
        lie("an error that is not UTF-8", message(b'E', b"S\xff\0C\xff\xff\0M\xfe\0\0")),
        lie("a FATAL", message(b'E', b"SFATAL\0VFATAL\0C57P03\0Mstarting\0\0")),
        lie("endless notices", message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mx\0\0").repeat(40_000)),
        lie("a notice of 60,000 bytes", message(b'N', &[b'x'; 60_000])),
    ]
}

fn false_logins() -> Vec<Lie> {
    let lie = |what, bytes: Vec<u8>| Lie { what, bytes, behind: Behind::Close };
    let asks = |kind: u32, rest: &[u8]| message(b'R', &[&kind.to_be_bytes(), rest].concat());
    let negotiation = message(b'v', &[0, 3, 0, 0, 0, 0, 0, 0]);
    vec![
        lie("a request for a password in clear", asks(3, b"")),
        lie("a request of an unknown kind", asks(99, b"")),
        lie("a request that is too short", message(b'R', b"\0\0")),
        lie("mechanisms that nobody knows", asks(10, b"PLAIN\0EXTERNAL\0\0")),
        lie("a list of mechanisms without an end", asks(10, b"SCRAM-SHA-256")),
        lie("the second step of SCRAM first", asks(11, b"r=abc,s=c2FsdA==,i=4096")),
        lie("SCRAM of two thousand million iterations", {
            [asks(10, b"SCRAM-SHA-256\0\0"), asks(11, b"r=abc,s=c2FsdA==,i=2000000000")].concat()
        }),
        lie("SCRAM with another nonce", {
            [asks(10, b"SCRAM-SHA-256\0\0"), asks(11, b"r=other,s=c2FsdA==,i=1")].concat()
        }),
        lie("two negotiations", [&negotiation[..], &negotiation].concat()),
    ]
}

fn false_answers() -> Vec<Lie> {
    let lie = |what, bytes: Vec<u8>| Lie { what, bytes, behind: Behind::Close };
    vec![
        lie("rows that nobody asked for", message(b'D', b"\0\0").repeat(1000)),
        lie("ReadyForQuery of no state", message(b'Z', b"?")),
        lie("ReadyForQuery of two states", message(b'Z', b"II")),
        lie("ReadyForQuery of nothing", message(b'Z', b"")),
        lie("CopyBothResponse", message(b'W', b"\0\0\0")),
        lie("a completion of something else", message(b'1', b"").repeat(3)),
        lie("a key that is too long", message(b'K', &[1; 300])),
        lie("a key of nothing", message(b'K', b"")),
        lie("a setting without a value", message(b'S', b"client_encoding\0")),
        lie("endless settings", message(b'S', b"application_name\0x\0").repeat(40_000)),
        lie("a setting of 60,000 bytes", message(b'S', &[b'x'; 60_000])),
    ]
}
