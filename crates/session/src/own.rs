//! Answers to hidden queries of our own: those that bring a server to a client's settings or to its
//! failed transaction, and the question of what the client has left.

use std::sync::Arc;

use wire::message::{self, Parse, TransactionStatus};
use wire::tag::{backend as b, frontend as f};
use wire::{ErrorFields, SqlState};

use crate::classify::{Hints, Leaves};
use crate::expect::Expect;
use crate::frame::Frame;
use crate::pins::Pin;
use crate::reply::ready_status;
use crate::server::{OwnQuery, ServerState};
use crate::session::Session;
use crate::unnamed::Unnamed;
use crate::verb::{self, Verb};
use crate::verdict::{Disposition, Pass, Then, ToClient, Violation};

impl Session {
    /// Appends what brings `server` to this client's settings, if they differ, and lets it forget
    /// values of sequences, if `frame`, of whose text `hints` are known, may ask for some. True if that must
    /// be answered before `frame` can go.
    pub(crate) fn prepare(
        &self,
        frame: &Frame<'_>,
        hints: Option<Hints>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> bool {
        let forgets = self.forgets(frame, hints, server);
        let is_same = Arc::ptr_eq(&self.parameters, &server.parameters);
        if (is_same && !server.has_foreign_role && !forgets)
            || server.status == TransactionStatus::Failed
        {
            return false;
        }
        let mut sql = if server.in_transaction() {
            self.parameters.sql_within_block(&server.parameters)
        } else if server.has_foreign_role {
            self.parameters.sql_anew(&server.parameters)
        } else {
            self.parameters.sql_from(&server.parameters)
        };
        if forgets {
            server.forget_values(&mut sql);
        }
        if sql.is_empty() {
            server.parameters = Arc::clone(&self.parameters);
            server.has_foreign_role = false;
            return false;
        }
        let is_ahead = self.may_follow(frame, server);
        if is_ahead {
            message::put_query(to_server, &format!("BEGIN; {sql}; COMMIT"));
            server.own = OwnQuery::Ahead;
        } else {
            message::put_query(to_server, &sql);
            server.own = OwnQuery::Prepare;
        }
        server.expected.push(Expect::Own);
        // As any simple query does, this one destroys the unnamed statement.
        server.unnamed = Unnamed::Absent;
        server.counters.preparations += 1;
        !is_ahead
    }

    /// Whether `frame` may be sent behind a transaction block of ours before that was answered. If
    /// the block fails the server is left in it, and refuses everything there but what ends it:
    /// so this frame, and what else is part of its batch, cannot run under wrong settings.
    fn may_follow(&self, frame: &Frame<'_>, server: &ServerState) -> bool {
        let is_idle =
            server.status == TransactionStatus::Idle && self.standing == TransactionStatus::Idle;
        let is_refused = match frame.header.tag {
            f::QUERY | f::BIND => true,
            // One without a statement would not be.
            f::PARSE => Parse::read(frame.body).is_ok_and(|parse| !verb::is_empty(parse.text())),
            _ => false,
        };
        let stays = |verb| matches!(verb, Verb::Plain | Verb::Alone | Verb::Begin | Verb::Opens);
        is_idle && is_refused && self.verb(frame).is_ok_and(stays)
    }

    /// The answer to a query of our own.
    pub(crate) fn on_own(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<ToClient, Violation> {
        match frame.header.tag {
            b::ERROR_RESPONSE if server.is_asked() => server.own = OwnQuery::NoAccount,
            b::DATA_ROW if server.is_asked() => server.on_account(frame),
            b::READY_FOR_QUERY if server.is_asked() => {
                self.end_account(ready_status(frame)?, server)?;
                let ready = self.ready(server, to_server);
                return Ok(ToClient { pass: Pass::Swallow, then: ready.then });
            }
            b::ERROR_RESPONSE if server.own == OwnQuery::Doom => {
                let fields = ErrorFields::parse(frame.body).unwrap_or_default();
                if !fields.is(SqlState::INVALID_SAVEPOINT_SPECIFICATION) {
                    return Err(Violation::Server("a transaction that cannot be failed"));
                }
            }
            b::ERROR_RESPONSE if server.is_ahead() => {
                server.own = OwnQuery::FailedAhead(frame.body.into());
            }
            b::ERROR_RESPONSE => server.own = OwnQuery::Failed(frame.body.into()),
            b::READY_FOR_QUERY => self.end_own(ready_status(frame)?, server)?,
            b::ROW_DESCRIPTION | b::DATA_ROW | b::COMMAND_COMPLETE => {}
            _ => return Err(Violation::Server("a message that a setting does not cause")),
        }
        Ok(ToClient::SWALLOW)
    }

    fn end_own(
        &mut self,
        status: TransactionStatus,
        server: &mut ServerState,
    ) -> Result<(), Violation> {
        match std::mem::replace(&mut server.own, OwnQuery::None) {
            OwnQuery::Prepare | OwnQuery::Ahead if status != server.status => {
                return Err(Violation::Server("a setting changed the transaction's state"));
            }
            OwnQuery::Prepare | OwnQuery::Ahead => {
                server.parameters = Arc::clone(&self.parameters);
                server.has_foreign_role = false;
            }
            OwnQuery::FailedAhead(_) if status != TransactionStatus::Failed => {
                return Err(Violation::Server("a block that has failed and is over"));
            }
            // Nothing is behind it yet.
            OwnQuery::FailedAhead(body)
                if server.expected.len() == 1 && !server.in_batch.is_open =>
            {
                server.own = OwnQuery::Failed(body);
            }
            OwnQuery::Doom if status != TransactionStatus::Failed => {
                return Err(Violation::Server("a transaction that has not failed"));
            }
            // From here on the server has it.
            OwnQuery::Doom => self.standing = TransactionStatus::Idle,
            own => server.own = own,
        }
        server.status = status;
        server.expected.pop();
        Ok(())
    }

    /// The client's messages have been refused in the block that should have brought the server to
    /// its settings: it is in none.
    pub(crate) fn end_unprepared(
        &self,
        server: &mut ServerState,
        to_client: &mut Vec<u8>,
    ) -> ToClient {
        message::put_ready_for_query(to_client, self.standing);
        server.own = OwnQuery::None;
        server.distrust();
        server.end_lease();
        ToClient { pass: Pass::Replace, then: Then::Release(Disposition::NeedsReset) }
    }

    fn end_account(
        &mut self,
        status: TransactionStatus,
        server: &mut ServerState,
    ) -> Result<(), Violation> {
        if status != TransactionStatus::Idle {
            return Err(Violation::Server("a question began a transaction"));
        }
        server.expected.pop();
        match std::mem::replace(&mut server.own, OwnQuery::None) {
            OwnQuery::Account(account) if account.can_be_replayed() => {
                self.settle(&account, server);
                self.police(server);
            }
            _ => {
                server.pins.insert(Pin::Unknown);
                server.leaves = Leaves::Nothing;
            }
        }
        Ok(())
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
        // That may be the server's fault.
        server.distrust();
        server.end_lease();
        self.skip_statement(tag, to_client);
        Some(Disposition::NeedsReset)
    }
}
