//! Sessions that go on from an earlier one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;

use certificates::{Authority, Stream, client, exchange, meet, server};
use transport::{Acceptor, ClientTls, Connector, Policy, Protocol, ServerTls, TlsMode};

/// Tickets come behind the handshake, so something is read as well.
async fn session(acceptor: &Acceptor, connector: &Connector) -> (Stream, Stream) {
    let (accepted, connected) = meet(acceptor, connector, "db.example").await;
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    exchange(&mut accepted, &mut connected).await.unwrap();
    assert_eq!(accepted.is_resumed(), connected.is_resumed());
    (accepted, connected)
}

#[tokio::test]
async fn the_second_session_is_resumed_and_knows_its_certificate() {
    let authority = Authority::new();
    let tls = server(TlsMode::Prefer, authority.sign("server", "db.example"));
    let acceptor = tls.acceptor().unwrap();
    for protocol in Protocol::ALL {
        let policy = Policy::new(vec![protocol], Vec::new(), Vec::new()).unwrap();
        let ca = Some(authority.ca());
        let connector = ClientTls { policy, ..client(TlsMode::VerifyFull, ca) };
        let connector = connector.connector().unwrap();
        let (_, first) = session(&acceptor, &connector).await;
        assert!(!first.is_resumed());
        let (accepted, connected) = session(&acceptor, &connector).await;
        assert!(connected.is_resumed(), "{protocol}");
        assert_eq!(connected.tls_version(), Some(protocol.as_str()));
        assert!(first.server_certificate().is_some());
        for stream in [&accepted, &connected] {
            assert_eq!(stream.server_certificate(), first.server_certificate(), "{protocol}");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_looked_at_every_time() {
    let authority = Authority::new();
    let tls = ServerTls {
        client_ca: Some(authority.ca()),
        ..server(TlsMode::Prefer, authority.sign("server", "db.example"))
    };
    let acceptor = tls.acceptor().unwrap();
    let (certificate, key) = authority.sign("client", "alice");
    for protocol in Protocol::ALL {
        let connector = ClientTls {
            certificate: Some(certificate.clone()),
            key: Some(key.clone()),
            policy: Policy::new(vec![protocol], Vec::new(), Vec::new()).unwrap(),
            ..client(TlsMode::Require, None)
        };
        let connector = connector.connector().unwrap();
        for _ in 0..2 {
            let (accepted, connected) = session(&acceptor, &connector).await;
            assert!(!connected.is_resumed(), "{protocol}");
            assert!(accepted.client_subject().unwrap().is_some());
        }
    }
}
