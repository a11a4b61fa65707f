//! Clients that mean no good: each gets an answer or an end, and none a panic.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::fake::{bench, error, message, tags};
use crate::facts::Right;

#[tokio::test]
async fn a_broken_frame_is_fatal() {
    for (bytes, state) in [
        (&b"Q\0\0\0\x03"[..], "08P01"),
        (b"Q\x80\0\0\0", "08P01"),
        (b"Q\x7f\xff\xff\xff", "08P01"),
        (b"Q\x20\0\0\0", "54000"),
        (b"y\0\0\0\x04", "08P01"),
        (b"p\0\0\0\x04", "08P01"),
        (b"\0\0\0\x08", "08P01"),
    ] {
        let bench = bench();
        let mut peer = bench.connect(Right::Admin);
        peer.send(bytes).await;
        let answer = peer.rest().await;
        assert_eq!((tags(&answer).as_str(), error(&answer).0.as_str()), ("E", state), "{bytes:?}");
    }
}

/// pgwire's decoders read past the ends of these.
#[tokio::test]
async fn a_short_body_of_any_type_is_fatal() {
    for tag in *b"BCDEPQ" {
        for body in [&b""[..], b"\0", b"S", b"x", b"\0\0", b"\0\0\0", b"\0\0\xff\xff"] {
            let is_whole = match tag {
                b'Q' => matches!(body, b"\0"),
                _ => false,
            };
            if is_whole {
                continue;
            }
            let bench = bench();
            let mut peer = bench.connect(Right::Admin);
            peer.send(&message(tag, body)).await;
            let answer = peer.rest().await;
            assert_eq!(error(&answer).0, "08P01", "{} {body:?}", char::from(tag));
        }
    }
}

#[tokio::test]
async fn function_calls_are_refused_and_copy_is_passed_over() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    peer.send(&[message(b'd', b"x"), message(b'c', b""), message(b'f', b"\0")].concat()).await;
    peer.send(&message(b'F', b"\0\0\0\x01\0\0\0\0\0\0")).await;
    let answer = peer.receive().await;
    assert_eq!((tags(&answer).as_str(), error(&answer).0.as_str()), ("EZ", "0A000"));
    assert_eq!(tags(&peer.query("SHOW VERSION").await), "TDCZ");
}

#[tokio::test]
async fn after_an_error_nothing_is_answered_before_sync() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    let batch = [
        message(b'B', b"\0nobody\0\0\0\0\0\0\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'Q', b"SHOW VERSION\0"),
        message(b'P', b"\0PAUSE app\0\0\0"),
        message(b'F', b""),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
        message(b'Q', b"SHOW VERSION\0"),
    ];
    peer.send(&batch.concat()).await;
    assert_eq!(tags(&peer.receive().await), "EZ");
    assert_eq!(tags(&peer.receive().await), "TDCZ");
    assert!(bench.fake.orders.lock().is_empty());
}

#[tokio::test]
async fn binds_that_do_not_fit_are_refused() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    peer.send(&message(b'P', b"s\0SHOW VERSION\0\0\0")).await;
    for (bind, state) in [
        // A parameter; two formats for one column; a format that there is not.
        (&b"\0s\0\0\0\0\x01\0\0\0\x01x\0\0"[..], "08P01"),
        (b"\0s\0\0\0\0\0\0\x02\0\0\0\0", "08P01"),
        (b"\0s\0\0\0\0\0\0\x01\0\x02", "22023"),
    ] {
        let rest = [message(b'B', bind), message(b'E', b"\0\x7f\xff\xff\xff"), message(b'S', b"")];
        peer.send(&rest.concat()).await;
        let answer = peer.receive().await;
        assert_eq!(error(&answer).0, state, "{bind:?}");
    }
    let good = [
        message(b'B', b"\0s\0\0\0\0\0\0\x01\0\x01"),
        message(b'E', b"\0\x7f\xff\xff\xff"),
        message(b'E', b"nobody\0\0\0\0\0"),
        message(b'S', b""),
    ];
    peer.send(&good.concat()).await;
    let answer = peer.receive().await;
    assert_eq!(tags(&answer), "2DCEZ");
    assert_eq!(error(&answer), ("34000".into(), "portal \"nobody\" does not exist".into()));
}

