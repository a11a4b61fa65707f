//! SCRAM logins and the greeting, with a scripted client.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;

use std::time::Duration;

use peer::*;
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use transport::Acceptor;
use wire::message;

async fn run<F>(client: impl FnOnce(Peer<DuplexStream>) -> F) -> Outcome<DuplexStream>
where
    F: Future<Output = ()>,
{
    let (near, far) = duplex(64 * 1024);
    let acceptor = Acceptor::disabled();
    let (outcome, ()) = tokio::join!(serve(far, &acceptor), client(Peer(near)));
    outcome
}

#[tokio::test]
async fn a_plain_password_and_a_verifier_with_any_salt_both_log_in() {
    for (user, password) in [("alice", "secret"), ("bob", "bobs")] {
        let outcome = run(async |mut client: Peer<_>| {
            let parameters = [("user", user), ("database", "d"), ("options", "-c a-b=c")];
            client.send(&startup(&parameters)).await;
            client.log_in(password).await;
        });
        let Outcome::Session(session) = outcome.await else { panic!() };
        assert_eq!((session.startup.user.as_str(), session.startup.database.as_str()), (user, "d"));
        assert_eq!(session.startup.parameter("a_b"), Some("c"));
        assert!(!session.stream.is_tls());
        assert_eq!(session.unread.capacity(), 0);
    }
}

#[tokio::test]
async fn a_login_split_into_single_bytes_works() {
    let outcome = run(async |client: Peer<_>| {
        // One byte of room: neither side ever sees two at once.
        let (near, far) = duplex(1);
        let mut inner = client.0;
        let mut far = far;
        let mut client = Peer(near);
        let relay = tokio::io::copy_bidirectional_with_sizes(&mut inner, &mut far, 1, 1);
        tokio::select! {
            _ = relay => panic!("the relay ended first"),
            () = async {
                client.send(&startup(&[("user", "alice")])).await;
                client.log_in("secret").await;
            } => {}
        }
    });
    assert_eq!(outcome.await.kind(), "(session)");
}

