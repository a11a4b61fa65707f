//! A server that breaks the protocol ends in an error, soon, and in bounded memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::time::Duration;

use backend::{ConnectError, Dialer, Kind, ProtocolFault, Stage};
use fake::{
    Fake, authentication, closed, config, error, frame, login, login_against, parameter, send,
    welcome,
};
use transport::TlsMode;
use wire::message::{self, TransactionStatus};

async fn fault(bytes: &[u8]) -> ProtocolFault {
    match login_against(bytes).await {
        Err(ConnectError::Protocol(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

fn after_ok(bytes: &[u8]) -> Vec<u8> {
    [message::AUTHENTICATION_OK, bytes].concat()
}

#[tokio::test]
async fn a_length_that_is_negative_zero_or_giant_is_refused_before_it_is_read() {
    for length in [-1, i32::MIN, 0, 3, i32::MAX] {
        let bytes = [&[b'R'][..], &i32::to_be_bytes(length)].concat();
        assert!(matches!(fault(&bytes).await, ProtocolFault::Frame(_)), "{length}");
    }
    for (tag, length) in [(b'R', 1 << 20), (b'S', 70_000), (b'E', 30_005), (b'N', 30_005)] {
        let bytes = [&[tag][..], &i32::to_be_bytes(length)].concat();
        let expected = ProtocolFault::TooLong { tag, len: length as u32 - 4 };
        assert_eq!(fault(&bytes).await, expected);
        assert_eq!(fault(&after_ok(&bytes)).await, expected);
    }
}

#[tokio::test]
async fn endless_parameters_end_the_login() {
    let many: Vec<u8> = (0..300).flat_map(|n| parameter(&n.to_string(), "")).collect();
    assert_eq!(fault(&after_ok(&many)).await, ProtocolFault::TooManyParameters(256));
    let same = parameter("p", &"x".repeat(60_000)).repeat(6);
    assert!(matches!(fault(&after_ok(&same)).await, ProtocolFault::TooMuch(_)));
    let notices = frame(b'N', b"Mx\0\0").repeat(40_000);
    assert!(matches!(fault(&notices).await, ProtocolFault::TooMuch(_)));
}

#[tokio::test]
async fn a_login_that_is_cut_off_anywhere_is_a_lost_connection() {
    let whole = welcome();
    for length in 0..whole.len() {
        let fake = Fake::bind().await;
        let dialer = Dialer::new(config(TlsMode::Disable)).unwrap();
        let (target, login) = (fake.target(), login());
        let script = async {
            let mut stream = fake.accept_startup().await;
            send(&mut stream, &whole[..length]).await;
        };
        let (result, ()) = tokio::join!(dialer.connect(&target, &login), script);
        let error = result.unwrap_err();
        assert!(matches!(error, ConnectError::Lost(_)), "{length}: {error}");
        assert!(!error.is_definite());
    }
}

#[tokio::test]
async fn an_error_without_sqlstate_or_with_no_field_at_all_is_a_refusal() {
    for body in [&b"SFATAL\0Mgo away\0\0"[..], b"\0", b"M\xff\xfe\0\0"] {
        for bytes in [frame(b'E', body), after_ok(&frame(b'E', body))] {
            let error = login_against(&bytes).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            assert!(!error.is_definite());
            let told = error.client_error();
            assert_eq!(told.state, wire::SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION);
            assert!(!told.message.is_empty());
        }
    }
    for body in [&b""[..], b"S", b"Sx", b"Sx\0", b"Sx\0\0y"] {
        let malformed = ProtocolFault::Malformed { tag: b'E' };
        assert_eq!(fault(&frame(b'E', body)).await, malformed);
    }
}

#[tokio::test]
async fn malformed_bodies_are_refused() {
    for (tag, bodies) in [
        (b'S', &[&b""[..], b"a", b"a\0", b"a\0b", b"a\0b\0c"][..]),
        (b'K', &[&b""[..], b"\0\0\0\x01", b"\0\0\0\x01abc", &[0; 300]]),
        (b'Z', &[&b""[..], b"II", b"?"]),
    ] {
        for body in bodies {
            let expected = ProtocolFault::Malformed { tag };
            assert_eq!(fault(&after_ok(&frame(tag, body))).await, expected);
        }
    }
}

#[tokio::test]
async fn messages_that_have_no_place_in_a_login_are_refused() {
    for tag in [b'S', b'K', b'Z', b'D', b'T', b'C', b'd', b'A', b'V', b'W', b'?', 0] {
        let early = frame(tag, b"I");
        assert_eq!(fault(&early).await, ProtocolFault::Unexpected { tag });
    }
    for tag in [b'R', b'D', b'T', b'C', b'd', b'A', b'V', b'W', b'v', b'?', 0] {
        let late = after_ok(&frame(tag, b"\0\0\0\0"));
        assert_eq!(fault(&late).await, ProtocolFault::Unexpected { tag });
    }
}

#[tokio::test]
async fn a_fresh_session_that_is_not_idle_is_refused() {
    for status in [TransactionStatus::Open, TransactionStatus::Failed] {
        let bytes = after_ok(&frame(b'Z', &[status.byte()]));
        assert_eq!(fault(&bytes).await, ProtocolFault::NotIdle(status));
    }
}

#[tokio::test]
async fn what_follows_the_first_ready_for_query_is_read_or_refused() {
    let asynchronous = [parameter("TimeZone", "UTC"), frame(b'N', b"Mhello\0\0")].concat();
    let ready = login_against(&[welcome(), asynchronous].concat()).await.unwrap();
    assert_eq!(ready.parameters.get("TimeZone"), Some("UTC"));
    let stray = [welcome(), frame(b'D', &[0, 0])].concat();
    assert_eq!(fault(&stray).await, ProtocolFault::Unexpected { tag: b'D' });
    let dying = [welcome(), error("57P01", "terminating connection")].concat();
    assert_eq!(login_against(&dying).await.unwrap_err().kind(), Kind::Refused);
}

#[tokio::test]
async fn notices_and_one_version_negotiation_during_login_are_read_over() {
    let notice = frame(b'N', b"SWARNING\0C01000\0Mhi\0\0");
    let negotiation = frame(b'v', &[0, 3, 0, 0, 0, 0, 0, 0]);
    let bytes = [&notice[..], &negotiation, &notice, &after_ok(&notice), &welcome()[9..]].concat();
    login_against(&bytes).await.unwrap();

    let twice = [&negotiation[..], &negotiation, &welcome()].concat();
    assert_eq!(fault(&twice).await, ProtocolFault::Unexpected { tag: b'v' });
    let other = frame(b'v', &[0, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(fault(&other).await, ProtocolFault::Unexpected { tag: b'v' });
}

#[tokio::test]
async fn a_server_without_key_data_logs_in_and_cannot_be_cancelled() {
    let ready = login_against(&after_ok(&frame(b'Z', b"I"))).await.unwrap();
    assert!(ready.key.is_none() && ready.cancel_target().is_none());
    assert_eq!(ready.version_num(), None);
}

#[tokio::test]
async fn a_silent_server_is_given_up_at_every_step() {
    let scram = authentication(10, b"SCRAM-SHA-256\0\0");
    for prefix in [&b""[..], b"R", &scram, message::AUTHENTICATION_OK] {
        let fake = Fake::bind().await;
        let mut config = config(TlsMode::Disable);
        config.login_timeout = Duration::from_millis(50);
        let dialer = Dialer::new(config).unwrap();
        let (target, login) = (fake.target(), login());
        let script = async {
            let mut stream = fake.accept_startup().await;
            send(&mut stream, prefix).await;
            closed(&mut stream).await;
        };
        let (result, ()) = tokio::join!(dialer.connect(&target, &login), script);
        assert!(matches!(result, Err(ConnectError::Timeout(Stage::LoggingIn))));
    }
}

#[tokio::test]
async fn refusals_are_told_apart_by_what_waiting_can_change() {
    for (code, definite) in [
        ("28P01", true),
        ("28000", true),
        ("3D000", true),
        ("42704", true),
        ("22023", true),
        ("42501", true),
        ("57P03", false),
        ("53300", false),
        ("57P01", false),
        ("55000", false),
        ("XX000", false),
        ("", false),
    ] {
        let refused = login_against(&error(code, "text")).await.unwrap_err();
        assert_eq!(refused.is_definite(), definite, "{code}");
        assert_eq!(refused.client_error().message, "text");
    }
}

#[tokio::test]
async fn a_startup_packet_that_no_server_takes_is_not_sent() {
    let fake = Fake::bind().await;
    let dialer = Dialer::new(config(TlsMode::Disable)).unwrap();
    let mut login = login();
    login.startup = login.startup.parameter("search_path", "x".repeat(10_000)).unwrap();
    let error = dialer.connect(&fake.target(), &login).await.unwrap_err();
    assert!(matches!(error, ConnectError::StartupTooLong(_)) && error.is_definite());
}
