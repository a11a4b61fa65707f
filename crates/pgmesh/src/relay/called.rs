//! Clients that are called to the end of their session.

use std::task::Waker;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Client, End, Leased, Lend, Link, Moved, Relay};
use crate::clients::Call;

/// Whether a client goes when this chunk of its has gone out.
#[derive(Clone, Copy)]
pub(super) enum Leaving {
    No,
    /// It has said so.
    Goodbye,
    /// It is called.
    Called,
}

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

impl<C> Client<C> {
    /// Takes note that it goes: what came before that in the same chunk goes out first.
    pub(super) fn leave(&mut self, how: Leaving) -> Moved {
        self.leaving = how;
        Moved::No
    }
}
