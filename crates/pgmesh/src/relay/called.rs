//! Clients that are called to the end of their session.

use std::task::Waker;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, Leased, Lend, Link, Relay};
use crate::clients::Call;

impl<C, P> Relay<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: Lend,
{
    /// Why the session ends now that nothing moves, if it is called; wakes this task when it is.
    #[inline]
    pub(super) fn called(&mut self, waker: &Waker) -> Option<End> {
        match self.slot.called(waker)? {
            Call::End => Some(End::Terminated),
            Call::Leave => self.may_leave().then_some(End::Departed),
        }
    }

    /// Whether the client is between two transactions and has had all answers. Without a server
    /// what it has sent has not begun. Who waits for one does not leave: it will be answered.
    #[cold]
    fn may_leave(&mut self) -> bool {
        if !self.client.unsent.is_empty() || self.client.rest.is_passing() {
            return false;
        }
        match &mut self.link {
            Link::None => true,
            Link::Waiting { .. } => false,
            Link::Leased(active) => {
                let parts = active.lease.parts();
                self.client.unread.is_empty()
                    && parts.unsent.is_empty()
                    && parts.state.is_between_transactions()
            }
        }
    }
}
