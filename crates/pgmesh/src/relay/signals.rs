//! Signals that clients send one another by the process ids that they were told.

use std::sync::Arc;

use session::Signal;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, Leased, Lend, Link, Relay};
use crate::clients::Call;

impl<C, P> Relay<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: Lend,
{
    /// Delivers what the server had nobody for. As in Postgres it is for sessions of the same user.
    ///
    /// # Errors
    /// The client has ended its own.
    #[inline]
    pub(super) fn deliver_signals(&mut self) -> Result<(), End> {
        if let Link::Leased(active) = &mut self.link
            && active.lease.parts().state.has_signals()
        {
            for (signal, pid) in active.lease.parts().state.take_signals() {
                self.deliver(signal, pid)?;
            }
        }
        Ok(())
    }

    #[cold]
    fn deliver(&self, signal: Signal, pid: i32) -> Result<(), End> {
        let Some(peer) = self.slot.peer(pid) else { return Ok(()) };
        tracing::info!(event = "client_signalled", pid, ?signal, "a client has signalled another");
        match signal {
            Signal::Cancel => self.lender.cancel(&peer),
            // The statement that did it has no answer.
            Signal::Terminate if Arc::ptr_eq(&peer, &self.slot) => return Err(End::Terminated),
            Signal::Terminate => peer.call(Call::End),
        }
        Ok(())
    }
}
