//! The server's frames.

use std::sync::Arc;

use wire::message::{self, TransactionStatus};
use wire::{ErrorFields, SqlState, tag::backend as b};

use crate::account::Account;
use crate::classify::{self, Leaves, Tag};
use crate::expect::Expect;
use crate::frame::Frame;
use crate::lost::is_last_word;
use crate::parameters;
use crate::pins::Pin;
use crate::reset::Reset;
use crate::retry::{Failure, PLAN_CHANGED, put_with_client_name};
use crate::rules::Feature;
use crate::server::{CopyState, Front, ServerState, Skip};
use crate::session::{Mode, Session, end_copy};
use crate::statements::Change;
use crate::unnamed::Unnamed;
use crate::verb::Verb;
use crate::verdict::{Disposition, Pass, Then, ToClient, Violation};

impl Session {
    /// Shows a frame of the server's. What must reach the client in front of it is appended
    /// to `to_client`, what the server must be sent to `to_server`.
    ///
    /// # Errors
    /// The server sent what nothing asked for, or the client broke the rules of its mode.
    #[inline]
    pub fn on_server(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_client: &mut Vec<u8>,
        to_server: &mut Vec<u8>,
    ) -> Result<ToClient, Violation> {
        let before = to_client.len();
        let adopts =
            server.expected.front() == Some(Expect::Adopt) && frame.header.tag == b::CLOSE_COMPLETE;
        let verdict = self.on_reply(frame, server, to_client, to_server)?;
        if adopts {
            server.batch.parsed();
        } else if verdict.pass != Pass::Swallow || to_client.len() > before {
            server.batch.give_up();
        }
        Ok(verdict)
    }

    fn on_reply(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_client: &mut Vec<u8>,
        to_server: &mut Vec<u8>,
    ) -> Result<ToClient, Violation> {
        let tag = frame.header.tag;
        match tag {
            b::ERROR_RESPONSE | b::NOTICE_RESPONSE if is_last_word(frame) => {
                server.on_last_word(frame);
                return Ok(ToClient { pass: Pass::Swallow, then: Then::ServerLost });
            }
            b::NOTICE_RESPONSE if server.is_hidden() => return Ok(ToClient::SWALLOW),
            b::NOTICE_RESPONSE => {
                server.on_warning(frame);
                return Ok(ToClient::FORWARD);
            }
            b::NOTIFICATION_RESPONSE => return self.on_notification(frame, server, to_client),
            b::PARAMETER_STATUS => return Ok(self.on_parameter(frame, server)),
            _ => {}
        }
        let Some(front) = server.expected.front() else {
            return self.on_unasked(frame, server, to_server);
        };
        if front == Expect::Own {
            return self.on_own(frame, server, to_server);
        }
        if server.batch.is_failing() {
            return self.on_failing(frame, server, to_client, to_server);
        }
        if let Expect::Name | Expect::Named = front
            && let Some(verdict) = self.on_name(tag, front, server)
        {
            return Ok(verdict);
        }
        match tag {
            // Behind it may be a Query, which would be skipped and never answered.
            b::ERROR_RESPONSE if front == Expect::StandIn => {
                Err(Violation::Server("an empty statement is refused"))
            }
            b::ERROR_RESPONSE => Ok(self.on_error(frame, front, server, to_client, to_server)),
            b::READY_FOR_QUERY if front == Expect::NameSync => server.on_name_sync(frame),
            b::READY_FOR_QUERY => self.on_ready(frame, front, server, to_client, to_server),
            b::COMMAND_COMPLETE => {
                self.on_tag(frame, front, server);
                server.copy_syncs = 0;
                end_execute(front, server)
            }
            b::EMPTY_QUERY_RESPONSE | b::PORTAL_SUSPENDED => end_execute(front, server),
            b::PARSE_COMPLETE | b::BIND_COMPLETE | b::CLOSE_COMPLETE | b::NO_DATA => {
                self.on_complete(tag, front, server, to_client)
            }
            b::ROW_DESCRIPTION if is_describe(front) => {
                server.expected.pop();
                server.batch.let_go(to_client);
                Ok(ToClient::FORWARD)
            }
            b::COPY_IN_RESPONSE => on_copy_in(front, server, to_server),
            b::DATA_ROW
            | b::ROW_DESCRIPTION
            | b::COPY_DATA
            | b::COPY_DONE
            | b::COPY_OUT_RESPONSE => in_execute(front),
            b::PARAMETER_DESCRIPTION if is_describe(front) => Ok(on_parameters(frame, server)),
            b::FUNCTION_CALL_RESPONSE if front == Expect::Function => Ok(ToClient::FORWARD),
            _ => Err(Violation::Server("a message that does not answer what was asked")),
        }
    }