#[tokio::test]
async fn a_query_sent_behind_the_proof_is_not_lost() {
    let outcome = run(async |mut client: Peer<_>| {
        client.send(&startup(&[("user", "alice")])).await;
        let (last, mut bytes) = client.scram_proof("secret").await;
        message::put_query(&mut bytes, "SELECT 1");
        client.send(&bytes).await;
        client.welcomed(last).await;
    });
    let Outcome::Session(session) = outcome.await else { panic!() };
    assert_eq!(session.unread, b"Q\0\0\0\x0dSELECT 1\0");
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_cannot_be_told_apart() {
    let mut transcripts = Vec::new();
    for (user, kind) in [("alice", "wrong_password"), ("carol", "unknown_user")] {
        let mut lengths = Vec::new();
        let outcome = run(async |mut client: Peer<_>| {
            client.send(&startup(&[("user", user)])).await;
            let first = client.scram_first("wrong").await;
            let server_first = client.authentication(11).await;
            lengths.push(server_first.len());
            let last = first.receive(&server_first).unwrap();
            client.send(&sasl_response(last.message().as_bytes())).await;
            let message = client.fatal("28P01").await;
            assert_eq!(message, format!("password authentication failed for user \"{user}\""));
            lengths.push(message.len());
        });
        assert_eq!(outcome.await.kind(), kind);
        transcripts.push(lengths);
    }
    assert_eq!(transcripts[0], transcripts[1]);
}

#[tokio::test]
async fn a_missing_database_is_told_only_after_the_password_is_proven() {
    let parameters = [("user", "alice"), ("database", "nowhere")];
    let outcome = run(async |mut client: Peer<_>| {
        client.send(&startup(&parameters)).await;
        let (last, proof) = client.scram_proof("secret").await;
        client.send(&proof).await;
        last.receive(&client.authentication(12).await).unwrap();
        client.authentication(0).await;
        assert_eq!(client.fatal("3D000").await, "database \"nowhere\" does not exist");
    });
    assert_eq!(outcome.await.kind(), "(no database)");

    let outcome = run(async |mut client: Peer<_>| {
        client.send(&startup(&parameters)).await;
        let (_, proof) = client.scram_proof("wrong").await;
        client.send(&proof).await;
        client.fatal("28P01").await;
    });
    assert_eq!(outcome.await.kind(), "wrong_password");
}

#[tokio::test]
async fn a_mechanism_without_an_initial_response_is_asked_for_it() {
    let outcome = run(async |mut client: Peer<_>| {
        client.send(&startup(&[("user", "alice")])).await;
        client.authentication(10).await;
        client.send(&initial_response("SCRAM-SHA-256", None)).await;
        assert_eq!(client.authentication(11).await, b"");
        client.send(&sasl_response(b"y,,n=,r=abc")).await;
        assert!(client.authentication(11).await.starts_with(b"r=abc"));
    });
    assert_eq!(outcome.await.kind(), "closed");
}

#[tokio::test]
async fn a_password_message_over_its_cap_or_of_an_impossible_length_is_refused_unread() {
    for length in [0_i32, 3, 1024 + 5, 65_536, i32::MAX, -1, i32::MIN] {
        let outcome = run(async |mut client: Peer<_>| {
            client.send(&startup(&[("user", "alice")])).await;
            client.authentication(10).await;
            client.send(&[b"p", &length.to_be_bytes()[..]].concat()).await;
            assert_eq!(client.fatal("08P01").await, "invalid message length");
        });
        assert_eq!(outcome.await.kind(), "message_length", "{length}");
    }
    let outcome = run(async |mut client: Peer<_>| {
        client.send(&startup(&[("user", "alice")])).await;
        client.authentication(10).await;
        let longest = "x".repeat(1024 - "SCRAM-SHA-256\0".len() - 4 - "n,,n=,r=".len());
        let first = format!("n,,n=,r={longest}");
        client.send(&initial_response("SCRAM-SHA-256", Some(first.as_bytes()))).await;
        assert!(client.authentication(11).await.starts_with(b"r=xxx"));
    });
    assert_eq!(outcome.await.kind(), "closed");
}

#[tokio::test]
async fn what_is_not_an_answer_to_the_sasl_request_ends_the_login() {
    let message = |tag: u8, body: &[u8]| {
        let mut out = Vec::new();
        message::put(&mut out, tag, |out| out.extend(body));
        out
    };
    let cases = [
        (message(b'Q', b"SELECT 1\0"), "08P01", "message_type"),
        (initial_response("SCRAM-SHA-256-PLUS", Some(b"p=x,,n=,r=a")), "08P01", "sasl_mechanism"),
        (initial_response("md5", None), "08P01", "sasl_mechanism"),
        (message(b'p', b"secret\0"), "08P01", "sasl_mechanism"),
        (message(b'p', b"SCRAM-SHA-256\0\0\0\0\xffn,,"), "08P01", "sasl_malformed"),
        (message(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xfen,,"), "08P01", "sasl_malformed"),
        (message(b'p', b"SCRAM-SHA-256\0\0\0\0\x01nmore"), "08P01", "sasl_malformed"),
        (message(b'p', b""), "08P01", "sasl_malformed"),
        (
            initial_response("SCRAM-SHA-256", Some(b"p=tls-server-end-point,,n=,r=a")),
            "08P01",
            "sasl_channel_binding",
        ),
        (initial_response("SCRAM-SHA-256", Some(b"n,a=x,n=,r=a")), "0A000", "sasl_unsupported"),
    ];
    for (answer, code, kind) in cases {
        let outcome = run(async |mut client: Peer<_>| {
            client.send(&startup(&[("user", "alice")])).await;
            client.authentication(10).await;
            client.send(&answer).await;
            client.fatal(code).await;
        });
        assert_eq!(outcome.await.kind(), kind);
    }
}

#[tokio::test]
async fn a_client_that_leaves_at_the_password_prompt_is_no_error() {
    for farewell in [&b""[..], message::TERMINATE] {
        let outcome = run(async |mut client: Peer<_>| {
            client.send(&startup(&[("user", "alice")])).await;
            client.authentication(10).await;
            client.send(farewell).await;
        });
        assert_eq!(outcome.await.kind(), "closed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_stalls_is_closed_at_the_deadline() {
    let begun = Instant::now();
    let outcome = run(async |mut client: Peer<_>| {
        client.send(&startup(&[("user", "alice")])).await;
        tokio::time::sleep(LOGIN_TIMEOUT / 2).await;
        client.scram_first("secret").await;
        client.authentication(11).await;
        client.end().await;
    });
    assert_eq!(outcome.await.kind(), "timeout");
    assert_eq!(begun.elapsed().as_secs(), LOGIN_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_greeting_is_closed_at_the_deadline() {
    let (near, far) = duplex(600);
    let mut client = Peer(near);
    let acceptor = Acceptor::disabled();
    let talk = async {
        client.send(&startup(&[("user", "alice")])).await;
        let (_, proof) = client.scram_proof("secret").await;
        client.send(&proof).await;
    };
    let stall = async {
        let deadline = Instant::now() + LOGIN_TIMEOUT;
        let request = match frontend::handshake(far, PEER, &acceptor, deadline).await {
            Ok(frontend::Handshake::Client(request)) => request,
            other => panic!("{other:?}"),
        };
        let challenge = users().challenge(&request.startup().user);
        let client = request.authenticate(challenge).await.unwrap();
        let long = "x".repeat(1000);
        client.greet([("a", long.as_str())], &key()).await.unwrap_err()
    };
    let (refused, ()) = tokio::join!(stall, talk);
    assert_eq!(refused.kind(), "timeout");
}

#[tokio::test]
async fn neither_errors_nor_debug_texts_show_what_a_client_sent() {
    let outcome = run(async |mut client: Peer<_>| {
        let parameters = [("user", "alice"), ("options", "-c my.key=hunter2")];
        client.send(&startup(&parameters)).await;
        client.log_in("secret").await;
    });
    let shown = format!("{:?}", outcome.await);
    assert!(shown.contains("alice") && !shown.contains("hunter2") && !shown.contains("secret"));
    let outcome = run(async |mut client: Peer<_>| {
        client.send(&startup(&[("user", "alice")])).await;
        client.authentication(10).await;
        let bytes = initial_response("SCRAM-SHA-256", Some(b"n,,n=,r=hunter2,hunter2"));
        client.send(&bytes).await;
        client.fatal("08P01").await;
    });
    let malformed = outcome.await;
    let outcome = run(async |mut client: Peer<_>| {
        client.send(&startup(&[("user", "alice"), ("options", "-c hunter2")])).await;
        assert_eq!(client.fatal("42601").await, "-c hunter2 requires a value");
    });
    for outcome in [malformed, outcome.await] {
        let Outcome::Refused(refused) = outcome else { panic!() };
        assert!(!format!("{refused:?} {refused}").contains("hunter2"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_in_place_of_sasl_messages_end_in_a_refusal(
        first in prop::collection::vec(any::<u8>(), 0..100),
        last in prop::collection::vec(any::<u8>(), 0..100),
        tagged: bool,
        ends: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let begun_and_outcome = runtime.block_on(async {
            let begun = Instant::now();
            let outcome = run(async |mut client: Peer<_>| {
                client.send(&startup(&[("user", "alice")])).await;
                if tagged {
                    client.scram_first("secret").await;
                    client.authentication(11).await;
                    client.send(&sasl_response(&first)).await;
                } else {
                    client.send(&first).await;
                }
                let _ = client.0.write_all(&last).await;
                if !ends {
                    tokio::time::sleep(LOGIN_TIMEOUT * 2).await;
                }
            }).await;
            (begun.elapsed(), outcome)
        });
        prop_assert!(matches!(begun_and_outcome.1, Outcome::Refused(_)));
        prop_assert!(begun_and_outcome.0 <= LOGIN_TIMEOUT * 2 + Duration::from_secs(3));
    }
}
