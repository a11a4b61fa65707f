//! What of a session no other server has: why a client keeps its server.

use std::fmt;

/// Why a client keeps its server between two transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Pin {
    /// Temporary tables, views, types or functions.
    TemporaryObjects,
    /// Advisory locks of the session.
    AdvisoryLocks,
    /// Cursors `WITH HOLD`.
    HoldableCursors,
    /// Statements of SQL `PREPARE`.
    PreparedStatements,
    /// `LISTEN`.
    Listen,
    /// Values of sequences that it has taken.
    Sequences,
    /// The server could not be asked.
    Unknown,
    /// What no server can be asked about: `LOAD`, dblink's connections, the random seed, a
    /// command that is not known here.
    Unaccountable,
}

/// A set of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Pins(u8);

impl Pin {
    /// In the order in which they are told.
    pub const ALL: [Self; 8] = [
        Self::TemporaryObjects,
        Self::AdvisoryLocks,
        Self::HoldableCursors,
        Self::PreparedStatements,
        Self::Listen,
        Self::Sequences,
        Self::Unknown,
        Self::Unaccountable,
    ];

    /// The word for it, in metrics and errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TemporaryObjects => "temporary_objects",
            Self::AdvisoryLocks => "advisory_locks",
            Self::HoldableCursors => "holdable_cursors",
            Self::PreparedStatements => "prepared_statements",
            Self::Listen => "listen",
            Self::Sequences => "sequences",
            Self::Unknown => "unknown",
            Self::Unaccountable => "unaccountable",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Pins {
    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As a number, to be kept where a set cannot be.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set that has been made a number of.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Whether this one is among them.
    pub fn has(self, pin: Pin) -> bool {
        self.0 & pin.bit() != 0
    }

    /// Those that there are.
    pub fn iter(self) -> impl Iterator<Item = Pin> {
        Pin::ALL.into_iter().filter(move |pin| self.has(*pin))
    }

    pub(crate) fn insert(&mut self, pin: Pin) {
        self.0 |= pin.bit();
    }

    pub(crate) fn remove(&mut self, pin: Pin) {
        self.0 &= !pin.bit();
    }
}

impl FromIterator<Pin> for Pins {
    fn from_iter<I: IntoIterator<Item = Pin>>(pins: I) -> Self {
        let mut all = Self::default();
        pins.into_iter().for_each(|pin| all.insert(pin));
        all
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
