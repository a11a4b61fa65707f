//! Servers that die while a client has them.

use session::{Lost, Sent};

use super::relay::Relay;

impl Relay {
    /// Whether the server can die now without that the client's connection ends: no message of
    /// its has gone to the client in part, and nobody wonders what the client has left there.
    pub(crate) fn may_lose(&self, at: usize) -> bool {
        let server = self.clients[at].server.as_ref();
        let is_whole = server.is_some_and(|server| server.rest.len == 0 || !server.rest.passes);
        is_whole && server.is_some_and(|server| !server.state.is_asked())
    }

    /// The client sends this and the session sees all of it. Nothing of it has reached a server,
    /// and nothing of the answers the session.
    pub(crate) fn send_unanswered(&mut self, at: usize, bytes: &[u8]) {
        self.clients[at].unread.extend_from_slice(bytes);
        while self.client_is_read(at) {}
        assert!(self.clients[at].unread.is_empty(), "a frame is held back");
    }

    /// What was sent to the client's server reaches it.
    pub(crate) fn reach_server(&mut self, at: usize) {
        let server = self.server_of(at).expect("a server");
        let bytes = std::mem::take(&mut server.unsent);
        server.postgres.receive(&bytes);
    }

    /// The client's server dies. It may have got some of what was on its way to it, but not all.
    pub(crate) fn lose_server(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let mut server = client.server.take().expect("a server to lose");
        let is_passing = client.rest.len > 0 && client.rest.passes;
        let sent = Sent { last_frame_incomplete: is_passing || !server.unsent.is_empty() };
        let taken = self.dice.below(server.unsent.len());
        server.postgres.receive(&server.unsent[..taken]);
        client.rest.passes = false;
        let lost = client.session.on_server_lost(&mut server.state, sent, &mut client.transcript);
        if let Lost::Fatal(error) = &lost {
            error.put(&mut client.transcript);
            client.is_lost = true;
        }
        client.losses.push(lost);
        let server = self.new_server();
        self.idle.push(server);
    }
}
