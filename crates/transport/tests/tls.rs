//! What each TLS mode accepts and refuses, over an in-memory stream.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;

use std::io;

use certificates::{Authority, Side, client, meet, server};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex};
use transport::{Acceptor, ClientTls, Error, HandshakeError, Negotiation, ServerTls, TlsMode};

async fn handshake(server: &ServerTls, client: &ClientTls, host: &str) -> (Side, Side) {
    meet(&server.acceptor().unwrap(), &client.connector().unwrap(), host).await
}

async fn exchange(accepted: Side, connected: Side) -> io::Result<()> {
    let (mut accepted, mut connected) =
        (accepted.map_err(io::Error::other)?, connected.map_err(io::Error::other)?);
    certificates::exchange(&mut accepted, &mut connected).await
}

#[tokio::test]
async fn a_session_names_its_version_cipher_and_certificate() {
    let authority = Authority::new();
    let server = server(TlsMode::Prefer, authority.sign("server", "db.example"));
    let client = client(TlsMode::VerifyFull, Some(authority.ca()));
    let (accepted, connected) = handshake(&server, &client, "db.example").await;
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    assert!(accepted.is_tls() && connected.is_tls());
    assert!(accepted.is_write_vectored() && connected.is_write_vectored());
    assert_eq!(accepted.tls_version(), Some("TLSv1.3"));
    assert_eq!(accepted.cipher(), connected.cipher());
    assert!(accepted.peer_certificate().is_none() && connected.peer_certificate().is_some());

    accepted.write_all(b"two").await.unwrap();
    accepted.flush().await.unwrap();
    assert!(!connected.holds_unread());
    assert_eq!(connected.read_u8().await.unwrap(), b't');
    assert!(connected.holds_unread(), "two bytes of the record are still inside");
    let mut rest = [0; 2];
    connected.read_exact(&mut rest).await.unwrap();
    assert!(!connected.holds_unread());

    accepted.shutdown().await.unwrap();
    assert_eq!(connected.read(&mut rest).await.unwrap(), 0, "close_notify is an orderly end");
}

#[tokio::test]
async fn verify_full_compares_the_name_and_verify_ca_does_not() {
    let authority = Authority::new();
    let server = server(TlsMode::Prefer, authority.sign("server", "db.example"));
    let full = client(TlsMode::VerifyFull, Some(authority.ca()));
    let (_, refused) = handshake(&server, &full, "other.example").await;
    assert!(refused.unwrap_err().is_certificate());
    let (_, refused) = handshake(&server, &full, "no name").await;
    assert!(matches!(refused, Err(HandshakeError::Name(_))));

    for host in ["other.example", "127.0.0.1", "no name"] {
        let chain = client(TlsMode::VerifyCa, Some(authority.ca()));
        let (accepted, connected) = handshake(&server, &chain, host).await;
        exchange(accepted, connected).await.unwrap();
    }
}

#[tokio::test]
async fn verify_full_takes_an_address_from_the_certificate() {
    let authority = Authority::new();
    let server = server(TlsMode::Prefer, authority.sign("server", "127.0.0.1"));
    let full = client(TlsMode::VerifyFull, Some(authority.ca()));
    let (accepted, connected) = handshake(&server, &full, "127.0.0.1").await;
    exchange(accepted, connected).await.unwrap();
    let (_, refused) = handshake(&server, &full, "127.0.0.2").await;
    assert!(refused.unwrap_err().is_certificate());
}

#[tokio::test]
async fn another_authority_is_refused_wherever_a_ca_is_given() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = server(TlsMode::Prefer, stranger.sign("server", "db.example"));
    for mode in [TlsMode::Prefer, TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull] {
        let client = client(mode, Some(authority.ca()));
        let (accepted, connected) = handshake(&server, &client, "db.example").await;
        assert!(accepted.is_err(), "{mode}");
        assert!(connected.unwrap_err().is_certificate(), "{mode}");
    }
    let (accepted, connected) =
        handshake(&server, &client(TlsMode::Require, None), "db.example").await;
    exchange(accepted, connected).await.unwrap();
}

#[tokio::test]
async fn a_self_signed_certificate_is_its_own_authority_but_keeps_its_name() {
    let authority = Authority::new();
    let pair = authority.self_sign("self", "db.example");
    let server = server(TlsMode::Prefer, pair.clone());
    let full = client(TlsMode::VerifyFull, Some(pair.0));
    let (accepted, connected) = handshake(&server, &full, "db.example").await;
    exchange(accepted, connected).await.unwrap();
    let (_, refused) = handshake(&server, &full, "other.example").await;
    assert!(refused.unwrap_err().is_certificate());
}

