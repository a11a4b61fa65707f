//! The first packets of a connection, legal and otherwise, up to the SASL request.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;

use peer::*;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use transport::{Acceptor, TlsMode};
use wire::{PeerHello, Version, put_peer_hello};

/// Runs a client against the server side; gives what the connection came to.
async fn run<F>(acceptor: &Acceptor, client: impl FnOnce(Peer<DuplexStream>) -> F) -> &'static str
where
    F: Future<Output = ()>,
{
    let (near, far) = duplex(64 * 1024);
    let (outcome, ()) = tokio::join!(serve(far, acceptor), client(Peer(near)));
    outcome.kind()
}

async fn run_plain<F>(client: impl FnOnce(Peer<DuplexStream>) -> F) -> &'static str
where
    F: Future<Output = ()>,
{
    run(&Acceptor::disabled(), client).await
}

#[tokio::test]
async fn encryption_requests_are_answered_n_once_each_in_any_order() {
    for requests in [[ssl_request(), gssenc_request()], [gssenc_request(), ssl_request()]] {
        let kind = run_plain(async |mut client: Peer<_>| {
            for request in &requests {
                client.send(request).await;
                assert_eq!(client.byte().await, b'N');
            }
            client.send(&startup(&[("user", "alice")])).await;
            client.log_in("secret").await;
        });
        assert_eq!(kind.await, "(session)");
    }
}

#[tokio::test]
async fn a_second_request_of_a_kind_is_an_unknown_version() {
    for (request, version) in [(ssl_request(), "1234.5679"), (gssenc_request(), "1234.5680")] {
        let kind = run_plain(async |mut client: Peer<_>| {
            client.send(&request).await;
            assert_eq!(client.byte().await, b'N');
            client.send(&request).await;
            assert_eq!(
                client.fatal("0A000").await,
                format!("unsupported frontend protocol {version}: server supports 3.0 to 3.2")
            );
        });
        assert_eq!(kind.await, "version");
    }
}

#[tokio::test]
async fn bytes_sent_ahead_of_the_encryption_answer_close_the_connection() {
    let acceptor = acceptor(TlsMode::Prefer);
    for acceptor in [acceptor, Acceptor::disabled()] {
        for (request, name) in [(ssl_request(), "SSL"), (gssenc_request(), "GSSAPI encryption")] {
            let kind = run(&acceptor, async |mut client: Peer<_>| {
                let injected = startup(&[("user", "alice")]);
                client.send(&[&request[..], &injected].concat()).await;
                assert_eq!(
                    client.fatal("08P01").await,
                    format!("received unencrypted data after {name} request")
                );
            });
            assert_eq!(kind.await, "unencrypted");
        }
    }
}

#[tokio::test]
async fn plain_bytes_after_the_tls_answer_are_never_taken_for_a_startup() {
    let acceptor = acceptor(TlsMode::Prefer);
    let kind = run(&acceptor, async |mut client: Peer<_>| {
        client.send(&ssl_request()).await;
        assert_eq!(client.byte().await, b'S');
        client.send(&startup(&[("user", "alice")])).await;
        let mut rest = Vec::new();
        client.0.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.first(), Some(&21), "a TLS alert and nothing of Postgres'");
    });
    assert_eq!(kind.await, "tls");
}

#[tokio::test]
async fn a_cancel_request_of_either_protocol_gets_no_answer() {
    for secret in [vec![1; 4], vec![2; 32], vec![3; 256]] {
        let (near, far) = duplex(1024);
        let mut client = Peer(near);
        client.send(&cancel_request(&secret)).await;
        let Outcome::Cancel(key) = serve(far, &Acceptor::disabled()).await else { panic!() };
        assert_eq!((key.pid, key.secret.expose()), (4711, &secret[..]));
        client.end().await;
    }
    for secret in [vec![], vec![1; 3], vec![1; 257]] {
        let kind = run_plain(async |mut client: Peer<_>| {
            client.send(&cancel_request(&secret)).await;
            client.end().await;
        });
        assert_eq!(kind.await, "startup_length");
    }
}

