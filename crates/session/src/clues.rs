//! Parts of words in a text that tell what it may do: found in one pass, and none in nearly every
//! text.

use std::sync::LazyLock;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::{Anchored, dfa::DFA};

use crate::classify::is_word_at;

/// What a part of a word tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Clue {
    /// Connections of dblink, random seeds.
    Unaccountable,
    Sets,
    LocksOfSession,
    Temporary,
    /// Cursors that outlast their transaction: two words, for what is between them.
    Holds,
    Declares,
    Deallocates,
    Discards,
    Resets,
    /// The view through which settings can be changed.
    Settings,
    /// Asks for values of sequences.
    SeesValues,
    /// Takes some, be it for a column's default.
    TakesValues,
    UsesNames,
    MakesNames,
    Cancels,
    Terminates,
}

/// In which parts of words they are.
const CLUES: [(&str, Clue); 23] = [
    ("dblink", Clue::Unaccountable),
    ("seed", Clue::Unaccountable),
    ("set", Clue::Sets),
    ("advisory", Clue::LocksOfSession),
    ("temp", Clue::Temporary),
    ("hold", Clue::Holds),
    ("declare", Clue::Declares),
    ("deallocate", Clue::Deallocates),
    ("discard", Clue::Discards),
    ("reset", Clue::Resets),
    ("default", Clue::Resets),
    ("pg_settings", Clue::Settings),
    ("currval", Clue::SeesValues),
    ("lastval", Clue::SeesValues),
    ("nextval", Clue::TakesValues),
    ("setval", Clue::TakesValues),
    ("insert", Clue::TakesValues),
    ("copy", Clue::TakesValues),
    ("merge", Clue::TakesValues),
    ("execute", Clue::UsesNames),
    ("prepare", Clue::MakesNames),
    ("cancel_backend", Clue::Cancels),
    ("terminate_backend", Clue::Terminates),
];

/// Those that a text has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clues(u16);

/// Built once from constants; read only.
static MATCHER: LazyLock<Option<DFA>> = LazyLock::new(|| {
    let words = CLUES.map(|(word, _)| word);
    DFA::builder().ascii_case_insensitive(true).build(words).ok()
});

impl Clues {
    pub(crate) const NONE: Self = Self(0);

    /// `None` if they cannot be told.
    #[inline]
    pub(crate) fn of(text: &[u8]) -> Option<Self> {
        let matcher = MATCHER.as_ref()?;
        let mut state = matcher.start_state(Anchored::No).ok()?;
        for (at, &byte) in text.iter().enumerate() {
            state = matcher.next_state(Anchored::No, state, byte);
            if matcher.is_special(state) {
                return Some(Self::from(matcher, state, text, at + 1));
            }
        }
        Some(Self::NONE)
    }

    /// Those that end at `end`, where `matcher` is in `state`, or behind it.
    fn from(matcher: &DFA, mut state: StateID, text: &[u8], end: usize) -> Self {
        let mut clues = Self::NONE;
        clues.note(matcher, state, text, end);
        for (at, &byte) in text.iter().enumerate().skip(end) {
            state = matcher.next_state(Anchored::No, state, byte);
            if matcher.is_special(state) {
                clues.note(matcher, state, text, at + 1);
            }
        }
        clues
    }

    /// Notes those that end at `end`.
    fn note(&mut self, matcher: &DFA, state: StateID, text: &[u8], end: usize) {
        if !matcher.is_match(state) {
            return;
        }
        for index in 0..matcher.match_len(state) {
            let pattern = matcher.match_pattern(state, index);
            let Some((word, clue)) = CLUES.get(pattern.as_usize()) else { continue };
            let must_be_whole = matches!(clue, Clue::SeesValues | Clue::TakesValues);
            if !must_be_whole || is_word_at(text, end - word.len()..end) {
                self.0 |= clue.bit();
            }
        }
    }

    pub(crate) fn has(self, clue: Clue) -> bool {
        self.0 & clue.bit() != 0
    }
}

impl Clue {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}
