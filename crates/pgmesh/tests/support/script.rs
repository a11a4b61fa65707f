//! Scripts of raw messages: what clients send, in which chunks, and what each step waits for.
//!
//! A step ends with an answer that must come, never with time: the ReadyForQuery of a Sync or a
//! Query, a message of a certain kind after a Flush, or the end of the connection.

use crate::raw::{self, Chunks};

/// What a client does in one step.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Logs in with a startup packet; up to ReadyForQuery, an error or the end.
    Open(Vec<u8>),
    /// As [`Act::Open`] with these parameters beside user and database.
    LogIn(Vec<(String, String)>),
    /// Sends, and waits for nothing.
    Send(Vec<u8>, Chunks),
    /// Waits for so many messages of this tag.
    Until(u8, usize),
    /// Waits for the end of the connection.
    Closed,
    /// Asks for the cancellation of what the client has running.
    Cancel,
    /// Closes the connection without a Terminate.
    HangUp,
    /// Runs SQL on a connection that never leads through pgmesh.
    Aside(String),
}

/// Where a script runs other than directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As often as it has clients, no neighbours.
    Alone,
    /// One server, on which a neighbour works whenever the script's client has nothing open.
    Shared,
    /// Two servers: what the client did on the one, it continues on the other.
    Alternating,
    /// One server for each client as long as that stays.
    Session,
}

/// A script. Made by its `say` and `on` methods, in the order in which things happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) acts: Vec<(usize, Act)>,
    /// SQL that runs before each run of the script, past pgmesh.
    pub(crate) before: String,
    /// It leaves what keeps its client the server, so that nobody can share it.
    pub(crate) keeps_server: bool,
    client: usize,
    chunks: Option<Chunks>,
    /// Those that have logged in.
    known: Vec<usize>,
}

impl Script {
    /// A script of one client that logs in with nothing but user and database.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// SQL to run beforehand; it must work again and again.
    pub(crate) fn before(&mut self, sql: &str) -> &mut Self {
        self.before.push_str(sql);
        self.before.push(';');
        self
    }

    /// It leaves what keeps its client the server.
    pub(crate) fn keeps_server(&mut self) -> &mut Self {
        self.keeps_server = true;
        self
    }

    /// From here on this client acts. It logs in now, if it has not yet.
    pub(crate) fn on(&mut self, client: usize) -> &mut Self {
        self.client = client;
        self.logged_in();
        self
    }

    /// The client logs in with these settings.
    pub(crate) fn log_in(&mut self, parameters: &[(&str, &str)]) -> &mut Self {
        let parameters = parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        self.known.push(self.client);
        self.act(Act::LogIn(parameters.collect()))
    }

    /// From here on this client acts, and logs in with these settings.
    pub(crate) fn log_in_on(&mut self, client: usize, parameters: &[(&str, &str)]) -> &mut Self {
        self.client = client;
        self.log_in(parameters)
    }

    /// The client connects, and sends this in place of its startup packet.
    pub(crate) fn open(&mut self, packet: Vec<u8>) -> &mut Self {
        self.known.push(self.client);
        self.act(Act::Open(packet))
    }

    /// From here on what is sent is cut into pieces of these sizes, again and again.
    pub(crate) fn in_chunks(&mut self, sizes: &[usize]) -> &mut Self {
        self.chunks = Some(Chunks::Sizes(sizes.to_vec()));
        self
    }

    /// Sends messages in one piece and waits for nothing.
    pub(crate) fn send(&mut self, messages: &[Vec<u8>]) -> &mut Self {
        self.logged_in();
        let chunks = self.chunks.clone().unwrap_or(Chunks::Whole);
        self.act(Act::Send(messages.concat(), chunks))
    }

    /// Waits for so many ReadyForQuery.
    pub(crate) fn ready(&mut self, count: usize) -> &mut Self {
        self.until(b'Z', count)
    }

    /// Waits for so many messages of a tag.
    pub(crate) fn until(&mut self, tag: u8, count: usize) -> &mut Self {
        self.act(Act::Until(tag, count))
    }

    /// Sends messages and waits for the one ReadyForQuery that they cause.
    pub(crate) fn say(&mut self, messages: &[Vec<u8>]) -> &mut Self {
        self.send(messages).ready(1)
    }

    /// A simple query, up to its ReadyForQuery.
    pub(crate) fn query(&mut self, sql: &str) -> &mut Self {
        self.say(&[raw::query(sql)])
    }

    /// Waits for the end of the connection.
    pub(crate) fn closed(&mut self) -> &mut Self {
        self.act(Act::Closed)
    }

    /// Cancels what the client has running.
    pub(crate) fn cancel(&mut self) -> &mut Self {
        self.act(Act::Cancel)
    }

    /// Goes without a word.
    pub(crate) fn hang_up(&mut self) -> &mut Self {
        self.act(Act::HangUp)
    }

    /// SQL past pgmesh.
    pub(crate) fn aside(&mut self, sql: &str) -> &mut Self {
        self.act(Act::Aside(sql.to_owned()))
    }

    /// How many clients take part.
    pub(crate) fn clients(&self) -> usize {
        self.known.iter().max().map_or(0, |last| last + 1)
    }

    fn logged_in(&mut self) {
        if !self.known.contains(&self.client) {
            self.log_in(&[]);
        }
    }

    fn act(&mut self, act: Act) -> &mut Self {
        self.acts.push((self.client, act));
        self
    }
}
