//! The client's frames while a server is leased.

use wire::SqlState;
use wire::message::{self, Named, Parse, TransactionStatus};
use wire::tag::frontend as f;

use crate::catalog::text;
use crate::classify::{self, Hints, Leaves, NameUse, ValueUse};
use crate::databases::emptied;
use crate::deallocate::deallocated;
use crate::expect::Expect;
use crate::frame::{Frame, STATEMENT_LIMIT};
use crate::lost::doom;
use crate::pins::Pin;
use crate::rules::Asks;
use crate::server::{CopyState, InBatch, ServerState, Skip};
use crate::session::{Mode, Session, unknown_tag};
use crate::verb::Verb;
use crate::verdict::{ToServer, Violation};

impl Session {
    /// Shows a frame of the client's while `server` is leased. What must go to the server
    /// in front of it is appended to `to_server`, answers of ours to `to_client`.
    ///
    /// # Errors
    /// The client broke the protocol; its connection ends.
    #[inline]
    pub fn on_client(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
        to_client: &mut Vec<u8>,
    ) -> Result<ToServer, Violation> {
        let tag = frame.header.tag;
        if server.is_preparing() {
            return Ok(ToServer::Prepare);
        }
        server.frame_is_shown();
        if tag == f::TERMINATE {
            return Ok(ToServer::Goodbye);
        }
        if self.may_show(frame)
            && let Some(answered) = self.show(frame, server, to_server, to_client)?
        {
            return Ok(answered);
        }
        let hints = self.hints_ahead(frame, server);
        if server.is_quiet() {
            if !server.in_transaction() && !server.in_batch.is_open {
                if self.asks_always() {
                    self.note_any_taking(server);
                    server.note_leaves(Leaves::Ask);
                }
                if server.pins.has(Pin::Unknown) {
                    server.note_leaves(Leaves::Ask);
                }
                server.leaves_before = server.leaves;
                server.signals.meant = None;
            }
            if server.skip == Skip::No && self.begin(frame, hints, server, to_server) {
                return Ok(ToServer::Prepare);
            }
        } else if server.must_wait(tag) || self.waits_to_forget(frame, hints, server) {
            return Ok(server.hold(to_server));
        }
        self.on_frame(frame, hints, server, to_server, to_client)
    }

    /// Whether the server is asked after each transaction what it has left.
    #[inline]
    pub(crate) fn asks_always(&self) -> bool {
        self.rules.asks() == Asks::Always && self.mode != Mode::Session
    }

