//! Named prepared statements: the client's names in, ours out.

use std::sync::Arc;

use wire::message::{self, BindHead, Parse};
use wire::tag::frontend as f;

use crate::catalog::{NAME_PREFIX, Statement};
use crate::classify::Leaves;
use crate::client::extended;
use crate::expect::Expect;
use crate::frame::Frame;
use crate::server::{ServerState, Unnamed};
use crate::session::Session;
use crate::statements::{Change, Presence};
use crate::verdict::{ToServer, Violation};

/// A statement of the name that no server has: makes it answer 26000 itself, at the right
/// place in the pipeline and with the right effect on the transaction.
const MISSING: &[u8] = b"pgmesh:missing";

impl Session {
    /// The client's statement of this name, as it will be when all answers have come.
    fn statement(&self, name: &[u8], server: &ServerState) -> Option<Arc<Statement>> {
        match server.pending.client(name) {
            Some(pending) => pending.cloned(),
            None => self.statements.as_ref()?.get(name).cloned(),
        }
    }

    pub(crate) fn on_parse_named(
        &mut self,
        parse: &Parse<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> ToServer {
        if let Some(taken) = self.statement(parse.name, server) {
            // The server itself must fail this, with 42P05: it has one of that name.
            ensure_parsed(&taken, server, to_server);
            server.expected.push(Expect::Parse { named: false });
            message::put_parse(to_server, &taken.name, parse.definition);
            return ToServer::REPLACE;
        }
        let statement = self.catalog.statement(&self.parameters, parse.definition);
        server.leaves = server.leaves.max(statement.leaves);
        let client_name = Box::from(parse.name);
        if is_parsed(&statement, server, to_server) {
            server.expected.push(Expect::LocalParse);
            server.pending.push(Change::Named { statement, client_name });
            return ToServer::SWALLOW;
        }
        message::put_parse(to_server, &statement.name, &statement.definition);
        server.expected.push(Expect::Parse { named: true });
        server.pending.push(Change::Parsed { statement, client_name: Some(client_name) });
        ToServer::REPLACE
    }

    #[inline]
    pub(crate) fn on_bind(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<ToServer, Violation> {
        let head = BindHead::parse(frame.body)?;
        server.batch.keep(frame);
        if head.statement.is_empty() {
            self.ensure_unnamed(server, to_server);
            server.expected.push(Expect::Bind);
            return Ok(ToServer::FORWARD);
        }
        let statement = self.statement(head.statement, server);
        let name = match &statement {
            Some(statement) => {
                server.leaves = server.leaves.max(statement.leaves);
                ensure_parsed(statement, server, to_server);
                &*statement.name
            }
            None => foreign_name(head.statement),
        };
        server.expected.push(Expect::Bind);
        let shown = frame.body.get(head.len()..).unwrap_or_default();
        let rest = frame.header.body_len as usize - head.len();
        let body_len = u32::try_from(rest + head.portal.len() + name.len() + 2);
        message::put_header(to_server, f::BIND, body_len.map_err(|_| Violation::malformed())?);
        to_server.extend_from_slice(head.portal);
        to_server.push(0);
        to_server.extend_from_slice(name);
        to_server.push(0);
        to_server.extend_from_slice(shown);
        Ok(ToServer::REPLACE)
    }

    pub(crate) fn on_describe(
        &mut self,
        frame: &Frame<'_>,
        name: &[u8],
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<ToServer, Violation> {
        if name.is_empty() {
            self.ensure_unnamed(server, to_server);
            return Ok(extended(frame, server, Expect::Describe));
        }
        server.batch.keep(frame);
        let statement = self.statement(name, server);
        let name = match &statement {
            Some(statement) => {
                ensure_parsed(statement, server, to_server);
                &*statement.name
            }
            None => foreign_name(name),
        };
        server.expected.push(Expect::Describe);
        message::put_describe_statement(to_server, name);
        Ok(ToServer::REPLACE)
    }

    pub(crate) fn on_close(
        &mut self,
        frame: &Frame<'_>,
        name: &[u8],
        server: &mut ServerState,
    ) -> ToServer {
        if name.is_empty() {
            self.unnamed = None;
            server.unnamed = Unnamed::Foreign;
            return extended(frame, server, Expect::Close);
        }
        server.batch.keep(frame);
        // One made by PREPARE in this lease is on the server under the client's own name.
        if server.leaves == Leaves::State && self.statement(name, server).is_none() {
            server.expected.push(Expect::Close);
            return ToServer::FORWARD;
        }
        // The server keeps its own: the next client of the same text finds it.
        server.expected.push(Expect::LocalClose);
        server.pending.push(Change::Dropped { client_name: name.into() });
        ToServer::SWALLOW
    }

    /// Makes sure that the server's unnamed statement is this client's and nobody else's.
    fn ensure_unnamed(&mut self, server: &mut ServerState, to_server: &mut Vec<u8>) {
        if server.unnamed == Unnamed::Ours {
            return;
        }
        match &self.unnamed {
            Some(definition) => {
                message::put_parse(to_server, b"", definition);
                server.expected.push(Expect::OwnParse { named: false });
                server.unnamed = Unnamed::Ours;
                server.unnamed_definition.clear();
                server.unnamed_definition.extend_from_slice(definition);
            }
            None => {
                message::put_close_statement(to_server, b"");
                server.expected.push(Expect::OwnClose { named: false });
            }
        }
    }
}

/// Parses the statement on the server first, unseen by the client, unless it is there.
#[inline]
fn ensure_parsed(statement: &Arc<Statement>, server: &mut ServerState, to_server: &mut Vec<u8>) {
    if is_parsed(statement, server, to_server) {
        return;
    }
    message::put_parse(to_server, &statement.name, &statement.definition);
    server.expected.push(Expect::OwnParse { named: true });
    let statement = Arc::clone(statement);
    server.pending.push(Change::Parsed { statement, client_name: None });
}

/// Whether the server will have the statement when all answers have come. If not, makes
/// room for it: closes what is in its way, so that a Parse can follow.
fn is_parsed(statement: &Statement, server: &mut ServerState, to_server: &mut Vec<u8>) -> bool {
    let known = server.statements.touch(statement.id, server.batches_sent);
    let presence = match server.pending.server(statement.id) {
        None => known,
        Some(true) => Presence::Present,
        Some(false) => Presence::Absent,
    };
    match presence {
        Presence::Present => {
            server.counters.statement_hits += 1;
            return true;
        }
        Presence::Stale => close_on_server(statement, server, to_server),
        Presence::Absent => {
            if let Some(oldest) = server.statements.evict(server.batches_done)
                && server.pending.server(oldest.id) != Some(false)
            {
                server.counters.statement_evictions += 1;
                close_on_server(&oldest, server, to_server);
            }
        }
    }
    server.counters.statement_misses += 1;
    false
}

/// Closes a statement on the server within the client's batch, unseen.
pub(crate) fn close_on_server(
    statement: &Statement,
    server: &mut ServerState,
    to_server: &mut Vec<u8>,
) {
    message::put_close_statement(to_server, &statement.name);
    server.expected.push(Expect::OwnClose { named: true });
    server.pending.push(Change::Closed { id: statement.id });
}

/// The name for a statement that the client does not have with us: it may have made it by
/// PREPARE in this very lease. One of our own names in it would reach what others parsed.
fn foreign_name(name: &[u8]) -> &[u8] {
    if name.starts_with(NAME_PREFIX) { MISSING } else { name }
}
