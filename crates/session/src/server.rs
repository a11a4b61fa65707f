//! The protocol state of one server connection: it travels with the server from lease to
//! lease.

use std::sync::Arc;

use wire::message::{self, TransactionStatus};
use wire::tag::backend;
use wire::{HEADER_LEN, Header};

use crate::account::Account;
use crate::batch::Batch;
use crate::catalog::Catalog;
use crate::classify::Leaves;
use crate::databases::{Databases, Need};
use crate::expect::{Expect, ExpectedReplies};
use crate::frame::{TEXT_LIMIT, server_need};
use crate::names::Names;
use crate::parameters::{ParameterSet, is_carried};
use crate::pins::{Pin, Pins};
use crate::reset::Reset;
use crate::schema::{Schema, SchemaWatch};
use crate::sequences::Sequences;
use crate::signals::Signals;
use crate::statements::{PendingChanges, ServerStatements};
use crate::unnamed::{SentTexts, Unnamed};
use crate::verb::Verb;
use crate::verdict::Disposition;

/// What pgmesh knows of a server's session, and what the server still owes.
#[derive(Debug)]
pub struct ServerState {
    pub(crate) expected: ExpectedReplies,
    pub(crate) pending: PendingChanges,
    pub(crate) statements: ServerStatements,
    pub(crate) schema: SchemaWatch,
    pub(crate) status: TransactionStatus,
    pub(crate) copy: CopyState,
    pub(crate) skip: Skip,
    /// Settings as they are on the server now.
    pub(crate) parameters: Arc<ParameterSet>,
    /// It is in a role that an earlier client has set: by that name there may be another role now.
    pub(crate) has_foreign_role: bool,
    /// Settings after its login, to which RESET goes back.
    pub(crate) login_parameters: Arc<ParameterSet>,
    /// What the lease has left behind so far.
    pub(crate) leaves: Leaves,
    /// What it had left behind when it was last between two transactions.
    pub(crate) leaves_before: Leaves,
    /// Why the lease outlasts its transactions.
    pub(crate) pins: Pins,
    /// Names that this lease may have given to settings that no module has defined.
    pub(crate) custom: Vec<Box<str>>,
    /// A text of this lease may drop prepared statements.
    pub(crate) deallocates: bool,
    /// What texts of this lease may have reset, and whether a tag has said that one did.
    pub(crate) reset: Reset,
    pub(crate) settings_reset: bool,
    /// A name of the client's under which there is an empty statement, to be dropped by SQL.
    pub(crate) stand_in: Option<Box<[u8]>>,
    /// What it has under names that clients gave.
    pub(crate) names: Names,
    /// A text of this lease may have made more by `PREPARE`.
    pub(crate) may_have_names: bool,
    /// What was to be put there has failed in front of a Query: the ErrorResponse's body.
    pub(crate) name_failure: Option<Box<[u8]>>,
    pub(crate) unnamed: Unnamed,
    pub(crate) sequences: Sequences,
    pub(crate) unnamed_texts: SentTexts,
    pub(crate) batch: Batch,
    /// Counts the Syncs that were sent.
    pub(crate) batch_number: u64,
    pub(crate) in_batch: InBatch,
    /// Syncs that the COPY under way has swallowed.
    pub(crate) copy_syncs: u32,
    /// A COPY has failed that may or may not have swallowed a Sync: how many ReadyForQuery
    /// will come is not known.
    pub(crate) is_doubtful: bool,
    client: Client,
    pub(crate) own: OwnQuery,
    /// What of the oldest group of messages has been answered already.
    pub(crate) front: Front,
    pub(crate) portals: Portals,
    /// The client's settings as they were before the open transaction changed them.
    pub(crate) parameters_before: Option<Arc<ParameterSet>>,
    /// A frame of the client's has been forwarded in part: the server must get the rest.
    pub(crate) client_mid_frame: bool,
    pub(crate) emptying: Need,
    pub(crate) signals: Signals,
    pub(crate) counters: Counters,
    /// Its process, if it has told which.
    pub(crate) pid: Option<i32>,
}