    /// The server owes nothing: brings it to what this client needs. True if that must be
    /// answered before the frame can go.
    fn begin(
        &self,
        frame: &Frame<'_>,
        hints: Option<Hints>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> bool {
        // Between a Flush and the Sync a query of ours would commit what is before it, and a
        // batch that is sent again would come without what is before it.
        if !server.in_batch.is_open {
            if self.prepare(frame, hints, server, to_server) {
                return true;
            }
            if self.standing == TransactionStatus::Failed {
                doom(server, to_server);
                return true;
            }
            server.batch.begin(server.status == TransactionStatus::Idle);
        }
        self.clear_foreign(frame, server, to_server);
        false
    }

    /// As [`Session::on_client`], for frames of a batch that is sent again too. If what its text
    /// may do is known already, that is `hints`.
    pub(crate) fn on_frame(
        &mut self,
        frame: &Frame<'_>,
        hints: Option<Hints>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
        to_client: &mut Vec<u8>,
    ) -> Result<ToServer, Violation> {
        let tag = frame.header.tag;
        if server.skip == Skip::ToSync {
            match tag {
                f::SYNC => server.skip = Skip::No,
                // Postgres, too, looks at the type before it skips (SocketBackend).
                _ if !is_known(tag) => return Err(unknown_tag(tag)),
                _ => return Ok(ToServer::SWALLOW),
            }
        }
        server.in_batch.is_open |= is_extended(tag);
        match tag {
            f::BIND => self.on_bind(frame, server, to_server),
            f::EXECUTE => Ok(on_execute(frame, server)),
            f::SYNC => Ok(on_sync(frame, server)),
            f::QUERY => Ok(self.on_query(frame, hints, server, to_server)),
            f::PARSE => self.on_parse(frame, hints, server, to_server),
            f::DESCRIBE => match Named::parse(frame.body)? {
                Named::Portal(_) => Ok(extended(frame, server, Expect::DESCRIBE)),
                Named::Statement(name) => self.on_describe(frame, name, server, to_server),
            },
            f::CLOSE => match Named::parse(frame.body)? {
                Named::Portal(_) => Ok(extended(frame, server, Expect::Close)),
                Named::Statement(name) => {
                    Ok(self.on_close(frame, name, server, to_server, to_client))
                }
            },
            f::FLUSH => {
                server.batch.keep(frame);
                server.expected.note_unanswered();
                Ok(ToServer::FORWARD)
            }
            f::COPY_DATA => {
                server.batch.give_up();
                server.expected.note_unanswered();
                Ok(ToServer::FORWARD)
            }
            f::COPY_DONE | f::COPY_FAIL => {
                server.batch.give_up();
                if server.copy == CopyState::In {
                    server.copy = CopyState::None;
                } else if !server.is_quiet() {
                    server.expected.push(Expect::CopyEnd);
                }
                server.expected.note_unanswered();
                Ok(ToServer::FORWARD)
            }
            f::FUNCTION_CALL => {
                server.batch.give_up();
                server.end_batch();
                server.note_leaves(Leaves::Ask);
                server.expected.push(Expect::Function);
                Ok(ToServer::FORWARD)
            }
            _ => Err(unknown_tag(tag)),
        }
    }

    fn on_query(
        &self,
        frame: &Frame<'_>,
        hints: Option<Hints>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> ToServer {
        if let Some(feature) = self.refused_on(frame, server) {
            return Self::refuse_on(feature, f::QUERY, server, to_server);
        }
        server.batch.give_up();
        let text = frame.body.strip_suffix(b"\0").unwrap_or(frame.body);
        let hints = hints.unwrap_or_else(|| classify::text_of(frame, text));
        self.note_hints(hints, text, server);
        if self.bring_names_to_query(hints, text, server, to_server).is_err() {
            return server.hold(to_server);
        }
        let drops = if frame.is_whole() { deallocated(text) } else { None };
        if let Some(name) = &drops
            && self.stand_in(name, server, to_server).is_err()
        {
            return server.hold(to_server);
        }
        let verb = query_verb(frame, text, server);
        // It ends the implicit transaction of what is before it, as a FunctionCall does.
        server.end_batch();
        if frame.is_whole() {
            server.needs_empty(emptied(text));
        }
        let local_set = frame.is_whole() && classify::is_local_set(text);
        server.expected.push(Expect::Query { local_set, drops: drops.is_some(), verb });
        ToServer::FORWARD
    }

    fn on_parse(
        &mut self,
        frame: &Frame<'_>,
        hints: Option<Hints>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<ToServer, Violation> {
        if let Some(feature) = self.refused_on(frame, server) {
            return Ok(Self::refuse_on(feature, f::PARSE, server, to_server));
        }
        let is_unnamed = frame.body.first() == Some(&0);
        if !frame.is_whole() {
            if !is_unnamed {
                return Err(Violation::client(
                    SqlState::PROGRAM_LIMIT_EXCEEDED,
                    format!("prepared statement is larger than {STATEMENT_LIMIT} bytes"),
                ));
            }
            // Too large to be kept for another lease.
            self.note_hints(classify::text_of(frame, b""), b"", server);
            server.in_batch.unnamed_drops = None;
            server.in_batch.unnamed_empties = None;
            server.in_batch.unnamed_verb =
                Verb::of_statement(frame.body.get(1..).unwrap_or_default());
            return Ok(parse_unnamed(frame, b"", server));
        }
        let parse = Parse::read(frame.body)?;
        if !is_unnamed {
            return Ok(self.on_parse_named(frame, &parse, server, to_server));
        }
        let text = parse.text();
        let hints = hints.unwrap_or_else(|| classify::text_of(frame, text));
        self.note_hints(hints, text, server);
        if self.bring_names(hints, text, server, to_server).is_err() {
            return Ok(server.hold(to_server));
        }
        server.in_batch.unnamed_is_local = classify::is_local_set(text);
        server.in_batch.unnamed_drops = deallocated(text);
        server.in_batch.unnamed_empties = emptied(text);
        server.in_batch.unnamed_verb = Verb::of_statement(text);
        Ok(parse_unnamed(frame, parse.definition, server))
    }

    /// Notes what a definition may leave behind that a Parse has brought before.
    pub(crate) fn note_definition(&self, definition: &[u8], server: &mut ServerState) -> Hints {
        let text = text(definition);
        let hints = classify::text(text);
        self.note_hints(hints, text, server);
        hints
    }

    #[inline]
    pub(crate) fn note_hints(&self, hints: Hints, text: &[u8], server: &mut ServerState) {
        if hints == Hints::NONE {
            return;
        }
        server.note_leaves(self.rules.leaves(hints.leaves));
        if hints.names_custom {
            server.note_custom(text);
        }
        server.may_have_names |= hints.names >= NameUse::Makes;
        if hints.deallocates {
            server.deallocates = true;
            // Were the batch sent again, what comes behind could not wait for this one's answer.
            server.batch.give_up();
        }
        if let Some(signal) = hints.signals {
            server.signals.mean(signal);
        }
        if hints.resets {
            self.note_reset(text, server);
        }
        if hints.values != ValueUse::None {
            self.note_values(hints, text, server);
        }
    }
}

/// What a Query does to its transaction. Of one on its own all that counts is that it may have
/// been committed, unless its first word says more.
#[inline]
fn query_verb(frame: &Frame<'_>, text: &[u8], server: &ServerState) -> Verb {
    let is_alone = server.is_quiet() && !server.in_transaction() && !server.in_batch.is_open;
    if is_alone && Verb::is_frequent(text) {
        Verb::Alone
    } else if frame.is_whole() {
        Verb::of_text(text)
    } else {
        Verb::Any
    }
}

fn parse_unnamed(frame: &Frame<'_>, definition: &[u8], server: &mut ServerState) -> ToServer {
    server.unnamed_texts.push(definition);
    server.in_batch.unnamed_set = true;
    extended(frame, server, Expect::ParseUnnamed)
}

/// Whether a client that has logged in may send messages of this type.
fn is_known(tag: u8) -> bool {
    is_extended(tag)
        || matches!(tag, f::QUERY | f::FUNCTION_CALL | f::FLUSH | f::SYNC | f::TERMINATE)
        || matches!(tag, f::COPY_DATA | f::COPY_DONE | f::COPY_FAIL)
}

/// Whether a Sync ends what this message belongs to.
#[inline]
fn is_extended(tag: u8) -> bool {
    matches!(tag, f::PARSE | f::BIND | f::DESCRIBE | f::EXECUTE | f::CLOSE)
}

/// A message of the extended protocol that goes on as it is.
#[inline]
pub(crate) fn extended(frame: &Frame<'_>, server: &mut ServerState, expect: Expect) -> ToServer {
    server.batch.keep(frame);
    server.expected.push(expect);
    ToServer::FORWARD
}

#[inline]
fn on_execute(frame: &Frame<'_>, server: &mut ServerState) -> ToServer {
    let is_unnamed = frame.body.first() == Some(&0);
    let local_set = is_unnamed && server.in_batch.portal_is_local;
    if is_unnamed && server.in_batch.portal_empties.is_some() {
        let databases = server.in_batch.portal_empties.take();
        server.needs_empty(databases);
    }
    let verb = if is_unnamed { server.portals.unnamed } else { server.portals.named };
    extended(frame, server, Expect::Execute { local_set, verb })
}

#[inline]
fn on_sync(frame: &Frame<'_>, server: &mut ServerState) -> ToServer {
    // CopyGetData ignores it: no ReadyForQuery will come for it, unless the COPY has failed.
    if server.copy == CopyState::In {
        server.copy_syncs = server.copy_syncs.saturating_add(1);
        return ToServer::FORWARD;
    }
    server.batch.keep(frame);
    server.batch.complete();
    server.sync();
    ToServer::FORWARD
}

impl ServerState {
    /// Begins the next batch.
    #[inline]
    pub(crate) fn sync(&mut self) {
        self.expected.push(Expect::Sync);
        self.batch_number += 1;
        self.in_batch = InBatch::default();
    }

    /// Ends the batch, as a Query does without a Sync.
    #[inline]
    fn end_batch(&mut self) {
        self.in_batch.is_open = false;
        self.in_batch.is_bound = false;
    }

    /// Lets the client wait until everything that was sent has been answered. A Flush, which
    /// changes nothing, makes sure that it will be.
    pub(crate) fn hold(&mut self, to_server: &mut Vec<u8>) -> ToServer {
        self.batch.give_up();
        if !self.expected.back_ends_with_ready() {
            to_server.extend_from_slice(message::FLUSH);
            self.expected.note_unanswered();
        }
        self.wait_for_answers();
        ToServer::Prepare
    }

    /// Whether the server waits for the client's COPY data: nothing else would be answered.
    pub(crate) fn reads_copy(&self) -> bool {
        self.copy == CopyState::In
    }

    /// Whether this message must wait for answers: what is kept is bounded, and settings
    /// that were reset have to be those of the client's login first.
    #[inline]
    fn must_wait(&self, tag: u8) -> bool {
        if self.reads_copy() || matches!(tag, f::COPY_DATA | f::FLUSH) {
            return false;
        }
        self.expected.is_full()
            || self.pending.is_full()
            || self.unnamed_texts.is_full()
            || (self.is_ahead()
                && !self.in_batch.is_open
                && !matches!(tag, f::COPY_DONE | f::COPY_FAIL))
            || (self.reset.is_some()
                && !self.in_batch.is_open
                && (is_extended(tag) || tag == f::QUERY || tag == f::FUNCTION_CALL))
    }
}
