//! Values of sequences: what `currval` and `lastval` return is of the server's process, and no
//! catalogue tells what it has.
//!
//! So a server that may have values of others is sent `DISCARD SEQUENCES` in front of what may ask
//! for them, as far as the text tells that the transaction begins with. In a block or a batch that
//! shows only later; the servers of a pool remember it, and from then on each block or batch has
//! that in front.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use wire::message::{BindHead, TransactionStatus};
use wire::tag::frontend as f;

use crate::catalog::text;
use crate::classify::{self, Hints, ValueUse};
use crate::frame::Frame;
use crate::pins::Pin;
use crate::rules::{Feature, Treatment};
use crate::server::{ServerState, Skip};
use crate::session::{Mode, Session};
use crate::verb::Verb;

/// What makes a server forget them; it needs no privilege, and can be undone by no rollback.
const FORGET: &str = "DISCARD SEQUENCES";

/// Where the clients of a pool have asked for values; shared by its servers.
#[derive(Debug, Default)]
pub struct SequenceUses(AtomicU8);

/// One of those places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Place {
    Anywhere = 1,
    /// In a transaction block that had begun without telling.
    Block = 2,
    /// In a batch of the extended protocol that had.
    Batch = 4,
}

impl SequenceUses {
    // Relaxed: a server that learns of it late is as one that was not told yet.
    #[inline]
    fn has(&self, place: Place) -> bool {
        self.0.load(Ordering::Relaxed) & place as u8 != 0
    }

    fn note(&self, place: Place) {
        if !self.has(place) {
            self.0.fetch_or(place as u8, Ordering::Relaxed);
        }
    }
}

/// Whose values a server's process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Nobody's but those that this transaction has taken; of a client that keeps them, its own.
    Own,
    /// Those of earlier transactions.
    Foreign,
}

/// What the client has done with them since its server was last between two transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Taking {
    Nothing,
    /// A transaction that may have taken some, as any may.
    Perhaps,
    Discarded,
    Taken,
}

/// Whether the client keeps its server for them until another one needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// The pool could not spare the server when it was lent.
    Impossible,
    Possible,
    /// It has values that are worth it.
    Kept,
}

/// What is known of the values that a server's process has.
#[derive(Debug)]
pub(crate) struct Sequences {
    pub(crate) values: Values,
    pub(crate) taking: Taking,
    pub(crate) keeping: Keeping,
    uses: Arc<SequenceUses>,
}

impl Sequences {
    /// Of a server that has just logged in.
    pub(crate) fn none() -> Self {
        Self {
            values: Values::Own,
            taking: Taking::Nothing,
            keeping: Keeping::Impossible,
            uses: Arc::default(),
        }
    }

    /// A lease has ended.
    pub(crate) fn end_lease(&mut self) {
        (self.values, self.taking) = (Values::Foreign, Taking::Nothing);
        self.keeping = Keeping::Impossible;
    }

    #[inline]
    pub(crate) fn note(&mut self, taking: Taking) {
        self.taking = self.taking.max(taking);
    }
}

impl ServerState {
    /// One of the servers of a pool, which share what its clients have shown.
    #[must_use]
    pub fn of_pool(mut self, uses: &Arc<SequenceUses>) -> Self {
        self.sequences.uses = Arc::clone(uses);
        self
    }

    /// A lease begins. With servers to `spare` the client may keep this one between its
    /// transactions, for values of sequences, until another client needs it.
    #[inline]
    pub fn lend(&mut self, spare: bool) {
        self.sequences.keeping = if spare { Keeping::Possible } else { Keeping::Impossible };
    }

    /// Whether the client keeps it so, and for nothing else.
    #[inline]
    pub fn is_spare(&self) -> bool {
        self.sequences.keeping == Keeping::Kept && self.pins.is_empty()
    }

    /// Adds to a query of our own what makes the server forget all values. If the query fails, the
    /// lease ends before anything else has run.
    pub(crate) fn forget_values(&mut self, sql: &mut String) {
        if !sql.is_empty() {
            sql.push_str("; ");
        }
        sql.push_str(FORGET);
        self.sequences.values = Values::Own;
        self.counters.sequences_forgotten += 1;
    }

    /// The server has said that all values are gone. Behind what took some in the same block this
    /// counts for the next one only, so that none is lost that came after it.
    pub(crate) fn sequences_discarded(&mut self) {
        self.sequences.values = Values::Own;
        if !self.in_transaction() {
            self.sequences.note(Taking::Discarded);
        }
    }
}

impl Session {
    /// What the text of a frame may do, where that must be known before it goes: it may begin a
    /// transaction on a server that has values of earlier ones.
    #[inline]
    pub(crate) fn hints_ahead(&self, frame: &Frame<'_>, server: &ServerState) -> Option<Hints> {
        let is_inside = server.is_quiet() && server.in_transaction();
        if server.sequences.values == Values::Own
            || server.in_batch.is_open
            || is_inside
            || server.reads_copy()
            || server.skip != Skip::No
        {
            return None;
        }
        match frame.header.tag {
            f::QUERY => {
                Some(classify::text_of(frame, frame.body.strip_suffix(b"\0").unwrap_or(frame.body)))
            }
            // With the types of its parameters, which the scan takes for more of the text: it is
            // read when it is noted.
            f::PARSE => {
                let text = frame.body.splitn(2, |&byte| byte == 0).nth(1);
                text.map(|text| classify::text_of(frame, text))
            }
            f::BIND if server.sequences.uses.has(Place::Anywhere) => self.hints_of_bind(frame),
            _ => None,
        }
    }

