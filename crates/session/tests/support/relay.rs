//! What the relay and the pool do around the session, without sockets: clients with scripts,
//! servers lent to them, bytes cut anywhere, and the rules that must hold at each step.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use session::{
    Abandoned, Catalog, Disposition, Frame, Lost, Mode, Pass, Schema, ServerState, Session, Then,
    ToServer, Unleased, Violation, client_need,
};
use wire::{HEADER_LEN, Header};

use super::postgres::{Database, Postgres};
use super::transcript;

/// One thing that a client does.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Goes on only when nothing more comes.
    Wait,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Send(bytes) = self else { return f.write_str("Wait") };
        for (tag, body) in transcript::frames(bytes) {
            let text = String::from_utf8_lossy(&body).replace('\0', "|");
            write!(f, "<{} {text}>", char::from(tag))?;
        }
        Ok(())
    }
}

pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

/// Random choices that a seed fixes (xorshift).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// The unfinished part of a frame, and whether it goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rest {
    pub(crate) len: usize,
    pub(crate) passes: bool,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) state: ServerState,
    pub(crate) postgres: Postgres,
    /// On its way to the server, and from it.
    pub(crate) unsent: Vec<u8>,
    pub(crate) unread: Vec<u8>,
    pub(crate) rest: Rest,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) session: Session,
    script: VecDeque<Step>,
    /// Sent by the client and not dealt with.
    pub(crate) unread: Vec<u8>,
    pub(crate) rest: Rest,
    pub(crate) transcript: Vec<u8>,
    pub(crate) server: Option<Server>,
    pub(crate) waits: bool,
    pub(crate) violation: Option<Violation>,
    /// The server has closed its connection, and so the client's ends.
    pub(crate) is_lost: bool,
    has_left: bool,
    /// What became of the servers that it has lost.
    pub(crate) losses: Vec<Lost>,
    pub(crate) leases: usize,
}

#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) database: Database,
    pub(crate) schema: Arc<Schema>,
    pub(crate) login: Vec<(String, String)>,
    pub(crate) statement_limit: usize,
    pub(crate) clients: Vec<Client>,
    pub(crate) idle: Vec<Server>,
    pub(crate) queue: VecDeque<usize>,
    pub(crate) dice: Dice,
    pub(crate) resets: usize,
    pub(crate) discards: usize,
    pub(crate) retries: u32,
}

impl Relay {
    pub(crate) fn new(
        servers: usize,
        login: Settings<'_>,
        statement_limit: usize,
        seed: u64,
    ) -> Self {
        let mut relay = Self {
            catalog: Arc::default(),
            database: Rc::default(),
            schema: Arc::default(),
            login: login.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            statement_limit,
            clients: Vec::new(),
            idle: Vec::new(),
            queue: VecDeque::new(),
            dice: Dice::new(seed),
            resets: 0,
            discards: 0,
            retries: 0,
        };
        for _ in 0..servers {
            let server = relay.new_server();
            relay.idle.push(server);
        }
        relay
    }

    pub(crate) fn client(&mut self, mode: Mode, startup: Settings<'_>, script: Vec<Step>) -> usize {
        let login = self.login.iter().map(|(name, value)| (&**name, &**value));
        let startup = self.catalog.parameters(login.chain(startup.iter().copied()));
        self.clients.push(Client {
            session: Session::new(Arc::clone(&self.catalog), startup, mode),
            script: script.into(),
            unread: Vec::new(),
            rest: Rest::default(),
            transcript: Vec::new(),
            server: None,
            waits: false,
            violation: None,
            is_lost: false,
            has_left: false,
            losses: Vec::new(),
            leases: 0,
        });
        self.clients.len() - 1
    }

    pub(crate) fn new_server(&self) -> Server {
        let login: Vec<_> = self.login.iter().map(|(name, value)| (&**name, &**value)).collect();
        Server {
            state: ServerState::new(
                self.catalog.parameters(login.iter().copied()),
                self.statement_limit,
            )
            .of_database(Arc::clone(&self.schema)),
            postgres: Postgres::new(&self.database, &login),
            unsent: Vec::new(),
            unread: Vec::new(),
            rest: Rest::default(),
        }
    }

    /// Adds to what a client does.
    pub(crate) fn send(&mut self, client: usize, steps: Vec<Step>) {
        self.clients[client].script.extend(steps);
    }

    /// The client sends this, and an uncertain part of it and of the answers moves.
    pub(crate) fn send_unread(&mut self, client: usize, bytes: &[u8]) {
        self.send(client, vec![Step::Send(bytes.to_vec())]);
        while !self.clients[client].script.is_empty() {
            self.client_sends(client);
        }
        self.client_is_read(client);
        for _ in 0..self.dice.below(20) {
            self.turn(client);
        }
    }

