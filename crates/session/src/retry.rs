//! A batch whose prepared statement has become invalid is sent once more, unseen; and errors
//! that name a statement are given the client's name for it.
//!
//! A statement whose result has changed is retired: its text is a new statement from then on.
//! A batch that describes the result goes on with the new one. One that does not would hand the
//! client rows that are not what it was told, so it sees the error that it would see directly.

use std::sync::Arc;

use wire::message::{self, TransactionStatus};
use wire::{ErrorFields, HEADER_LEN, Header, SqlState, tag::backend as b};

use crate::catalog::{NAME_PREFIX, Statement};
use crate::expect::Expect;
use crate::frame::Frame;
use crate::server::ServerState;
use crate::session::Session;
use crate::statements::{Change, name_hash};
use crate::verdict::{ToClient, ToServer, Violation};

/// What Postgres says of a statement whose result has changed. It is said for a retired one,
/// too, where the server does not have it: drivers know it and prepare again.
pub(crate) const PLAN_CHANGED: &[u8] = b"E\0\0\0\x5aSERROR\0VERROR\0C0A000\0\
    Mcached plan must not change result type\0RRevalidateCachedQuery\0\0";

/// Whether an error says that a statement's result is not any more what it was when it was parsed:
/// it has other columns, or one of its types is gone. Only the second message is never translated.
fn is_outdated(fields: &ErrorFields<'_>) -> bool {
    let has_changed =
        fields.is(SqlState::FEATURE_NOT_SUPPORTED) && fields.routine == "RevalidateCachedQuery";
    let is_gone = fields.is(SqlState::INTERNAL_ERROR)
        && fields.message.starts_with("cache lookup failed for type ");
    has_changed || is_gone
}

/// What becomes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is hidden until the batch has been sent again.
    Hidden,
    /// The client is told [`PLAN_CHANGED`] instead.
    PlanChanged,
    Shown,
}

impl Session {
    /// What becomes of an error that a fresh Parse may mend.
    pub(crate) fn fail_batch(
        &mut self,
        fields: &ErrorFields<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Failure {
        // Only here has nothing run yet: an Execute may have committed inside a procedure.
        let Some(Expect::Bind { statement, name } | Expect::Describe { statement, name }) =
            server.expected.front()
        else {
            return Failure::Shown;
        };
        let plan_changed = is_outdated(fields);
        let lost = fields.is(SqlState::INVALID_SQL_STATEMENT_NAME)
            && our_name(fields.message.as_bytes()).is_some_and(|found| found.id == statement);
        if statement == 0 || !(plan_changed || lost) {
            return Failure::Shown;
        }
        let is_retired = self.retire(statement, name, plan_changed);
        let is_mended = if is_retired {
            self.renew(statement, name, server)
        } else {
            server.statements.mark_stale(statement);
            true
        };
        if !is_mended || !server.batch.is_repeatable(server.expected.ready_outstanding()) {
            return if lost && is_retired { Failure::PlanChanged } else { Failure::Shown };
        }
        if !server.skip_to_sync() {
            // The client's Sync is still to come, and ends the batch when sent again.
            to_server.extend_from_slice(message::SYNC);
            server.expected.push(Expect::Sync);
        }
        server.batch.fail();
        server.counters.plan_retries += u32::from(plan_changed || is_retired);
        server.counters.lost_retries += u32::from(lost && !is_retired);
        Failure::Hidden
    }

    /// The rest of a hidden failure, up to ReadyForQuery; then the batch goes out again.
    pub(crate) fn on_failing(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_client: &mut Vec<u8>,
        to_server: &mut Vec<u8>,
    ) -> Result<ToClient, Violation> {
        if frame.header.tag != b::READY_FOR_QUERY
            || TransactionStatus::parse(frame.body) != Ok(TransactionStatus::Idle)
        {
            return Err(Violation::Server("an error that ReadyForQuery does not follow"));
        }
        server.expected.pop();
        let bytes = server.batch.repeat();
        let mut rest = &bytes[..];
        while let Ok(Some(header)) = Header::peek(rest) {
            let Some((whole, after)) = rest.split_at_checked(header.frame_len()) else { break };
            let frame = Frame { header, body: whole.get(HEADER_LEN..).unwrap_or_default() };
            if self.on_frame(&frame, None, server, to_server, to_client)? == ToServer::FORWARD {
                to_server.extend_from_slice(whole);
            }
            rest = after;
        }
        Ok(ToClient::SWALLOW)
    }

    /// What the client calls the statement of which the front of the queue is about, if it
    /// knows it and the error has ours. To be asked before the queue is skipped.
    pub(crate) fn failing_name(
        &self,
        fields: &ErrorFields<'_>,
        server: &ServerState,
    ) -> Option<Box<[u8]>> {
        our_name(fields.message.as_bytes())?;
        match server.expected.front()? {
            Expect::Bind { statement, name } | Expect::Describe { statement, name } => {
                self.named(statement, name).map(|(name, _)| name.into())
            }
            Expect::ParseNamed => match server.pending.front()? {
                Change::Parsed { client_name, .. } => client_name.clone(),
                Change::Named { client_name, .. }
                | Change::Replaced { client_name, .. }
                | Change::Dropped { client_name } => Some(client_name.clone()),
                Change::Closed { .. } | Change::Name { .. } => None,
            },
            _ => None,
        }
    }

    /// Whether the client's statement is retired; with `plan_changed` it is from now on.
    fn retire(&self, id: u64, name: u32, plan_changed: bool) -> bool {
        self.named(id, name).is_some_and(|(_, known)| {
            if plan_changed {
                known.retire();
            }
            known.is_retired()
        })
    }

    /// Gives the client the new statement for its retired one, if the batch describes that.
    fn renew(&mut self, id: u64, name: u32, server: &ServerState) -> bool {
        let Some((client_name, known)) = self.named(id, name) else { return false };
        if !server.batch.describes(name) {
            return false;
        }
        let schema = server.schema.now();
        let new = self.catalog.statement(&self.parameters, schema, &known.definition);
        let client_name = Box::from(client_name);
        self.statements.get_or_insert_default().insert(client_name, new);
        true
    }

    /// The client's statement of this id, and of a name with this hash.
    fn named(&self, id: u64, name: u32) -> Option<(&[u8], &Arc<Statement>)> {
        let mut known = self.statements.as_ref()?.iter();
        let (name, it) = known.find(|(known, it)| it.id == id && name_hash(known) == name)?;
        Some((&**name, it))
    }
}

/// Appends an ErrorResponse in which our name for a statement is the client's. False if there
/// is nothing to replace.
pub(crate) fn put_with_client_name(
    frame: &Frame<'_>,
    fields: &ErrorFields<'_>,
    client_name: Option<&[u8]>,
    to_client: &mut Vec<u8>,
) -> bool {
    let (Some(client_name), Some(ours)) = (client_name, our_name(fields.message.as_bytes())) else {
        return false;
    };
    if !frame.is_whole() {
        return false;
    }
    message::put(to_client, b::ERROR_RESPONSE, |out| {
        let mut rest = frame.body;
        while let Some(found) = our_name(rest) {
            out.extend_from_slice(found.before);
            out.extend_from_slice(if found.name == ours.name { client_name } else { found.name });
            rest = found.after;
        }
        out.extend_from_slice(rest);
    });
    true
}

/// One of our names in a text.
struct Found<'a> {
    before: &'a [u8],
    name: &'a [u8],
    after: &'a [u8],
    id: u64,
}

