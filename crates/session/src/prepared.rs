//! Named prepared statements: the client's names in, ours out.

use std::sync::Arc;

use wire::message::{self, BindHead, Parse, TransactionStatus};
use wire::tag::frontend as f;

use crate::catalog::{NAME_PREFIX, Statement};
use crate::classify::{Leaves, NameUse};
use crate::client::extended;
use crate::expect::Expect;
use crate::frame::Frame;
use crate::names::probe_name;
use crate::server::ServerState;
use crate::session::Session;
use crate::statements::{Change, Presence, key, name_hash};
use crate::unnamed::Uncertain;
use crate::verb::Verb;
use crate::verdict::{ToServer, Violation};

/// A statement of the name that no server has: makes it answer 26000 itself, at the right
/// place in the pipeline and with the right effect on the transaction.
pub(crate) const MISSING: &[u8] = b"pgmesh:missing";

/// A portal that no client opens: to close it is nothing, but is answered.
const NO_PORTAL: &[u8] = b"pgmesh:none";

impl Session {
    /// The client's statement of this name, as it will be when all answers have come.
    #[inline]
    pub(crate) fn statement(
        &self,
        name: &[u8],
        server: &ServerState,
    ) -> Result<Option<Arc<Statement>>, Uncertain> {
        let name = key(name);
        if server.deallocates && !server.expected.is_empty() && !server.reads_copy() {
            return Err(Uncertain);
        }
        Ok(match server.pending.client(name, server.batch_number) {
            Ok(Some(pending)) => pending.cloned(),
            Err(Uncertain) if !server.reads_copy() => return Err(Uncertain),
            Ok(None) | Err(Uncertain) => self.known(name).cloned(),
        })
    }

    /// The client's statement of this name, by what has been answered.
    #[inline]
    pub(crate) fn known(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.statements.as_ref()?.get(key(name))
    }

