//! The pool's part: servers are lent and come back, and what must hold then.

use session::Disposition;
use wire::tag::backend as b;

use super::relay::{Relay, Server};
use super::transcript;

impl Relay {
    /// Lends a server to the client, if it is its turn and one is there.
    pub(crate) fn lend(&mut self, at: usize) -> bool {
        if self.idle.is_empty() || self.queue.front() != Some(&at) {
            return false;
        }
        self.queue.pop_front();
        let chosen = self.dice.below(self.idle.len());
        let client = &mut self.clients[at];
        client.server = Some(self.idle.swap_remove(chosen));
        client.waits = false;
        client.leases += 1;
        true
    }

    /// What must hold when a lease ends, and what the pool does then.
    pub(crate) fn release(&mut self, at: usize, disposition: Disposition) {
        let mut server = self.clients[at].server.take().unwrap();
        let counters = server.state.take_counters();
        self.retries += counters.plan_retries + counters.lost_retries;
        assert_eq!(server.rest.len, 0, "a frame was cut off by a release");
        if disposition != Disposition::Discard {
            // What may be on its way still is not answered: a Flush, or the rest of a COPY
            // that has failed.
            assert!(server.unread.is_empty());
            server.postgres.receive(&std::mem::take(&mut server.unsent));
        }
        match disposition {
            Disposition::Discard => {
                self.discards += 1;
                server = self.new_server();
            }
            Disposition::NeedsReset => {
                self.resets += 1;
                self.reset(&mut server);
            }
            Disposition::Clean => {
                assert!(!server.state.in_transaction());
            }
        }
        assert!(server.state.is_quiet() && !server.state.is_preparing());
        assert!(server.postgres.is_idle(), "handed on while something is under way: {server:?}");
        let known: Vec<&str> = server.state.parameters().iter().map(|(name, _)| name).collect();
        let left = server.postgres.settings.left_behind();
        let unknown: Vec<_> = left.into_iter().filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "handed on with settings of a client: {unknown:?}");
        assert_eq!(server.state.statement_count(), server.postgres.statement_count());
        self.idle.push(server);
    }

    fn reset(&self, server: &mut Server) {
        let (kind, texts) = server.state.reset_sql();
        for sql in texts {
            server.postgres.receive(&super::client::query(&sql));
            for (tag, body) in transcript::frames(&server.postgres.take_output(usize::MAX)) {
                assert_ne!(tag, b::ERROR_RESPONSE, "a reset failed");
                if tag == b::PARAMETER_STATUS {
                    let (name, value) = wire::message::parameter_status(&body).unwrap();
                    server.state.on_reset_parameter(kind, &self.catalog, name, value);
                }
            }
        }
        server.state.after_reset(kind);
    }
}
