//! What is kept of a client between its transactions, and what needs no server.

use std::sync::Arc;

use wire::message::{self, Named, TransactionStatus};
use wire::{ErrorMessage, SqlState, tag::frontend as f};

use crate::catalog::Catalog;
use crate::fate::Outcome;
use crate::frame::Frame;
use crate::hearing::Hearing;
use crate::names::SqlStatements;
use crate::parameters::ParameterSet;
use crate::rules::{Feature, StateRules};
use crate::server::{CopyState, ServerState, Skip};
use crate::show::Shows;
use crate::statements::ClientStatements;
use crate::verdict::{Abandoned, Disposition, Unleased, Violation};

/// When a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With the transaction.
    Transaction,
    /// With the client.
    Session,
    /// With the statement; transaction blocks are refused.
    Statement,
}

/// One client. Small, since ten thousand of them wait idle.
#[derive(Debug)]
pub struct Session {
    pub(crate) catalog: Arc<Catalog>,
    /// Settings that the client logged in with, to which its RESET goes back.
    pub(crate) startup: Arc<ParameterSet>,
    /// Settings as the client knows them.
    pub(crate) parameters: Arc<ParameterSet>,
    pub(crate) statements: Option<Box<ClientStatements>>,
    /// What it has made by SQL `PREPARE`, if that follows it.
    pub(crate) prepared: Option<Box<SqlStatements>>,
    /// The definition of its unnamed statement; empty if it has none.
    pub(crate) unnamed: Vec<u8>,
    /// Once it has parsed `SHOW pgmesh.session`.
    pub(crate) shows: Option<Box<Shows>>,
    pub(crate) mode: Mode,
    pub(crate) rules: StateRules,
    pub(crate) phase: Phase,
    /// Its transaction while it has no server: a failed one outlives the server that it was on.
    pub(crate) standing: TransactionStatus,
    /// By which process id the client knows itself.
    pub(crate) pid: Option<i32>,
    pub(crate) shares_channels: bool,
    pub(crate) hearing: Option<Box<Hearing>>,
}

/// What an unleased session does with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Ready,
    /// An error of ours in the extended protocol: nothing counts until Sync.
    SkipToSync,
    /// What it had begun is lost, and its next message is answered with that.
    Lost(Outcome),
    /// What it has left is refused and gone, and its next statement fails with that.
    Refused(Feature),
    /// The same, and what else it had is gone too: its connection ends with that.
    Expelled(Feature),
}

impl Session {
    /// A client that has logged in with these settings.
    pub fn new(catalog: Arc<Catalog>, startup: Arc<ParameterSet>, mode: Mode) -> Self {
        Self {
            catalog,
            parameters: Arc::clone(&startup),
            startup,
            statements: None,
            prepared: None,
            unnamed: Vec::new(),
            shows: None,
            mode,
            rules: StateRules::default(),
            phase: Phase::Ready,
            standing: TransactionStatus::Idle,
            pid: None,
            shares_channels: false,
            hearing: None,
        }
    }

    /// With these rules for state that outlasts its transactions.
    #[must_use]
    pub fn under(mut self, rules: StateRules) -> Self {
        self.rules = rules;
        self
    }

    /// The settings as the client knows them.
    pub fn parameters(&self) -> &Arc<ParameterSet> {
        &self.parameters
    }

    /// Shows a frame while no server is leased. Answers of ours are appended to `to_client`.
    ///
    /// # Errors
    /// The frame is not one that a client sends here.
    pub fn on_client_unleased(
        &mut self,
        frame: &Frame<'_>,
        to_client: &mut Vec<u8>,
    ) -> Result<Unleased, Violation> {
        let tag = frame.header.tag;
        if self.phase == Phase::Ready
            && self.may_show(frame)
            && self.show_unleased(frame, to_client)?
        {
            return Ok(Unleased::Swallow);
        }
        match tag {
            f::TERMINATE => return Ok(Unleased::Goodbye),
            f::SYNC => {
                if let Phase::Lost(outcome) = self.phase {
                    outcome.put(to_client);
                }
                if !self.is_refused() {
                    self.phase = Phase::Ready;
                }
                message::put_ready_for_query(to_client, self.standing);
                return Ok(Unleased::Swallow);
            }
            // Left-overs of a COPY that has failed, and a Flush of nothing.
            f::COPY_DATA | f::COPY_DONE | f::COPY_FAIL | f::FLUSH => return Ok(Unleased::Swallow),
            f::QUERY
            | f::PARSE
            | f::BIND
            | f::DESCRIBE
            | f::EXECUTE
            | f::CLOSE
            | f::FUNCTION_CALL => {}
            _ => return Err(unknown_tag(tag)),
        }
        match self.phase {
            Phase::Ready => {}
            Phase::SkipToSync => return Ok(Unleased::Swallow),
            Phase::Lost(outcome) => return self.on_client_lost(frame, outcome, to_client),
            Phase::Refused(feature) => return self.on_client_refused(frame, feature, to_client),
            Phase::Expelled(feature) => {
                return Err(Violation::Client(Box::new(feature.expulsion())));
            }
        }
        if tag == f::CLOSE
            && let Named::Statement(name) = Named::parse(frame.body)?
            && !name.is_empty()
        {
            self.drop_statement(name);
            to_client.extend_from_slice(message::CLOSE_COMPLETE);
            return Ok(Unleased::Swallow);
        }
        if let Some(feature) = self.refused(frame) {
            self.refuse(tag, &feature.refusal(), to_client);
            return Ok(Unleased::Refused);
        }
        Ok(Unleased::NeedServer)
    }

