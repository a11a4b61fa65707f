//! What becomes of state that outlasts a transaction: kept, replayed or refused, by feature.

use std::fmt;

use wire::{ErrorMessage, Severity, SqlState};

use crate::classify::Leaves;
use crate::parameters::ParameterSet;
use crate::pins::{Pin, Pins};

/// A kind of state that outlasts a transaction. What a client may keep its server for has the
/// same word here as in [`Pin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Feature {
    /// See [`Pin::TemporaryObjects`].
    TemporaryObjects,
    /// See [`Pin::AdvisoryLocks`].
    AdvisoryLocks,
    /// See [`Pin::HoldableCursors`].
    HoldableCursors,
    /// See [`Pin::PreparedStatements`].
    PreparedStatements,
    /// See [`Pin::Listen`].
    Listen,
    /// See [`Pin::Sequences`]; what `currval` and `lastval` return.
    Sequences,
    /// See [`Pin::Unaccountable`].
    Unaccountable,
    /// `SET` and `set_config`, but for the two below.
    Settings,
    /// `SET ROLE`.
    Role,
    /// `SET SESSION AUTHORIZATION`.
    SessionAuthorization,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// The client keeps its server.
    Pin,
    /// It does so as long as no other client needs that one.
    Keep,
    /// Whichever server the client gets next has it.
    Replay,
    /// It ends with its transaction.
    Forget,
    /// The statement fails.
    Reject,
}

/// When the server is asked what a transaction has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Asks {
    /// When a text or a command tag says that there may be something.
    #[default]
    WhenHinted,
    /// At the end of each.
    Always,
}

/// What becomes of each feature, and how it is found. Not in session mode, where all state is
/// the client's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateRules {
    asks: Asks,
    treatments: [Treatment; Feature::ALL.len()],
    rejected: Features,
}

/// A set of features.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Features(u16);

/// Words of the configuration.
type Treatments = &'static [(&'static str, Treatment)];

/// What no other server can be given, what can be either, and what every server can.
const KEPT: Treatments = &[("pin", Treatment::Pin), ("reject", Treatment::Reject)];
const EITHER: Treatments =
    &[("replay", Treatment::Replay), ("pin", Treatment::Pin), ("reject", Treatment::Reject)];
/// Of little use to most: worth a server that nobody needs.
const SPARED: Treatments = &[
    ("keep", Treatment::Keep),
    ("pin", Treatment::Pin),
    ("forget", Treatment::Forget),
    ("reject", Treatment::Reject),
];
const REPLAYED: Treatments = &[("replay", Treatment::Replay), ("reject", Treatment::Reject)];

impl Feature {
    /// In the order in which they are told.
    pub const ALL: [Self; 10] = [
        Self::TemporaryObjects,
        Self::AdvisoryLocks,
        Self::HoldableCursors,
        Self::PreparedStatements,
        Self::Listen,
        Self::Sequences,
        Self::Unaccountable,
        Self::Settings,
        Self::Role,
        Self::SessionAuthorization,
    ];

    /// The word for it, in the configuration and in errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TemporaryObjects => Pin::TemporaryObjects.as_str(),
            Self::AdvisoryLocks => Pin::AdvisoryLocks.as_str(),
            Self::HoldableCursors => Pin::HoldableCursors.as_str(),
            Self::PreparedStatements => Pin::PreparedStatements.as_str(),
            Self::Listen => Pin::Listen.as_str(),
            Self::Sequences => Pin::Sequences.as_str(),
            Self::Unaccountable => Pin::Unaccountable.as_str(),
            Self::Settings => "settings",
            Self::Role => "role",
            Self::SessionAuthorization => "session_authorization",
        }
    }

    /// What may become of it and the words for that, the default first.
    pub fn treatments(self) -> Treatments {
        match self {
            Self::TemporaryObjects
            | Self::AdvisoryLocks
            | Self::HoldableCursors
            | Self::Unaccountable => KEPT,
            Self::PreparedStatements | Self::Listen => EITHER,
            Self::Sequences => SPARED,
            Self::Settings | Self::Role | Self::SessionAuthorization => REPLAYED,
        }
    }

    /// What becomes of it where nothing else was said.
    pub fn default_treatment(self) -> Treatment {
        self.treatments().first().map_or(Treatment::Pin, |(_, treatment)| *treatment)
    }

    /// What people call it.
    fn name(self) -> &'static str {
        match self {
            Self::TemporaryObjects => "temporary objects",
            Self::AdvisoryLocks => "advisory locks of the session",
            Self::HoldableCursors => "cursors WITH HOLD",
            Self::PreparedStatements => "PREPARE",
            Self::Listen => "LISTEN",
            Self::Sequences => "currval and lastval",
            Self::Unaccountable => "LOAD, setseed and connections of dblink",
            Self::Settings => "SET for the session",
            Self::Role => "SET ROLE for the session",
            Self::SessionAuthorization => "SET SESSION AUTHORIZATION",
        }
    }

    /// For a statement that would begin it.
    #[cold]
    pub(crate) fn refusal(self) -> ErrorMessage {
        let (name, key) = (self.name(), self.as_str());
        self.refused(format!("not allowed by pgmesh: {name}"))
            .with_detail(format!("{key} is \"reject\" for this user and database."))
    }

    /// For a statement behind the transaction that has left it, where only the server could know.
    #[cold]
    pub(crate) fn refusal_of_earlier(self) -> ErrorMessage {
        let (name, key) = (self.name(), self.as_str());
        self.refused(format!(
            "an earlier transaction has left what is not allowed by pgmesh: {name}"
        ))
        .with_detail(format!(
            "{key} is \"reject\" for this user and database. What was left is gone, and this \
                 statement was not run."
        ))
    }

    /// The same where the session has lost what it may have along with it.
    #[cold]
    pub(crate) fn expulsion(self) -> ErrorMessage {
        ErrorMessage { severity: Severity::Fatal, ..self.refusal_of_earlier() }
    }

    fn refused(self, message: String) -> ErrorMessage {
        let word = self.treatments().first().map_or("", |(word, _)| word);
        ErrorMessage::error(SqlState::FEATURE_NOT_SUPPORTED, message).with_hint(format!(
            "Use what ends with its transaction, or let pool.state.{} be \"{word}\".",
            self.as_str()
        ))
    }

    fn of_pin(pin: Pin) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.as_str() == pin.as_str())
    }

    fn of_setting(name: &str) -> Self {
        let identity = [Self::Role, Self::SessionAuthorization, Self::Listen];
        let known = identity.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(name));
        known.unwrap_or(Self::Settings)
    }
}