/// Where a COPY from the client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyState {
    None,
    /// The server reads CopyData, and ignores Sync and Flush, until CopyDone or CopyFail.
    In,
}

/// Whether the client's messages go on to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    No,
    /// The server reported an error before the client sent Sync: it would ignore
    /// everything up to that Sync, so nothing of it is sent.
    ToSync,
}

/// What the messages since the last Sync have set; if they fail, so do those behind them.
#[derive(Debug, Default)]
pub(crate) struct InBatch {
    /// There are any.
    pub(crate) is_open: bool,
    /// There is a Bind.
    pub(crate) is_bound: bool,
    /// The unnamed statement.
    pub(crate) unnamed_set: bool,
    /// It sets something for its transaction only.
    pub(crate) unnamed_is_local: bool,
    /// What it does to the transaction.
    pub(crate) unnamed_verb: Verb,
    /// It drops the statement of this name.
    pub(crate) unnamed_drops: Option<Box<[u8]>>,
    /// It needs these databases empty.
    pub(crate) unnamed_empties: Databases,
    /// The unnamed portal does.
    pub(crate) portal_is_local: bool,
    /// And needs these databases empty.
    pub(crate) portal_empties: Databases,
}

/// Answers of a group of messages of which ReadyForQuery has not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// None, or of messages that run nothing.
    Nothing,
    /// Something has run.
    Ran,
    /// Something has run that began a transaction block.
    Began,
    /// Something has run that ended one, or that may have been committed by itself.
    Ended,
    /// An error, which failed the open transaction block.
    Failed,
    /// An error, and no transaction block is open.
    FailedAlone,
}

/// What the statements of the portals do.
#[derive(Debug, Default)]
pub(crate) struct Portals {
    pub(crate) unnamed: Verb,
    /// Those with a name, all together.
    pub(crate) named: Verb,
}

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Active,
    /// Its next frame is kept back until everything sent has been answered.
    Waits,
    Gone,
}

/// A hidden query of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnQuery {
    None,
    /// It brings the server to the client's settings.
    Prepare,
    /// So it does, in a transaction block, and the client's messages are behind it already.
    Ahead,
    /// That has failed, and the block with it: the ErrorResponse's body.
    FailedAhead(Box<[u8]>),
    /// It takes the server to a failed transaction, in which the client is.
    Doom,
    /// It failed; the ErrorResponse's body.
    Failed(Box<[u8]>),
    /// It asks what the client has left behind.
    Account(Box<Account>),
    /// That has failed.
    NoAccount,
}

/// Counts of one server, taken by the relay when a lease ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// A named statement was prepared by a client.
    pub client_parses: u32,
    /// A named statement was used that the server had.
    pub statement_hits: u32,
    /// A named statement had to be parsed on the server.
    pub statement_misses: u32,
    /// A statement was closed to make room.
    pub statement_evictions: u32,
    /// A batch was sent again because the plan of its statement had become invalid.
    pub plan_retries: u32,
    /// A batch was sent again because the server had lost its statement.
    pub lost_retries: u32,
    /// Settings were brought to a client's.
    pub preparations: u32,
    /// The server was asked what its client has left behind.
    pub accounts: u32,
    /// A server was made to forget values of sequences that others may have left.
    pub sequences_forgotten: u32,
    /// A write was refused because the server, or its transaction, is read-only.
    pub read_only_refusals: u32,
    /// A statement was refused, or is yet to be, by a rule for what outlasts transactions.
    pub state_refusals: u32,
}