    /// Answers a Close where there is no server that would have what is closed.
    pub(crate) fn close_unleased(
        &mut self,
        frame: &Frame<'_>,
        to_client: &mut Vec<u8>,
    ) -> Result<Unleased, Violation> {
        match Named::parse(frame.body)? {
            Named::Statement(b"") => self.unnamed.clear(),
            Named::Statement(name) => self.drop_statement(name),
            Named::Portal(_) => {}
        }
        to_client.extend_from_slice(message::CLOSE_COMPLETE);
        Ok(Unleased::Swallow)
    }

    /// Fails the statement that `tag` began, because no server could be had for it. In the
    /// extended protocol everything up to the next Sync is then skipped.
    pub fn refuse(&mut self, tag: u8, error: &ErrorMessage, to_client: &mut Vec<u8>) {
        error.put(to_client);
        self.skip_statement(tag, to_client);
    }

    pub(crate) fn skip_statement(&mut self, tag: u8, to_client: &mut Vec<u8>) {
        if tag == f::QUERY || tag == f::FUNCTION_CALL {
            message::put_ready_for_query(to_client, self.standing);
        } else {
            self.phase = Phase::SkipToSync;
        }
    }

    /// The client has gone while a server was leased. What is appended to `to_server` ends
    /// what it began there; `mid_frame` says that a message of its was cut off, which
    /// nothing can end. If a message of the server's is cut off too and the answer is
    /// [`Abandoned::Now`], the server must be closed whatever the disposition.
    pub fn abandon(
        &mut self,
        server: &mut ServerState,
        mid_frame: bool,
        to_server: &mut Vec<u8>,
    ) -> Abandoned {
        if server.is_asked() && !mid_frame {
            server.client_has_gone();
            return Abandoned::Drain;
        }
        if mid_frame || server.is_exchanging() || server.is_ahead() {
            return Abandoned::Now(Disposition::Discard);
        }
        let has_failed = server.copy == CopyState::In || server.skip == Skip::ToSync;
        // A Sync would commit what the client has not ended itself, unless it fails anyway;
        // that the connection is closed rolls it back. An end of COPY data may be that of an
        // Execute whose Sync the COPY has swallowed.
        let is_ended = server.is_quiet() || server.expected.back_ends_with_ready();
        if !has_failed && (server.in_batch.is_open || !is_ended) {
            return Abandoned::Now(Disposition::Discard);
        }
        server.client_has_gone();
        if server.copy == CopyState::In {
            end_copy(server, to_server);
        }
        // A Query is skipped if what is before it fails: only a Sync ends that.
        if server.skip == Skip::ToSync
            || server.in_batch.is_open
            || !(server.is_quiet() || server.expected.back_is_sync())
        {
            to_server.extend_from_slice(message::SYNC);
            server.sync();
            server.skip = Skip::No;
        }
        server.batch.clear();
        if server.is_quiet() {
            let disposition = server.disposition();
            server.end_lease();
            Abandoned::Now(disposition)
        } else {
            Abandoned::Drain
        }
    }
}

/// Ends the COPY for a client that has gone.
pub(crate) fn end_copy(server: &mut ServerState, to_server: &mut Vec<u8>) {
    server.copy = CopyState::None;
    message::put(to_server, f::COPY_FAIL, |out| {
        message::put_c_str(out, "client has disconnected");
    });
}

pub(crate) fn unknown_tag(tag: u8) -> Violation {
    Violation::client(SqlState::PROTOCOL_VIOLATION, format!("invalid frontend message type {tag}"))
}
