//! A batch whose prepared statement has become invalid is sent once more, unseen.

use wire::message::{self, TransactionStatus};
use wire::{ErrorFields, HEADER_LEN, Header, SqlState, tag::backend as b};

use crate::catalog::NAME_PREFIX;
use crate::frame::Frame;
use crate::reply::skip_to_sync;
use crate::server::ServerState;
use crate::session::Session;
use crate::verdict::{Pass, ToClient, ToServer, Violation};

impl Session {
    /// Whether this error is one that a fresh Parse mends. If the batch may also be sent
    /// again, its error is hidden from here on; if not, its statements are closed before
    /// they are used again, so that the client's own retry works.
    pub(crate) fn fail_batch(
        &mut self,
        fields: &ErrorFields<'_>,
        server: &mut ServerState,
    ) -> bool {
        let plan_changed =
            fields.is(SqlState::FEATURE_NOT_SUPPORTED) && fields.routine == "RevalidateCachedQuery";
        let lost = fields.is(SqlState::INVALID_SQL_STATEMENT_NAME)
            && contains(fields.message.as_bytes(), NAME_PREFIX);
        if !plan_changed && !lost {
            return false;
        }
        let repeatable = server.batch.is_repeatable()
            && server.expected.ready_outstanding() == 1
            && server.status == TransactionStatus::Idle;
        if !repeatable {
            server.statements.mark_stale(server.batches_done);
            return false;
        }
        server.statements.mark_stale(server.batches_done);
        skip_to_sync(server);
        server.batch.fail();
        true
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
        server.batches_done += 1;
        server.counters.retries += 1;
        let bytes = server.batch.repeat();
        let mut rest = &bytes[..];
        while let Ok(Some(header)) = Header::peek(rest) {
            let Some((whole, after)) = rest.split_at_checked(header.frame_len()) else { break };
            let frame = Frame { header, body: whole.get(HEADER_LEN..).unwrap_or_default() };
            if self.on_frame(&frame, server, to_server, to_client)? == ToServer::Pass(Pass::Forward)
            {
                to_server.extend_from_slice(whole);
            }
            rest = after;
        }
        Ok(ToClient::SWALLOW)
    }

    /// An error that names a statement by our name for it is given the client's name.
    pub(crate) fn put_with_client_names(
        &self,
        frame: &Frame<'_>,
        fields: &ErrorFields<'_>,
        to_client: &mut Vec<u8>,
    ) -> bool {
        if !frame.is_whole() || !contains(fields.message.as_bytes(), NAME_PREFIX) {
            return false;
        }
        let message = fields.message.as_bytes();
        let found =
            self.statements.iter().flat_map(|statements| statements.iter()).find(
                |(_, statement)| contains(message, &[b"\"", &*statement.name, b"\""].concat()),
            );
        let Some((client_name, statement)) = found else { return false };
        message::put(to_client, b::ERROR_RESPONSE, |out| {
            put_replaced(out, frame.body, &statement.name, client_name);
        });
        true
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn put_replaced(out: &mut Vec<u8>, text: &[u8], from: &[u8], to: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(to);
        rest = after.get(from.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}
