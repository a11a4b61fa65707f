//! What session state a statement may leave behind.
//!
//! Two witnesses: the server's command tag, which cannot be fooled by comments, DO blocks
//! or several statements in one text, and the client's text, for what hides behind a
//! harmless tag (`SELECT set_config(…)`). Either is enough for the server to be asked
//! (`account`). A function whose body does such a thing and whose call does not say so is not
//! seen here.

use std::ops::Range;

use wire::message::Parse;
use wire::tag::frontend;

use crate::clues::{Clue, Clues};
use crate::frame::{Frame, TEXT_LIMIT};
use crate::naming;
use crate::pins::{Pin, Pins};
use crate::signals::Signal;
use crate::verb::Verb;

/// What may be left behind when a transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leaves {
    /// Nothing that another client could see.
    Nothing,
    /// Something that the server can be asked about.
    Ask,
    /// Something that no server can be asked about.
    Unaccountable,
}

/// What a command tag says beyond [`Leaves`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// It says only this.
    Leaves(Leaves),
    /// `SET`: harmless if the text says that it is for the transaction only.
    Set,
    /// A prepared statement is gone.
    Deallocate,
    /// All prepared statements are gone.
    DeallocateAll,
    /// All values of sequences are gone.
    DiscardSequences,
    /// One setting or all are back at the defaults of the server's login: both have the
    /// same tag.
    Reset,
    /// Something was made, in the first schema of the path if no other was named.
    Creates,
    /// It may have taken away what a client keeps its server for.
    Frees,
    /// Both, and everything else.
    DiscardAll,
}

/// What a text may do that its command tag would not tell, or not in time. No larger than a register,
/// in which it is passed on for each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hints {
    /// What it leaves behind a harmless tag (`SELECT`, `CREATE TABLE AS`, `DECLARE CURSOR`).
    pub(crate) leaves: Leaves,
    /// Of that, something that no other server can be given.
    pub(crate) pins: bool,
    /// Names settings that a server tells of only when it is asked by name.
    pub(crate) names_custom: bool,
    /// Drops prepared statements: what comes behind it must know whether it did.
    pub(crate) deallocates: bool,
    /// Takes settings back to their defaults.
    pub(crate) resets: bool,
    /// What it may do with values of sequences.
    pub(crate) values: ValueUse,
    /// What it may do with prepared statements by their names.
    pub(crate) names: NameUse,
    /// What it may do to sessions by their process ids.
    pub(crate) signals: Option<Signal>,
}

/// What a text may do with values of sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueUse {
    None,
    Takes,
    /// Asks for values that were taken before.
    Sees,
    Both,
}

impl ValueUse {
    fn of(clues: Clues) -> Self {
        match (clues.has(Clue::TakesValues), clues.has(Clue::SeesValues)) {
            (false, false) => Self::None,
            (true, false) => Self::Takes,
            (false, true) => Self::Sees,
            (true, true) => Self::Both,
        }
    }

    pub(crate) fn takes(self) -> bool {
        matches!(self, Self::Takes | Self::Both)
    }

    pub(crate) fn sees(self) -> bool {
        matches!(self, Self::Sees | Self::Both)
    }
}

/// What a text may do with prepared statements by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NameUse {
    None,
    /// Run or drop them.
    Uses,
    /// Make them, too.
    Makes,
    /// Look at all of them, too.
    Views,
}

impl Hints {
    /// It does nothing that its command tag would not tell.
    pub(crate) const NONE: Self = Self {
        leaves: Leaves::Nothing,
        pins: false,
        names_custom: false,
        deallocates: false,
        resets: false,
        values: ValueUse::None,
        names: NameUse::None,
        signals: None,
    };

    /// Of a text that is not read: the worst that others could suffer by.
    const UNREAD: Self =
        Self { deallocates: true, leaves: Leaves::Ask, values: ValueUse::Both, ..Self::NONE };
}

/// What a text may do. Of a text that hides it there may be too many hints, not too few.
#[inline]
pub(crate) fn text(text: &[u8]) -> Hints {
    match Clues::of(text) {
        Some(Clues::NONE) => Hints::NONE,
        Some(clues) => of_clues(text, clues),
        None => Hints { resets: true, ..Hints::UNREAD },
    }
}

