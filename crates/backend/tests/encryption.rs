//! What each TLS mode makes of a server's answers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::time::Duration;

use backend::{ConnectError, Dialer, Kind, ProtocolFault, Ready};
use fake::{Fake, authentication, closed, config, error, login, read_packet, send, welcome};
use tokio::io::AsyncReadExt;
use transport::{Negotiation, ServerTls, TlsMode};
use wire::StartupPacket;

const TLS_MODES: [TlsMode; 2] = [TlsMode::Prefer, TlsMode::Require];

/// Serves one connection after another, each with its own answers to the packets sent, and
/// returns what the packets were.
async fn serve(mode: TlsMode, scripts: &[&[&[u8]]]) -> (Result<Ready, ConnectError>, Vec<String>) {
    let fake = Fake::bind().await;
    let dialer = Dialer::new(config(mode)).unwrap();
    let (target, login) = (fake.target(), login());
    let mut packets = Vec::new();
    let mut streams = Vec::new();
    let served = async {
        for script in scripts {
            let mut stream = fake.accept().await;
            for answer in *script {
                packets.push(
                    match StartupPacket::parse(&read_packet(&mut stream).await).unwrap() {
                        StartupPacket::Ssl => "tls".to_owned(),
                        StartupPacket::Startup(startup) => format!("{:?}", startup.version.minor),
                        other => panic!("{other:?}"),
                    },
                );
                send(&mut stream, answer).await;
            }
            streams.push(stream);
        }
    };
    let (result, ()) = tokio::join!(dialer.connect(&target, &login), served);
    (result, packets)
}

#[tokio::test]
async fn prefer_goes_on_in_plain_after_n_and_require_does_not() {
    let welcome = welcome();
    let (ready, packets) = serve(TlsMode::Prefer, &[&[b"N", &welcome]]).await;
    assert!(!ready.unwrap().stream.is_tls());
    assert_eq!(packets, ["tls", "0"]);
    let (refused, _) = serve(TlsMode::Require, &[&[b"N"]]).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, ConnectError::TlsUnavailable(TlsMode::Require)));
    assert!(refused.is_definite());
}

#[tokio::test]
async fn disable_and_allow_do_not_ask_for_tls() {
    for mode in [TlsMode::Disable, TlsMode::Allow] {
        let (ready, packets) = serve(mode, &[&[&welcome()]]).await;
        assert!(!ready.unwrap().stream.is_tls());
        assert_eq!(packets, ["0"]);
    }
}

/// The login and the cancel of it.
#[tokio::test]
async fn direct_tls_begins_with_the_first_byte() {
    let fake = Fake::bind().await;
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("crt"), directory.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server =
        ServerTls { certificate: Some(certificate), key: Some(key), ..ServerTls::default() };
    let acceptor = server.acceptor().unwrap();
    let mut config = config(TlsMode::Require);
    config.tls.negotiation = Negotiation::Direct;
    let dialer = Dialer::new(config).unwrap();
    let (target, login) = (fake.target(), login());
    let script = async {
        let accept = async || {
            let accepted = acceptor.accept(fake.accept().await, Negotiation::Direct, &[]);
            accepted.await.unwrap()
        };
        let mut stream = accept().await;
        read_packet(&mut stream).await;
        send(&mut stream, &welcome()).await;
        let mut cancel = accept().await;
        let cancel = StartupPacket::parse(&read_packet(&mut cancel).await);
        (stream, matches!(cancel, Ok(StartupPacket::Cancel(_))))
    };
    let client = async {
        let ready = dialer.connect(&target, &login).await.unwrap();
        let _ = dialer.cancel(&ready.cancel_target().unwrap(), Duration::from_secs(5)).await;
        ready
    };
    let (ready, (served, cancelled)) = tokio::join!(client, script);
    assert!(cancelled);
    assert_eq!(ready.stream.server_certificate(), served.server_certificate());
    assert!(served.server_certificate().is_some());
}

#[tokio::test]
async fn bytes_behind_the_tls_answer_end_the_connection() {
    for answer in [&b"SE"[..], b"NR", &[b"N", &welcome()[..]].concat()] {
        for mode in TLS_MODES {
            let (result, _) = serve(mode, &[&[answer]]).await;
            let fault = ProtocolFault::BytesAfterTlsAnswer;
            assert!(matches!(result, Err(ConnectError::Protocol(f)) if f == fault));
        }
    }
}

#[tokio::test]
async fn plain_bytes_sent_just_after_the_tls_answer_are_not_taken_for_a_login() {
    let fake = Fake::bind().await;
    let dialer = Dialer::new(config(TlsMode::Prefer)).unwrap();
    let (target, login) = (fake.target(), login());
    let script = async {
        let mut stream = fake.accept().await;
        read_packet(&mut stream).await;
        send(&mut stream, b"S").await;
        // The ClientHello shows that the answer was read alone.
        stream.read_u8().await.unwrap();
        send(&mut stream, &welcome()).await;
        closed(&mut stream).await;
    };
    let (result, ()) = tokio::join!(dialer.connect(&target, &login), script);
    assert!(matches!(result, Err(ConnectError::Tls(_))));
}

#[tokio::test]
async fn an_error_instead_of_the_tls_answer_is_not_shown_to_anybody() {
    let refusal = error("28000", "injected text");
    for mode in TLS_MODES {
        let (result, _) = serve(mode, &[&[&refusal]]).await;
        let error = result.unwrap_err();
        assert!(matches!(&error, ConnectError::Protocol(ProtocolFault::TlsAnswer(b'E'))));
        assert!(!format!("{error:?} {error} {}", error.client_error()).contains("injected"));
    }
    let (result, _) = serve(TlsMode::Prefer, &[&[b"G"]]).await;
    assert!(matches!(result, Err(ConnectError::Protocol(ProtocolFault::TlsAnswer(b'G')))));
}

#[tokio::test]
async fn allow_tries_tls_only_after_pg_hba_refused_plain() {
    let no_line = error("28000", "no pg_hba.conf entry");
    let (result, packets) = serve(TlsMode::Allow, &[&[&no_line], &[b"N"]]).await;
    assert_eq!(packets, ["0", "tls"]);
    assert_eq!(result.unwrap_err().client_error().message, "no pg_hba.conf entry");

    let later = [authentication(0, &[]), no_line].concat();
    for refusal in [error("28P01", "password"), error("53300", "too many"), later] {
        let (result, packets) = serve(TlsMode::Allow, &[&[&refusal]]).await;
        assert_eq!(result.unwrap_err().kind(), Kind::Refused);
        assert_eq!(packets, ["0"]);
    }
}

#[tokio::test]
async fn prefer_does_not_repeat_in_plain_what_was_refused_in_plain() {
    let no_line = error("28000", "no pg_hba.conf entry");
    let (result, packets) = serve(TlsMode::Prefer, &[&[b"N", &no_line]]).await;
    assert_eq!(result.unwrap_err().kind(), Kind::Refused);
    assert_eq!(packets, ["tls", "0"]);
}
