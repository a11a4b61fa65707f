//! The names that clients give to statements in SQL: one name space of SQL `PREPARE` and of Parse,
//! as in Postgres, on whichever server the client has.
//!
//! What Parse has made is on every server under a name of ours. What `PREPARE` has made is the
//! client's text, told by the account. Both are given to a server under the client's own name, in
//! front of a text that may use it: one in which `EXECUTE`, `PREPARE` or `DEALLOCATE` is, and the
//! name. They stay there when the lease ends, and are taken away in front of the first such text of
//! a client that has none, or another, of that name: nothing else could tell that they are there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wire::message::{self, TransactionStatus};
use wire::tag::{backend as b, frontend as f};

use crate::catalog::{NAME_PREFIX, Statement};
use crate::classify::{self, Hints, NameUse};
use crate::deallocate::deallocated;
use crate::expect::Expect;
use crate::frame::Frame;
use crate::naming::{made_by, mentions};
use crate::prepared::close_on_server;
use crate::reply::ready_status;
use crate::rules::{Feature, Treatment};
use crate::server::{InBatch, OwnQuery, ServerState};
use crate::session::{Mode, Session};
use crate::statements::{Change, key};
use crate::unnamed::Uncertain;
use crate::verdict::{ToClient, Violation};

/// What a client has made by `PREPARE`: its texts by their names.
pub(crate) type SqlStatements = BTreeMap<Box<[u8]>, Arc<str>>;

/// The statement and the portal by which a text is run that makes another.
const MAKER: &[u8] = b"pgmesh:prepare";

/// What is on a server under a client's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The text of a `PREPARE`.
    Sql(Arc<str>),
    /// A statement of the catalogue.
    Parse(u64),
    /// An empty one, to be dropped.
    StandIn,
}

/// The names of clients that a server has.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<Box<[u8]>, Origin>);

/// What a server says is there under the names of clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Texts that made statements, by the statements' names.
    pub(crate) sql: Vec<(String, String)>,
    /// Names of what Parse has made.
    pub(crate) parsed: Vec<String>,
}

impl Names {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What there is now under one of them.
    pub(crate) fn set(&mut self, name: &[u8], origin: Option<Origin>) {
        match origin {
            Some(origin) => self.0.insert(key(name).into(), origin),
            None => self.0.remove(key(name)),
        };
    }
}

impl Session {
    /// Whether what the client makes by `PREPARE` follows it from server to server.
    pub(crate) fn carries_prepared(&self) -> bool {
        self.mode != Mode::Session
            && self.rules.treatment(Feature::PreparedStatements) == Treatment::Replay
    }

