//! What session state a statement may leave behind.
//!
//! Two witnesses: the server's command tag, which cannot be fooled by comments, DO blocks
//! or several statements in one text, and the client's text, for what hides behind a
//! harmless tag (`SELECT set_config(…)`). Either is enough to reset the server. A function
//! whose body does such a thing and whose call does not say so is not seen here.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// What may be left behind when a transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leaves {
    /// Nothing that another client could see.
    Nothing,
    /// Something that `DISCARD ALL` takes away.
    State,
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
    /// One setting or all are back at the defaults of the server's login: both have the
    /// same tag.
    Reset,
    /// Both, and everything else.
    DiscardAll,
}

/// What a text may do that its command tag would not tell, or not in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    /// Leaves state behind a harmless tag (`SELECT`, `CREATE TABLE AS`, `DECLARE CURSOR`).
    pub(crate) leaves_state: bool,
    /// Drops prepared statements: what comes behind it must know whether it did.
    pub(crate) deallocates: bool,
    /// Takes settings back to their defaults.
    pub(crate) resets: bool,
}

/// Parts of words that tell of it: settings, session locks, temporary objects, connections of
/// dblink and postgres_fdw, random seeds; holdable cursors (two words, for what is between
/// them); prepared statements; defaults.
const HINTS: [&str; 11] = [
    "set_config",
    "advisory",
    "temp",
    "dblink",
    "setseed",
    "hold",
    "declare",
    "deallocate",
    "discard",
    "reset",
    "default",
];

/// Built once from constants; read only.
static MATCHER: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(HINTS).ok());

/// What a text may do. Of a text that hides it there may be too many hints, not too few.
pub(crate) fn text(text: &[u8]) -> Hints {
    let Some(matcher) = &*MATCHER else {
        return Hints { leaves_state: true, deallocates: true, resets: true };
    };
    let mut hints = Hints::default();
    let (mut holds, mut declares) = (false, false);
    for found in matcher.find_overlapping_iter(text) {
        match found.pattern().as_usize() {
            0..5 => hints.leaves_state = true,
            5 => holds = true,
            6 => declares = true,
            7 => hints.deallocates = true,
            8 => (hints.deallocates, hints.resets) = (true, true),
            _ => hints.resets = true,
        }
    }
    hints.leaves_state |= holds && declares;
    hints
}

/// Whether `word` is in `text` and no part of a longer one, in any case.
pub(crate) fn has_word(text: &[u8], word: &[u8]) -> bool {
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'' | b'$'))
    };
    text.windows(word.len()).enumerate().any(|(at, window)| {
        window.eq_ignore_ascii_case(word)
            && !is_part(at.checked_sub(1).and_then(|before| text.get(before)))
            && !is_part(text.get(at + word.len()))
    })
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
/// here leaves state, so that a new server version is slow and not wrong.
pub(crate) fn tag(tag: &[u8]) -> Tag {
    // By far the most frequent first; a count follows after a blank.
    let word = tag.split(|&byte| byte == b' ').next().unwrap_or_default();
    match word {
        b"SELECT" | b"INSERT" | b"UPDATE" | b"DELETE" | b"BEGIN" | b"COMMIT" | b"ROLLBACK"
        | b"COPY" | b"FETCH" | b"MOVE" | b"MERGE" | b"START" | b"SAVEPOINT" | b"RELEASE"
        | b"SHOW" | b"EXPLAIN" | b"VACUUM" | b"ANALYZE" | b"TRUNCATE" | b"CREATE" | b"ALTER"
        | b"DROP" | b"GRANT" | b"REVOKE" | b"COMMENT" | b"LOCK" | b"NOTIFY" | b"CLUSTER"
        | b"REINDEX" | b"REFRESH" | b"CHECKPOINT" | b"CLOSE" | b"DECLARE" | b"UNLISTEN"
        | b"SECURITY" | b"IMPORT" | b"REASSIGN" => Tag::Leaves(Leaves::Nothing),
        b"PREPARE" if tag == b"PREPARE TRANSACTION" => Tag::Leaves(Leaves::Nothing),
        b"SET" if tag == b"SET CONSTRAINTS" => Tag::Leaves(Leaves::Nothing),
        b"SET" => Tag::Set,
        b"DEALLOCATE" if tag == b"DEALLOCATE ALL" => Tag::DeallocateAll,
        b"DEALLOCATE" => Tag::Deallocate,
        b"DISCARD" if tag == b"DISCARD ALL" => Tag::DiscardAll,
        b"DISCARD" => Tag::Leaves(Leaves::Nothing),
        b"RESET" => Tag::Reset,
        _ => Tag::Leaves(Leaves::State),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_behind_a_harmless_tag_is_seen_in_the_text() {
        for sql in [
            "SELECT set_config('search_path', '', false)",
            "select pg_try_ADVISORY_lock(1)",
            "create /* x */ temporary table t ()",
            "SELECT 1 INTO TEMP t",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "declare c cursor with /* x */\n hold for select 1",
        ] {
            assert!(text(sql.as_bytes()).leaves_state, "{sql}");
        }
        let harmless = b"SELECT abalance FROM pgbench_accounts WHERE aid = 1";
        assert_eq!(text(harmless), Hints::default());
        assert_eq!(
            text(b"DECLARE c CURSOR FOR SELECT threshold"),
            Hints { leaves_state: true, ..Hints::default() }
        );
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
    fn an_unknown_tag_leaves_state() {
        assert_eq!(tag(b"SELECT 1"), Tag::Leaves(Leaves::Nothing));
        assert_eq!(tag(b"LISTEN"), Tag::Leaves(Leaves::State));
        assert_eq!(tag(b"PREPARE"), Tag::Leaves(Leaves::State));
        assert_eq!(tag(b"PREPARE TRANSACTION"), Tag::Leaves(Leaves::Nothing));
        assert_eq!(tag(b"DO"), Tag::Leaves(Leaves::State));
        assert_eq!(tag(b"CALL"), Tag::Leaves(Leaves::State));
        assert_eq!(tag(b"FROBNICATE"), Tag::Leaves(Leaves::State));
        assert_eq!(tag(b"SET"), Tag::Set);
        assert_eq!(tag(b"DISCARD ALL"), Tag::DiscardAll);
    }
}
