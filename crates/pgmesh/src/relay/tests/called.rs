//! Clients that are called to the end of their session.

use super::*;
use crate::clients::Call;

/// The client's last word, and that nothing follows.
async fn is_sent_away(mut scene: Scene) -> (End, Vec<How>) {
    let (tag, body) = read_message(&mut scene.client).await;
    assert_eq!((tag, code(&body)), (b'E', "57P01"));
    assert_eq!(scene.client.read(&mut [0]).await.unwrap(), 0);
    scene.end().await
}

#[tokio::test]
async fn who_has_nothing_under_way_leaves_at_once() {
    for is_called_first in [true, false] {
        let scene = Scene::start(4096, Mode::Transaction);
        if !is_called_first {
            tokio::task::yield_now().await;
        }
        scene.slot.call(Call::Leave);
        let (end, ends) = is_sent_away(scene).await;
        assert!(matches!(end, End::Departed), "{end:?}");
        assert_eq!(ends, []);
    }
}

#[tokio::test]
async fn no_other_transaction_begins() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.slot.call(Call::Leave);
    scene.client_sends(&query("SELECT 1")).await;
    let (end, ends) = is_sent_away(scene).await;
    assert!(matches!(end, End::Departed), "{end:?}");
    assert_eq!(ends, []);
}

#[tokio::test]
async fn a_transaction_is_finished_first() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    for (text, status) in [
        ("BEGIN", TransactionStatus::Open),
        ("INSERT", TransactionStatus::Open),
        ("COMMIT", TransactionStatus::Idle),
    ] {
        let (ask, answer) = (query(text), done(text, status));
        scene.client_sends(&ask).await;
        scene.server_gets(&ask).await;
        scene.slot.call(Call::Leave);
        scene.server_sends(&answer).await;
        scene.client_gets(&answer).await;
    }
    let (end, ends) = is_sent_away(scene).await;
    assert!(matches!(end, End::Departed), "{end:?}");
    assert_eq!(ends, [How::Released(Disposition::Clean)]);
}

#[tokio::test]
async fn who_is_to_end_at_once_does_not_finish() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    let begin = query("BEGIN");
    scene.client_sends(&begin).await;
    scene.server_gets(&begin).await;
    let begun = done("BEGIN", TransactionStatus::Open);
    scene.server_sends(&begun).await;
    scene.client_gets(&begun).await;
    scene.slot.call(Call::End);
    let (end, ends) = is_sent_away(scene).await;
    assert!(matches!(end, End::Terminated), "{end:?}");
    assert_eq!(ends, [How::Released(Disposition::NeedsReset)]);
}

#[tokio::test]
async fn who_waits_for_a_server_is_answered_before_it_leaves() {
    let scene = Scene::waiting(4096, &query("SELECT 1")).await;
    scene.slot.call(Call::Leave);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!scene.relay.is_finished());
    scene.slot.call(Call::End);
    let (end, ends) = is_sent_away(scene).await;
    assert!(matches!(end, End::Terminated), "{end:?}");
    assert_eq!(ends, []);
}

#[tokio::test]
async fn who_keeps_its_server_leaves_between_two_transactions() {
    let mut scene = Scene::start(4096, Mode::Session);
    let (ask, answer) = (query("SELECT 1"), done("SELECT 1", TransactionStatus::Idle));
    scene.client_sends(&ask).await;
    scene.server_gets(&ask).await;
    scene.slot.call(Call::Leave);
    scene.server_sends(&answer).await;
    scene.client_gets(&answer).await;
    let (end, ends) = is_sent_away(scene).await;
    assert!(matches!(end, End::Departed), "{end:?}");
    assert_eq!(ends, [How::Released(Disposition::Clean)]);
}
