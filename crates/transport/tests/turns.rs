//! Handshakes do not hold up others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use certificates::{Authority, client, server};
use tokio::io::duplex;
use transport::{Negotiation, TlsMode};

const CLIENTS: usize = 40;

/// One thread, many clients whose first message is there already, and somebody else who is
/// always ready to run: between two of the signatures that all of them wait for it has a turn.
#[tokio::test]
async fn others_have_turns_between_handshakes() {
    let authority = Authority::new();
    let tls = server(TlsMode::Prefer, authority.sign("server", "db.example"));
    let acceptor = tls.acceptor().unwrap();
    let connector = client(TlsMode::Require, None).connector().unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    // Kept, so that no side misses the other's last words.
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let (ours, theirs) = duplex(64 * 1024);
        let connector = connector.clone();
        clients.push(tokio::spawn(async move { connector.connect("db.example", theirs).await }));
        let (acceptor, done) = (acceptor.clone(), Arc::clone(&done));
        servers.push(tokio::spawn(async move {
            let accepted = acceptor.accept(ours, Negotiation::Postgres, &[]).await;
            done.fetch_add(1, Relaxed);
            accepted
        }));
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut most = 0;
    loop {
        let before = done.load(Relaxed);
        if before == CLIENTS {
            break;
        }
        tokio::task::yield_now().await;
        most = most.max(done.load(Relaxed) - before);
    }
    for task in clients.into_iter().chain(servers) {
        task.await.unwrap().unwrap();
    }
    assert!(most <= 2 * processors, "{most} handshakes ended between two turns of somebody else");
}
