//! A leased server is lost: the client is told what it must know, and goes on without it.
//!
//! What that is, is the session's to say. Here is only what lies between the two sockets: half
//! a message, and statements that no server has seen.

use std::time::Instant;

use session::{Doing, Lost, Sent};
use telemetry::ServerLoss;
use tokio::io::{AsyncRead, AsyncWrite};

use super::called::Leaving;
use super::{Active, End, Leased, Lend, Link, Moved, Relay};

impl<C, P> Relay<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: Lend,
{
    /// Whether the next chunk of the client's begins something new, so that no server has seen
    /// anything of it before it is sent.
    pub(super) fn begins_exchange(&mut self) -> bool {
        let is_new = match &mut self.link {
            Link::None => true,
            Link::Waiting { .. } => false,
            Link::Leased(active) => {
                let parts = active.lease.parts();
                parts.unsent.is_empty() && parts.state.is_between_transactions()
            }
        };
        is_new && !self.client.rest.is_unfinished()
    }

    /// The server took nothing of this chunk, for certain: the next one gets it.
    pub(super) fn take_back(&mut self, chunk: &[u8]) {
        let Link::Leased(active) = &mut self.link else { return };
        self.session.forget_unsent(active.lease.parts().state);
        self.client.unread = chunk.to_vec();
        self.client.rest = super::Rest::NONE;
        self.client.leaving = Leaving::No;
    }

    /// Goes on without the server.
    ///
    /// # Errors
    /// The client cannot go on.
    pub(super) fn lose_server(&mut self) -> Result<Moved, End> {
        let Link::Leased(active) = &mut self.link else { return Err(End::ServerLost) };
        // What follows half a message would be taken for the other half.
        if active.fatal || active.rest.is_passing() {
            self.metrics.losses.inc(ServerLoss::Cut);
            return Err(End::ServerLost);
        }
        let parts = active.lease.parts();
        let sent = Sent {
            last_frame_incomplete: self.client.rest.is_passing() || !parts.unsent.is_empty(),
        };
        let lost = self.session.on_server_lost(parts.state, sent, &mut self.client.unsent);
        self.metrics.losses.inc(match &lost {
            Lost::Unnoticed => ServerLoss::Unnoticed,
            Lost::Told => ServerLoss::Told,
            Lost::Fatal(_) => ServerLoss::StateLost,
        });
        if let Lost::Fatal(error) = lost {
            return Err(End::StateLost(error));
        }
        self.client.rest = self.client.rest.swallowed();
        self.client.needed = 0;
        self.slot.idle();
        if let Link::Leased(active) = std::mem::replace(&mut self.link, Link::None) {
            self.close_lost(active);
        }
        if self.timer.is_some() {
            self.mark(Doing::Idle, Instant::now());
        }
        Ok(Moved::Yes)
    }

    fn close_lost(&self, mut active: Active<P::Leased>) {
        active.record(&self.metrics, Instant::now());
        let why = active.loss();
        active.lease.close(why);
    }
}
