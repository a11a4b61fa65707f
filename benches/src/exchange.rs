//! Shows traffic to a session, frame by frame, as the relay does.

use std::sync::Arc;

use session::{Catalog, Disposition, Frame, Mode, ServerState, Session, Then, ToServer, Unleased};
use wire::{HEADER_LEN, Header};

use crate::traffic::Transaction;

/// What a server of a pool may keep; pgmesh's default.
const STATEMENTS: usize = 200;

/// One client and one server of a pool that it is lent for each transaction.
#[derive(Debug)]
pub struct Exchange {
    session: Session,
    server: ServerState,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

impl Default for Exchange {
    fn default() -> Self {
        let catalog = Arc::new(Catalog::default());
        let settings = [("client_encoding", "UTF8"), ("TimeZone", "Etc/UTC")];
        let parameters = catalog.parameters(settings);
        Self {
            session: Session::new(Arc::clone(&catalog), Arc::clone(&parameters), Mode::Transaction),
            server: ServerState::new(parameters, STATEMENTS),
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }
}

impl Exchange {
    /// Shows one transaction, from the first message without a server to the end of the lease. How
    /// the lease ended; `None` if it did not.
    ///
    /// # Panics
    /// Anything but a transaction that only has to be forwarded.
    pub fn run(&mut self, transaction: &Transaction) -> Option<Disposition> {
        self.to_server.clear();
        self.to_client.clear();
        let mut frames = frames(&transaction.request).peekable();
        let first = frames.peek().expect("a request");
        let unleased = self.session.on_client_unleased(first, &mut self.to_client);
        assert_eq!(unleased, Ok(Unleased::NeedServer));
        for frame in frames {
            let (server, client) = (&mut self.to_server, &mut self.to_client);
            let verdict = self.session.on_client(&frame, &mut self.server, server, client);
            assert!(matches!(verdict, Ok(ToServer::Pass(_))), "{verdict:?}");
        }
        self.reply(&transaction.reply)
    }

    /// Shows what the server says while it is lent.
    ///
    /// # Panics
    /// The server says what nothing asked for.
    pub fn reply(&mut self, reply: &[u8]) -> Option<Disposition> {
        let mut ended = None;
        for frame in frames(reply) {
            let (server, client) = (&mut self.to_server, &mut self.to_client);
            let verdict = self.session.on_server(&frame, &mut self.server, client, server);
            match verdict.expect("a reply that was asked for").then {
                Then::Release(disposition) => ended = Some(disposition),
                Then::Continue | Then::Quiet | Then::ServerLost => {}
            }
        }
        ended
    }
}

/// The frames of a chunk that ends with a frame's end.
pub fn frames(mut chunk: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let header = Header::peek(chunk).ok()??;
        let (frame, rest) = chunk.split_at_checked(header.frame_len())?;
        chunk = rest;
        Some(Frame { header, body: frame.get(HEADER_LEN..)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transaction_ends_with_a_clean_server() {
        for transaction in [Transaction::simple(), Transaction::extended()] {
            let mut exchange = Exchange::default();
            for _ in 0..3 {
                assert_eq!(exchange.run(&transaction), Some(Disposition::Clean));
            }
        }
        let mut exchange = Exchange::default();
        assert_eq!(exchange.run(&Transaction::preparation()), Some(Disposition::Clean));
        for _ in 0..3 {
            assert_eq!(exchange.run(&Transaction::prepared()), Some(Disposition::Clean));
        }
    }

    #[test]
    fn a_chunk_of_rows_ends_nothing() {
        let rows = Transaction::rows(1000);
        assert_eq!(frames(&rows.reply).count(), 1000);
        assert_eq!(Exchange::default().run(&rows), None);
    }
}