/// pgAdmin asks for the names of types behind each result.
#[tokio::test]
async fn what_is_the_same_whatever_it_asks_for_takes_parameters() {
    let bench = bench();
    let mut peer = bench.connect(Right::Stats);
    let text = "SELECT oid, pg_catalog.format_type(oid, NULL) AS typname FROM pg_catalog.pg_type \
        WHERE oid = ANY($1) ORDER BY oid;";
    let batch = [
        message(b'P', format!("\0{text}\0\0\0").as_bytes()),
        message(b'B', b"\0\0\0\0\0\x01\0\0\0\x04{25}\0\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ];
    peer.send(&batch.concat()).await;
    assert_eq!(tags(&peer.receive().await), "12DDDDDDDCZ");
}

#[tokio::test]
async fn names_are_limited() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    for index in 0..65 {
        let parse = message(b'P', format!("s{index}\0SHOW VERSION\0\0\0").as_bytes());
        peer.send(&[parse, message(b'S', b"")].concat()).await;
        let answer = peer.receive().await;
        match index {
            64 => assert_eq!(error(&answer).0, "53400"),
            _ => assert_eq!(tags(&answer), "1Z"),
        }
    }
    peer.query("BEGIN").await;
    for index in 0..17 {
        let bind = message(b'B', format!("p{index}\0s1\0\0\0\0\0\0\0").as_bytes());
        peer.send(&[bind, message(b'S', b"")].concat()).await;
        let answer = peer.receive().await;
        match index {
            16 => assert_eq!(error(&answer).0, "53400"),
            _ => assert_eq!(tags(&answer), "2Z"),
        }
    }
}

#[tokio::test]
async fn a_long_text_is_read_and_a_longer_one_is_not() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    let text = |len: usize| message(b'Q', format!("PAUSE {}\0", "x".repeat(len)).as_bytes());
    peer.send(&text(60_000)).await;
    assert_eq!(error(&peer.receive().await).0, "42601");
    let bytes = text(100_000);
    // The rest is not taken.
    peer.send(&bytes[..5]).await;
    assert_eq!(error(&peer.rest().await).0, "54000");
}

/// The clock moves by itself when nothing else can happen.
#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_an_answer_is_dropped() {
    let bench = bench();
    let mut peer = bench.connect(Right::Admin);
    // More than the stream holds.
    peer.send(&message(b'Q', format!("{}\0", "SHOW SOCKETS;".repeat(100)).as_bytes())).await;
    let began = tokio::time::Instant::now();
    (&mut peer.task).await.expect("no panic");
    assert!(began.elapsed() >= std::time::Duration::from_secs(60));
    assert!(bench.desk().clients.lock().is_empty());
}

/// Everything that is sent is answered or the connection is ended.
fn survive(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let bench = bench();
        let mut peer = bench.connect(Right::Admin);
        let (mut reader, mut writer) = tokio::io::split(peer.stream);
        let mut answer = Vec::new();
        let write = async {
            // It may be refused half way.
            let _ = writer.write_all(bytes).await;
            let _ = writer.shutdown().await;
        };
        let read = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer);
        let both = async { tokio::join!(write, read) };
        tokio::time::timeout(super::fake::PATIENCE, both).await.expect("an end").1.unwrap();
        (&mut peer.task).await.expect("no panic");
        super::fake::messages(&answer);
    });
}

/// Messages that fit each other.
const WHOLE: &[(u8, &[u8])] = &[
    (b'P', b"\0SHOW POOLS\0\0\0"),
    (b'P', b"a\0SELECT 1, version()\0\0\0"),
    (b'P', b"\0\0\0\0"),
    (b'B', b"\0\0\0\0\0\0\0\0"),
    (b'B', b"\0\0\0\0\0\0\0\x01\0\x01"),
    (b'B', b"p\0a\0\0\0\0\0\0\x02\0\x01\0\0"),
    (b'D', b"Sa\0"),
    (b'D', b"P\0"),
    (b'E', b"\0\0\0\0\0"),
    (b'E', b"\0\0\0\0\x01"),
    (b'E', b"p\0\0\0\0\x01"),
    (b'C', b"Sa\0"),
    (b'C', b"Pp\0"),
    (b'H', b""),
    (b'S', b""),
    (b'Q', b"BEGIN\0"),
    (b'Q', b"SHOW CLIENTS; x\0"),
    (b'Q', b"COMMIT; DEALLOCATE ALL; SHOW STATS\0"),
];

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let tags = prop::sample::select(&b"BCDEFHPQSdcf"[..]);
    let bytes = prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()];
    let broken = (tags, prop::collection::vec(bytes, 0..24));
    prop_oneof![
        9 => prop::sample::select(WHOLE).prop_map(|(tag, body)| message(tag, body)),
        1 => broken.prop_map(|(tag, body)| message(tag, &body)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_messages_are_survived(messages in prop::collection::vec(any_message(), 1..24)) {
        survive(&messages.concat());
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        survive(&bytes);
    }
}