    /// Gives `server` the statements that `text` may use by the client's own names, and takes away
    /// those of other clients.
    ///
    /// # Errors
    /// Which they are depends on answers that have not come.
    #[inline]
    pub(crate) fn bring_names(
        &self,
        hints: Hints,
        text: &[u8],
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<(), Uncertain> {
        // In a failed transaction it is refused in any case.
        if !self.may_bring(hints, server) || server.status == TransactionStatus::Failed {
            return Ok(());
        }
        self.bring(hints, text, server, to_server)
    }

    /// Whether a text may use names that the client or the server has.
    #[inline]
    fn may_bring(&self, hints: Hints, server: &ServerState) -> bool {
        let uses = hints.names != NameUse::None;
        let has_parsed = self.statements.is_some() || !server.pending.is_empty();
        (uses && (has_parsed || hints.names == NameUse::Views))
            || ((uses || self.asks_always())
                && (self.prepared.is_some() || !server.names.is_empty()))
    }

    /// As [`Session::bring_names`], for the name in a message of the extended protocol. True if
    /// the client has made it by `PREPARE`.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn bring_name(
        &self,
        name: &[u8],
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<bool, Uncertain> {
        if self.prepared.is_none() && server.names.is_empty() {
            return Ok(false);
        }
        let name = key(name);
        self.bring(Hints::NONE, name, server, to_server)?;
        Ok(self.has_prepared(name))
    }

    /// Whether the client has made a statement of this name by `PREPARE`.
    pub(crate) fn has_prepared(&self, name: &[u8]) -> bool {
        let prepared = self.prepared.as_deref();
        prepared.is_some_and(|them| them.contains_key(key(name)))
    }

    /// The client no longer has what `PREPARE` had made of this name.
    pub(crate) fn drop_prepared(&mut self, name: &[u8]) {
        if let Some(prepared) = &mut self.prepared {
            prepared.remove(key(name));
            if prepared.is_empty() {
                self.prepared = None;
            }
        }
    }

    /// As [`Session::bring_names`], in front of a Query: which would be skipped, and never
    /// answered, if what is brought failed and no Sync were behind it.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub(crate) fn bring_names_to_query(
        &self,
        hints: Hints,
        text: &[u8],
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<(), Uncertain> {
        if !self.may_bring(hints, server) || server.reads_copy() {
            return Ok(());
        }
        // A Sync would end what an error makes the server skip, too.
        if server.is_ahead() || (server.in_batch.is_open && !server.is_quiet()) {
            return Err(Uncertain);
        }
        // It would commit what a Bind has begun; and a failed transaction refuses all of it.
        if server.in_batch.is_bound || server.status == TransactionStatus::Failed {
            if server.pending.is_empty() {
                self.take_foreign_names(server, to_server);
            }
            return Ok(());
        }
        let owed = server.expected.len();
        self.bring(hints, text, server, to_server)?;
        if server.expected.len() > owed {
            to_server.extend_from_slice(message::SYNC);
            server.expected.push(Expect::NameSync);
            server.batch_number += 1;
            server.in_batch = InBatch::default();
        }
        Ok(())
    }

    #[cold]
    fn bring(
        &self,
        hints: Hints,
        text: &[u8],
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<(), Uncertain> {
        if server.reads_copy() {
            return Ok(());
        }
        if !server.pending.is_empty() || (server.deallocates && !server.is_quiet()) {
            return Err(Uncertain);
        }
        server.batch.give_up();
        self.take_foreign_names(server, to_server);
        let text = if deallocated(text).is_some() { b"" } else { text };
        let views = hints.names == NameUse::Views;
        let brings_prepared = views || self.asks_always();
        for (name, sql) in self.prepared.iter().flat_map(|them| them.iter()) {
            if brings_prepared || mentions(text, name) {
                self.note_hints(classify::text(sql.as_bytes()), sql.as_bytes(), server);
                bring_sql(name, sql, server, to_server);
            }
        }
        // In the order in which they were made, as far as that is known.
        let mut parsed: Vec<_> = self.statements.iter().flat_map(|them| them.iter()).collect();
        parsed.sort_unstable_by_key(|(_, statement)| statement.id);
        for (name, statement) in parsed {
            if (views || mentions(text, name)) && !statement.is_retired() {
                self.note_hints(statement.hints, statement.text(), server);
                bring_parsed(name, statement, server, to_server);
            }
        }
        if views {
            // What a PREPARE that has failed has left.
            message::put_close_statement(to_server, MAKER);
            server.expected.push(Expect::Name);
            for statement in server.statements.all() {
                close_on_server(&statement, server, to_server);
            }
        }
        Ok(())
    }

    /// Takes away what the server has under names that mean something else to this client.
    fn take_foreign_names(&self, server: &mut ServerState, to_server: &mut Vec<u8>) {
        let is_own = |name: &[u8], origin: &Origin| match origin {
            Origin::Sql(sql) => {
                let prepared = self.prepared.as_deref();
                prepared.and_then(|them| them.get(name)).is_some_and(|own| own == sql)
            }
            Origin::Parse(id) => self.known(name).is_some_and(|own| own.id == *id),
            Origin::StandIn => true,
        };
        let there = server.names.0.iter();
        let foreign: Vec<Box<[u8]>> = there
            .filter(|(name, origin)| !is_own(name, origin))
            .map(|(name, _)| name.clone())
            .collect();
        for name in foreign {
            server.take_name(&name, to_server);
        }
    }

    /// The server has told what is there: what has changed since it was last known is the client's
    /// doing. False if another server cannot be given all of it.
    pub(crate) fn settle_names(&mut self, told: &Told, server: &mut ServerState) -> bool {
        let mut there = HashMap::new();
        let mut is_carried = true;
        let mut prepared = self.prepared.take().map(|them| *them).unwrap_or_default();
        for (name, text) in &told.sql {
            let Some(own) = made_by(text.as_bytes(), name.as_bytes()) else {
                is_carried = false;
                continue;
            };
            let sql = match server.names.0.get(name.as_bytes()) {
                Some(Origin::Sql(sql)) if **sql == *own => Arc::clone(sql),
                _ => {
                    let sql: Arc<str> = own.into();
                    prepared.insert(name.as_bytes().into(), Arc::clone(&sql));
                    sql
                }
            };
            there.insert(Box::from(name.as_bytes()), Origin::Sql(sql));
        }
        for (name, origin) in server.names.0.drain() {
            match origin {
                Origin::Sql(_) if !there.contains_key(&name) => {
                    prepared.remove(&name);
                }
                Origin::Parse(id) if !told.parsed.iter().any(|it| it.as_bytes() == &*name) => {
                    if self.known(&name).is_some_and(|own| own.id == id) {
                        self.drop_statement(&name);
                    }
                }
                Origin::Parse(_) => {
                    there.insert(name, origin);
                }
                Origin::Sql(_) | Origin::StandIn => {}
            }
        }
        server.names = Names(there);
        self.prepared = (!prepared.is_empty()).then(|| Box::new(prepared));
        is_carried
    }

    /// A tag has said that neither the client nor the server has any statement.
    pub(crate) fn forget_statements(&mut self, server: &mut ServerState) {
        server.statements.clear();
        server.names.clear();
        server.stand_in = None;
        self.statements = None;
        self.prepared = None;
    }

    /// An answer to what gives the server a name, or takes one away. `None` if it is none of
    /// those that succeed.
    pub(crate) fn on_name(
        &mut self,
        tag: u8,
        front: Expect,
        server: &mut ServerState,
    ) -> Option<ToClient> {
        match (tag, front) {
            (b::COMMAND_COMPLETE, Expect::Named)
            | (
                b::PARSE_COMPLETE | b::BIND_COMPLETE | b::CLOSE_COMPLETE,
                Expect::Name | Expect::Named,
            ) => {
                server.expected.pop();
                if front == Expect::Named {
                    self.apply_pending(server);
                }
                Some(ToClient::SWALLOW)
            }
            _ => None,
        }
    }
}

impl ServerState {
    /// The answer to the Sync behind them.
    pub(crate) fn on_name_sync(&mut self, frame: &Frame<'_>) -> Result<ToClient, Violation> {
        self.status = ready_status(frame)?;
        self.expected.pop();
        Ok(ToClient::SWALLOW)
    }

    /// Whether an error is of one of them in front of a Query: it is told if that fails, too.
    pub(crate) fn fails_name(&mut self, front: Expect, body: &[u8]) -> bool {
        let is_name = matches!(front, Expect::Name | Expect::Named);
        if !is_name || !self.expected.is_ready_hidden() {
            return false;
        }
        self.note_failure(front);
        self.skip_to_sync();
        self.name_failure = Some(body.into());
        true
    }

    /// What has failed in front of what fails now, and is told instead.
    pub(crate) fn failure_ahead(&mut self) -> Option<&[u8]> {
        match &self.own {
            OwnQuery::FailedAhead(body) => Some(body),
            _ => self.name_failure.as_deref(),
        }
    }

    /// Whether a text may have dropped the client's statement of this name, which is on the server
    /// under the client's own name: only the server knows what is there now.
    #[inline]
    pub(crate) fn may_have_dropped(&self, name: &[u8]) -> bool {
        self.deallocates && self.has_name(name)
    }

    /// Whether the server has, or is being given, anything under a name of a client's.
    pub(crate) fn has_name(&self, name: &[u8]) -> bool {
        self.names.0.contains_key(key(name)) || self.pending.has_name(key(name))
    }

    /// Closes what is there under a name of a client's, if anything is.
    fn take_name(&mut self, name: &[u8], to_server: &mut Vec<u8>) {
        message::put_close_statement(to_server, name);
        self.expected.push(Expect::Named);
        self.change(Change::Name { name: name.into(), origin: None });
    }

    fn brings(&mut self, name: &[u8], origin: Origin) {
        self.expected.push(Expect::Named);
        self.change(Change::Name { name: name.into(), origin: Some(origin) });
    }
}

/// Runs the text that makes a statement, unless it is there.
fn bring_sql(name: &[u8], sql: &Arc<str>, server: &mut ServerState, to_server: &mut Vec<u8>) {
    if server.names.0.get(name) == Some(&Origin::Sql(Arc::clone(sql))) {
        return;
    }
    server.counters.statement_misses += 1;
    server.take_name(name, to_server);
    // One that has failed is still there.
    message::put_close_statement(to_server, MAKER);
    server.expected.push(Expect::Name);
    message::put_parse(to_server, MAKER, &[sql.as_bytes(), b"\0\0\0"].concat());
    message::put(to_server, f::BIND, |out| {
        message::put_c_bytes(out, MAKER);
        message::put_c_bytes(out, MAKER);
        out.extend_from_slice(&[0; 6]);
    });
    message::put(to_server, f::EXECUTE, |out| {
        message::put_c_bytes(out, MAKER);
        out.extend_from_slice(&[0; 4]);
    });
    server.expected.push(Expect::Name);
    server.expected.push(Expect::Name);
    server.brings(name, Origin::Sql(Arc::clone(sql)));
    message::put_close_portal(to_server, MAKER);
    message::put_close_statement(to_server, MAKER);
    server.expected.push(Expect::Name);
    server.expected.push(Expect::Name);
}

/// Parses a statement under the client's own name too, and closes it there: if PREPARE has made
/// one of that name since the server was last asked, it says so.
pub(crate) fn probe_name(
    name: &[u8],
    statement: &Statement,
    server: &mut ServerState,
    to_server: &mut Vec<u8>,
) {
    if name.starts_with(NAME_PREFIX) {
        return;
    }
    server.batch.give_up();
    message::put_parse(to_server, name, &statement.definition);
    message::put_close_statement(to_server, name);
    server.expected.push(Expect::Name);
    server.expected.push(Expect::Name);
}

/// Parses a statement under the client's own name, unless it is there.
fn bring_parsed(
    name: &[u8],
    statement: &Arc<Statement>,
    server: &mut ServerState,
    to_server: &mut Vec<u8>,
) {
    let origin = Origin::Parse(statement.id);
    if name.starts_with(NAME_PREFIX) || server.names.0.get(name) == Some(&origin) {
        return;
    }
    server.counters.statement_misses += 1;
    server.take_name(name, to_server);
    message::put_parse(to_server, name, &statement.definition);
    server.brings(name, origin);
}
