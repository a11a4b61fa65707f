//! Servers that are lost at every stage of an exchange.

use std::time::Duration;

use tokio::time::timeout;
use wire::{ErrorMessage, SqlState};

use super::*;

impl Scene {
    /// The server is gone; `spare` takes its place.
    fn lose(&mut self, spare: DuplexStream) {
        self.server = spare;
    }

    /// The next message is an error with this code, and ReadyForQuery follows.
    async fn client_is_told(&mut self, state: &str, status: TransactionStatus) {
        let (tag, body) = read_message(&mut self.client).await;
        assert_eq!((tag, code(&body)), (b'E', state));
        let mut ready = Vec::new();
        message::put_ready_for_query(&mut ready, status);
        self.client_gets(&ready).await;
    }

    /// A statement goes to the server at hand, and its answer comes.
    async fn works(&mut self) {
        self.client_sends(&query("SELECT 2")).await;
        self.server_gets(&query("SELECT 2")).await;
        let done = done("SELECT 1", TransactionStatus::Idle);
        self.server_sends(&done).await;
        self.client_gets(&done).await;
    }
}

#[tokio::test]
async fn a_statement_under_way_has_an_unknown_outcome_and_its_client_stays() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    let spare = scene.spare();
    scene.client_sends(&query("INSERT")).await;
    scene.server_gets(&query("INSERT")).await;
    scene.lose(spare);
    scene.client_is_told("08007", TransactionStatus::Idle).await;
    scene.works().await;
    scene.client_sends(message::TERMINATE).await;
    let (end, ends) = scene.end().await;
    assert!(matches!(end, End::Goodbye));
    assert_eq!(ends[0], How::Closed(Closed::ServerClosed));
}

#[tokio::test]
async fn a_statement_that_the_server_does_not_take_goes_to_the_next() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    let spare = scene.spare();
    scene.lose(spare);
    scene.works().await;
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_the_server_may_have_is_not_sent_again() {
    for (takes, is_tls) in [(1, false), (9, false), (0, true)] {
        let mut scene = Scene::start(4096, Mode::Transaction);
        scene.servers.0.lock().idle.clear();
        let (_peer, near) = duplex(4096);
        let broken = FakeStream::breaks_after(near, takes);
        let broken = if is_tls { broken.with_tls() } else { broken };
        scene.servers.add_over(broken, &scene.settings);
        let spare = scene.spare();
        scene.lose(spare);
        scene.client_sends(&query("INSERT")).await;
        let told = scene.client_is_told("08007", TransactionStatus::Idle);
        // On a clock that stands still while anything moves.
        timeout(Duration::from_secs(1), told).await.expect("nothing is told");
        scene.works().await;
    }
}

#[tokio::test]
async fn a_transaction_is_rolled_back_and_ends_on_another_server() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    let spare = scene.spare();
    let begun = done("BEGIN", TransactionStatus::Open);
    scene.client_sends(&query("BEGIN")).await;
    scene.server_gets(&query("BEGIN")).await;
    scene.server_sends(&begun).await;
    scene.client_gets(&begun).await;
    scene.lose(spare);
    // Nothing is said before the client asks.
    scene.client_sends(&query("INSERT")).await;
    scene.client_is_told("40001", TransactionStatus::Failed).await;
    scene.client_sends(&query("ROLLBACK")).await;
    let doom = read_message(&mut scene.server).await;
    assert!(doom.1.starts_with(b"BEGIN"), "{doom:?}");
    let mut failed = Vec::new();
    message::put_command_complete(&mut failed, "BEGIN");
    ErrorMessage::error(SqlState::INVALID_SAVEPOINT_SPECIFICATION, "no such savepoint")
        .put(&mut failed);
    message::put_ready_for_query(&mut failed, TransactionStatus::Failed);
    scene.server_sends(&failed).await;
    scene.server_gets(&query("ROLLBACK")).await;
    let rolled_back = done("ROLLBACK", TransactionStatus::Idle);
    scene.server_sends(&rolled_back).await;
    scene.client_gets(&rolled_back).await;
    scene.works().await;
}

#[tokio::test]
async fn the_last_words_of_a_server_that_shuts_down_are_not_its_clients() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    let spare = scene.spare();
    scene.client_sends(&query("INSERT")).await;
    scene.server_gets(&query("INSERT")).await;
    let mut words = Vec::new();
    ErrorMessage::fatal(SqlState::ADMIN_SHUTDOWN, "terminating connection").put(&mut words);
    scene.server_sends(&words).await;
    scene.client_is_told("08007", TransactionStatus::Idle).await;
    scene.lose(spare);
    scene.works().await;
}

#[tokio::test]
async fn nothing_can_follow_half_a_message() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    let spare = scene.spare();
    scene.client_sends(&query("SELECT")).await;
    scene.server_gets(&query("SELECT")).await;
    let half = b"D\0\0\0\x20half";
    scene.server_sends(half).await;
    scene.client_gets(half).await;
    scene.lose(spare);
    assert_eq!(scene.client.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(matches!(scene.end().await.0, End::ServerLost));
}
