//! The server's frames.

use std::sync::Arc;

use wire::message::{self, TransactionStatus};
use wire::{ErrorFields, tag::backend as b};

use crate::classify::{self, Leaves, Tag};
use crate::expect::Expect;
use crate::frame::Frame;
use crate::parameters;
use crate::server::{CopyState, OwnQuery, ServerState, Skip};
use crate::session::{Mode, Session};
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
        let tag = frame.header.tag;
        match tag {
            b::NOTICE_RESPONSE if server.is_preparing() => return Ok(ToClient::SWALLOW),
            b::NOTICE_RESPONSE | b::NOTIFICATION_RESPONSE => return Ok(ToClient::FORWARD),
            b::PARAMETER_STATUS => return self.on_parameter(frame, server),
            _ => {}
        }
        let Some(mut front) = server.expected.front() else {
            return unasked(tag);
        };
        if front == Expect::Own {
            return self.on_own(frame, server);
        }
        if server.batch.is_failing() {
            return self.on_failing(frame, server, to_client, to_server);
        }
        if tag == b::ERROR_RESPONSE {
            return Ok(self.on_error(frame, server, to_client));
        }
        if front.is_local() {
            self.answer_locals(server, to_client);
            match server.expected.front() {
                Some(next) => front = next,
                None => return unasked(tag),
            }
        }
        server.batch.give_up();
        match tag {
            b::READY_FOR_QUERY => self.on_ready(frame, front, server, to_client),
            b::COMMAND_COMPLETE => {
                self.on_tag(frame, server);
                end_execute(front, server)
            }
            b::EMPTY_QUERY_RESPONSE | b::PORTAL_SUSPENDED => end_execute(front, server),
            b::PARSE_COMPLETE | b::BIND_COMPLETE | b::CLOSE_COMPLETE | b::NO_DATA => {
                self.on_complete(tag, front, server)
            }
            b::ROW_DESCRIPTION if front == Expect::Describe => {
                server.expected.pop();
                Ok(ToClient::FORWARD)
            }
            b::COPY_IN_RESPONSE => {
                if !server.expected.start_copy_in() {
                    server.copy = CopyState::In;
                }
                in_execute(front)
            }
            b::DATA_ROW
            | b::ROW_DESCRIPTION
            | b::COPY_DATA
            | b::COPY_DONE
            | b::COPY_OUT_RESPONSE => in_execute(front),
            b::PARAMETER_DESCRIPTION if front == Expect::Describe => Ok(ToClient::FORWARD),
            b::FUNCTION_CALL_RESPONSE if front == Expect::Function => Ok(ToClient::FORWARD),
            _ => Err(Violation::Server("a message that does not answer what was asked")),
        }
    }

    fn on_complete(
        &mut self,
        tag: u8,
        front: Expect,
        server: &mut ServerState,
    ) -> Result<ToClient, Violation> {
        let (hidden, changes) = match (tag, front) {
            (b::PARSE_COMPLETE, Expect::Parse { named }) => (false, named),
            (b::PARSE_COMPLETE, Expect::OwnParse { named })
            | (b::CLOSE_COMPLETE, Expect::OwnClose { named }) => (true, named),
            (b::BIND_COMPLETE, Expect::Bind)
            | (b::CLOSE_COMPLETE, Expect::Close)
            | (b::NO_DATA, Expect::Describe) => (false, false),
            _ => return Err(Violation::Server("a completion of something else")),
        };
        server.expected.pop();
        if changes {
            self.apply_pending(server);
        }
        Ok(if hidden { ToClient::SWALLOW } else { ToClient::FORWARD })
    }

    fn on_error(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_client: &mut Vec<u8>,
    ) -> ToClient {
        let fields = ErrorFields::parse(frame.body).unwrap_or_default();
        if self.fail_batch(&fields, server) {
            return ToClient::SWALLOW;
        }
        server.batch.give_up();
        self.answer_locals(server, to_client);
        server.copy = CopyState::None;
        match server.expected.front() {
            // ReadyForQuery follows by itself.
            Some(Expect::Query | Expect::Function) => {}
            _ => {
                if !skip_to_sync(server) {
                    server.skip = Skip::ToSync;
                }
            }
        }
        if self.put_with_client_names(frame, &fields, to_client) {
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
    ) -> Result<ToClient, Violation> {
        let malformed = |_| Violation::Server("a malformed ReadyForQuery");
        server.status = TransactionStatus::parse(frame.body).map_err(malformed)?;
        match front {
            Expect::Sync => server.batches_done += 1,
            Expect::Query | Expect::Function => {}
            _ => return Err(Violation::Server("ReadyForQuery before all was answered")),
        }
        server.expected.pop();
        server.copy = CopyState::None;
        if server.settings_reset {
            server.settings_reset = false;
            self.back_to_startup(server, to_client);
        }
        if self.mode == Mode::Statement && server.in_transaction() {
            return Err(Violation::client(
                wire::SqlState::FEATURE_NOT_SUPPORTED,
                "transaction blocks not allowed in statement pooling mode",
            ));
        }
        let then = match self.release_if_quiet(server) {
            Some(disposition) => Then::Release(disposition),
            None if server.is_quiet() => Then::Quiet,
            None => Then::Continue,
        };
        Ok(ToClient { pass: Pass::Forward, then })
    }

    /// Ends the lease if nothing is outstanding, no transaction is open and the mode says
    /// so. [`Session::on_server`] does it by itself, except when a frame of the client's
    /// was half-way to the server; then the relay asks when the frame has gone.
    pub fn release_if_quiet(&mut self, server: &mut ServerState) -> Option<Disposition> {
        if self.mode == Mode::Session
            || !server.is_quiet()
            || server.in_transaction()
            || server.client_mid_frame
            || server.skip == Skip::ToSync
        {
            return None;
        }
        let disposition = server.disposition();
        self.after_lease(server);
        Some(disposition)
    }

    /// What a command tag says about the state that is left behind.
    fn on_tag(&mut self, frame: &Frame<'_>, server: &mut ServerState) {
        let tag = frame.body.strip_suffix(b"\0").unwrap_or(frame.body);
        match classify::tag(tag) {
            Tag::Leaves(Leaves::Nothing) => return,
            Tag::Leaves(Leaves::State) => {}
            Tag::Set if server.set_is_local => return,
            Tag::Set => {}
            Tag::ResetAll => server.settings_reset = true,
            Tag::DeallocateAll => {
                server.statements.clear();
                self.statements = None;
                return;
            }
            Tag::DiscardAll => {
                server.statements.clear();
                self.statements = None;
                self.unnamed = None;
                server.settings_reset = true;
            }
        }
        server.leaves = Leaves::State;
    }

    fn on_parameter(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
    ) -> Result<ToClient, Violation> {
        let malformed = |_| Violation::Server("a malformed ParameterStatus");
        let (name, value) = message::parameter_status(frame.body).map_err(malformed)?;
        if !parameters::is_carried(name) {
            return Ok(if server.is_preparing() { ToClient::SWALLOW } else { ToClient::FORWARD });
        }
        let same = Arc::ptr_eq(&self.parameters, &server.parameters);
        server.parameters = self.catalog.changed(&server.parameters, [(name, value)]);
        if self.parameters.get(name) == Some(value) {
            return Ok(ToClient::SWALLOW);
        }
        self.parameters = if same {
            Arc::clone(&server.parameters)
        } else {
            self.catalog.changed(&self.parameters, [(name, value)])
        };
        Ok(ToClient::FORWARD)
    }

    /// RESET took the server back to its own login; a client's RESET means the client's.
    /// The settings are applied before its next statement, and it is told of them now.
    fn back_to_startup(&mut self, server: &ServerState, to_client: &mut Vec<u8>) {
        let reset: Vec<(&str, &str)> = self
            .startup
            .changes_from(&self.parameters)
            .filter(|(name, _)| server.parameters.get(name) == server.login_parameters.get(name))
            .collect();
        for (name, value) in &reset {
            message::put_parameter_status(to_client, name, value);
        }
        self.parameters = self.catalog.changed(&self.parameters, reset);
    }

    /// The answer to a query of our own.
    fn on_own(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
    ) -> Result<ToClient, Violation> {
        match frame.header.tag {
            b::ERROR_RESPONSE => server.own = OwnQuery::Failed(frame.body.into()),
            b::READY_FOR_QUERY => {
                if TransactionStatus::parse(frame.body) != Ok(TransactionStatus::Idle) {
                    return Err(Violation::Server("a setting opened a transaction"));
                }
                server.expected.pop();
                if server.own == OwnQuery::Prepare {
                    server.own = OwnQuery::None;
                    server.parameters = Arc::clone(&self.parameters);
                }
            }
            b::ROW_DESCRIPTION | b::DATA_ROW | b::COMMAND_COMPLETE => {}
            _ => return Err(Violation::Server("a message that a setting does not cause")),
        }
        Ok(ToClient::SWALLOW)
    }

    /// Whether the server could not be brought to this client's settings. Then the error is
    /// appended to `to_client` as the answer to the statement that `tag` begins, and the
    /// lease ends.
    pub fn take_preparation_failure(
        &mut self,
        tag: u8,
        server: &mut ServerState,
        to_client: &mut Vec<u8>,
    ) -> Option<Disposition> {
        let OwnQuery::Failed(body) = &server.own else { return None };
        if !server.is_quiet() {
            return None;
        }
        message::put(to_client, b::ERROR_RESPONSE, |out| out.extend_from_slice(body));
        server.own = OwnQuery::None;
        server.end_lease();
        self.skip_statement(tag, to_client);
        Some(Disposition::NeedsReset)
    }
}

/// Drops what the server skips after an error. False if the Sync has not been sent yet.
pub(crate) fn skip_to_sync(server: &mut ServerState) -> bool {
    let pending = &mut server.pending;
    server.expected.skip_to_sync(|dropped| {
        if dropped.has_pending() {
            pending.pop();
        }
    })
}

fn end_execute(front: Expect, server: &mut ServerState) -> Result<ToClient, Violation> {
    if front == Expect::Execute {
        server.expected.pop();
    }
    in_execute(front)
}

fn in_execute(front: Expect) -> Result<ToClient, Violation> {
    match front {
        Expect::Query | Expect::Execute => Ok(ToClient::FORWARD),
        _ => Err(Violation::Server("a result that nothing asked for")),
    }
}

/// Only a last word may come unasked: FATAL, before the server closes.
fn unasked(tag: u8) -> Result<ToClient, Violation> {
    if tag == b::ERROR_RESPONSE {
        Ok(ToClient::FORWARD)
    } else {
        Err(Violation::Server("a message that nothing asked for"))
    }
}