    fn on_complete(
        &mut self,
        tag: u8,
        front: Expect,
        server: &mut ServerState,
        to_client: &mut Vec<u8>,
    ) -> Result<ToClient, Violation> {
        let verdict = match (tag, front) {
            (b::PARSE_COMPLETE, Expect::ParseUnnamed) => {
                self.unnamed_parsed(server);
                ToClient::FORWARD
            }
            (b::PARSE_COMPLETE, Expect::Restore) => {
                server.unnamed = Unnamed::Current;
                ToClient::SWALLOW
            }
            (b::CLOSE_COMPLETE, Expect::CloseUnnamed) => {
                self.unnamed_dropped(server);
                ToClient::FORWARD
            }
            (b::CLOSE_COMPLETE, Expect::Adopt) => {
                to_client.extend_from_slice(message::PARSE_COMPLETE);
                ToClient::SWALLOW
            }
            (b::PARSE_COMPLETE, Expect::OwnParse | Expect::StandIn)
            | (b::CLOSE_COMPLETE, Expect::OwnClose | Expect::Clear | Expect::StandIn) => {
                ToClient::SWALLOW
            }
            (b::PARSE_COMPLETE, Expect::ParseNamed)
            | (b::BIND_COMPLETE, Expect::Bind { .. })
            | (b::CLOSE_COMPLETE, Expect::Close | Expect::Forget) => ToClient::FORWARD,
            (b::NO_DATA, Expect::Describe { .. }) => {
                server.batch.let_go(to_client);
                ToClient::FORWARD
            }
            _ => return Err(Violation::Server("a completion of something else")),
        };
        server.expected.pop();
        if front.has_pending() {
            self.apply_pending(server);
        }
        Ok(verdict)
    }

    /// The answer for the oldest pending change has come.
    pub(crate) fn apply_pending(&mut self, server: &mut ServerState) {
        match server.pending.pop() {
            Some(Change::Parsed { statement, client_name }) => {
                server.statements.insert(Arc::clone(&statement));
                if let Some(name) = client_name {
                    self.statements.get_or_insert_default().insert(name, statement);
                }
            }
            Some(Change::Named { statement, client_name }) => {
                self.statements.get_or_insert_default().insert(client_name, statement);
            }
            Some(Change::Replaced { taken, statement, client_name }) => {
                server.statements.mark_stale(taken);
                self.statements.get_or_insert_default().insert(client_name, statement);
            }
            Some(Change::Dropped { client_name }) => {
                server.names.set(&client_name, None);
                self.drop_statement(&client_name);
            }
            Some(Change::Name { name, origin }) => server.names.set(&name, origin),
            Some(Change::Closed { id }) => server.statements.remove(id),
            None => {}
        }
    }

    fn on_error(
        &mut self,
        frame: &Frame<'_>,
        front: Expect,
        server: &mut ServerState,
        to_client: &mut Vec<u8>,
        to_server: &mut Vec<u8>,
    ) -> ToClient {
        let fields = ErrorFields::parse(frame.body).unwrap_or_default();
        let failure = self.fail_batch(&fields, server, to_server);
        if failure == Failure::Hidden {
            return ToClient::SWALLOW;
        }
        if server.fails_name(front, frame.body) {
            return ToClient::SWALLOW;
        }
        server.batch.let_go(to_client);
        if fields.is(SqlState::READ_ONLY_SQL_TRANSACTION) {
            server.counters.read_only_refusals += 1;
        }
        server.note_failure(front);
        server.needs_none_empty();
        let client_name = self.failing_name(&fields, server);
        server.copy = CopyState::None;
        server.is_doubtful |= server.copy_syncs > 0;
        if front == Expect::ParseUnnamed {
            self.unnamed_refused(server);
        }
        // After a Query or FunctionCall ReadyForQuery follows by itself.
        if !matches!(front, Expect::Query { .. } | Expect::Function) && !server.skip_to_sync() {
            server.skip = Skip::ToSync;
        }
        if let Some(feature) = front.refused() {
            server.counters.state_refusals += 1;
            feature.refusal().put(to_client);
            return ToClient { pass: Pass::Replace, then: Then::Continue };
        }
        if let Some(body) = server.failure_ahead() {
            message::put(to_client, b::ERROR_RESPONSE, |out| out.extend_from_slice(body));
            return ToClient { pass: Pass::Replace, then: Then::Continue };
        }
        if failure == Failure::PlanChanged {
            to_client.extend_from_slice(PLAN_CHANGED);
            return ToClient { pass: Pass::Replace, then: Then::Continue };
        }
        if put_with_client_name(frame, &fields, client_name.as_deref(), to_client) {
            return ToClient { pass: Pass::Replace, then: Then::Continue };
        }
        ToClient::FORWARD
    }

