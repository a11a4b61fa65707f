//! Servers before PostgreSQL 14 do not report `in_hot_standby`: they are asked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use backend::{ConnectError, Dialer, Kind, Ready, RequiredRole};
use fake::{Fake, config, frame, login, parameter, read_message, send};
use transport::TlsMode;
use wire::message;

/// Logs in to a server that reports nothing and answers the role query with `answer`.
async fn ask(role: RequiredRole, answer: &[u8]) -> Result<Ready, ConnectError> {
    let fake = Fake::bind().await;
    let dialer = Dialer::new(config(TlsMode::Disable)).unwrap();
    let mut login = login();
    login.role = role;
    let target = fake.target();
    let script = async {
        let mut stream = fake.accept_startup().await;
        let version = parameter("server_version", "13.11");
        send(&mut stream, &[message::AUTHENTICATION_OK, &version, &frame(b'Z', b"I")].concat())
            .await;
        if role != RequiredRole::Any {
            let (tag, body) = read_message(&mut stream).await;
            assert_eq!((tag, &body[..]), (b'Q', &b"SELECT pg_catalog.pg_is_in_recovery()\0"[..]));
            send(&mut stream, answer).await;
        }
        stream
    };
    tokio::join!(dialer.connect(&target, &login), script).0
}

fn answer(value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    [
        frame(b'T', b"\0\0"),
        frame(b'D', &[&[0, 1], &length[..], value].concat()),
        frame(b'C', b"SELECT 1\0"),
        frame(b'Z', b"I"),
    ]
    .concat()
}

#[tokio::test]
async fn an_old_server_is_asked_for_its_role_when_one_is_required() {
    assert_eq!(ask(RequiredRole::Any, b"").await.unwrap().in_hot_standby, None);
    let primary = ask(RequiredRole::Primary, &answer(b"f")).await.unwrap();
    assert_eq!(primary.in_hot_standby, Some(false));
    let standby = ask(RequiredRole::Standby, &answer(b"t")).await.unwrap();
    assert_eq!(standby.in_hot_standby, Some(true));
    let wrong = ask(RequiredRole::Primary, &answer(b"t")).await.unwrap_err();
    assert!(matches!(wrong, ConnectError::WrongRole { in_recovery: true }));
}

#[tokio::test]
async fn an_answer_that_proves_nothing_is_not_a_proof() {
    for value in [&b""[..], b"x", b"ff"] {
        let error = ask(RequiredRole::Primary, &answer(value)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Protocol);
    }
    let no_row = [frame(b'C', b"SELECT 0\0"), frame(b'Z', b"I")].concat();
    let error = ask(RequiredRole::Primary, &no_row).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    let refused = ask(RequiredRole::Primary, &frame(b'E', b"C42501\0Mno\0\0")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Refused);
}