#[tokio::test]
async fn a_peer_is_heard_without_tls_where_tls_is_required() {
    let acceptor = acceptor(TlsMode::Require);
    let mut hello = Vec::new();
    put_peer_hello(&mut hello, &PeerHello { nonce: [5; 16] });
    let (near, far) = duplex(1024);
    Peer(near).send(&hello).await;
    let Outcome::Peer(call) = serve(far, &acceptor).await else { panic!() };
    assert_eq!((call.hello.nonce, call.stream.is_tls()), ([5; 16], false));

    // One that is broken, or that does not wait for its answer, is told nothing.
    let (cut, more) = (packet(&hello[4..24]), [&hello[..], b"x"].concat());
    for packet in [cut, more] {
        let kind = run(&acceptor, async |mut client: Peer<_>| {
            client.send(&packet).await;
            client.end().await;
        });
        assert_eq!(kind.await, "startup_length");
    }
}

#[tokio::test]
async fn a_startup_packet_of_an_impossible_length_is_closed_at_once() {
    for length in [0_i32, 1, 4, 7, 10_005, i32::MAX, -1, i32::MIN] {
        let kind = run_plain(async |mut client: Peer<_>| {
            client.send(&length.to_be_bytes()).await;
            client.end().await;
        });
        assert_eq!(kind.await, "startup_length", "{length}");
    }
}

#[tokio::test]
async fn a_startup_packet_may_have_ten_thousand_bytes_as_in_postgres() {
    let shorter = startup(&[("user", "alice"), ("application_name", "")]).len();
    let name = "x".repeat(10_004 - shorter);
    let kind = run_plain(async |mut client: Peer<_>| {
        let packet = startup(&[("user", "alice"), ("application_name", &name)]);
        assert_eq!(packet.len(), 10_004);
        client.send(&packet).await;
        client.log_in("secret").await;
    });
    assert_eq!(kind.await, "(session)");
}

#[tokio::test]
async fn a_startup_packet_without_its_terminator_is_refused() {
    let v3 = 196_608_u32.to_be_bytes();
    let bodies: [&[u8]; 6] =
        [b"", b"userabcd", b"user\0bob\0", b"user\0", b"\0more", b"user\0\xff\xfe\0\0"];
    for body in bodies {
        let kind = run_plain(async |mut client: Peer<_>| {
            client.send(&packet(&[&v3, body].concat())).await;
            assert_eq!(
                client.fatal("08P01").await,
                "invalid startup packet layout: expected terminator as last byte"
            );
        });
        assert_eq!(kind.await, "startup_layout");
    }
}

#[tokio::test]
async fn what_a_startup_message_is_refused_for() {
    let old = Version { major: 2, minor: 0 };
    let replication: &[_] = &[("user", "alice"), ("replication", "true")];
    let options: &[_] = &[("user", "alice"), ("options", "-c geqo")];
    let cases: [(Vec<u8>, &str, &str, &str); 4] = [
        (
            startup(&[("database", "x")]),
            "no_user",
            "28000",
            "no PostgreSQL user name specified in startup packet",
        ),
        (
            startup(replication),
            "replication",
            "0A000",
            "replication connections are not supported through pgmesh",
        ),
        (startup(options), "startup_options", "42601", "-c geqo requires a value"),
        (
            startup_as(old, &[]),
            "version",
            "0A000",
            "unsupported frontend protocol 2.0: server supports 3.0 to 3.2",
        ),
    ];
    for (packet, kind, code, message) in cases {
        let outcome = run_plain(async |mut client: Peer<_>| {
            client.send(&packet).await;
            assert_eq!(client.fatal(code).await, message);
        });
        assert_eq!(outcome.await, kind);
    }
}

#[tokio::test]
async fn a_plain_connection_is_refused_where_tls_is_required() {
    let acceptor = acceptor(TlsMode::Require);
    let kind = run(&acceptor, async |mut client: Peer<_>| {
        client.send(&startup(&[("user", "alice"), ("database", "d")])).await;
        assert_eq!(
            client.fatal("28000").await,
            "no pg_hba.conf entry for host \"127.0.0.1\", user \"alice\", database \"d\", \
             no encryption"
        );
    });
    assert_eq!(kind.await, "tls_required");
}