impl Default for StateRules {
    fn default() -> Self {
        Self {
            asks: Asks::default(),
            treatments: Feature::ALL.map(Feature::default_treatment),
            rejected: Features::default(),
        }
    }
}

impl StateRules {
    /// With the server asked when `asks` says.
    #[must_use]
    pub fn asking(self, asks: Asks) -> Self {
        Self { asks, ..self }
    }

    /// With this for `feature`; what cannot become of it changes nothing.
    #[must_use]
    pub fn with(mut self, feature: Feature, treatment: Treatment) -> Self {
        let is_possible = feature.treatments().iter().any(|(_, possible)| *possible == treatment);
        if let Some(known) = self.treatments.get_mut(feature as usize)
            && is_possible
        {
            *known = treatment;
            self.rejected = Feature::ALL
                .into_iter()
                .filter(|&feature| self.treatment(feature) == Treatment::Reject)
                .collect();
        }
        self
    }

    /// What becomes of `feature`.
    pub fn treatment(&self, feature: Feature) -> Treatment {
        self.treatments.get(feature as usize).copied().unwrap_or(Treatment::Pin)
    }

    /// When the server is asked.
    #[inline]
    pub fn asks(&self) -> Asks {
        self.asks
    }

    /// Whether anything is refused at all.
    #[inline]
    pub(crate) fn rejects_any(&self) -> bool {
        !self.rejected.is_empty()
    }

    #[inline]
    pub(crate) fn rejects(&self, feature: Feature) -> bool {
        self.rejected.has(feature)
    }

    /// The first of those that is refused.
    pub(crate) fn first_rejected(&self, features: Features) -> Option<Feature> {
        Feature::ALL.into_iter().find(|&feature| features.has(feature) && self.rejects(feature))
    }

    /// What of a session is refused: of what it keeps a server for, and of the settings that its
    /// login did not have. Those that it had are written as the client wrote them, so that nothing
    /// can be told from another value.
    pub(crate) fn rejected_in(
        &self,
        pins: Pins,
        settings: &ParameterSet,
        login: &ParameterSet,
    ) -> Option<Feature> {
        let pins = pins.iter().filter_map(Feature::of_pin);
        let added = settings.iter().filter(|(name, _)| login.get(name).is_none());
        let added = added.map(|(name, _)| Feature::of_setting(name));
        self.first_rejected(pins.chain(added).collect())
    }

    /// Whether all of `pins` are refused, so that nothing is lost with them that is allowed.
    pub(crate) fn rejects_all(&self, pins: Pins) -> bool {
        pins.iter().all(|pin| Feature::of_pin(pin).is_some_and(|feature| self.rejects(feature)))
    }

    /// Whether a setting is refused that the login did not have.
    pub(crate) fn rejects_setting(&self, name: &str) -> bool {
        self.rejects(Feature::of_setting(name))
    }

    /// What a text leaves that seems to leave `leaves`: what no server can be asked about is, if
    /// it is refused, looked for word by word, and what is not found then is not taken for it.
    #[inline]
    pub(crate) fn leaves(&self, leaves: Leaves) -> Leaves {
        if leaves == Leaves::Unaccountable && self.rejects(Feature::Unaccountable) {
            Leaves::Ask
        } else {
            leaves
        }
    }
}

impl Features {
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn has(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u16) != 0
    }

    pub(crate) fn insert(&mut self, feature: Feature) {
        self.0 |= 1 << feature as u16;
    }
}

impl Extend<Feature> for Features {
    fn extend<I: IntoIterator<Item = Feature>>(&mut self, features: I) {
        features.into_iter().for_each(|feature| self.insert(feature));
    }
}

impl FromIterator<Feature> for Features {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> Self {
        let mut all = Self::default();
        all.extend(features);
        all
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let those = Feature::ALL.into_iter().filter(|&feature| self.has(feature));
        f.debug_set().entries(those).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_to_keep_a_server_is_a_feature_but_that_nothing_is_known() {
        for pin in Pin::ALL.into_iter().filter(|pin| *pin != Pin::Unknown) {
            assert!(Feature::of_pin(pin).is_some(), "{pin:?}");
        }
        assert_eq!(Feature::of_pin(Pin::Unknown), None);
    }

    #[test]
    fn only_what_is_possible_can_become_of_a_feature() {
        let rules = StateRules::default().with(Feature::Settings, Treatment::Pin);
        assert_eq!(rules, StateRules::default());
        assert!(!rules.rejects_any());
        let rules = rules.with(Feature::Listen, Treatment::Reject);
        assert!(rules.rejects_any() && rules.rejects(Feature::Listen));
        assert_eq!(rules.with(Feature::Listen, Treatment::Replay), StateRules::default());
    }
}