fn signals(clues: Clues) -> Option<Signal> {
    if clues.has(Clue::Cancels) {
        Some(Signal::Cancel)
    } else {
        clues.has(Clue::Terminates).then_some(Signal::Terminate)
    }
}

fn of_clues(text: &[u8], clues: Clues) -> Hints {
    let mut hints = Hints {
        deallocates: clues.has(Clue::Deallocates) || clues.has(Clue::Discards),
        resets: clues.has(Clue::Resets) || clues.has(Clue::Discards),
        values: ValueUse::of(clues),
        signals: signals(clues),
        ..Hints::NONE
    };
    if clues.has(Clue::Unaccountable) {
        (hints.leaves, hints.pins) = (Leaves::Unaccountable, true);
    }
    if clues.has(Clue::MakesNames) {
        hints.names = naming::prepares(text);
    } else if clues.has(Clue::UsesNames) || clues.has(Clue::Deallocates) {
        hints.names = NameUse::Uses;
    }
    let locks = clues.has(Clue::LocksOfSession).then(|| locks_of_session(text));
    if locks == Some(Locks::Freed) {
        hints.leaves = hints.leaves.max(Leaves::Ask);
    }
    if (clues.has(Clue::Holds) && clues.has(Clue::Declares))
        || locks == Some(Locks::Taken)
        || (clues.has(Clue::Temporary) && is_temporary(text))
    {
        hints.leaves = hints.leaves.max(Leaves::Ask);
        hints.pins = true;
    }
    // The SET of an UPDATE is far more frequent than any other.
    let sets = clues.has(Clue::Sets);
    let configures = (clues.has(Clue::Settings) && has_word(text, b"update"))
        || (sets && has_word(text, b"set_config"));
    if configures {
        hints.leaves = hints.leaves.max(Leaves::Ask);
    }
    let is_plain = Verb::is_frequent(text) && !text.contains(&b';');
    hints.names_custom = configures || (sets && !is_plain && text.contains(&b'.'));
    hints
}

/// What a text may do. Of one that is not here to its end, or is too long, the worst.
pub(crate) fn text_of(frame: &Frame<'_>, text: &[u8]) -> Hints {
    if frame.is_whole() && text.len() <= TEXT_LIMIT {
        return self::text(text);
    }
    Hints::UNREAD
}

/// Whether a frame of a client's that has no server begins what may keep it one for good, as far
/// as its text tells. Of what does so by some rules only, `also` says what does.
pub(crate) fn may_pin(frame: &Frame<'_>, also: Pins) -> bool {
    let text = match frame.header.tag {
        frontend::QUERY => frame.body,
        frontend::PARSE => match Parse::read(frame.body) {
            Ok(parse) => parse.text(),
            Err(_) => return false,
        },
        _ => return false,
    };
    let text = text.get(..TEXT_LIMIT).unwrap_or(text);
    let hints = self::text(text);
    if hints.pins || (hints.values.takes() && also.has(Pin::Sequences)) {
        return true;
    }
    let word = |statement: &[u8], at: usize| {
        let mut words = statement.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(at).map(<[u8]>::to_ascii_lowercase).unwrap_or_default()
    };
    text.split(|&byte| byte == b';').any(|statement| match word(statement, 0).as_slice() {
        b"listen" => also.has(Pin::Listen),
        b"load" => true,
        b"prepare" => also.has(Pin::PreparedStatements) && word(statement, 1) != b"transaction",
        _ => false,
    })
}

/// What a text in which `advisory` is does with locks that outlast its transaction.
fn locks_of_session(text: &[u8]) -> Locks {
    const WORD: &[u8] = b"advisory";
    let mut windows = text.windows(WORD.len()).enumerate();
    let ends: Vec<&[u8]> = windows
        .by_ref()
        .filter(|(_, window)| window.eq_ignore_ascii_case(WORD))
        .map(|(at, _)| text.get(at + WORD.len()..).unwrap_or_default())
        .collect();
    let has = |end: &[u8]| {
        let starts =
            |rest: &&[u8]| rest.get(..end.len()).is_some_and(|head| head.eq_ignore_ascii_case(end));
        ends.iter().any(starts)
    };
    if has(b"_lock") {
        Locks::Taken
    } else if has(b"_unlock") {
        Locks::Freed
    } else {
        Locks::None
    }
}

