//! The protocol state of one server connection: it travels with the server from lease to
//! lease.

use std::sync::Arc;

use wire::message::{self, TransactionStatus};
use wire::tag::backend;
use wire::{HEADER_LEN, Header};

use crate::batch::Batch;
use crate::classify::Leaves;
use crate::expect::ExpectedReplies;
use crate::catalog::Catalog;
use crate::parameters::{ParameterSet, is_carried};
use crate::statements::{PendingChanges, ServerStatements};
use crate::verdict::Disposition;

/// What pgmesh knows of a server's session, and what the server still owes.
#[derive(Debug)]
pub struct ServerState {
    pub(crate) expected: ExpectedReplies,
    pub(crate) pending: PendingChanges,
    pub(crate) statements: ServerStatements,
    pub(crate) status: TransactionStatus,
    pub(crate) copy: CopyState,
    pub(crate) skip: Skip,
    /// Settings as they are on the server now.
    pub(crate) parameters: Arc<ParameterSet>,
    /// Settings after its login, to which RESET goes back.
    pub(crate) login_parameters: Arc<ParameterSet>,
    /// What the lease has left behind so far.
    pub(crate) leaves: Leaves,
    pub(crate) set_is_local: bool,
    pub(crate) settings_reset: bool,
    pub(crate) unnamed: Unnamed,
    /// The definition of the Parse of an unnamed statement that was last sent.
    pub(crate) unnamed_definition: Vec<u8>,
    pub(crate) batch: Batch,
    pub(crate) batches_sent: u64,
    pub(crate) batches_done: u64,
    pub(crate) own: OwnQuery,
    /// A frame of the client's has been forwarded in part: the server must get the rest.
    pub(crate) client_mid_frame: bool,
    pub(crate) counters: Counters,
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

/// Whose unnamed statement the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// Nobody's, or that of an earlier client: it must not be used.
    Foreign,
    /// Parsed in this lease.
    Ours,
}

/// A hidden query of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnQuery {
    None,
    /// It brings the server to the client's settings.
    Prepare,
    /// It failed; the ErrorResponse's body.
    Failed(Box<[u8]>),
}

/// Counts of one server, taken by the relay when a lease ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// A named statement was used that the server had.
    pub statement_hits: u32,
    /// A named statement had to be parsed on the server.
    pub statement_misses: u32,
    /// A statement was closed to make room.
    pub statement_evictions: u32,
    /// A batch was sent again after its statement had become invalid.
    pub retries: u32,
    /// Settings were brought to a client's.
    pub preparations: u32,
}

impl ServerState {
    /// A server that has just logged in and reported `parameters`. It may hold
    /// `statement_limit` prepared statements.
    pub fn new(parameters: Arc<ParameterSet>, statement_limit: usize) -> Self {
        Self {
            expected: ExpectedReplies::default(),
            pending: PendingChanges::default(),
            statements: ServerStatements::new(statement_limit),
            status: TransactionStatus::Idle,
            copy: CopyState::None,
            skip: Skip::No,
            login_parameters: Arc::clone(&parameters),
            parameters,
            leaves: Leaves::Nothing,
            set_is_local: false,
            settings_reset: false,
            unnamed: Unnamed::Foreign,
            unnamed_definition: Vec::new(),
            batch: Batch::default(),
            batches_sent: 0,
            batches_done: 0,
            own: OwnQuery::None,
            client_mid_frame: false,
            counters: Counters::default(),
        }
    }

    /// Whether a query of our own is under way, before whose end no client's frame is shown.
    #[inline]
    pub fn is_preparing(&self) -> bool {
        self.own != OwnQuery::None
    }

    /// Whether the server owes nothing, as it must between two leases.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.expected.is_empty()
    }

    /// Tells whether a frame of the client's has been forwarded in part. While it has, no
    /// lease ends.
    #[inline]
    pub fn set_client_mid_frame(&mut self, mid_frame: bool) {
        self.client_mid_frame = mid_frame;
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

    /// The SQL that cleans the server after [`Disposition::NeedsReset`].
    pub fn reset_sql(&self) -> &'static [&'static str] {
        if self.in_transaction() { &["ROLLBACK", "DISCARD ALL"] } else { &["DISCARD ALL"] }
    }

    /// Notes that [`ServerState::reset_sql`] has run: nothing of any client is left.
    pub fn after_reset(&mut self) {
        self.statements.clear();
        self.status = TransactionStatus::Idle;
        self.parameters = Arc::clone(&self.login_parameters);
        self.leaves = Leaves::Nothing;
        self.end_lease();
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
        if !self.expected.is_empty() || self.copy != CopyState::None {
            Disposition::Discard
        } else if self.leaves == Leaves::State || self.in_transaction() {
            Disposition::NeedsReset
        } else {
            Disposition::Clean
        }
    }

    /// Forgets what belongs to the client that goes.
    pub(crate) fn end_lease(&mut self) {
        self.unnamed = Unnamed::Foreign;
        self.unnamed_definition.clear();
        self.unnamed_definition.shrink_to(KEEP_CAPACITY);
        self.batch.clear();
        self.set_is_local = false;
        self.settings_reset = false;
        self.skip = Skip::No;
    }
}

/// A definition buffer larger than this is given back between leases.
const KEEP_CAPACITY: usize = 16 * 1024;
