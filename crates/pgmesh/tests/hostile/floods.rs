//! What clients do in numbers, and at length.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use testbed::Pgmesh;
use wire::{CancelKey, CancelSecret};

use crate::clients::{Raw, sync};
use crate::memory;
use crate::metrics::eventually;
use crate::row::{message, message_of_length};

/// What the longest message may make the process hold, in KiB: some chunks in each direction.
const GROWTH_KB_MAX: u64 = 16 * 1024;

/// Logins that go nowhere, all at once.
const LOGINS: usize = 1000;

const CANCELS: usize = 1000;

const FRAMES: usize = 1_000_000;

/// The longest message there can be.
const GIGABYTE: u32 = 0x3fff_fffe;

/// All of them. The KiB that were resident on top while messages of a gigabyte went by.
pub(crate) fn all(mesh: &Pgmesh, model: &Raw) -> u64 {
    logins_that_go_nowhere(mesh);
    cancels_of_nobody(mesh, model);
    frames(mesh, model);
    answers_that_nobody_reads(mesh, model);
    memory::forget_peak(mesh);
    let before = memory::peak(mesh);
    a_gigabyte_up(mesh, model);
    a_row_down(mesh, model);
    a_gigabyte_that_never_comes(mesh, model);
    a_statement_that_is_too_long_to_be_kept(mesh, model);
    let grown = memory::peak(mesh) - before;
    // The statement has to be kept until it is known to be too long.
    let kept = session::STATEMENT_LIMIT as u64 / 1024;
    assert!(grown < GROWTH_KB_MAX + 2 * kept, "{grown} kB");
    grown
}

/// A third says nothing, a third stops after its startup packet, a third sends byte by byte.
fn logins_that_go_nowhere(mesh: &Pgmesh) {
    let mut startup = Vec::new();
    let parameters = [("user", "app_user"), ("database", "app")];
    wire::put_startup(&mut startup, wire::Version::V3_0, parameters);
    let mut open: Vec<TcpStream> = (0..LOGINS)
        .map(|number| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, mesh.port())).unwrap();
            if number % 3 == 0 {
                stream.write_all(&startup).unwrap();
            }
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    // Somebody who means it gets in meanwhile.
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 'in'"), "in");
    // One drop each at every look, which `eventually` spaces out.
    eventually("the end of logins that go nowhere", || {
        let mut number = 0;
        open.retain_mut(|stream| {
            number += 1;
            let is_open = number % 3 != 1 || stream.write(b"\0").is_ok();
            is_open && !has_ended(stream)
        });
        open.is_empty()
    });
}

fn has_ended(stream: &mut TcpStream) -> bool {
    loop {
        match stream.read(&mut [0; 256]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// Guesses at the secret of a client that has a statement under way.
fn cancels_of_nobody(mesh: &Pgmesh, model: &Raw) {
    let mut busy = Raw::log_in_like(model, &mesh.app()).unwrap();
    let pid = busy.key.as_ref().unwrap().pid;
    busy.ask("SELECT pg_sleep(0.5), 'slept'");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for guess in 0..u32::try_from(CANCELS / 4).unwrap() {
                    let secret = CancelSecret::new(&guess.to_be_bytes()).unwrap();
                    crate::clients::cancel(mesh.port(), &CancelKey { pid, secret });
                }
            });
        }
    });
    let answer = busy.answer();
    assert!(answer.errors.is_empty(), "{:?}", answer.errors);
}

/// A million of the shortest messages, of each kind that may come so often.
fn frames(mesh: &Pgmesh, model: &Raw) {
    let mut client = Raw::log_in_like(model, &mesh.app()).unwrap();
    // Read while they are sent: each is answered.
    let mut reader = client.socket().try_clone().unwrap();
    let answers = thread::spawn(move || {
        let mut answers = vec![0; FRAMES * 6];
        reader.read_exact(&mut answers).unwrap();
        answers
    });
    client.send(&b"S\0\0\0\x04".repeat(FRAMES));
    assert!(answers.join().unwrap().chunks(6).all(|answer| answer == b"Z\0\0\0\x05I"));
    client.send(&b"H\0\0\0\x04".repeat(FRAMES));
    assert_eq!(client.value("SELECT 'flushed'"), "flushed");
    client.ask("COPY t FROM STDIN");
    client.send(&b"d\0\0\0\x04".repeat(FRAMES));
    client.send(&message(b'f', b"enough\0"));
    assert_eq!(client.answer().errors[0].code, "57014");
}

/// A client that only writes is not read from any more, and then it leaves.
fn answers_that_nobody_reads(mesh: &Pgmesh, model: &Raw) {
    let mut client = Raw::log_in_like(model, &mesh.app()).unwrap();
    let mut batch = Vec::new();
    sync(&mut batch);
    let batch = batch.repeat(10_000);
    client.socket().set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let written = (0..10_000).take_while(|_| client.socket().write_all(&batch).is_ok()).count();
    assert!(written < 10_000, "half a gigabyte was taken, and its answers with it");
    client.reported.clear();
}

/// One message of data, as long as any can be.
fn a_gigabyte_up(mesh: &Pgmesh, model: &Raw) {
    let mut client = Raw::log_in_like(model, &mesh.app()).unwrap();
    client.ask("COPY t FROM STDIN");
    assert_eq!(client.message().tag, b'G');
    client.send(&message_of_length(b'd', GIGABYTE, b"x\n"));
    let piece = vec![b'y'; 1 << 20];
    let mut left = GIGABYTE as usize - 4 - 2;
    while left > 0 {
        let len = left.min(piece.len());
        client.send(&piece[..len]);
        left -= len;
    }
    // The server has read it to its end before it looks at its first line.
    let answer = client.answer();
    assert_eq!((answer.errors[0].code.as_str(), answer.status), ("22P02", 'I'));
    assert_eq!(client.value("SELECT 'next'"), "next");
}

/// A row of a quarter of that: Postgres cannot make a longer one of text.
fn a_row_down(mesh: &Pgmesh, model: &Raw) {
    const LEN: usize = 256 << 20;
    let mut client = Raw::log_in_like(model, &mesh.app()).unwrap();
    client.ask(&format!("SELECT repeat('x', {LEN})"));
    let answer = client.answer();
    assert_eq!((answer.rows[0][0].len(), answer.status), (LEN, 'I'));
}

/// The length is believed, and costs nothing.
fn a_gigabyte_that_never_comes(mesh: &Pgmesh, model: &Raw) {
    for tag in *b"QPBdSHC" {
        let mut client = Raw::log_in_like(model, &mesh.app()).unwrap();
        client.send(&message_of_length(tag, GIGABYTE, b"s\0SELECT 1"));
    }
}

fn a_statement_that_is_too_long_to_be_kept(mesh: &Pgmesh, model: &Raw) {
    let mut client = Raw::log_in_like(model, &mesh.app()).unwrap();
    let text = [b"name\0SELECT '".as_slice(), &vec![b'x'; 17 << 20], b"'\0\0\0"].concat();
    let _ = client.socket().write_all(&message(b'P', &text));
    let told = client.last_words().unwrap();
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "54000"));
}