/// Advisory locks of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locks {
    None,
    Freed,
    Taken,
}

/// Whether a text in which `temp` is makes something temporary: not in `attempts` or `template`.
fn is_temporary(text: &[u8]) -> bool {
    (has_word(text, b"create") || has_word(text, b"into"))
        && (has_word(text, b"temp")
            || has_word(text, b"temporary")
            || text.windows(7).any(|window| window.eq_ignore_ascii_case(b"pg_temp")))
}

/// Whether `word` is in `text` and no part of a longer one, in any case.
pub(crate) fn has_word(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).enumerate().any(|(at, window)| {
        window.eq_ignore_ascii_case(word) && is_word_at(text, at..at + word.len())
    })
}

/// Whether what is there is no part of a longer word.
#[inline]
pub(crate) fn is_word_at(text: &[u8], at: Range<usize>) -> bool {
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'' | b'$'))
    };
    let before = at.start.checked_sub(1).and_then(|before| text.get(before));
    !is_part(before) && !is_part(text.get(at.end))
}

/// Whether a text is one statement that sets something for its transaction only.
pub(crate) fn is_local_set(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let Some((set, rest)) = text.split_at_checked(4) else { return false };
    let rest = rest.trim_ascii_start();
    let starts =
        |word: &[u8]| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    set.eq_ignore_ascii_case(b"set ")
        && (starts(b"local ") || starts(b"transaction ") || starts(b"constraints "))
        && !text.strip_suffix(b";").unwrap_or(text).contains(&b';')
}

