//! Where operators' orders are given: the topology makes them part of its next snapshot.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use topology::{Command, Event, OrderError, Orders};

use crate::follow::Snapshots;

/// How long the topology may take to publish an order. It waits for nothing itself.
const PUBLISHED: Duration = Duration::from_secs(5);

/// One per process; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct OrderDesk {
    events: mpsc::Sender<Event>,
    snapshots: Snapshots,
    /// Those that were given last: one order is given after the other.
    given: Arc<Mutex<Arc<Orders>>>,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undone {
    /// It makes no sense as things are.
    #[error(transparent)]
    Refused(#[from] OrderError),
    /// What follows the cluster does not answer: pgmesh ends, or is stuck.
    #[error("the order could not be given in time")]
    Unheard,
}

impl OrderDesk {
    pub(crate) fn new(events: mpsc::Sender<Event>, snapshots: Snapshots) -> Self {
        let given = Arc::clone(snapshots.borrow().orders());
        Self { events, snapshots, given: Arc::new(Mutex::new(given)) }
    }

    /// Gives an order. When this returns it stands: what asks for the snapshot sees it.
    ///
    /// # Errors
    /// See [`Undone`].
    ///
    /// # Cancel safety
    /// Dropped, the order was given or not; it is not half given.
    pub(crate) async fn give(&self, command: Command) -> Result<Arc<Orders>, Undone> {
        let mut given = self.given.lock().await;
        let mut snapshots = self.snapshots.clone();
        let next = Arc::new(given.after(command, &snapshots.borrow_and_update())?);
        let is_published = async {
            let permit = self.events.reserve().await.ok()?;
            // From here on nothing waits until both know.
            permit.send(Event::Orders(Arc::clone(&next)));
            *given = Arc::clone(&next);
            let revision = next.revision();
            snapshots.wait_for(|it| it.orders().revision() >= revision).await.ok().map(drop)
        };
        match timeout(PUBLISHED, is_published).await {
            Ok(Some(())) => Ok(next),
            Ok(None) | Err(_) => Err(Undone::Unheard),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use topology::{Authority, Config, Machine, Now, Target};

    use super::*;

    /// A topology that takes events and publishes.
    fn topology() -> OrderDesk {
        let (events, mut receiver) = mpsc::channel(1);
        let now = Now { monotonic: Duration::ZERO, wall: std::time::SystemTime::UNIX_EPOCH };
        let mut machine = Machine::new(Authority::LeaderKey, Config::default());
        let (publisher, snapshots) = watch::channel(Arc::clone(machine.snapshot()));
        tokio::spawn(async move {
            while let Some(event) = receiver.recv().await {
                if let Some(snapshot) = machine.apply(event, now) {
                    publisher.send_replace(snapshot);
                }
            }
        });
        OrderDesk::new(events, snapshots)
    }

    #[tokio::test]
    async fn an_order_stands_when_it_was_given() {
        let desk = topology();
        let pause = || desk.give(Command::Pause(Target::All));
        let (first, second) = tokio::join!(pause(), pause());
        assert_eq!(first.unwrap().revision(), 1);
        assert_eq!(second, Err(Undone::Refused(OrderError::AlreadyPaused)));
        assert!(desk.snapshots.borrow().orders().of("any").is_paused);
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_that_nobody_hears_fails_in_time() {
        let (events, _receiver) = mpsc::channel(1);
        let machine = Machine::new(Authority::LeaderKey, Config::default());
        let (_publisher, snapshots) = watch::channel(Arc::clone(machine.snapshot()));
        let desk = OrderDesk::new(events, snapshots);
        assert_eq!(desk.give(Command::Pause(Target::All)).await, Err(Undone::Unheard));
    }
}