    fn on_ready(
        &mut self,
        frame: &Frame<'_>,
        front: Expect,
        server: &mut ServerState,
        to_client: &mut Vec<u8>,
        to_server: &mut Vec<u8>,
    ) -> Result<ToClient, Violation> {
        server.status = ready_status(frame)?;
        match front {
            Expect::Sync | Expect::Function => {}
            Expect::Query { .. } => {
                self.unnamed_dropped(server);
                server.name_failure = None;
            }
            _ => return Err(Violation::Server("ReadyForQuery before all was answered")),
        }
        server.expected.pop();
        server.copy = CopyState::None;
        server.front = Front::Nothing;
        if server.is_ahead() {
            return Ok(self.end_unprepared(server, to_client));
        }
        if server.status == TransactionStatus::Idle {
            server.parameters_before = None;
            server.schema.on_idle();
            // Those bound before have ended with their transaction.
            if server.is_quiet() {
                server.portals.named = Verb::Plain;
            }
        }
        if server.status != TransactionStatus::Open {
            server.needs_none_empty();
        }
        if server.settings_reset {
            server.settings_reset = false;
            self.back_to_startup(server, to_client);
        }
        if self.mode == Mode::Statement && server.in_transaction() {
            return Err(Violation::client(
                SqlState::FEATURE_NOT_SUPPORTED,
                "transaction blocks not allowed in statement pooling mode",
            ));
        }
        Ok(self.ready(server, to_server))
    }

    pub(crate) fn ready(&self, server: &mut ServerState, to_server: &mut Vec<u8>) -> ToClient {
        let then = match self.release_if_quiet(server, to_server) {
            Some(disposition) => Then::Release(disposition),
            None if server.is_quiet() => Then::Quiet,
            None => Then::Continue,
        };
        ToClient { pass: Pass::Forward, then }
    }

