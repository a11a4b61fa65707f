//! Answers to hidden queries of our own: those that bring a server to a client's settings or to its
//! failed transaction, and the question of what the client has left.

use std::sync::Arc;

use wire::message::{self, TransactionStatus};
use wire::{ErrorFields, SqlState, tag::backend as b};

use crate::classify::Leaves;
use crate::frame::Frame;
use crate::pins::Pin;
use crate::reply::ready_status;
use crate::server::{OwnQuery, ServerState};
use crate::session::Session;
use crate::verdict::{Disposition, Pass, ToClient, Violation};

impl Session {
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
        match server.own {
            OwnQuery::Prepare if status != server.status => {
                return Err(Violation::Server("a setting changed the transaction's state"));
            }
            OwnQuery::Prepare => {
                server.own = OwnQuery::None;
                server.parameters = Arc::clone(&self.parameters);
            }
            OwnQuery::Doom if status != TransactionStatus::Failed => {
                return Err(Violation::Server("a transaction that has not failed"));
            }
            // From here on the server has it.
            OwnQuery::Doom => {
                server.own = OwnQuery::None;
                self.standing = TransactionStatus::Idle;
            }
            OwnQuery::None | OwnQuery::Failed(_) | OwnQuery::Account(_) | OwnQuery::NoAccount => {}
        }
        server.status = status;
        server.expected.pop();
        Ok(())
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
            OwnQuery::Account(account) => self.settle(&account, server),
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
        server.end_lease();
        self.skip_statement(tag, to_client);
        Some(Disposition::NeedsReset)
    }
}
