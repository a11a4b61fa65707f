//! Signals that clients send one another by the process ids that they were told.

use session::Signal;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Leased, Lend, Link, Relay};

impl<C, P> Relay<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: Lend,
{
    /// Delivers what the server had nobody for. As in Postgres it is for sessions of the same user.
    #[inline]
    pub(super) fn deliver_signals(&mut self) {
        if let Link::Leased(active) = &mut self.link
            && active.lease.parts().state.has_signals()
        {
            for (signal, pid) in active.lease.parts().state.take_signals() {
                self.deliver(signal, pid);
            }
        }
    }

    #[cold]
    fn deliver(&self, signal: Signal, pid: i32) {
        let Some(peer) = self.slot.peer(pid) else { return };
        tracing::info!(pid, ?signal, "a client has signalled another");
        match signal {
            Signal::Cancel => self.lender.cancel(&peer),
            Signal::Terminate => peer.end(),
        }
    }
}
