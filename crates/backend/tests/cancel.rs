//! A cancel is over when the server has closed its connection, and not before.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use backend::{CancelTarget, ConnectError, Dialer, ProtocolFault, Stage};
use fake::{Fake, closed, config, read_packet, send};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use transport::TlsMode;
use wire::{CancelKey, CancelSecret, StartupPacket};

const LIMIT: Duration = Duration::from_secs(5);

fn target(fake: &Fake, is_tls: bool, secret: &[u8]) -> CancelTarget {
    let server = fake.target();
    let address = format!("{}:{}", server.host, server.port).parse().unwrap();
    let key = CancelKey { pid: 7, secret: CancelSecret::new(secret).unwrap() };
    CancelTarget { host: Arc::from("db.example"), address, is_tls, key }
}

#[tokio::test]
async fn a_cancel_sends_the_key_and_waits_for_the_close() {
    let fake = Fake::bind().await;
    let dialer = Dialer::new(config(TlsMode::Disable)).unwrap();
    let target = target(&fake, false, &[9; 32]);
    let mut cancel = Box::pin(dialer.cancel(&target, LIMIT));
    let mut stream = tokio::select! {
        biased;
        result = &mut cancel => panic!("{result:?} before the server has closed"),
        stream = async {
            let mut stream = fake.accept().await;
            let packet = StartupPacket::parse(&read_packet(&mut stream).await);
            assert_eq!(packet, Ok(StartupPacket::Cancel(target.key.clone())));
            stream
        } => stream,
    };
    stream.shutdown().await.unwrap();
    cancel.await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_close_fails_the_cancel() {
    let fake = Fake::bind().await;
    let dialer = Dialer::new(config(TlsMode::Disable)).unwrap();
    let target = target(&fake, false, &[9; 4]);
    let script = async {
        let mut stream = fake.accept().await;
        read_packet(&mut stream).await;
        closed(&mut stream).await;
    };
    let limit = Duration::from_millis(50);
    let (result, ()) = tokio::join!(dialer.cancel(&target, limit), script);
    assert!(matches!(result, Err(ConnectError::Timeout(Stage::Cancelling))));
}

#[tokio::test]
async fn a_server_that_answers_without_end_fails_the_cancel() {
    let fake = Fake::bind().await;
    let dialer = Dialer::new(config(TlsMode::Disable)).unwrap();
    let target = target(&fake, false, &[9; 4]);
    let script = async {
        let mut stream = fake.accept().await;
        read_packet(&mut stream).await;
        send(&mut stream, &vec![0; 1 << 20]).await;
    };
    let (result, ()) = tokio::join!(dialer.cancel(&target, LIMIT), script);
    assert!(matches!(result, Err(ConnectError::Protocol(ProtocolFault::TooMuch(_)))));
}

#[tokio::test]
async fn the_key_of_a_tls_session_never_travels_in_plain() {
    let fake = Fake::bind().await;
    let dialer = Dialer::new(config(TlsMode::Prefer)).unwrap();
    let target = target(&fake, true, &[9; 4]);
    let script = async {
        let mut stream = fake.accept().await;
        let packet = StartupPacket::parse(&read_packet(&mut stream).await);
        assert_eq!(packet, Ok(StartupPacket::Ssl));
        send(&mut stream, b"N").await;
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.unwrap();
        assert!(rest.is_empty(), "something was sent in plain");
    };
    let (result, ()) = tokio::join!(dialer.cancel(&target, LIMIT), script);
    assert!(matches!(result, Err(ConnectError::TlsUnavailable(_))));
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dialer = Dialer::new(config(TlsMode::Disable)).unwrap();
    let key = CancelKey { pid: 7, secret: CancelSecret::new(&[9; 4]).unwrap() };
    let target = CancelTarget { host: Arc::from("x"), address, is_tls: false, key };
    let result = dialer.cancel(&target, LIMIT).await;
    assert!(matches!(result, Err(ConnectError::Unreachable { .. })));
}