impl ServerState {
    /// A server that has just logged in and reported `parameters`. It may hold
    /// `statement_limit` prepared statements.
    pub fn new(parameters: Arc<ParameterSet>, statement_limit: usize) -> Self {
        Self {
            expected: ExpectedReplies::default(),
            pending: PendingChanges::default(),
            statements: ServerStatements::new(statement_limit),
            schema: SchemaWatch::default(),
            status: TransactionStatus::Idle,
            copy: CopyState::None,
            skip: Skip::No,
            login_parameters: Arc::clone(&parameters),
            parameters,
            has_foreign_role: false,
            leaves: Leaves::Nothing,
            leaves_before: Leaves::Nothing,
            pins: Pins::default(),
            custom: Vec::new(),
            deallocates: false,
            reset: Reset::Nothing,
            settings_reset: false,
            stand_in: None,
            names: Names::default(),
            may_have_names: false,
            name_failure: None,
            unnamed: Unnamed::Absent,
            sequences: Sequences::none(),
            unnamed_texts: SentTexts::default(),
            batch: Batch::default(),
            batch_number: 0,
            in_batch: InBatch::default(),
            copy_syncs: 0,
            is_doubtful: false,
            client: Client::Active,
            own: OwnQuery::None,
            front: Front::Nothing,
            portals: Portals::default(),
            parameters_before: None,
            client_mid_frame: false,
            emptying: Need::None,
            signals: Signals::default(),
            counters: Counters::default(),
            pid: None,
        }
    }

    /// Notes which process of the server's it is.
    #[must_use]
    pub fn with_pid(mut self, pid: Option<i32>) -> Self {
        self.pid = pid;
        self
    }

    /// Shares the schema with the other servers of its database.
    #[must_use]
    pub fn of_database(mut self, schema: Arc<Schema>) -> Self {
        self.schema = SchemaWatch::new(schema);
        self
    }

    /// Whether the client's frames must wait: for a query of our own, for a batch that is to
    /// be sent again, or for the answers on which the meaning of its next frame depends.
    #[inline]
    pub fn is_preparing(&self) -> bool {
        self.is_exchanging()
            || (self.client == Client::Waits && !self.is_quiet() && !self.reads_copy())
    }

    /// Whether an exchange of our own with the server is under way.
    #[inline]
    pub(crate) fn is_exchanging(&self) -> bool {
        !(self.own == OwnQuery::None || self.is_ahead()) || self.batch.is_failing()
    }

    /// Whether the client's messages were sent behind a query of our own.
    #[inline]
    pub(crate) fn is_ahead(&self) -> bool {
        matches!(self.own, OwnQuery::Ahead | OwnQuery::FailedAhead(_))
    }

    /// Whether what the server says now is between it and us.
    pub(crate) fn is_hidden(&self) -> bool {
        let front = self.expected.front();
        self.is_exchanging()
            || matches!(front, Some(Expect::Own | Expect::Name | Expect::Named | Expect::NameSync))
    }

    #[inline]
    pub(crate) fn frame_is_shown(&mut self) {
        self.client = Client::Active;
    }

    pub(crate) fn wait_for_answers(&mut self) {
        self.client = Client::Waits;
    }

    pub(crate) fn client_has_gone(&mut self) {
        self.client = Client::Gone;
    }