#[tokio::test]
async fn a_pinned_certificate_without_its_key_is_refused() {
    let authority = Authority::new();
    let real = authority.self_sign("self", "db.example");
    let other = authority.self_sign("other", "db.example");
    let impostor = server(TlsMode::Prefer, other);
    let full = client(TlsMode::VerifyFull, Some(real.0));
    let (_, refused) = handshake(&impostor, &full, "db.example").await;
    assert!(refused.unwrap_err().is_certificate());
}

#[tokio::test]
async fn client_certificates_are_demanded_by_verify_and_checked_when_shown() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = authority.sign("server", "db.example");
    let with = |(certificate, key)| ClientTls {
        certificate: Some(certificate),
        key: Some(key),
        ..client(TlsMode::Require, None)
    };
    let good = with(authority.sign("good", "alice"));
    let bad = with(stranger.sign("bad", "mallory"));
    let none = client(TlsMode::Require, None);
    for (mode, client, works) in [
        (TlsMode::Prefer, &none, true),
        (TlsMode::Prefer, &good, true),
        (TlsMode::Prefer, &bad, false),
        (TlsMode::VerifyCa, &none, false),
        (TlsMode::VerifyCa, &good, true),
        (TlsMode::VerifyCa, &bad, false),
    ] {
        let server = ServerTls { client_ca: Some(authority.ca()), ..server(mode, pair.clone()) };
        let (accepted, connected) = handshake(&server, client, "db.example").await;
        let result = exchange(accepted, connected).await;
        assert_eq!(result.is_ok(), works, "{mode} {client:?}: {result:?}");
    }
}

#[tokio::test]
async fn disable_leaves_both_sides_plain() {
    let (accepted, connected) =
        handshake(&ServerTls::default(), &client(TlsMode::Disable, None), "x").await;
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    assert!(!accepted.is_tls() && accepted.tls_version().is_none());
    exchange(Ok(accepted), Ok(connected)).await.unwrap();
    assert!(!Acceptor::disabled().is_available());
}

#[tokio::test]
async fn garbage_instead_of_a_handshake_is_an_error() {
    let authority = Authority::new();
    let acceptor = server(TlsMode::Prefer, authority.sign("s", "x")).acceptor().unwrap();
    for bytes in [&b"\0\0\0\x08\0\0\0\0"[..], b"\x16\x03\x01\xff\xff", b"", &[0x80; 20_000]] {
        let (ours, mut theirs) = duplex(64 * 1024);
        theirs.write_all(bytes).await.unwrap();
        theirs.shutdown().await.unwrap();
        assert!(acceptor.accept(ours, Negotiation::Postgres, &[]).await.is_err());
    }
}

#[test]
fn a_bad_file_is_named_with_what_to_do() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("one", "x");
    let (_, other_key) = authority.sign("two", "x");
    let refuse = |tls: ServerTls| tls.acceptor().unwrap_err();

    let missing = refuse(server(TlsMode::Prefer, (authority.path("none.crt"), key.clone())));
    assert!(matches!(missing, Error::Read { .. }) && missing.to_string().contains("none.crt"));
    let swapped = refuse(server(TlsMode::Prefer, (key.clone(), certificate.clone())));
    assert!(matches!(swapped, Error::NothingFound { wanted: "certificate", .. }));
    let no_key = refuse(server(TlsMode::Prefer, (certificate.clone(), certificate.clone())));
    assert!(matches!(no_key, Error::NothingFound { wanted: "private key", .. }));
    let unfit = refuse(server(TlsMode::Prefer, (certificate.clone(), other_key)));
    assert!(matches!(unfit, Error::CertificateAndKey { .. }), "{unfit}");

    let huge = authority.path("huge.crt");
    std::fs::write(&huge, vec![b'\n'; 2 << 20]).unwrap();
    assert!(matches!(refuse(server(TlsMode::Prefer, (huge, key.clone()))), Error::TooLarge { .. }));
    let cut = authority.path("cut.crt");
    std::fs::write(&cut, "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    assert!(matches!(refuse(server(TlsMode::Prefer, (cut, key))), Error::Pem { .. }));
}

#[test]
fn a_mode_that_lacks_a_file_says_which() {
    let option = |error| match error {
        Error::MissingOption { option, .. } => option,
        other => panic!("{other}"),
    };
    let require = ServerTls { mode: TlsMode::Require, ..ServerTls::default() };
    assert_eq!(option(require.acceptor().unwrap_err()), "certificate");
    assert!(!ServerTls::default().acceptor().unwrap().is_available());
    let full = client(TlsMode::VerifyFull, None);
    assert_eq!(option(full.connector().unwrap_err()), "ca");
    let authority = Authority::new();
    let no_ca = server(TlsMode::VerifyCa, authority.sign("s", "x"));
    assert_eq!(option(no_ca.acceptor().unwrap_err()), "client_ca");
}