    pub(crate) fn is_leased(&self, client: usize) -> bool {
        self.clients[client].server.is_some()
    }

    pub(crate) fn server_of(&mut self, client: usize) -> Option<&mut Server> {
        self.clients[client].server.as_mut()
    }

    /// The client's connection breaks.
    pub(crate) fn client_leaves(&mut self, at: usize) {
        self.queue.retain(|waiting| *waiting != at);
        let client = &mut self.clients[at];
        client.has_left = true;
        let mid_frame = client.rest.len > 0 && client.rest.passes;
        let Some(server) = &mut client.server else { return };
        let mut last = Vec::new();
        let abandoned = client.session.abandon(&mut server.state, mid_frame, &mut last);
        server.unsent.append(&mut last);
        if let Abandoned::Now(disposition) = abandoned {
            let is_whole = server.rest.len == 0 && server.unread.is_empty();
            server.rest = Rest::default();
            self.release(at, if is_whole { disposition } else { Disposition::Discard });
        }
        self.run();
    }

    /// So many moves, of whoever it happens to be.
    pub(crate) fn some_turns(&mut self, count: usize) {
        for _ in 0..count {
            let at = self.dice.below(self.clients.len());
            self.turn(at);
        }
    }

    /// Runs until nothing moves any more.
    pub(crate) fn run(&mut self) {
        let mut idle_rounds = 0;
        while idle_rounds < 3 {
            let mut moved = false;
            for _ in 0..self.clients.len() * 4 {
                let at = self.dice.below(self.clients.len());
                moved |= self.turn(at);
            }
            for at in 0..self.clients.len() {
                moved |= self.turn(at);
            }
            idle_rounds = if moved { 0 } else { idle_rounds + 1 };
        }
    }

    /// One move of a client or of its server.
    fn turn(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        if client.violation.is_some() || client.is_lost {
            return false;
        }
        if client.has_left {
            return self.server_moves(at);
        }
        let moved = match self.dice.below(3) {
            0 => self.client_sends(at),
            1 => self.client_is_read(at),
            _ => self.server_moves(at),
        };
        moved || self.server_moves(at) || self.client_is_read(at) || self.client_sends(at)
    }

    /// The client's next step; a wait is over when nothing of its moves.
    pub(crate) fn client_sends(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        match client.script.front_mut() {
            None => false,
            Some(Step::Send(bytes)) => {
                let len = 1 + self.dice.below(bytes.len() + 20);
                let len = len.min(bytes.len());
                client.unread.extend(bytes.drain(..len));
                if bytes.is_empty() {
                    client.script.pop_front();
                }
                true
            }
            Some(Step::Wait) => {
                let server_is_still = client.server.as_ref().is_none_or(|server| {
                    server.unsent.is_empty()
                        && server.unread.is_empty()
                        && !server.postgres.has_output()
                });
                if client.waits || !server_is_still || !client.unread.is_empty() {
                    return false;
                }
                client.script.pop_front();
                true
            }
        }
    }

    /// The session sees what the client has sent.
    pub(crate) fn client_is_read(&mut self, at: usize) -> bool {
        if self.clients[at].waits {
            return self.lend(at);
        }
        let client = &mut self.clients[at];
        let taken = client.rest.len.min(client.unread.len());
        if taken > 0 {
            client.rest.len -= taken;
            let bytes: Vec<u8> = client.unread.drain(..taken).collect();
            let passes = client.rest.passes;
            if let (Some(server), true) = (&mut client.server, passes) {
                server.unsent.extend(bytes);
            }
            self.end_frame(at);
            return true;
        }
        let Ok(Some(header)) = Header::peek(&client.unread) else { return false };
        if client.unread.len() < client_need(header) {
            return false;
        }
        let shown = client.unread.len().min(header.frame_len());
        let bytes = client.unread[..shown].to_vec();
        let frame = Frame { header, body: &bytes[HEADER_LEN..] };
        let verdict = match &mut client.server {
            None => match client.session.on_client_unleased(&frame, &mut client.transcript) {
                Ok(Unleased::Swallow | Unleased::Refused) => Ok(Pass::Swallow),
                Ok(Unleased::NeedServer) => {
                    client.waits = true;
                    self.queue.push_back(at);
                    return self.lend(at);
                }
                Ok(Unleased::Goodbye) => return false,
                Err(violation) => Err(violation),
            },
            Some(server) => {
                let mut inserted = Vec::new();
                let verdict = client.session.on_client(
                    &frame,
                    &mut server.state,
                    &mut inserted,
                    &mut client.transcript,
                );
                let is_empty = inserted.is_empty();
                server.unsent.append(&mut inserted);
                match verdict {
                    Ok(ToServer::Pass(pass)) => Ok(pass),
                    Ok(ToServer::Prepare) => return !is_empty,
                    Ok(ToServer::Goodbye) => return false,
                    Err(violation) => Err(violation),
                }
            }
        };
        match verdict {
            Ok(pass) => {
                if let (Some(server), Pass::Forward) = (&mut client.server, pass) {
                    server.unsent.extend_from_slice(&bytes);
                }
                client.unread.drain(..shown);
                client.rest =
                    Rest { len: header.frame_len() - shown, passes: pass != Pass::Swallow };
                self.end_frame(at);
            }
            Err(violation) => {
                client.violation = Some(violation);
                self.end(at);
            }
        }
        true
    }