    pub(crate) fn on_parse_named(
        &mut self,
        frame: &Frame<'_>,
        parse: &Parse<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> ToServer {
        match self.parse_named(parse, server, to_server) {
            Ok(verdict) => {
                server.counters.client_parses += 1;
                server.batch.keep(frame);
                verdict
            }
            Err(Uncertain) => server.hold(to_server),
        }
    }

    fn parse_named(
        &self,
        parse: &Parse<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<ToServer, Uncertain> {
        let may_be_free = server.may_have_dropped(parse.name);
        let taken = self.statement(parse.name, server)?.filter(|_| !may_be_free);
        let schema = server.schema.now();
        let statement = self.catalog.statement(&self.parameters, schema, parse.definition);
        let client_name = Box::from(key(parse.name));
        if let Some(taken) = taken {
            // The server itself must fail this, with 42P05: it has one of that name.
            ensure_parsed(&taken, server, to_server)?;
            server.expected.push(Expect::ParseNamed);
            server.change(Change::Replaced { taken: taken.id, statement, client_name });
            message::put_parse(to_server, &taken.name, parse.definition);
            return Ok(ToServer::REPLACE);
        }
        self.note_hints(statement.hints, statement.text(), server);
        self.bring_names(statement.hints, statement.text(), server, to_server)?;
        if self.bring_name(parse.name, server, to_server)? {
            // So must this, for one that PREPARE has made.
            server.expected.push(Expect::ParseNamed);
            server.change(Change::Replaced { taken: 0, statement, client_name });
            message::put_parse(to_server, parse.name, parse.definition);
            return Ok(ToServer::REPLACE);
        }
        if server.may_have_names || may_be_free {
            probe_name(parse.name, &statement, server, to_server);
        }
        if is_parsed(&statement, server, to_server)? {
            // In a failed transaction the server would refuse it.
            if server.expected.ready_outstanding() == usize::from(server.is_ahead())
                && server.status != TransactionStatus::Failed
            {
                message::put_close_portal(to_server, NO_PORTAL);
                server.expected.push(Expect::Adopt);
                server.change(Change::Named { statement, client_name });
                return Ok(ToServer::REPLACE);
            }
            close_on_server(&statement, server, to_server);
        }
        message::put_parse(to_server, &statement.name, &statement.definition);
        server.expected.push(Expect::ParseNamed);
        server.change(Change::Parsed { statement, client_name: Some(client_name) });
        Ok(ToServer::REPLACE)
    }

    #[inline]
    pub(crate) fn on_bind(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<ToServer, Violation> {
        let head = BindHead::parse(frame.body)?;
        if head.statement.is_empty() {
            let Ok(()) = self.ensure_unnamed(server, to_server) else {
                return Ok(server.hold(to_server));
            };
            if let Some(dropped) = self.unnamed_drops(server)
                && self.stand_in(&dropped, server, to_server).is_err()
            {
                return Ok(server.hold(to_server));
            }
            if head.portal.is_empty() {
                server.in_batch.portal_is_local = server.in_batch.unnamed_is_local;
                server.in_batch.portal_empties = self.unnamed_empties(server);
            }
            server.bind(head.portal, self.unnamed_verb(server));
            return Ok(extended(frame, server, Expect::Bind { statement: 0, name: 0 }));
        }
        let Ok(statement) = self.ensure_named(head.statement, server, to_server) else {
            return Ok(server.hold(to_server));
        };
        if let Some(dropped) = statement.as_ref().and_then(|it| it.drops.as_deref())
            && self.stand_in(dropped, server, to_server).is_err()
        {
            return Ok(server.hold(to_server));
        }
        server.batch.keep(frame);
        let (id, name) = match &statement {
            Some(statement) => {
                self.note_hints(statement.hints, statement.text(), server);
                (statement.id, statement.current_name())
            }
            None => (0, foreign_name(head.statement).into()),
        };
        if head.portal.is_empty() {
            server.in_batch.portal_is_local = statement.as_ref().is_some_and(|it| it.local_set);
            server.in_batch.portal_empties = statement.as_ref().and_then(|it| it.empties.clone());
        }
        server.expected.push(Expect::Bind { statement: id, name: name_hash(head.statement) });
        // One made by PREPARE cannot end a transaction.
        server.bind(head.portal, statement.as_ref().map_or(Verb::Plain, |it| it.verb));
        let shown = frame.body.get(head.len()..).unwrap_or_default();
        let rest = frame.header.body_len as usize - head.len();
        let body_len = u32::try_from(rest + head.portal.len() + name.len() + 2);
        message::put_header(to_server, f::BIND, body_len.map_err(|_| Violation::malformed())?);
        to_server.extend_from_slice(head.portal);
        to_server.push(0);
        to_server.extend_from_slice(&name);
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
            return Ok(match self.ensure_unnamed(server, to_server) {
                Ok(()) => extended(frame, server, Expect::DESCRIBE),
                Err(Uncertain) => server.hold(to_server),
            });
        }
        let Ok(statement) = self.ensure_named(name, server, to_server) else {
            return Ok(server.hold(to_server));
        };
        server.batch.keep(frame);
        let (id, ours) = match &statement {
            Some(statement) => (statement.id, statement.current_name()),
            None => (0, foreign_name(name).into()),
        };
        server.expected.push(Expect::Describe { statement: id, name: name_hash(name) });
        message::put_describe_statement(to_server, &ours);
        Ok(ToServer::REPLACE)
    }

    pub(crate) fn on_close(
        &mut self,
        frame: &Frame<'_>,
        name: &[u8],
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
        to_client: &mut Vec<u8>,
    ) -> ToServer {
        if name.is_empty() {
            server.in_batch.unnamed_set = true;
            server.in_batch.unnamed_is_local = false;
            server.in_batch.unnamed_drops = None;
            server.in_batch.unnamed_empties = None;
            server.in_batch.unnamed_verb = Verb::Plain;
            return extended(frame, server, Expect::CloseUnnamed);
        }
        // One made by PREPARE in this lease is on the server under the client's own name.
        let may_be_there = (server.leaves != Leaves::Nothing
            || !server.pins.is_empty()
            || server.stand_in.is_some()
            || server.may_have_names
            || server.has_name(name)
            || self.has_prepared(name))
            && !name.starts_with(NAME_PREFIX);
        if may_be_there && self.statement(name, server).is_err() {
            return server.hold(to_server);
        }
        // The server keeps its own: the next client of the same text finds it.
        if server.is_quiet() && !may_be_there {
            self.drop_statement(name);
            to_client.extend_from_slice(message::CLOSE_COMPLETE);
            return ToServer::SWALLOW;
        }
        server.batch.keep(frame);
        if may_be_there {
            message::put_close_statement(to_server, name);
        } else {
            message::put_close_portal(to_server, NO_PORTAL);
        }
        server.expected.push(Expect::Forget);
        server.change(Change::Dropped { client_name: key(name).into() });
        ToServer::REPLACE
    }

    /// The client no longer has a statement of this name.
    pub(crate) fn drop_statement(&mut self, name: &[u8]) {
        self.drop_prepared(name);
        if let Some(statements) = &mut self.statements {
            statements.remove(key(name));
        }
    }

    /// The client's statement of this name, parsed on the server if there is one. One that has
    /// been retired is not used any more: its result would not be what the client was told. So
    /// it has another name, and the server fails what uses it with 26000. `None`, too, for one
    /// that only the server knows by the client's own name.
    #[inline]
    fn ensure_named(
        &self,
        name: &[u8],
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<Option<Arc<Statement>>, Uncertain> {
        let statement = self.statement(name, server)?.filter(|_| !server.may_have_dropped(name));
        match &statement {
            // It looks for itself, and must find the client's name and no other.
            Some(statement)
                if statement.hints.names == NameUse::Views
                    && !statement.is_retired()
                    && server.status != TransactionStatus::Failed =>
            {
                self.note_hints(statement.hints, statement.text(), server);
                self.bring_names(statement.hints, statement.text(), server, to_server)?;
                return Ok(None);
            }
            Some(statement) => {
                if !statement.is_retired() {
                    ensure_parsed(statement, server, to_server)?;
                }
                self.bring_names(statement.hints, statement.text(), server, to_server)?;
            }
            None => {
                self.bring_name(name, server, to_server)?;
            }
        }
        Ok(statement)
    }
}

impl ServerState {
    /// Notes what the statement of a portal does.
    #[inline]
    fn bind(&mut self, portal: &[u8], verb: Verb) {
        self.in_batch.is_bound = true;
        if portal.is_empty() {
            self.portals.unnamed = verb;
        } else if verb != Verb::Plain {
            self.portals.named = Verb::Any;
        }
    }

    pub(crate) fn change(&mut self, change: Change) {
        self.pending.push(self.batch_number, change);
    }
}

/// Parses the statement on the server first, unseen by the client, unless it is there.
#[inline]
fn ensure_parsed(
    statement: &Arc<Statement>,
    server: &mut ServerState,
    to_server: &mut Vec<u8>,
) -> Result<(), Uncertain> {
    if !is_parsed(statement, server, to_server)? {
        message::put_parse(to_server, &statement.name, &statement.definition);
        server.expected.push(Expect::OwnParse);
        let statement = Arc::clone(statement);
        server.change(Change::Parsed { statement, client_name: None });
    }
    Ok(())
}

/// Whether the server will have the statement when all answers have come. If not, makes
/// room for it: closes what is in its way, so that a Parse can follow.
fn is_parsed(
    statement: &Statement,
    server: &mut ServerState,
    to_server: &mut Vec<u8>,
) -> Result<bool, Uncertain> {
    let known = server.statements.touch(statement.id);
    let presence = match server.pending.server(statement.id, server.batch_number) {
        Ok(None) => known,
        Ok(Some(true)) => Presence::Present,
        Ok(Some(false)) => Presence::Absent,
        Err(Uncertain) if server.reads_copy() => known,
        Err(Uncertain) => return Err(Uncertain),
    };
    match presence {
        Presence::Present => {
            server.counters.statement_hits += 1;
            return Ok(true);
        }
        Presence::Stale => close_on_server(statement, server, to_server),
        Presence::Absent => make_room(server, to_server),
    }
    server.counters.statement_misses += 1;
    Ok(false)
}

/// Two at most, so that a table that a large batch has swollen shrinks again.
fn make_room(server: &mut ServerState, to_server: &mut Vec<u8>) {
    for _ in 0..2 {
        let Some(oldest) = server.statements.evict(&server.pending) else { return };
        server.counters.statement_evictions += 1;
        close_on_server(&oldest, server, to_server);
    }
}

/// Closes a statement on the server within the client's batch, unseen.
pub(crate) fn close_on_server(
    statement: &Statement,
    server: &mut ServerState,
    to_server: &mut Vec<u8>,
) {
    message::put_close_statement(to_server, &statement.name);
    server.expected.push(Expect::OwnClose);
    server.change(Change::Closed { id: statement.id });
}

/// The name for a statement that the client does not have with us: it may have made it by
/// PREPARE in this very lease. One of our own names in it would reach what others parsed.
fn foreign_name(name: &[u8]) -> &[u8] {
    if name.starts_with(NAME_PREFIX) { MISSING } else { name }
}