/// The first of our names in a text.
fn our_name(text: &[u8]) -> Option<Found<'_>> {
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let at = from + rest.windows(NAME_PREFIX.len()).position(|w| w == NAME_PREFIX)?;
        let digits_at = at + NAME_PREFIX.len();
        let digits = text.get(digits_at..)?;
        let len = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (before, name_on) = text.split_at_checked(at)?;
        let (name, after) = name_on.split_at_checked(NAME_PREFIX.len() + len)?;
        let number = digits.get(..len).and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(id) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) {
            return Some(Found { before, name, after, id });
        }
        from = digits_at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_our_own_is_whole() {
        let header = Header::peek(PLAN_CHANGED).unwrap().unwrap();
        assert_eq!(header.frame_len(), PLAN_CHANGED.len());
        let fields = ErrorFields::parse(&PLAN_CHANGED[HEADER_LEN..]).unwrap();
        assert!(fields.is(SqlState::FEATURE_NOT_SUPPORTED));
        assert_eq!((fields.severity, fields.routine), ("ERROR", "RevalidateCachedQuery"));
    }

    #[test]
    fn our_name_is_found_whole_and_nothing_else_is() {
        let found = our_name(b"pgmesh:missing \"pgmesh:1a\" exists").unwrap();
        assert_eq!((found.name, found.id, found.after), (&b"pgmesh:1a"[..], 26, &b"\" exists"[..]));
        assert_eq!(found.before, b"pgmesh:missing \"");
        assert!(our_name(b"pgmesh:").is_none());
    }

    #[test]
    fn only_the_name_at_fault_is_replaced() {
        let mut error = Vec::new();
        let message = "\"pgmesh:1\" and pgmesh:12";
        wire::ErrorMessage::error(SqlState::DUPLICATE_PREPARED_STATEMENT, message).put(&mut error);
        let header = Header::peek(&error).unwrap().unwrap();
        let frame = Frame { header, body: &error[HEADER_LEN..] };
        let fields = ErrorFields::parse(frame.body).unwrap();
        let mut out = Vec::new();
        assert!(put_with_client_name(&frame, &fields, Some(b"s"), &mut out));
        let replaced = ErrorFields::parse(&out[HEADER_LEN..]).unwrap();
        assert_eq!(replaced.message, "\"s\" and pgmesh:12");
        assert!(!put_with_client_name(&frame, &fields, None, &mut out));
    }
}
