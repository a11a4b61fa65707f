//! Servers that are kept between two transactions as long as nobody needs them.

use std::time::Duration;

use super::*;

impl Scene {
    /// After a transaction that took a value of a sequence, on a server that can be spared.
    async fn with_values() -> Self {
        let mut scene = Self::start(4096, Mode::Transaction);
        scene.servers.0.lock().can_spare = true;
        scene.exchange("INSERT", &done("INSERT 0 1", TransactionStatus::Idle)).await;
        assert_eq!(scene.servers.0.lock().ends, []);
        scene
    }

    /// Until every task waits.
    async fn settle(&self) {
        // The clock moves on only then.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_keeps_a_server_has_it_in_the_next_transaction() {
    let mut scene = Scene::with_values().await;
    scene.exchange("SELECT lastval()", &done("SELECT 1", TransactionStatus::Idle)).await;
    assert_eq!(scene.servers.0.lock().ends, []);
    scene.client_sends(message::TERMINATE).await;
    assert_eq!(scene.end().await.1, [How::Released(Disposition::Clean)]);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_a_server_gives_it_to_another_who_wants_it() {
    let mut scene = Scene::with_values().await;
    scene.servers.want();
    scene.settle().await;
    assert_eq!(scene.servers.0.lock().ends, [How::Released(Disposition::Clean)]);
    scene.exchange("SELECT 1", &done("SELECT 1", TransactionStatus::Idle)).await;
}

#[tokio::test(start_paused = true)]
async fn who_has_asked_of_its_session_does_not_need_the_server_for_that() {
    let mut scene = Scene::with_values().await;
    scene.client_sends(&query("SHOW pgmesh.session")).await;
    while read_message(&mut scene.client).await.0 != b'Z' {}
    scene.servers.want();
    scene.settle().await;
    assert_eq!(scene.servers.0.lock().ends, [How::Released(Disposition::Clean)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_wanted_within_a_transaction_goes_at_its_end() {
    let mut scene = Scene::with_values().await;
    scene.exchange("BEGIN", &done("BEGIN", TransactionStatus::Open)).await;
    scene.servers.want();
    scene.settle().await;
    assert_eq!(scene.servers.0.lock().ends, []);
    scene.exchange("COMMIT", &done("COMMIT", TransactionStatus::Idle)).await;
    assert_eq!(scene.servers.0.lock().ends, [How::Released(Disposition::Clean)]);
}

#[tokio::test(start_paused = true)]
async fn a_kept_server_whose_node_serves_no_more_is_left() {
    let mut scene = Scene::with_values().await;
    let spare = scene.spare();
    scene.servers.retire();
    let _old = std::mem::replace(&mut scene.server, spare);
    scene.exchange("SELECT 1", &done("SELECT 1", TransactionStatus::Idle)).await;
    // The other one's too.
    let released = || How::Released(Disposition::Clean);
    assert_eq!(scene.servers.0.lock().ends, [released(), released()]);
}

#[tokio::test(start_paused = true)]
async fn nobody_misses_a_kept_server() {
    let mut scene = Scene::with_values().await;
    let spare = scene.spare();
    drop(std::mem::replace(&mut scene.server, spare));
    scene.settle().await;
    assert_eq!(scene.servers.0.lock().ends, [How::Closed(Closed::ServerClosed)]);
    scene.exchange("SELECT 1", &done("SELECT 1", TransactionStatus::Idle)).await;
}
