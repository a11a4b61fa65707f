//! A server lent to a session.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use session::{Disposition, Pins};

use crate::{Closed, Pool, Server};

/// A server lent to a session. Ends through [`Lease::release`]; dropped otherwise, it closes
/// the server, for nobody knows in which state it is.
#[derive(Debug)]
pub struct Lease {
    server: Option<Box<Server>>,
    pub(crate) pool: Arc<Pool>,
    /// As they have been counted.
    pins: Pins,
    /// See [`Lease::rest`].
    pub(crate) is_resting: bool,
}

impl Lease {
    pub(crate) fn new(server: Box<Server>, pool: Arc<Pool>) -> Self {
        if let Some(load) = &server.load {
            load.fetch_add(1, Relaxed);
        }
        server.recall.forget_want();
        Self { server: Some(server), pool, pins: Pins::default(), is_resting: false }
    }

    /// Gives the server back as the session says it is. One that needs a reset, or whose
    /// cancel is still under way, is seen to before it is lent again.
    pub fn release(mut self, disposition: Disposition, now: Instant) {
        if let Some(server) = self.end() {
            self.pool.checkin(server, disposition, now);
        }
    }

    /// Closes the server.
    pub fn close(mut self, why: Closed) {
        if let Some(server) = self.end() {
            self.pool.discard(server, why);
        }
    }

    /// Counts why the lease outlasts its transactions, as the session has it now.
    #[inline]
    pub fn note_pins(&mut self) {
        let pins = self.state.pins();
        if pins != self.pins {
            tracing::debug!(
                event = "client_pinned", pool = %self.pool.key, server = self.id(), ?pins,
                "a client keeps its server"
            );
            self.badge.pinned(pins);
            self.pool.pins.change(std::mem::replace(&mut self.pins, pins), pins);
        }
    }

    fn end(&mut self) -> Option<Box<Server>> {
        if self.is_resting {
            self.resume();
        }
        let mut server = self.server.take()?;
        server.vacancy = None;
        if !self.pins.is_empty() {
            server.badge.pinned(Pins::default());
            self.pool.pins.change(std::mem::take(&mut self.pins), Pins::default());
        }
        if let Some(load) = &server.load {
            load.fetch_sub(1, Relaxed);
        }
        Some(server)
    }

    /// Whether the server has said nothing that ends it since it was put back. Costs no system
    /// call unless something has come.
    pub(crate) fn is_alive(&mut self) -> bool {
        let pool = Arc::clone(&self.pool);
        !self.recall.is_called() && self.watch(&pool.shared.catalog)
    }

    /// The pool that it came from.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Deref for Lease {
    type Target = Server;

    #[inline]
    #[expect(
        clippy::expect_used,
        reason = "only release and drop take the server, and both end the lease"
    )]
    fn deref(&self) -> &Server {
        self.server.as_ref().expect("a lease has its server until it ends")
    }
}

impl DerefMut for Lease {
    #[inline]
    #[expect(
        clippy::expect_used,
        reason = "only release and drop take the server, and both end the lease"
    )]
    fn deref_mut(&mut self) -> &mut Server {
        self.server.as_mut().expect("a lease has its server until it ends")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(server) = self.end() {
            self.pool.checkin(server, Disposition::Discard, Instant::now());
        }
    }
}