    /// Whether the client has gone, so that the lease ends as soon as nothing is owed.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.client == Client::Gone
    }

    /// Notes what the lease leaves behind.
    #[inline]
    pub(crate) fn note_leaves(&mut self, leaves: Leaves) {
        self.leaves = self.leaves.max(leaves);
    }

    /// Whether the server has been asked what its client has left behind.
    pub fn is_asked(&self) -> bool {
        matches!(self.own, OwnQuery::Account(_) | OwnQuery::NoAccount)
    }

    /// Why the lease outlasts its transactions.
    pub fn pins(&self) -> Pins {
        self.pins
    }

    /// How many bytes of a frame, header included, [`crate::Session::on_server`] must be shown.
    #[inline]
    pub fn need(&self, header: Header) -> usize {
        match self.own {
            OwnQuery::Account(_) if header.tag == backend::DATA_ROW => {
                header.frame_len().min(HEADER_LEN + TEXT_LIMIT)
            }
            _ => server_need(header),
        }
    }

    /// Whether a frame of the client's is on its way, or waits for what is under way.
    pub(crate) fn is_awaited(&self) -> bool {
        self.client_mid_frame || self.client == Client::Waits
    }

    /// Whether the server owes nothing, as it must between two leases.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.expected.is_empty()
    }

    /// Tells whether a frame of the client's has been forwarded in part. While it has, no
    /// lease ends. Returns whether one had been before.
    #[inline]
    pub fn set_client_mid_frame(&mut self, mid_frame: bool) -> bool {
        std::mem::replace(&mut self.client_mid_frame, mid_frame)
    }

    /// Whether a transaction is open.
    #[inline]
    pub fn in_transaction(&self) -> bool {
        self.status != TransactionStatus::Idle
    }

    /// Prepared statements on this server.
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// The settings as they are on the server now.
    pub fn parameters(&self) -> &Arc<ParameterSet> {
        &self.parameters
    }

    /// Takes the counts since the last call.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// What the server says while nobody has it. False if it must be closed: it has said
    /// its last word, or something that an idle server does not say, or half of something.
    pub fn on_idle(&mut self, catalog: &Catalog, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(Some(header)) = Header::peek(rest) else { return false };
            let Some((frame, after)) = rest.split_at_checked(header.frame_len()) else {
                return false;
            };
            rest = after;
            match header.tag {
                backend::NOTICE_RESPONSE | backend::NOTIFICATION_RESPONSE => {}
                // After a reload of the server's configuration.
                backend::PARAMETER_STATUS => {
                    let body = frame.get(HEADER_LEN..).unwrap_or_default();
                    let Ok((name, value)) = message::parameter_status(body) else { return false };
                    if is_carried(name) {
                        self.parameters = catalog.changed(&self.parameters, [(name, value)]);
                        self.login_parameters =
                            catalog.changed(&self.login_parameters, [(name, value)]);
                    }
                }
                _ => return false,
            }
        }
        true
    }

    /// In which state the lease would leave the server now.
    pub(crate) fn disposition(&self) -> Disposition {
        if !self.is_quiet() || self.reads_copy() || self.is_doubtful {
            Disposition::Discard
        } else if self.leaves != Leaves::Nothing
            || !self.pins.is_empty()
            || self.stand_in.is_some()
            || self.in_transaction()
        {
            Disposition::NeedsReset
        } else {
            Disposition::Clean
        }
    }

    /// Forgets what belongs to the client that goes.
    pub(crate) fn end_lease(&mut self) {
        if self.unnamed == Unnamed::Current {
            self.unnamed = Unnamed::Foreign;
        }
        self.statements.end_lease(self.pins.has(Pin::TemporaryObjects));
        self.has_foreign_role |= self.parameters.has_role;
        self.unnamed_texts.clear();
        self.pending.clear();
        self.may_have_names = false;
        self.name_failure = None;
        self.batch.clear();
        self.in_batch = InBatch::default();
        self.deallocates = false;
        self.custom.clear();
        self.reset = Reset::Nothing;
        self.settings_reset = false;
        self.sequences.end_lease();
        self.skip = Skip::No;
        self.copy_syncs = 0;
        self.front = Front::Nothing;
        self.portals = Portals::default();
        self.parameters_before = None;
        self.emptying = Need::None;
        self.client = Client::Active;
    }

    /// Drops what the server skips after an error, up to the next Sync. False if that has
    /// not been sent yet.
    pub(crate) fn skip_to_sync(&mut self) -> bool {
        let (pending, texts) = (&mut self.pending, &mut self.unnamed_texts);
        self.expected.skip_to_sync(|dropped| {
            if dropped.has_pending() {
                pending.pop();
            }
            if dropped == Expect::ParseUnnamed {
                texts.pop();
            }
        })
    }
}