/// Reads the tag of a CommandComplete, without its terminator. A tag that is not known
/// here leaves something unaccountable, so that a new server version is slow and not wrong.
pub(crate) fn tag(tag: &[u8]) -> Tag {
    // By far the most frequent first; a count follows after a blank.
    let word = tag.split(|&byte| byte == b' ').next().unwrap_or_default();
    match word {
        b"SELECT" | b"INSERT" | b"UPDATE" | b"DELETE" | b"BEGIN" | b"COMMIT" | b"ROLLBACK"
        | b"COPY" | b"FETCH" | b"MOVE" | b"MERGE" | b"START" | b"SAVEPOINT" | b"RELEASE"
        | b"SHOW" | b"EXPLAIN" | b"VACUUM" | b"ANALYZE" | b"TRUNCATE" | b"ALTER" | b"GRANT"
        | b"REVOKE" | b"COMMENT" | b"LOCK" | b"NOTIFY" | b"CLUSTER" | b"REINDEX" | b"REFRESH"
        | b"CHECKPOINT" | b"DECLARE" | b"SECURITY" | b"IMPORT" | b"REASSIGN" => {
            Tag::Leaves(Leaves::Nothing)
        }
        b"CREATE" => Tag::Creates,
        b"DROP" | b"CLOSE" | b"UNLISTEN" => Tag::Frees,
        b"LISTEN" | b"PREPARE" | b"DO" | b"CALL" if tag != b"PREPARE TRANSACTION" => {
            Tag::Leaves(Leaves::Ask)
        }
        b"PREPARE" if tag == b"PREPARE TRANSACTION" => Tag::Leaves(Leaves::Nothing),
        b"SET" if tag == b"SET CONSTRAINTS" => Tag::Leaves(Leaves::Nothing),
        b"SET" => Tag::Set,
        b"DEALLOCATE" if tag == b"DEALLOCATE ALL" => Tag::DeallocateAll,
        b"DEALLOCATE" => Tag::Deallocate,
        b"DISCARD" if tag == b"DISCARD ALL" => Tag::DiscardAll,
        b"DISCARD" if tag == b"DISCARD SEQUENCES" => Tag::DiscardSequences,
        b"DISCARD" => Tag::Frees,
        b"RESET" => Tag::Reset,
        _ => Tag::Leaves(Leaves::Unaccountable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_fit_in_a_register() {
        assert_eq!(size_of::<Hints>(), 8);
        assert_eq!(size_of::<Option<Hints>>(), 8);
    }

    #[test]
    fn state_behind_a_harmless_tag_is_seen_in_the_text() {
        for sql in [
            "SELECT set_config('search_path', '', false)",
            "select pg_try_ADVISORY_lock(1)",
            "create /* x */ temporary table t ()",
            "SELECT 1 INTO TEMP t",
            "update pg_catalog.PG_settings set setting = 1 where name = 'work_mem'",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "declare c cursor with /* x */\n hold for select 1",
        ] {
            assert_eq!(text(sql.as_bytes()).leaves, Leaves::Ask, "{sql}");
        }
        assert_eq!(text(b"SELECT setting FROM pg_settings"), Hints::NONE);
        let harmless = b"SELECT abalance FROM pgbench_accounts WHERE aid = 1";
        assert_eq!(text(harmless), Hints::NONE);
        assert_eq!(text(b"SELECT setseed(1)").leaves, Leaves::Unaccountable);
        assert_eq!(
            text(b"DECLARE c CURSOR FOR SELECT threshold"),
            Hints { leaves: Leaves::Ask, pins: true, ..Hints::NONE }
        );
    }

    #[test]
    fn names_of_settings_are_looked_for_where_something_is_set() {
        let names = |sql: &str| text(sql.as_bytes()).names_custom;
        assert!(names("SET app.user = 'x'") && names("select SET_CONFIG('app.user', 'x', false)"));
        assert!(names("update t set a = 1; set app.user = 'x'"));
        assert!(!names("UPDATE public.t SET a = 1") && !names("set work_mem = 1"));
    }

    #[test]
    fn what_takes_values_of_sequences_and_what_asks_for_them_are_words() {
        let of = |sql: &str| {
            let hints = text(sql.as_bytes());
            (hints.values.takes(), hints.values.sees())
        };
        for sql in ["select NEXTVAL('s')", "select setval('s', 1)", "copy t from stdin"] {
            assert_eq!(of(sql), (true, false), "{sql}");
        }
        assert_eq!(of("insert into t values (lastval())"), (true, true));
        assert_eq!(of("select pg_catalog.currval('s')"), (false, true));
        assert_eq!(of("select last_value, inserted, copy_of, mylastval() from t"), (false, false));
        assert_eq!(text(b"insert into t values (1)").leaves, Leaves::Nothing);
    }

    #[test]
    fn what_drops_statements_or_settings_is_seen_before_it_is_done() {
        let of = |sql: &str| text(sql.as_bytes());
        assert!(of("DO $$ begin execute 'Deallocate all'; end $$").deallocates);
        assert!(of("discard all").deallocates && of("discard all").resets);
        assert!(of("RESET timezone").resets && of("set x to default").resets);
        assert!(has_word(b"set x to DEFAULT;", b"default"));
        assert!(!has_word(b"set default_tablespace = a", b"default"));
        assert!(!has_word(b"set x = 'default'", b"default"));
    }

    #[test]
    fn a_set_for_the_transaction_leaves_nothing() {
        for (sql, local) in [
            ("SET LOCAL statement_timeout = 1", true),
            (" set transaction isolation level serializable;", true),
            ("SET local x = 1; SET y = 2", false),
            ("SET localx = 1", false),
            ("SET", false),
        ] {
            assert_eq!(is_local_set(sql.as_bytes()), local, "{sql}");
        }
    }

    #[test]
    fn an_unknown_tag_leaves_what_nobody_can_account_for() {
        assert_eq!(tag(b"SELECT 1"), Tag::Leaves(Leaves::Nothing));
        assert_eq!(tag(b"LISTEN"), Tag::Leaves(Leaves::Ask));
        assert_eq!(tag(b"PREPARE"), Tag::Leaves(Leaves::Ask));
        assert_eq!(tag(b"PREPARE TRANSACTION"), Tag::Leaves(Leaves::Nothing));
        assert_eq!(tag(b"DO"), Tag::Leaves(Leaves::Ask));
        assert_eq!(tag(b"CALL"), Tag::Leaves(Leaves::Ask));
        assert_eq!(tag(b"LOAD"), Tag::Leaves(Leaves::Unaccountable));
        assert_eq!(tag(b"FROBNICATE"), Tag::Leaves(Leaves::Unaccountable));
        assert_eq!(tag(b"DROP TABLE"), Tag::Frees);
        assert_eq!(tag(b"SET"), Tag::Set);
        assert_eq!(tag(b"DISCARD ALL"), Tag::DiscardAll);
        assert_eq!(tag(b"DISCARD SEQUENCES"), Tag::DiscardSequences);
    }
}
