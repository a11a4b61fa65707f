//! Patroni's REST interface as the second hand while etcd is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use topology::{Snapshot, SourceState};
use tracing::{info, warn};

use crate::rest::Poller;

/// A task that polls while nothing is heard of the source, and what it was told.
#[derive(Debug)]
pub(crate) struct Fallback {
    /// When the source was last heard of.
    contact: watch::Sender<Instant>,
    patience: Duration,
    states: mpsc::Receiver<SourceState>,
    _task: AbortOnDropHandle<()>,
}

impl Fallback {
    /// Polls as soon as nothing was heard for longer than `patience`.
    pub(crate) fn start(
        poller: Poller,
        patience: Duration,
        seen: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        let (contact, watcher) = watch::channel(Instant::now());
        let (sender, states) = mpsc::channel(1);
        let task = tokio::spawn(run(poller, patience, watcher, seen, sender));
        Self { contact, patience, states, _task: AbortOnDropHandle::new(task) }
    }

    /// The source was heard of.
    pub(crate) fn heard(&self) {
        self.contact.send_replace(Instant::now());
    }

    /// The next state that counts: one that comes after the source is back does not.
    ///
    /// # Cancel safety
    /// Cancel safe: no state is lost.
    pub(crate) async fn next(&mut self) -> SourceState {
        loop {
            match self.states.recv().await {
                Some(state) if self.contact.borrow().elapsed() >= self.patience => return state,
                Some(_) => {}
                // Its task has panicked; there is no second hand then.
                None => std::future::pending().await,
            }
        }
    }
}

async fn run(
    mut poller: Poller,
    patience: Duration,
    mut contact: watch::Receiver<Instant>,
    seen: watch::Receiver<Arc<Snapshot>>,
    states: mpsc::Sender<SourceState>,
) {
    let mut polling = false;
    loop {
        let due = *contact.borrow_and_update() + patience;
        if Instant::now() < due {
            if std::mem::take(&mut polling) {
                info!(
                    event = "etcd_fallback_ended",
                    "the source is back; Patroni is asked no more"
                );
            }
            tokio::select! {
                changed = contact.changed() => if changed.is_err() { return },
                () = sleep_until(due) => {}
            }
            continue;
        }
        if !std::mem::replace(&mut polling, true) {
            warn!(event = "etcd_fallback_began", silent_for = ?patience, "nothing is heard of the source; asking Patroni");
        }
        if let Some(state) = poller.poll(&seen).await
            && states.send(state).await.is_err()
        {
            return;
        }
        sleep(poller.interval()).await;
    }
}