    /// Ends the lease if nothing is outstanding, no transaction is open and the mode says
    /// so. [`Session::on_server`] does it by itself, except when a frame of the client's
    /// was half-way to the server; then the relay asks when the frame has gone.
    #[inline]
    pub fn release_if_quiet(
        &self,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Option<Disposition> {
        let is_kept = self.mode == Mode::Session
            || server.in_transaction()
            || server.in_batch.is_open
            || (server.is_awaited() && !self.is_refused())
            || server.skip == Skip::ToSync;
        if !server.is_quiet() || (is_kept && !server.is_abandoned()) {
            return None;
        }
        if !server.is_abandoned() {
            self.end_values(server);
            match server.leaves {
                Leaves::Nothing => {}
                Leaves::Unaccountable if !self.rules.rejects(Feature::Unaccountable) => {
                    server.pins.insert(Pin::Unaccountable);
                }
                Leaves::Ask | Leaves::Unaccountable => {
                    self.ask(server, to_server);
                    return None;
                }
            }
            if (!server.pins.is_empty() || server.is_spare()) && !self.is_refused() {
                return None;
            }
        }
        let disposition = server.disposition();
        server.end_lease();
        Some(disposition)
    }

    /// What a command tag says about the state that is left behind.
    fn on_tag(&mut self, frame: &Frame<'_>, front: Expect, server: &mut ServerState) {
        let tag = frame.body.strip_suffix(b"\0").unwrap_or(frame.body);
        server.schema.on_tag(tag);
        match classify::tag(tag) {
            Tag::Leaves(leaves) => return server.note_leaves(leaves),
            Tag::Frees if server.pins.is_empty() && !self.has_channels() => return,
            Tag::Creates if !self.is_in_temporary_schema() => return,
            Tag::Creates => {}
            Tag::Frees => {}
            Tag::Set => match front {
                Expect::Query { local_set: true, .. } | Expect::Execute { local_set: true, .. } => {
                    return;
                }
                // SET … TO DEFAULT is a RESET.
                _ => server.settings_reset |= server.reset.is_some(),
            },
            Tag::Reset => server.settings_reset = true,
            // Without a name that is a statement's of PREPARE.
            Tag::Deallocate => {
                if matches!(front, Expect::Query { drops: true, .. } | Expect::Execute { .. })
                    && let Some(name) = server.stand_in.take()
                {
                    server.names.set(&name, None);
                    return self.drop_statement(&name);
                }
            }
            Tag::DeallocateAll => {
                self.forget_statements(server);
                if server.pins.is_empty() {
                    return;
                }
            }
            Tag::DiscardSequences => return server.sequences_discarded(),
            Tag::DiscardAll => {
                server.sequences_discarded();
                self.forget_statements(server);
                server.reset = Reset::All;
                server.settings_reset = true;
                // It is never one of several statements in a text: all is as after a login.
                if server.expected.len() == 1 && matches!(front, Expect::Query { .. }) {
                    self.settle(&Account::default(), server);
                    return;
                }
            }
        }
        server.note_leaves(Leaves::Ask);
    }

    /// Whether what is made without a schema may be temporary.
    fn is_in_temporary_schema(&self) -> bool {
        self.parameters.get("search_path").is_some_and(|path| path.contains("pg_temp"))
    }

    fn on_parameter(&mut self, frame: &Frame<'_>, server: &mut ServerState) -> ToClient {
        let Ok((name, value)) = message::parameter_status(frame.body) else {
            // Too long, or in another encoding: it cannot follow the client.
            server.note_leaves(Leaves::Unaccountable);
            return ToClient::FORWARD;
        };
        if !parameters::is_carried(name) {
            return if server.is_hidden() { ToClient::SWALLOW } else { ToClient::FORWARD };
        }
        let same = Arc::ptr_eq(&self.parameters, &server.parameters);
        server.parameters = self.catalog.changed(&server.parameters, [(name, value)]);
        if self.parameters.get(name) == Some(value) {
            return ToClient::SWALLOW;
        }
        server.keep_parameters(&self.parameters);
        self.parameters = if same {
            Arc::clone(&server.parameters)
        } else {
            self.catalog.changed(&self.parameters, [(name, value)])
        };
        ToClient::FORWARD
    }

    /// Only a last word may come unasked: FATAL, before the server closes. And if a COPY has
    /// failed before the server has read a Sync that it would have ignored, that is answered.
    fn on_unasked(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<ToClient, Violation> {
        match frame.header.tag {
            b::ERROR_RESPONSE => Ok(ToClient::FORWARD),
            b::READY_FOR_QUERY if server.is_doubtful && server.copy_syncs > 0 => {
                server.copy_syncs -= 1;
                server.status = ready_status(frame)?;
                server.front = Front::Nothing;
                server.skip = Skip::No;
                Ok(self.ready(server, to_server))
            }
            _ => Err(Violation::Server("a message that nothing asked for")),
        }
    }
}

/// A statement's parameters; an error that a fresh Parse mends may follow.
fn on_parameters(frame: &Frame<'_>, server: &mut ServerState) -> ToClient {
    if frame.is_whole() && server.batch.is_repeatable(server.expected.ready_outstanding()) {
        server.batch.hold(frame);
        return ToClient::SWALLOW;
    }
    ToClient::FORWARD
}

fn is_describe(front: Expect) -> bool {
    matches!(front, Expect::Describe { .. })
}

pub(crate) fn ready_status(frame: &Frame<'_>) -> Result<TransactionStatus, Violation> {
    let malformed = |_| Violation::Server("a malformed ReadyForQuery");
    TransactionStatus::parse(frame.body).map_err(malformed)
}

fn on_copy_in(
    front: Expect,
    server: &mut ServerState,
    to_server: &mut Vec<u8>,
) -> Result<ToClient, Violation> {
    let start = server.expected.start_copy_in();
    server.copy_syncs = start.syncs;
    // Its Sync counts for nothing: the transaction is open until another comes.
    server.in_batch.is_open |= server.expected.ready_outstanding() == 0;
    if !start.ended {
        server.copy = CopyState::In;
        if server.is_abandoned() {
            end_copy(server, to_server);
            if !server.expected.back_ends_with_ready() {
                to_server.extend_from_slice(message::SYNC);
                server.sync();
            }
        }
    }
    in_execute(front)
}

fn end_execute(front: Expect, server: &mut ServerState) -> Result<ToClient, Violation> {
    match front {
        Expect::Execute { verb, .. } => {
            server.expected.pop();
            server.note_run(verb);
        }
        // All that it does has been done.
        Expect::Query { verb: verb @ (Verb::Commit | Verb::Rollback), .. } => server.note_run(verb),
        _ => {}
    }
    in_execute(front)
}

#[inline]
fn in_execute(front: Expect) -> Result<ToClient, Violation> {
    match front {
        Expect::Query { .. } | Expect::Execute { .. } => Ok(ToClient::FORWARD),
        _ => Err(Violation::Server("a result that nothing asked for")),
    }
}
