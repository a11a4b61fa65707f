//! Turns at what a handshake computes.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Lets as many handshakes compute at a time as there are processors. The others wait beside the
/// runtime's queues, not in them, so that whoever else is in these has a turn between two
/// signatures however many clients connect at once (docs/decisions/0009-handshakes.md).
#[derive(Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(processors)))
    }

    /// Waits for a turn, behind all that is ready to run; it ends when the guard is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place.
    pub(crate) async fn next(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed, so always a permit.
        let turn = self.0.acquire().await.ok();
        tokio::task::yield_now().await;
        turn
    }
}
