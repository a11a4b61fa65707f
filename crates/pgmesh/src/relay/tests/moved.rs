//! Servers that are called back, or whose node serves them no more.

use std::time::Duration;

use tokio::time::timeout;

use super::*;

impl Scene {
    /// A statement, and its answer from the server at hand.
    pub(super) async fn exchange(&mut self, text: &str, answer: &[u8]) {
        self.client_sends(&query(text)).await;
        // On a clock that stands still while anything moves.
        let got = timeout(Duration::from_secs(1), self.server_gets(&query(text))).await;
        got.expect("another server got it");
        self.server_sends(answer).await;
        self.client_gets(answer).await;
    }

    /// In session mode, with a server whose node has gone out of service, and one on another.
    async fn in_session(
        before: &str,
        tag: &str,
        status: TransactionStatus,
    ) -> (Self, DuplexStream) {
        let mut scene = Self::start(4096, Mode::Session);
        scene.exchange(before, &done(tag, status)).await;
        let spare = scene.spare();
        scene.servers.retire();
        (scene, spare)
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_called_back_is_lost_to_its_client() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.client_sends(&query("INSERT")).await;
    scene.server_gets(&query("INSERT")).await;
    scene.servers.recall();
    let (tag, body) = read_message(&mut scene.client).await;
    assert_eq!((tag, code(&body)), (b'E', "08007"));
    scene.client_gets(&ready()).await;
    scene.client_sends(message::TERMINATE).await;
    assert_eq!(scene.end().await.1, [How::Closed(Closed::Epoch)]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_answers_of_a_server_that_is_called_back() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.client_sends(&query("SELECT 1")).await;
    scene.server_gets(&query("SELECT 1")).await;
    drop(std::mem::replace(&mut scene.client, duplex(1).0));
    // The relay waits for the answers that are owed to a client that has gone.
    scene.server_gets(message::SYNC).await;
    scene.servers.recall();
    let (end, ends) = scene.end().await;
    assert!(matches!(end, End::ClientLost));
    assert_eq!(ends, [How::Closed(Closed::Epoch)]);
}

#[tokio::test(start_paused = true)]
async fn a_session_without_state_moves_away_between_its_transactions() {
    let (mut scene, spare) =
        Scene::in_session("SELECT 1", "SELECT 1", TransactionStatus::Idle).await;
    assert_eq!(scene.servers.0.lock().ends, []);
    let _old = std::mem::replace(&mut scene.server, spare);
    scene.exchange("SELECT 2", &done("SELECT 1", TransactionStatus::Idle)).await;
    assert_eq!(scene.servers.0.lock().ends, [How::Released(Disposition::Clean)]);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_its_transaction_before_it_moves_away() {
    let (mut scene, spare) = Scene::in_session("BEGIN", "BEGIN", TransactionStatus::Open).await;
    scene.exchange("SELECT 1", &done("SELECT 1", TransactionStatus::Open)).await;
    scene.exchange("COMMIT", &done("COMMIT", TransactionStatus::Idle)).await;
    assert_eq!(scene.servers.0.lock().ends, []);
    let _old = std::mem::replace(&mut scene.server, spare);
    scene.exchange("SELECT 2", &done("SELECT 1", TransactionStatus::Idle)).await;
    assert_eq!(scene.servers.0.lock().ends, [How::Released(Disposition::Clean)]);
}

#[tokio::test(start_paused = true)]
async fn a_session_with_state_stays_where_its_state_is() {
    let (mut scene, _spare) =
        Scene::in_session("LISTEN news", "LISTEN", TransactionStatus::Idle).await;
    scene.exchange("SELECT 2", &done("SELECT 1", TransactionStatus::Idle)).await;
    assert_eq!(scene.servers.0.lock().ends, []);
    scene.client_sends(message::TERMINATE).await;
    assert_eq!(scene.end().await.1, [How::Released(Disposition::NeedsReset)]);
}
