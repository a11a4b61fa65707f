//! Limits in time: alarms ring when the test says so, and no clock is waited for.

use std::time::Duration;

use session::{Overdue, Timeouts};
use wire::{ErrorMessage, SqlState};

use super::*;

/// All limits there are, of a length that no test takes by itself.
pub(super) const LIMITS: Timeouts = Timeouts {
    client_idle: Some(HOUR),
    idle_transaction: Some(HOUR),
    query: Some(HOUR),
    transaction: Some(Duration::from_secs(3 * 60 * 60)),
    wait_notify: Some(HOUR),
    cancel_wait: HOUR,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Scene {
    /// What was set until now and takes an hour is over.
    fn hours_later(&self, hours: u32) {
        self.alarms.ring(Instant::now() + hours * HOUR + Duration::from_secs(60));
    }

    /// A statement by itself that the server has.
    async fn begin(&mut self, sql: &str) {
        self.client_sends(&query(sql)).await;
        self.server_gets(&query(sql)).await;
    }

    /// A transaction, open and idle.
    async fn open_transaction(&mut self) {
        self.begin("BEGIN").await;
        let answer = done("BEGIN", TransactionStatus::Open);
        self.server_sends(&answer).await;
        self.client_gets(&answer).await;
    }

    /// So many cancels were sent. Other tasks run whenever this one does not.
    async fn is_cancelled(&self, times: u32) {
        self.comes_to(|scene| scene.servers.0.lock().cancelled == times).await;
    }

    async fn waits(&self) {
        self.comes_to(|scene| scene.servers.0.lock().ahead > 0).await;
    }

    async fn comes_to(&self, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..100 {
            if is_so(self) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{} cancels", self.servers.0.lock().cancelled);
    }

    async fn is_told(&mut self, state: &str) {
        let (tag, body) = read_message(&mut self.client).await;
        assert_eq!((tag, code(&body)), (b'E', state));
    }
}

/// What a server says of a statement that was cancelled.
fn cancelled(status: TransactionStatus) -> Vec<u8> {
    let mut out = Vec::new();
    ErrorMessage::error(SqlState::QUERY_CANCELED, "canceling statement").put(&mut out);
    message::put_ready_for_query(&mut out, status);
    out
}

#[tokio::test]
async fn an_idle_client_is_told_and_disconnected() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.begin("SELECT 1").await;
    let answer = done("SELECT 1", TransactionStatus::Idle);
    scene.server_sends(&answer).await;
    scene.client_gets(&answer).await;
    scene.hours_later(1);
    scene.is_told("57P05").await;
    let (end, ends) = scene.end().await;
    assert!(matches!(end, End::TimedOut(Overdue::ClientIdle)), "{end:?}");
    assert_eq!(ends, [How::Released(Disposition::Clean)]);
}

#[tokio::test]
async fn an_idle_transaction_is_rolled_back_and_its_server_reset() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.open_transaction().await;
    scene.hours_later(1);
    scene.is_told("25P03").await;
    let (end, ends) = scene.end().await;
    assert!(matches!(end, End::TimedOut(Overdue::IdleTransaction)), "{end:?}");
    assert_eq!(ends, [How::Released(Disposition::NeedsReset)]);
}

#[tokio::test]
async fn a_statement_is_cancelled_and_the_client_stays() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.begin("SELECT slow()").await;
    scene.hours_later(1);
    scene.is_cancelled(1).await;
    let answer = cancelled(TransactionStatus::Idle);
    scene.server_sends(&answer).await;
    scene.client_gets(&answer).await;
    // The next one has its whole time.
    scene.begin("SELECT 1").await;
    let answer = done("SELECT 1", TransactionStatus::Idle);
    scene.server_sends(&answer).await;
    scene.client_gets(&answer).await;
    scene.client_sends(message::TERMINATE).await;
    assert!(matches!(scene.end().await.0, End::Goodbye));
}

#[tokio::test]
async fn a_server_that_does_not_hear_a_cancel_is_closed_with_its_client() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.begin("SELECT deaf()").await;
    scene.hours_later(1);
    scene.is_cancelled(1).await;
    scene.hours_later(1);
    scene.is_told("57014").await;
    let (end, ends) = scene.end().await;
    assert!(matches!(end, End::TimedOut(Overdue::Cancel)), "{end:?}");
    assert_eq!(ends, [How::Closed(Closed::Reset)]);
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_cancelled_and_its_client_told() {
    let limits = Timeouts { query: None, ..LIMITS };
    let mut scene = Scene::start_with(4096, Mode::Transaction, limits);
    scene.open_transaction().await;
    scene.begin("SELECT slow()").await;
    scene.hours_later(3);
    scene.is_cancelled(1).await;
    scene.server_gets(message::SYNC).await;
    scene.server_sends(&cancelled(TransactionStatus::Failed)).await;
    let mut synced = Vec::new();
    message::put_ready_for_query(&mut synced, TransactionStatus::Failed);
    scene.server_sends(&synced).await;
    scene.is_told("25P04").await;
    let (end, ends) = scene.end().await;
    assert!(matches!(end, End::TimedOut(Overdue::Transaction)), "{end:?}");
    assert_eq!(ends, [How::Released(Disposition::NeedsReset)]);
}

#[tokio::test]
async fn a_client_that_waits_is_told_so_once() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.servers.0.lock().idle.clear();
    scene.client_sends(&query("SELECT 1")).await;
    scene.waits().await;
    for _ in 0..2 {
        scene.hours_later(1);
    }
    let (tag, body) = read_message(&mut scene.client).await;
    assert_eq!((tag, code(&body)), (b'N', "00000"));
    scene.hours_later(2);
    assert!(scene.slot.cancel_wait());
    scene.is_told("57014").await;
}

#[tokio::test]
async fn a_statement_that_a_worker_may_have_held_has_its_time_again() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.begin("SELECT distributed()").await;
    scene.alarms.disturb(Instant::now());
    scene.hours_later(1);
    let answer = done("SELECT 1", TransactionStatus::Idle);
    scene.server_sends(&answer).await;
    scene.client_gets(&answer).await;
    assert_eq!(scene.servers.0.lock().cancelled, 0);
}

/// A client with limits stays far below the bar of 2 KB.
#[test]
fn deadlines_cost_a_client_little() {
    let size = size_of::<Timer>() + size_of::<crate::alarms::Alarm>();
    assert!(size <= 128, "{size} bytes");
}
