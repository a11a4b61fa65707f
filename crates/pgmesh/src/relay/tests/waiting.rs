//! Clients that wait for a server that does not come.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::*;

/// What became of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum How {
    Released(Disposition),
    Closed(Closed),
}

/// The wait for a server: for ever, or until it is refused.
pub(super) struct FakeWait {
    pub(super) end: Pin<Box<dyn Future<Output = Result<FakeLease, CheckoutError>> + Send>>,
    pub(super) servers: Servers,
}

impl Future for FakeWait {
    type Output = Result<FakeLease, CheckoutError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.end.as_mut().poll(cx)
    }
}

impl Waiting for FakeWait {
    fn may_buffer(&mut self, bytes: usize) -> bool {
        self.servers.0.lock().ahead = bytes;
        true
    }
}

/// No client has reason to send as much while it waits.
const FLOOD: usize = 1 << 20;

impl Scene {
    /// A client that waits for a server with `ask`.
    pub(super) async fn waiting(capacity: usize, ask: &[u8]) -> Self {
        let mut scene = Self::start(capacity, Mode::Transaction);
        scene.servers.0.lock().idle.clear();
        scene.client_sends(ask).await;
        scene.has_sent_ahead(ask.len()).await;
        scene
    }

    /// The relay has read so much. Other tasks run whenever this one does not.
    async fn has_sent_ahead(&self, bytes: usize) {
        for _ in 0..100 {
            if self.servers.0.lock().ahead >= bytes {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{} of {bytes} bytes were read", self.servers.0.lock().ahead);
    }
}

#[tokio::test]
async fn a_waiting_client_is_seen_to_leave_whatever_it_said_before() {
    let ask = query("INSERT");
    let mut scene = Scene::waiting(4096, &ask).await;
    scene.client_sends(message::TERMINATE).await;
    scene.has_sent_ahead(ask.len() + message::TERMINATE.len()).await;
    drop(std::mem::replace(&mut scene.client, duplex(1).0));
    let (end, ends) = scene.end().await;
    assert!(matches!(end, End::ClientLost));
    assert_eq!(ends, []);
}

#[tokio::test]
async fn a_client_that_sends_and_leaves_at_once_does_not_wait() {
    let mut scene = Scene::start(4096, Mode::Transaction);
    scene.servers.0.lock().idle.clear();
    scene.client_sends(&[&query("INSERT")[..], message::TERMINATE].concat()).await;
    drop(std::mem::replace(&mut scene.client, duplex(1).0));
    let (end, ends) = scene.end().await;
    assert!(matches!(end, End::ClientLost));
    assert_eq!(ends, []);
}

#[tokio::test]
async fn a_waiting_client_is_read_up_to_a_limit_and_no_further() {
    let mut scene = Scene::waiting(FLOOD, &query("SELECT 1")).await;
    scene.client_sends(&query("SELECT 2").repeat(10_000)).await;
    scene.has_sent_ahead(super::super::WAITING_UNREAD_MAX).await;
    let ahead = scene.servers.0.lock().ahead;
    assert!(ahead < super::super::WAITING_UNREAD_MAX + 4096, "{ahead}");
    // It rests, and can be cancelled.
    assert!(scene.slot.cancel_wait());
    let (tag, body) = read_message(&mut scene.client).await;
    assert_eq!((tag, code(&body)), (b'E', "57014"));
}
