//! A few clients and servers on which a test acts step by step.

use std::sync::Arc;

use session::{Mode, Session, StateRules};

use super::postgres::Postgres;
use super::relay::{Relay, Settings, Step};
use super::transcript;

pub(crate) const LOGIN: [(&str, &str); 3] =
    [("DateStyle", "ISO"), ("TimeZone", "UTC"), ("application_name", "pgmesh")];

#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) relay: Relay,
    seen: Vec<usize>,
}

impl Scene {
    /// `clients` clients in transaction mode over `servers` servers.
    pub(crate) fn new(servers: usize, clients: usize) -> Self {
        Self::with(servers, clients, 100, 1)
    }

    pub(crate) fn with(servers: usize, clients: usize, statement_limit: usize, seed: u64) -> Self {
        let mut scene =
            Self { relay: Relay::new(servers, &LOGIN, statement_limit, seed), seen: Vec::new() };
        for _ in 0..clients {
            scene.add(Mode::Transaction, &[]);
        }
        scene
    }

    pub(crate) fn add(&mut self, mode: Mode, startup: Settings<'_>) -> usize {
        self.seen.push(0);
        self.relay.client(mode, startup, Vec::new())
    }

    /// The rules for a client that has done nothing yet.
    pub(crate) fn rule(&mut self, client: usize, rules: StateRules) {
        let catalog = Arc::clone(&self.relay.catalog);
        let session = &mut self.relay.clients[client].session;
        let login = Arc::clone(session.parameters());
        *session = Session::new(catalog, login, Mode::Transaction).under(rules);
    }

    /// The client sends this and everything moves until it stands still. The tags of what
    /// the client has got since.
    pub(crate) fn say(&mut self, client: usize, bytes: impl AsRef<[u8]>) -> String {
        transcript::tags(&self.bytes(client, bytes))
    }

    /// As [`Scene::say`], whole frames as lines.
    pub(crate) fn lines(&mut self, client: usize, bytes: impl AsRef<[u8]>) -> Vec<String> {
        transcript::plain_lines(&self.bytes(client, bytes))
    }

    fn bytes(&mut self, client: usize, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.relay.send(client, vec![Step::Send(bytes.as_ref().to_vec()), Step::Wait]);
        self.relay.run();
        let transcript = &self.relay.clients[client].transcript;
        let new = transcript[self.seen[client]..].to_vec();
        self.seen[client] = transcript.len();
        new
    }

    /// What the client has got without asking.
    pub(crate) fn heard(&mut self, client: usize) -> String {
        let transcript = &self.relay.clients[client].transcript;
        let new = transcript[self.seen[client]..].to_vec();
        self.seen[client] = transcript.len();
        transcript::tags(&new)
    }

    /// The client's SELECT of a value on its own is answered with it.
    pub(crate) fn value(&mut self, client: usize, sql: &str) -> String {
        let lines = self.lines(client, super::client::query(sql));
        let row = lines.iter().find(|line| line.starts_with("D ")).unwrap();
        row.rsplit(|c: char| c.is_control() || c == '|').next().unwrap().to_owned()
    }

    /// The client sends this, and its server dies before it answers. What the client gets.
    pub(crate) fn lose_in(&mut self, client: usize, bytes: impl AsRef<[u8]>) -> Vec<String> {
        self.relay.send_unanswered(client, bytes.as_ref());
        self.relay.reach_server(client);
        self.lose(client)
    }

    /// As [`Scene::lose_in`], when the server has not got the last message whole.
    pub(crate) fn lose_before(&mut self, client: usize, bytes: impl AsRef<[u8]>) -> Vec<String> {
        self.relay.send_unanswered(client, bytes.as_ref());
        self.lose(client)
    }

    /// Its server dies. What the client gets because of that.
    pub(crate) fn lose(&mut self, client: usize) -> Vec<String> {
        self.relay.lose_server(client);
        let transcript = &self.relay.clients[client].transcript;
        let new = transcript[self.seen[client]..].to_vec();
        self.seen[client] = transcript.len();
        transcript::plain_lines(&new)
    }

    pub(crate) fn is_leased(&self, client: usize) -> bool {
        self.relay.is_leased(client)
    }

    pub(crate) fn postgres(&mut self, client: usize) -> &mut Postgres {
        &mut self.relay.server_of(client).unwrap().postgres
    }
}
