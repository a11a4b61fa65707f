//! A server was lost while this client had it: what the client is told, and how it goes on
//! without one.
//!
//! A transaction that was lost has failed, and lives on in [`Session::standing`] until the
//! client ends it. No answer of Postgres' in such a transaction is made up here: the next
//! server is taken to a failed transaction, unseen, before it gets the client's messages.

use std::sync::Arc;

use wire::message::{self, BindHead, TransactionStatus};
use wire::{ErrorFields, ErrorMessage, SqlState, tag::frontend as f};

use crate::catalog::text;
use crate::classify::Leaves;
use crate::expect::Expect;
use crate::fate::{self, Group, Known, Outcome, Ready, Says};
use crate::frame::Frame;
use crate::pins::Pin;
use crate::server::{CopyState, Front, InBatch, OwnQuery, ServerState, Skip};
use crate::session::{Mode, Phase, Session};
use crate::unnamed::Unnamed;
use crate::verb::Verb;
use crate::verdict::{Lost, Sent, Unleased, Violation};

/// Fails in every server, and leaves it in a failed transaction.
const DOOM: &str = "BEGIN; ROLLBACK TO SAVEPOINT pgmesh_failover";

/// Whether the server ends the connection because it is shut down or has crashed: a FATAL, or
/// the notice of a process that is told to go at once (`quickdie`).
#[cold]
pub(crate) fn is_last_word(frame: &Frame<'_>) -> bool {
    const STATES: [SqlState; 3] =
        [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
    let fields = ErrorFields::parse(frame.body).unwrap_or_default();
    let is_end = fields.is_fatal() || fields.routine == "quickdie";
    is_end && STATES.iter().any(|&state| fields.is(state))
}

impl Session {
    /// The server is dead, and `server` with it. Appends what the client must be told to
    /// `to_client`; its further messages go to [`Session::on_client_unleased`]. A frame of its
    /// that was forwarded in part is over; one that was held back is shown again.
    ///
    /// A frame of the server's must not have been forwarded in part.
    pub fn on_server_lost(
        &mut self,
        server: &mut ServerState,
        sent: Sent,
        to_client: &mut Vec<u8>,
    ) -> Lost {
        if let Some(end) = server.own_end() {
            return Lost::Fatal(Box::new(end));
        }
        let is_kept = self.mode == Mode::Session && server.leaves != Leaves::Nothing;
        if is_kept || server.is_asked() || !server.pins.is_empty() {
            return Lost::Fatal(Box::new(self.state_lost(server)));
        }
        let is_cut = sent.last_frame_incomplete || server.client_mid_frame;
        let groups = if server.batch.is_failing() {
            vec![Group::not_run(!server.in_batch.is_open)]
        } else {
            fate::groups(server.expected.iter(), is_cut && server.expected.answers_last())
        };
        let known = Known {
            status: server.status,
            front: server.front,
            in_copy: server.copy == CopyState::In,
        };
        self.settings_are_rolled_back(server, to_client);
        if groups.is_empty() {
            return self.lose_quietly(server, known);
        }
        self.forget_unnamed(server);
        for answer in fate::answers(&groups, known) {
            match answer.says {
                Says::Nothing => {}
                Says::Error(outcome) => outcome.put(to_client),
                Says::RolledBack => message::put_command_complete(to_client, "ROLLBACK"),
            }
            self.standing = answer.status;
            match answer.ready {
                Ready::Now => message::put_ready_for_query(to_client, answer.status),
                Ready::AtSync => self.phase = Phase::SkipToSync,
            }
        }
        Lost::Told
    }

    /// What was there that no other server has.
    #[cold]
    fn state_lost(&self, server: &ServerState) -> ErrorMessage {
        let pins: Vec<&str> = server.pins.iter().map(Pin::as_str).collect();
        let detail = if self.mode == Mode::Session {
            "pool_mode=session: settings that are not reported, temporary objects, locks and the like end with the server.".to_owned()
        } else if pins.is_empty() {
            "The server had not answered yet what the last transaction has left for the session."
                .to_owned()
        } else {
            format!("The client kept its server for this: {}.", pins.join(", "))
        };
        ErrorMessage::fatal(
            SqlState::ADMIN_SHUTDOWN,
            "terminating connection: the server was lost, and with it session state that cannot be restored",
        )
        .with_detail(detail)
    }

    /// The server owed the client nothing.
    fn lose_quietly(&mut self, server: &ServerState, known: Known) -> Lost {
        let is_bound = server.in_batch.is_bound;
        let block = known.block();
        (self.phase, self.standing) = match block {
            TransactionStatus::Idle if server.skip == Skip::ToSync => (Phase::SkipToSync, block),
            _ if server.skip == Skip::ToSync => (Phase::SkipToSync, TransactionStatus::Failed),
            TransactionStatus::Failed if !is_bound => (Phase::Ready, block),
            TransactionStatus::Open | TransactionStatus::Failed => {
                (Phase::Lost(Outcome::RolledBack), TransactionStatus::Failed)
            }
            TransactionStatus::Idle if !is_bound => return Lost::Unnoticed,
            TransactionStatus::Idle if known.front == Front::Ended => {
                (Phase::Lost(Outcome::Unknown), block)
            }
            TransactionStatus::Idle => (Phase::Lost(Outcome::RolledBack), block),
        };
        Lost::Told
    }

    /// What a transaction has set is taken back with it.
    fn settings_are_rolled_back(&mut self, server: &mut ServerState, to_client: &mut Vec<u8>) {
        let Some(before) = server.parameters_before.take() else { return };
        for (name, value) in before.changes_from(&self.parameters) {
            message::put_parameter_status(to_client, name, value);
        }
        self.parameters = before;
    }

    /// Messages that set the unnamed statement anew may have failed behind that.
    fn forget_unnamed(&mut self, server: &ServerState) {
        let sets = |expect| {
            matches!(expect, Expect::Query { .. } | Expect::ParseUnnamed | Expect::CloseUnnamed)
        };
        if server.expected.iter().any(sets) {
            self.unnamed.clear();
        }
    }

    /// Takes back what was shown to [`Session::on_client`] since the lease was last between
    /// two transactions, because the server has got none of it and the client no answer. The
    /// server must not be used again.
    pub fn forget_unsent(&mut self, server: &mut ServerState) {
        server.expected.clear();
        server.in_batch = InBatch::default();
        server.batch.clear();
        server.copy = CopyState::None;
        server.own = OwnQuery::None;
        server.leaves = server.leaves_before;
    }

    /// The first message of the client's since what it had begun was lost.
    pub(crate) fn on_client_lost(
        &mut self,
        frame: &Frame<'_>,
        outcome: Outcome,
        to_client: &mut Vec<u8>,
    ) -> Result<Unleased, Violation> {
        let tag = frame.header.tag;
        if tag == f::CLOSE {
            return self.close_unleased(frame, to_client);
        }
        self.phase = Phase::Ready;
        if self.standing == TransactionStatus::Failed {
            match self.verb(frame)? {
                Verb::Rollback => return Ok(Unleased::NeedServer),
                // The client takes its transaction to be over.
                Verb::Commit if tag == f::QUERY => self.standing = TransactionStatus::Idle,
                _ => {}
            }
        }
        if tag == f::QUERY || (tag == f::PARSE && frame.body.first() == Some(&0)) {
            self.unnamed.clear();
        }
        outcome.put(to_client);
        self.skip_statement(tag, to_client);
        Ok(Unleased::Swallow)
    }

    /// What the statement of a message does, as far as the message names it.
    pub(crate) fn verb(&self, frame: &Frame<'_>) -> Result<Verb, Violation> {
        Ok(match frame.header.tag {
            f::QUERY if frame.is_whole() => Verb::of_text(text(frame.body)),
            f::PARSE if frame.is_whole() => {
                Verb::of_statement(message::Parse::read(frame.body)?.text())
            }
            f::BIND => match BindHead::parse(frame.body)?.statement {
                b"" => Verb::of_statement(text(&self.unnamed)),
                name => self.known(name).map_or(Verb::Plain, |statement| statement.verb),
            },
            _ => Verb::Any,
        })
    }
}

/// Appends what takes the server to a failed transaction.
pub(crate) fn doom(server: &mut ServerState, to_server: &mut Vec<u8>) {
    message::put_query(to_server, DOOM);
    server.expected.push(Expect::Own);
    server.own = OwnQuery::Doom;
    // As any simple query does, this one destroys the unnamed statement.
    server.unnamed = Unnamed::Absent;
}

impl ServerState {
    /// Keeps the client's settings for the case that its transaction is rolled back.
    pub(crate) fn keep_parameters(&mut self, now: &Arc<crate::ParameterSet>) {
        let is_between = self.is_quiet() && !self.in_transaction();
        if self.parameters_before.is_none() && !is_between {
            self.parameters_before = Some(Arc::clone(now));
        }
    }

    /// Notes that a message of the oldest group has run.
    #[inline]
    pub(crate) fn note_run(&mut self, verb: Verb) {
        if verb == Verb::Plain && self.front != Front::Nothing {
            return;
        }
        self.front = match verb {
            Verb::Plain => Front::Ran,
            Verb::Alone if self.in_transaction() || self.front == Front::Began => return,
            Verb::Begin | Verb::Opens => Front::Began,
            Verb::Alone | Verb::Commit | Verb::Rollback | Verb::Any => Front::Ended,
        };
    }

    /// Notes that a message of the oldest group has failed.
    pub(crate) fn note_failure(&mut self, expect: Expect) {
        let known = Known { status: self.status, front: self.front, in_copy: false };
        let ends = match expect {
            Expect::Query { verb, .. } | Expect::Execute { verb, .. } => verb.ends(),
            _ => false,
        };
        let is_alone = ends || known.block() == TransactionStatus::Idle;
        self.front = if is_alone { Front::FailedAlone } else { Front::Failed };
    }
}