    /// As [`Session::hints_ahead`]: its text came before, and has been noted.
    #[cold]
    fn hints_of_bind(&self, frame: &Frame<'_>) -> Option<Hints> {
        match BindHead::parse(frame.body).ok()?.statement {
            b"" => Some(classify::text(text(&self.unnamed))),
            name => self.known(name).map(|statement| statement.hints),
        }
    }

    /// Whether a server must forget all values before this frame, of whose text `hints` were seen.
    #[inline]
    pub(crate) fn forgets(
        &self,
        frame: &Frame<'_>,
        hints: Option<Hints>,
        server: &ServerState,
    ) -> bool {
        // Within a transaction they are its own.
        if server.sequences.values == Values::Own || (server.is_quiet() && server.in_transaction())
        {
            return false;
        }
        let hints = hints.unwrap_or(Hints::NONE);
        if self.mode == Mode::Session || self.asks_always() {
            return true;
        }
        let is_wanted = match self.rules.treatment(Feature::Sequences) {
            Treatment::Pin if server.pins.has(Pin::Sequences) => return false,
            Treatment::Pin | Treatment::Keep if self.keeps_values(server) => {
                hints.values != ValueUse::None
            }
            _ => hints.values.sees(),
        };
        let uses = &server.sequences.uses;
        is_wanted || (uses.has(Place::Anywhere) && self.may_ask_later(frame, uses))
    }

    /// Whether what this frame begins may be as what asked for values before: a statement of
    /// PREPARE, a block or a batch.
    #[cold]
    fn may_ask_later(&self, frame: &Frame<'_>, uses: &SequenceUses) -> bool {
        const EXECUTE: &[u8] = b"execute";
        let executes = || {
            let head = text(frame.body).trim_ascii_start().get(..EXECUTE.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(EXECUTE))
        };
        let begins = |verb| matches!(verb, Verb::Begin | Verb::Opens | Verb::Any);
        match frame.header.tag {
            f::QUERY if executes() => true,
            // It may call any.
            f::FUNCTION_CALL => true,
            f::QUERY | f::PARSE | f::BIND
                if uses.has(Place::Block) && self.verb(frame).is_ok_and(begins) =>
            {
                true
            }
            f::QUERY => false,
            _ => uses.has(Place::Batch),
        }
    }

    /// Notes what a text does with values, and where it could not be told before.
    pub(crate) fn note_values(&self, hints: Hints, text: &[u8], server: &mut ServerState) {
        if hints.values.takes() && self.keeps_values(server) {
            server.sequences.note(Taking::Taken);
        }
        // Of a text that is too long to be read nothing is known.
        if !hints.values.sees() || text.is_empty() {
            return;
        }
        let uses = &server.sequences.uses;
        uses.note(Place::Anywhere);
        if server.sequences.values == Values::Foreign && !server.pins.has(Pin::Sequences) {
            uses.note(if server.in_transaction() { Place::Block } else { Place::Batch });
        }
    }

    /// Whether a client that has taken values keeps the server that they are on, whoever needs it.
    pub(crate) fn pins_values(&self) -> bool {
        self.mode != Mode::Session && self.rules.treatment(Feature::Sequences) == Treatment::Pin
    }

    /// Whether a client that has taken values keeps the server that they are on.
    #[inline]
    pub(crate) fn keeps_values(&self, server: &ServerState) -> bool {
        self.mode != Mode::Session
            && match self.rules.treatment(Feature::Sequences) {
                Treatment::Pin => true,
                Treatment::Keep => server.sequences.keeping != Keeping::Impossible,
                Treatment::Forget | Treatment::Replay | Treatment::Reject => false,
            }
    }

    /// A transaction begins, of which nothing may be told.
    pub(crate) fn note_any_taking(&self, server: &mut ServerState) {
        if self.keeps_values(server) {
            server.sequences.note(Taking::Perhaps);
        }
    }

    /// No transaction is open any more: what it has taken keeps the server, or is nobody's.
    #[inline]
    pub(crate) fn end_values(&self, server: &mut ServerState) {
        match std::mem::replace(&mut server.sequences.taking, Taking::Nothing) {
            Taking::Nothing => {}
            Taking::Perhaps | Taking::Taken => {
                if self.pins_values() {
                    server.pins.insert(Pin::Sequences);
                } else {
                    server.sequences.keeping = Keeping::Kept;
                }
            }
            Taking::Discarded => {
                server.pins.remove(Pin::Sequences);
                if server.sequences.keeping == Keeping::Kept {
                    server.sequences.keeping = Keeping::Possible;
                }
            }
        }
        if !server.pins.has(Pin::Sequences) && server.sequences.keeping != Keeping::Kept {
            server.sequences.values = Values::Foreign;
        }
    }

    /// Whether a frame may be answered only when the server, which owes answers, can forget all
    /// values before it.
    #[inline]
    pub(crate) fn waits_to_forget(
        &self,
        frame: &Frame<'_>,
        hints: Option<Hints>,
        server: &ServerState,
    ) -> bool {
        hints.is_some()
            && self.standing == TransactionStatus::Idle
            && self.forgets(frame, hints, server)
    }
}