#[tokio::test]
async fn newer_clients_are_answered_with_one_version_negotiation_and_go_on() {
    let version = Version { major: 3, minor: 9999 };
    let kind = run_plain(async |mut client: Peer<_>| {
        client.send(&startup_as(version, &[("user", "alice"), ("_pq_.new", "1")])).await;
        let negotiation = b"\0\x03\0\x02\0\0\0\x01_pq_.new\0";
        assert_eq!(client.message().await, (b'v', negotiation.to_vec()));
        // The next is the SASL request, and there is no second negotiation up to the end.
        client.log_in("secret").await;
    });
    assert_eq!(kind.await, "(session)");
}

#[tokio::test]
async fn a_version_negotiation_precedes_the_refusal() {
    let version = Version { major: 3, minor: 1 };
    let kind = run_plain(async |mut client: Peer<_>| {
        client.send(&startup_as(version, &[])).await;
        assert_eq!(client.message().await, (b'v', b"\0\x03\0\0\0\0\0\0".to_vec()));
        client.fatal("28000").await;
    });
    assert_eq!(kind.await, "no_user");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_no_error_and_half_a_packet_is() {
    assert_eq!(run_plain(async |client: Peer<_>| drop(client)).await, "closed");
    let packet = startup(&[("user", "alice")]);
    for cut in 1..packet.len() {
        let kind = run_plain(async |mut client: Peer<_>| client.send(&packet[..cut]).await);
        assert_eq!(kind.await, "truncated", "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_slowly_is_closed_at_the_deadline() {
    let packet = startup(&[("user", "alice"), ("application_name", &"x".repeat(100))]);
    let begun = Instant::now();
    let kind = run_plain(async |mut client: Peer<_>| {
        for byte in packet {
            tokio::time::sleep(LOGIN_TIMEOUT / 50).await;
            if client.0.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        client.end().await;
    });
    assert_eq!(kind.await, "timeout");
    assert!((LOGIN_TIMEOUT..LOGIN_TIMEOUT * 2).contains(&begun.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_neither_reads_nor_leaves_is_dropped() {
    // Room for a few bytes only, so that even the error cannot be written.
    let (near, far) = duplex(4);
    let begun = Instant::now();
    let mut client = Peer(near);
    let packet = startup(&[]);
    let acceptor = Acceptor::disabled();
    let (outcome, ()) = tokio::join!(serve(far, &acceptor), client.send(&packet));
    assert_eq!(outcome.kind(), "no_user");
    assert!(begun.elapsed() <= std::time::Duration::from_secs(3));
}

/// Bytes that are often nearly a packet.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let code = prop::sample::select(vec![
        196_608_u32,
        196_610,
        196_609,
        203_615,
        1234 << 16 | 5678,
        1234 << 16 | 5679,
        1234 << 16 | 5680,
        u32::from_be_bytes(*b"pgme"),
    ]);
    let text = "(user|database|options|replication|_pq_[.]x|a)\0[ -~]{0,20}\0";
    let packets = (code, prop::collection::vec(text, 0..5), bytes(), any::<bool>());
    let nearly = packets.prop_map(|(code, texts, bytes, whole)| {
        let mut body = code.to_be_bytes().to_vec();
        body.extend(texts.concat().into_bytes());
        body.push(0);
        if !whole {
            body.extend(&bytes);
        }
        packet(&body)
    });
    prop_oneof![bytes(), prop::collection::vec(nearly, 1..4).prop_map(|packets| packets.concat())]
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_refusal_with_or_without_an_end_of_file(
        bytes in garbage(),
        ends: bool,
        chunk in 1..400usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (near, far) = duplex(64 * 1024);
            let mut client = Peer(near);
            let acceptor = Acceptor::disabled();
            let send = async {
                for part in bytes.chunks(chunk) {
                    if client.0.write_all(part).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                if ends {
                    client.0.shutdown().await.unwrap();
                }
            };
            let begun = Instant::now();
            let (outcome, ()) = tokio::join!(serve(far, &acceptor), send);
            assert!(
                matches!(outcome, Outcome::Refused(_) | Outcome::Cancel(_) | Outcome::Peer(_)),
                "{outcome:?}"
            );
            assert!(begun.elapsed() <= LOGIN_TIMEOUT * 2);
        });
    }
}
