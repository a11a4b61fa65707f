//! How long handshakes take, for whoever wants to know.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

type Told = Box<dyn Fn(Duration) + Send + Sync>;

/// Who is told how long each handshake took; nobody at first. Every clone tells the same.
#[derive(Clone, Default)]
pub(crate) struct Timing(Arc<OnceLock<Told>>);

impl Timing {
    /// Only the first is told.
    pub(crate) fn tell(&self, told: impl Fn(Duration) + Send + Sync + 'static) {
        // A second one is not kept.
        let _ = self.0.set(Box::new(told));
    }

    /// A handshake that began at `began` is done.
    pub(crate) fn done(&self, began: Instant) {
        if let Some(told) = self.0.get() {
            told(began.elapsed());
        }
    }
}

impl fmt::Debug for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timing").field(&self.0.get().is_some()).finish()
    }
}
