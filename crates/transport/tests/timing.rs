//! Handshakes that come to an end are timed, on both sides, and only these.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use certificates::{Authority, client, meet, server};
use transport::TlsMode;

/// Counts what it is told.
fn counter() -> (Arc<AtomicU64>, impl Fn(Duration) + Send + Sync + 'static) {
    let count = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&count);
    (count, move |took| {
        assert!(took > Duration::ZERO);
        told.fetch_add(1, Relaxed);
    })
}

#[tokio::test]
async fn both_sides_tell_how_long_it_took_once_it_is_done() {
    let authority = Authority::new();
    let acceptor = server(TlsMode::Prefer, authority.sign("server", "db.example"));
    let acceptor = acceptor.acceptor().unwrap();
    let connector = client(TlsMode::VerifyFull, Some(authority.ca())).connector().unwrap();
    let (accepted, told) = counter();
    acceptor.clone().time_handshakes(told);
    let (connected, told) = counter();
    connector.clone().time_handshakes(told);
    let counts = || (accepted.load(Relaxed), connected.load(Relaxed));

    let (one, other) = meet(&acceptor, &connector, "db.example").await;
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(counts(), (1, 1));

    let (_, refused) = meet(&acceptor, &connector, "another.example").await;
    assert!(refused.is_err(), "its certificate has another name");
    assert_eq!(counts().1, 1);

    let (late, told) = counter();
    connector.time_handshakes(told);
    let (one, other) = meet(&acceptor, &connector, "db.example").await;
    assert!(one.is_ok() && other.is_ok());
    assert_eq!((counts().1, late.load(Relaxed)), (2, 0), "the first stays");
}
