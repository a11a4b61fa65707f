//! Leases that outlast transactions may be given up between them.

use crate::server::ServerState;
use crate::session::{Mode, Session};
use crate::verdict::Disposition;

impl Session {
    /// Whether this client keeps its server between transactions although another might do, and is
    /// between two.
    #[inline]
    pub fn may_pause(&self, server: &ServerState) -> bool {
        (self.mode == Mode::Session || server.is_spare()) && server.is_between_transactions()
    }

    /// Ends such a lease, if the client would find everything on another server as well, but for
    /// what it can do without.
    pub fn pause(&mut self, server: &mut ServerState) -> Option<Disposition> {
        let disposition = server.disposition();
        let may_go = server.is_spare() || disposition == Disposition::Clean;
        if !self.may_pause(server) || !may_go {
            return None;
        }
        server.end_lease();
        Some(disposition)
    }
}

impl ServerState {
    /// Whether nothing is owed, no transaction is open and no message of one has been sent.
    #[inline]
    pub fn is_between_transactions(&self) -> bool {
        self.is_quiet() && !self.in_transaction() && !self.in_batch.is_open && !self.is_awaited()
    }
}