    fn end(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.script.clear();
        if client.server.take().is_some() {
            self.discards += 1;
            let server = self.new_server();
            self.idle.push(server);
        }
    }

    fn end_frame(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(server) = &mut client.server else { return };
        let mid_frame = client.rest.len > 0 && client.rest.passes;
        if server.state.set_client_mid_frame(mid_frame)
            && !mid_frame
            && let Some(disposition) =
                client.session.release_if_quiet(&mut server.state, &mut server.unsent)
        {
            self.release(at, disposition);
        }
    }

    /// Bytes move between the model and the session.
    pub(crate) fn server_moves(&mut self, at: usize) -> bool {
        let Some(server) = &mut self.clients[at].server else { return false };
        let mut moved = false;
        if !server.unsent.is_empty() && self.dice.below(2) == 0 || server.unread.is_empty() {
            let len = (1 + self.dice.below(200)).min(server.unsent.len());
            let bytes: Vec<u8> = server.unsent.drain(..len).collect();
            server.postgres.receive(&bytes);
            moved |= len > 0;
        }
        let output = server.postgres.take_output(1 + self.dice.below(100));
        moved |= !output.is_empty();
        server.unread.extend(output);
        let has_ended = server.postgres.is_closed && !server.postgres.has_output();
        if has_ended && server.unread.is_empty() && server.rest.len == 0 {
            self.clients[at].is_lost = true;
            self.end(at);
            return true;
        }
        moved | self.server_is_read(at)
    }

    fn server_is_read(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        let Some(server) = &mut client.server else { return false };
        let taken = server.rest.len.min(server.unread.len());
        if taken > 0 {
            server.rest.len -= taken;
            let bytes: Vec<u8> = server.unread.drain(..taken).collect();
            if server.rest.passes {
                client.transcript.extend(bytes);
            }
            return true;
        }
        let Some(header) = Header::peek(&server.unread).unwrap() else { return false };
        if server.unread.len() < server.state.need(header) {
            return false;
        }
        let shown = server.unread.len().min(header.frame_len());
        let bytes: Vec<u8> = server.unread.drain(..shown).collect();
        let frame = Frame { header, body: &bytes[HEADER_LEN..] };
        let mut back = Vec::new();
        let verdict =
            client.session.on_server(&frame, &mut server.state, &mut client.transcript, &mut back);
        server.unsent.append(&mut back);
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(violation) => {
                client.violation = Some(violation);
                self.end(at);
                return true;
            }
        };
        if verdict.pass == Pass::Forward {
            client.transcript.extend_from_slice(&bytes);
        }
        server.rest =
            Rest { len: header.frame_len() - shown, passes: verdict.pass != Pass::Swallow };
        match verdict.then {
            Then::Release(disposition) => self.release(at, disposition),
            Then::ServerLost => self.lose_server(at),
            Then::Continue | Then::Quiet => self.check_preparation(at),
        }
        true
    }

    fn check_preparation(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(server) = &mut client.server else { return };
        if !server.state.is_preparing() || !server.state.is_quiet() {
            return;
        }
        let header = Header::peek(&client.unread).unwrap().unwrap();
        let disposition = client
            .session
            .take_preparation_failure(header.tag, &mut server.state, &mut client.transcript)
            .expect("quiet and still preparing");
        let whole = header.frame_len().min(client.unread.len());
        client.rest = Rest { len: header.frame_len() - whole, passes: false };
        client.unread.drain(..whole);
        self.release(at, disposition);
    }
}

/// The same script on a connection of its own, without us.
pub(crate) fn direct(database: &Database, startup: Settings<'_>, script: &[Step]) -> Vec<u8> {
    let mut postgres = Postgres::new(database, startup);
    for step in script {
        if let Step::Send(bytes) = step {
            postgres.receive(bytes);
        }
    }
    postgres.take_output(usize::MAX)
}
