//! The client's frames while a server is leased.

use wire::SqlState;
use wire::message::{self, Named, Parse};
use wire::tag::frontend as f;

use crate::classify::{self, Leaves};
use crate::expect::Expect;
use crate::frame::{Frame, STATEMENT_LIMIT, TEXT_LIMIT};
use crate::server::{CopyState, ServerState, Skip, Unnamed};
use crate::session::{Session, unknown_tag};
use crate::statements::Change;
use crate::verdict::{ToServer, Violation};

/// A portal that no client opens: to close it is nothing.
const NO_PORTAL: &[u8] = b"pgmesh:none";

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
        if server.is_quiet()
            && server.skip == Skip::No
            && server.status == message::TransactionStatus::Idle
            && tag != f::TERMINATE
        {
            if self.prepare(server, to_server) {
                return Ok(ToServer::Prepare);
            }
            if matches!(tag, f::PARSE | f::BIND | f::DESCRIBE | f::EXECUTE | f::CLOSE) {
                server.batch.begin(true);
            }
        }
        self.on_frame(frame, server, to_server, to_client)
    }

    /// As [`Session::on_client`], for frames of a batch that is sent again too.
    pub(crate) fn on_frame(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
        to_client: &mut Vec<u8>,
    ) -> Result<ToServer, Violation> {
        let tag = frame.header.tag;
        if server.skip == Skip::ToSync {
            match tag {
                f::SYNC => server.skip = Skip::No,
                f::TERMINATE => return Ok(ToServer::Goodbye),
                _ => return Ok(ToServer::SWALLOW),
            }
        }
        match tag {
            f::BIND => self.on_bind(frame, server, to_server),
            f::EXECUTE => Ok(extended(frame, server, Expect::Execute)),
            f::SYNC => Ok(on_sync(frame, server)),
            f::QUERY => Ok(self.on_query(frame, server)),
            f::PARSE => self.on_parse(frame, server, to_server),
            f::DESCRIBE => match Named::parse(frame.body)? {
                Named::Portal(_) => Ok(extended(frame, server, Expect::Describe)),
                Named::Statement(name) => self.on_describe(frame, name, server, to_server),
            },
            f::CLOSE => match Named::parse(frame.body)? {
                Named::Portal(_) => Ok(extended(frame, server, Expect::Close)),
                Named::Statement(name) => Ok(self.on_close(frame, name, server)),
            },
            f::FLUSH => {
                server.batch.give_up();
                self.answer_locals(server, to_client);
                // Answers of ours behind the server's are given with its next message, so
                // it is made to send one: nothing else might follow a Flush.
                if server.expected.has_local() {
                    message::put_close_portal(to_server, NO_PORTAL);
                    server.expected.push(Expect::OwnClose { named: false });
                }
                Ok(ToServer::FORWARD)
            }
            f::COPY_DATA => Ok(ToServer::FORWARD),
            f::COPY_DONE | f::COPY_FAIL => {
                if server.copy == CopyState::In {
                    server.copy = CopyState::None;
                } else if !server.is_quiet() {
                    server.expected.push(Expect::CopyEnd);
                }
                Ok(ToServer::FORWARD)
            }
            f::FUNCTION_CALL => {
                server.batch.give_up();
                server.leaves = Leaves::State;
                server.expected.push(Expect::Function);
                Ok(ToServer::FORWARD)
            }
            f::TERMINATE => Ok(ToServer::Goodbye),
            _ => Err(unknown_tag(tag)),
        }
    }

    fn on_query(&mut self, frame: &Frame<'_>, server: &mut ServerState) -> ToServer {
        server.batch.give_up();
        server.expected.push(Expect::Query);
        note_text(frame, frame.body, server);
        // A simple query destroys the unnamed statement.
        self.unnamed = None;
        server.unnamed = Unnamed::Foreign;
        ToServer::FORWARD
    }

    fn on_parse(
        &mut self,
        frame: &Frame<'_>,
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<ToServer, Violation> {
        if !frame.is_whole() {
            return Err(Violation::client(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("prepared statement is larger than {STATEMENT_LIMIT} bytes"),
            ));
        }
        let parse = Parse::read(frame.body)?;
        if !parse.name.is_empty() {
            server.batch.keep(frame);
            return Ok(self.on_parse_named(&parse, server, to_server));
        }
        note_text(frame, parse.text(), server);
        server.unnamed = Unnamed::Ours;
        server.unnamed_definition.clear();
        server.unnamed_definition.extend_from_slice(parse.definition);
        Ok(extended(frame, server, Expect::Parse { named: false }))
    }

    /// Emits the answers of ours that nothing of the server's comes before.
    pub(crate) fn answer_locals(&mut self, server: &mut ServerState, to_client: &mut Vec<u8>) {
        while let Some(expect) = server.expected.front().filter(|expect| expect.is_local()) {
            server.expected.pop();
            match expect {
                Expect::LocalParse => to_client.extend_from_slice(message::PARSE_COMPLETE),
                Expect::LocalClose => to_client.extend_from_slice(message::CLOSE_COMPLETE),
                _ => continue,
            }
            self.apply_pending(server);
        }
    }

    /// The answer for the oldest pending change has come.
    pub(crate) fn apply_pending(&mut self, server: &mut ServerState) {
        match server.pending.pop() {
            Some(Change::Parsed { statement, client_name }) => {
                server.statements.insert(std::sync::Arc::clone(&statement), server.batches_sent);
                if let Some(name) = client_name {
                    self.statements.get_or_insert_default().insert(name, statement);
                }
            }
            Some(Change::Named { statement, client_name }) => {
                self.statements.get_or_insert_default().insert(client_name, statement);
            }
            Some(Change::Dropped { client_name }) => {
                if let Some(statements) = &mut self.statements {
                    statements.remove(&client_name);
                }
            }
            Some(Change::Closed { id }) => server.statements.remove(id),
            None => {}
        }
    }
}

/// A message of the extended protocol that goes on as it is.
#[inline]
pub(crate) fn extended(frame: &Frame<'_>, server: &mut ServerState, expect: Expect) -> ToServer {
    server.batch.keep(frame);
    server.expected.push(expect);
    ToServer::FORWARD
}

fn on_sync(frame: &Frame<'_>, server: &mut ServerState) -> ToServer {
    // CopyGetData ignores it: no ReadyForQuery will come for it.
    if server.copy == CopyState::In {
        return ToServer::FORWARD;
    }
    server.batch.keep(frame);
    server.batch.complete();
    server.expected.push(Expect::Sync);
    server.batches_sent += 1;
    ToServer::FORWARD
}

/// Notes what a text may leave behind. A text that is not here to its end might hide
/// anything in the rest.
fn note_text(frame: &Frame<'_>, text: &[u8], server: &mut ServerState) {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if !frame.is_whole() || text.len() > TEXT_LIMIT {
        server.leaves = Leaves::State;
        server.set_is_local = false;
        return;
    }
    server.leaves = server.leaves.max(classify::text(text));
    server.set_is_local = classify::is_local_set(text);
}
