//! TLS from the first byte.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;

use std::sync::Arc;

use certificates::{Authority, client, exchange, meet, server};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use transport::{Acceptor, ClientTls, Error, HandshakeError, Negotiation, TlsMode};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client of somebody else, which offers what it is told to.
fn foreign_client(authority: &Authority, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let ca = std::fs::read(authority.ca()).unwrap();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config).into()
}

async fn accepts(
    acceptor: &Acceptor,
    negotiation: Negotiation,
    connector: TlsConnector,
    ahead_len: Option<usize>,
) -> Result<(), HandshakeError> {
    let (mut ours, theirs) = duplex(64 * 1024);
    let name = ServerName::try_from("db.example").unwrap();
    let client = tokio::spawn(async move { connector.connect(name, theirs).await });
    let mut ahead = vec![0; ahead_len.unwrap_or(4096)];
    match ahead_len {
        Some(_) => ours.read_exact(&mut ahead).await.unwrap(),
        // All that there is: the client waits for an answer to its first message.
        None => {
            let read = ours.read(&mut ahead).await.unwrap();
            ahead.truncate(read);
            read
        }
    };
    let accepted = acceptor.accept(ours, negotiation, &ahead).await;
    drop(client);
    accepted.map(|stream| assert!(stream.is_tls()))
}

#[tokio::test]
async fn only_direct_tls_insists_on_alpn() {
    let authority = Authority::new();
    let tls = server(TlsMode::Prefer, authority.sign("server", "db.example"));
    let acceptor = tls.acceptor().unwrap();
    let refuses = |result| matches!(result, Err(HandshakeError::Tls(_)));
    for (negotiation, alpn, works) in [
        (Negotiation::Direct, &[][..], false),
        (Negotiation::Direct, &[&b"h2"[..], b"http/1.1"][..], false),
        (Negotiation::Direct, &[&b"h2"[..], b"postgresql"][..], true),
        (Negotiation::Postgres, &[][..], true),
        (Negotiation::Postgres, &[&b"h2"[..]][..], false),
        (Negotiation::Postgres, &[&b"postgresql"[..]][..], true),
    ] {
        let connector = foreign_client(&authority, alpn);
        let result = accepts(&acceptor, negotiation, connector, Some(0)).await;
        assert_eq!(result.is_ok(), works, "{negotiation:?} {alpn:?}: {result:?}");
        assert!(works || refuses(result));
    }
}

#[tokio::test]
async fn what_was_read_ahead_is_part_of_the_handshake() {
    let authority = Authority::new();
    let tls = server(TlsMode::Prefer, authority.sign("server", "db.example"));
    let acceptor = tls.acceptor().unwrap();
    for ahead in [Some(1), Some(4), Some(5), Some(100), None] {
        let connector = foreign_client(&authority, &[b"postgresql"]);
        accepts(&acceptor, Negotiation::Direct, connector, ahead).await.unwrap();
    }
    let (ours, mut theirs) = duplex(64 * 1024);
    let refused = acceptor.accept(ours, Negotiation::Direct, b"\x16\x03\x01\0\x04\x02\0\0\0").await;
    assert!(matches!(refused, Err(HandshakeError::Tls(_))));
    assert_eq!(theirs.read_u8().await.unwrap(), 21, "an alert");
}

#[tokio::test]
async fn a_server_that_ignores_alpn_is_no_direct_server() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("server", "db.example");
    let chain = rustls::pki_types::CertificateDer::from_pem_file(certificate).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(key).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let foreign = TlsAcceptor::from(Arc::new(config));
    for (negotiation, works) in [(Negotiation::Postgres, true), (Negotiation::Direct, false)] {
        let connector = ClientTls { negotiation, ..client(TlsMode::Require, None) };
        let connector = connector.connector().unwrap();
        let (ours, theirs) = duplex(64 * 1024);
        let (accepted, connected) =
            tokio::join!(foreign.accept(ours), connector.connect("db.example", theirs));
        assert!(accepted.is_ok() || !works);
        assert_eq!(connected.is_ok(), works, "{negotiation:?}");
    }
}

#[tokio::test]
async fn two_of_us_agree() {
    let authority = Authority::new();
    let tls = server(TlsMode::Prefer, authority.sign("server", "db.example"));
    let direct = ClientTls {
        negotiation: Negotiation::Direct,
        ..client(TlsMode::VerifyFull, Some(authority.ca()))
    };
    let connector = direct.connector().unwrap();
    let (accepted, connected) = meet(&tls.acceptor().unwrap(), &connector, "db.example").await;
    exchange(&mut accepted.unwrap(), &mut connected.unwrap()).await.unwrap();
}

#[test]
fn direct_tls_needs_a_mode_that_means_it() {
    for mode in [TlsMode::Disable, TlsMode::Allow, TlsMode::Prefer] {
        let direct = ClientTls { negotiation: Negotiation::Direct, ..client(mode, None) };
        assert!(matches!(direct.connector(), Err(Error::DirectMode(_))), "{mode}");
    }
}
