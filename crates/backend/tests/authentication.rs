//! Every way in which a server asks for a password, and the wrong ways too.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::sync::Arc;

use auth::{Challenge, Nonce, Secret, Verifier};
use backend::{
    AuthenticationFault, ConnectError, Credentials, Dialer, Kind, Login, ProtocolFault, Ready,
};
use fake::{
    Fake, authentication, config, frame, login, login_against, read_message, send, welcome,
};
use tokio::net::TcpStream;
use transport::TlsMode;

/// What a server offers outside TLS.
const SCRAM: &[u8] = b"SCRAM-SHA-256\0\0";
const PLUS_FIRST: &[u8] = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";

async fn run<F>(login: Login, script: impl FnOnce(TcpStream) -> F) -> Result<Ready, ConnectError>
where
    F: Future<Output = TcpStream>,
{
    let fake = Fake::bind().await;
    let dialer = Dialer::new(config(TlsMode::Disable)).unwrap();
    let target = fake.target();
    let served = async { script(fake.accept_startup().await).await };
    tokio::join!(dialer.connect(&target, &login), served).0
}

/// The part of a SASLInitialResponse behind the mechanism's name and the length.
fn initial_response(body: &[u8]) -> &[u8] {
    assert!(body.starts_with(b"SCRAM-SHA-256\0"), "the mechanism without channel binding");
    &body["SCRAM-SHA-256\0".len() + 4..]
}

fn challenge(password: &str) -> Challenge {
    let verifier = Verifier::derive(&Secret::new(password), b"salt of any length", 4096);
    Challenge::known(Arc::new(verifier))
}

#[tokio::test]
async fn trust_needs_no_password() {
    let mut login = login();
    login.credentials = Credentials::trusted("alice");
    let ready = run(login, |mut stream| async {
        send(&mut stream, &welcome()).await;
        stream
    })
    .await
    .unwrap();
    assert!(ready.key.is_some() && ready.scram_keys.is_none());
    assert_eq!(ready.version_num(), Some(150_004));
    assert_eq!(ready.in_hot_standby, Some(false));
}

#[tokio::test]
async fn md5_is_answered_with_the_salted_hash() {
    let ready = run(login(), |mut stream| async {
        send(&mut stream, &authentication(5, &[1, 2, 3, 4])).await;
        let (tag, body) = read_message(&mut stream).await;
        let expected = auth::md5_response("alice", &Secret::new("secret"), [1, 2, 3, 4]);
        assert_eq!((tag, &body[..]), (b'p', format!("{}\0", expected.expose()).as_bytes()));
        send(&mut stream, &welcome()).await;
        stream
    })
    .await;
    ready.unwrap();
}

#[tokio::test]
async fn scram_gives_keys_for_the_next_login() {
    let exchange = |mut stream: TcpStream| async {
        send(&mut stream, &authentication(10, SCRAM)).await;
        let (_, body) = read_message(&mut stream).await;
        let first = challenge("secret").receive(initial_response(&body), Nonce::new([7; 18]));
        let first = first.unwrap();
        send(&mut stream, &authentication(11, first.message().as_bytes())).await;
        let (_, body) = read_message(&mut stream).await;
        let last = first.receive(&body).unwrap();
        send(&mut stream, &authentication(12, last.message().as_bytes())).await;
        send(&mut stream, &welcome()).await;
        stream
    };
    let ready = run(login(), exchange).await.unwrap();
    let mut again = login();
    again.credentials.login = Some(auth::Login::Keys(ready.scram_keys.unwrap()));
    assert!(run(again, exchange).await.unwrap().scram_keys.is_some());
}

#[tokio::test]
async fn a_server_that_skips_its_own_scram_proof_is_an_impostor() {
    for steps in 0..2 {
        let error = run(login(), |mut stream| async move {
            send(&mut stream, &authentication(10, SCRAM)).await;
            let (_, body) = read_message(&mut stream).await;
            if steps == 1 {
                let first =
                    challenge("other").receive(initial_response(&body), Nonce::new([7; 18]));
                send(&mut stream, &authentication(11, first.unwrap().message().as_bytes())).await;
                read_message(&mut stream).await;
            }
            send(&mut stream, &welcome()).await;
            stream
        })
        .await
        .unwrap_err();
        let expected = ProtocolFault::AuthenticationOrder(0);
        assert!(matches!(&error, ConnectError::Protocol(fault) if *fault == expected), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_proves_another_password_is_an_impostor() {
    let error = run(login(), |mut stream| async {
        send(&mut stream, &authentication(10, SCRAM)).await;
        let (_, body) = read_message(&mut stream).await;
        let first = challenge("other").receive(initial_response(&body), Nonce::new([7; 18]));
        send(&mut stream, &authentication(11, first.unwrap().message().as_bytes())).await;
        read_message(&mut stream).await;
        let signature = b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        send(&mut stream, &authentication(12, signature)).await;
        send(&mut stream, &welcome()).await;
        stream
    })
    .await
    .unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Authentication(AuthenticationFault::Scram(auth::Error::ServerProof))
        ),
        "{error}"
    );
    assert!(error.is_definite());
}

#[tokio::test]
async fn the_password_is_never_sent_in_clear_outside_tls() {
    let error = run(login(), |mut stream| async {
        send(&mut stream, &authentication(3, &[])).await;
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.unwrap();
        assert!(rest.is_empty(), "something was sent");
        stream
    })
    .await
    .unwrap_err();
    let fault = AuthenticationFault::ClearTextOutsideTls;
    assert!(
        matches!(&error, ConnectError::Authentication(f) if f.to_string() == fault.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_request_that_cannot_be_answered_is_a_definite_failure() {
    for (request, trusted) in [
        (authentication(5, &[1, 2, 3, 4]), true),
        (authentication(10, SCRAM), true),
        (authentication(10, b"SCRAM-SHA-512\0\0"), false),
        // Only an impostor offers to bind to a TLS connection that is not there.
        (authentication(10, b"SCRAM-SHA-256-PLUS\0\0"), false),
        (authentication(10, PLUS_FIRST), false),
        (authentication(7, &[]), false),
        (authentication(-1, &[]), false),
    ] {
        let mut login = login();
        if trusted {
            login.credentials = Credentials::trusted("alice");
        }
        let error = run(login, |mut stream| async move {
            send(&mut stream, &request).await;
            stream
        })
        .await
        .unwrap_err();
        assert!(error.kind() == Kind::Authentication && error.is_definite(), "{error}");
    }
}

#[tokio::test]
async fn authentication_messages_out_of_turn_are_refused() {
    for bytes in [
        authentication(11, b"r=x"),
        authentication(12, b"v=x"),
        [authentication(5, &[1; 4]), authentication(5, &[1; 4])].concat(),
        [authentication(5, &[1; 4]), authentication(10, SCRAM)].concat(),
        [authentication(10, SCRAM), authentication(10, SCRAM)].concat(),
        authentication(5, &[1; 3]),
        authentication(10, b"SCRAM-SHA-256"),
        frame(b'R', &[0, 0]),
    ] {
        let error = login_against(&bytes).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Protocol, "{error}");
    }
}
