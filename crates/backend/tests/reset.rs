//! Our own statements between two clients: what counts as done, and what makes a session unfit.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::time::Duration;

use backend::{ProtocolFault, QueryError, run, terminate};
use fake::{error, frame, parameter, read_message, send};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use transport::MaybeTls;
use wire::message::TransactionStatus;

const LIMIT: Duration = Duration::from_secs(5);

fn done(tag: &str) -> Vec<u8> {
    [frame(b'C', format!("{tag}\0").as_bytes()), frame(b'Z', b"I")].concat()
}

/// Runs a reset against one answer; returns the outcome, the parameters and the stream.
async fn reset(
    answer: &[u8],
) -> (Result<(), QueryError>, Vec<(String, String)>, MaybeTls<DuplexStream>) {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut stream = MaybeTls::Plain(ours);
    let mut parameters = Vec::new();
    let server = async {
        let (tag, body) = read_message(&mut theirs).await;
        assert_eq!((tag, &body[..]), (b'Q', &b"DISCARD ALL\0"[..]));
        send(&mut theirs, answer).await;
        theirs
    };
    let on_parameter =
        |name: &str, value: &str| parameters.push((name.to_owned(), value.to_owned()));
    let (result, _theirs) =
        tokio::join!(run(&mut stream, "DISCARD ALL", LIMIT, on_parameter), server);
    (result, parameters, stream)
}

#[tokio::test]
async fn asynchronous_messages_do_not_disturb_and_changed_parameters_are_told() {
    let answer = [
        frame(b'A', b"\0\0\0\x01channel\0payload\0"),
        parameter("TimeZone", "UTC"),
        frame(b'N', b"Mhi\0\0"),
        done("DISCARD ALL"),
        parameter("DateStyle", "ISO, MDY"),
        frame(b'A', b"\0\0\0\x01channel\0payload\0"),
    ]
    .concat();
    let (result, parameters, _) = reset(&answer).await;
    result.unwrap();
    let told: Vec<_> = parameters.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(told, [("TimeZone", "UTC"), ("DateStyle", "ISO, MDY")]);
}

#[tokio::test]
async fn a_leftover_answer_is_not_taken_for_this_ones() {
    let (result, ..) = reset(&[frame(b'Z', b"I"), done("DISCARD ALL")].concat()).await;
    let fault = ProtocolFault::Unexpected { tag: b'Z' };
    assert!(matches!(result, Err(QueryError::Protocol(f)) if f == fault));
    let (result, ..) = reset(&[done("SELECT 1"), done("DISCARD ALL")].concat()).await;
    let fault = ProtocolFault::Unexpected { tag: b'C' };
    assert!(matches!(result, Err(QueryError::Protocol(f)) if f == fault));
}

#[tokio::test]
async fn anything_but_success_makes_the_session_unfit() {
    for status in [TransactionStatus::Open, TransactionStatus::Failed] {
        let answer = [frame(b'C', b"X\0"), frame(b'Z', &[status.byte()])].concat();
        let (result, ..) = reset(&answer).await;
        let fault = ProtocolFault::NotIdle(status);
        assert!(matches!(result, Err(QueryError::Protocol(f)) if f == fault));
    }
    for tag in [b'G', b'H', b'W', b'd', b'1', b'R', b'K', b'v', b'?'] {
        let (result, ..) = reset(&[frame(tag, &[0; 8]), done("X")].concat()).await;
        let fault = ProtocolFault::Unexpected { tag };
        assert!(matches!(result, Err(QueryError::Protocol(f)) if f == fault), "{tag}");
    }
    let (result, ..) = reset(&error("25001", "cannot run inside a transaction block")).await;
    assert!(matches!(result, Err(QueryError::Refused(refusal)) if refusal.sqlstate == "25001"));
    let (result, ..) = reset(&frame(b'N', &[b'M'; 100]).repeat(1000)).await;
    assert!(matches!(result, Err(QueryError::Protocol(_))));
    let endless = parameter("p", &"x".repeat(20_000)).repeat(5);
    let (result, ..) = reset(&endless).await;
    assert!(matches!(result, Err(QueryError::Protocol(ProtocolFault::TooMuch(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_takes_too_long_is_given_up() {
    let (ours, _theirs) = duplex(1024);
    let mut stream = MaybeTls::Plain(ours);
    let result = run(&mut stream, "DISCARD ALL", LIMIT, |_, _| ()).await;
    assert!(matches!(result, Err(QueryError::Timeout)));
    let (ours, _theirs) = duplex(1);
    let mut stream = MaybeTls::Plain(ours);
    let result = run(&mut stream, "DISCARD ALL", LIMIT, |_, _| ()).await;
    assert!(matches!(result, Err(QueryError::Timeout)), "a server that does not read");
    terminate(&mut stream, LIMIT).await;
}

#[tokio::test]
async fn terminate_says_goodbye() {
    let (ours, mut theirs) = duplex(1024);
    let mut stream = MaybeTls::Plain(ours);
    terminate(&mut stream, LIMIT).await;
    drop(stream);
    let mut bytes = Vec::new();
    theirs.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"X\0\0\0\x04");
}
