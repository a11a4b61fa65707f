//! What a text does to the transaction that it runs in, as its first words tell.
//!
//! A function cannot commit, and neither can a procedure inside a transaction block
//! (`ExecuteCallStmt` in Postgres), so the words are enough. What is not known here is taken
//! for the worse: then a client is told that the outcome is unknown where it could be known.

/// What a statement, a text or a batch does to the transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Begins and ends no block, and is committed with the transaction that it is part of.
    #[default]
    Plain,
    /// May commit by itself outside a block, and cannot end one.
    Alone,
    /// Begins a block and does nothing else.
    Begin,
    /// Begins a block and does more, but does not end it.
    Opens,
    /// `COMMIT`, `END` or `PREPARE TRANSACTION`, alone.
    Commit,
    /// `ROLLBACK` or `ABORT`, alone.
    Rollback,
    /// May end a block, and do anything before and after that.
    Any,
}

impl Verb {
    /// What a text does. A `;` in a literal or comment may make it look worse than it is, never
    /// better: each statement but the first is behind a `;`, with nothing but blanks and
    /// comments in between.
    #[inline]
    pub(crate) fn of_text(text: &[u8]) -> Self {
        let one = text.strip_suffix(b";").unwrap_or(text);
        if one.contains(&b';') { Self::of_parts(text) } else { Self::of_first_word(one) }
    }

    #[cold]
    fn of_parts(text: &[u8]) -> Self {
        let mut rest = text;
        let mut all = None;
        loop {
            let end = rest.iter().position(|&byte| byte == b';');
            let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
            match (skip_blanks(part), end) {
                // A comment with a `;` in it: what comes behind the comment is not seen.
                (None, Some(_)) => return Self::Any,
                (None | Some([]), _) => {}
                (Some(statement), _) => {
                    let next = Self::of_first_word(statement);
                    all = Some(all.map_or(next, |before: Self| before.then(next)));
                }
            }
            match behind.split_first() {
                Some((_, behind)) => rest = behind,
                None => return all.unwrap_or_default(),
            }
        }
    }

    /// What a text does that is one statement, as all are in the extended protocol.
    #[inline]
    pub(crate) fn of_statement(text: &[u8]) -> Self {
        if Self::is_frequent(text) {
            Self::Plain
        } else {
            Self::of_first_word(text.strip_suffix(b";").unwrap_or(text))
        }
    }

    /// Whether a text begins with one of the four words that most begin with.
    #[inline]
    pub(crate) fn is_frequent(text: &[u8]) -> bool {
        const fn word(letters: [u8; 6]) -> u64 {
            let [a, b, c, d, e, f] = letters;
            u64::from_le_bytes([a, b, c, d, e, f, b' ', 0])
        }
        const SELECT: u64 = word(*b"select");
        const INSERT: u64 = word(*b"insert");
        const UPDATE: u64 = word(*b"update");
        const DELETE: u64 = word(*b"delete");
        /// The bit of small letters.
        const SMALL: u64 = u64::from_le_bytes([0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0, 0]);
        let Some(head) = text.first_chunk::<8>() else { return false };
        let head = (u64::from_le_bytes(*head) | SMALL) & (u64::MAX >> 8);
        matches!(head, SELECT | INSERT | UPDATE | DELETE)
    }

    fn of_first_word(text: &[u8]) -> Self {
        let Some((word, rest)) = split_word(text) else { return Self::Plain };
        match word {
            // A parenthesis.
            Word::NONE
            | Word::SELECT
            | Word::INSERT
            | Word::UPDATE
            | Word::DELETE
            | Word::WITH
            | Word::VALUES
            | Word::TABLE
            | Word::MERGE
            | Word::COPY
            | Word::FETCH
            | Word::MOVE
            | Word::DECLARE
            | Word::CLOSE
            | Word::SET
            | Word::SHOW
            | Word::RESET
            | Word::LOCK
            | Word::SAVEPOINT
            | Word::RELEASE
            | Word::EXPLAIN
            | Word::EXECUTE
            | Word::DEALLOCATE
            | Word::LISTEN
            | Word::NOTIFY
            | Word::UNLISTEN
            | Word::TRUNCATE
            | Word::GRANT
            | Word::REVOKE
            | Word::COMMENT => Self::Plain,
            Word::BEGIN | Word::START => Self::Begin,
            Word::COMMIT | Word::END => end_of_block(rest, Self::Commit),
            Word::ROLLBACK | Word::ABORT => end_of_block(rest, Self::Rollback),
            Word::PREPARE => match split_word(rest) {
                Some((Word::TRANSACTION, _)) => Self::Commit,
                _ => Self::Plain,
            },
            _ => Self::Alone,
        }
    }

    /// Whether it may end a transaction block.
    #[inline]
    pub(crate) fn ends(self) -> bool {
        matches!(self, Self::Commit | Self::Rollback | Self::Any)
    }

    /// What this and then `next` does.
    pub(crate) fn then(self, next: Self) -> Self {
        match (self, next) {
            _ if self.ends() || next.ends() => Self::Any,
            (Self::Alone, Self::Begin | Self::Opens) => Self::Any,
            (Self::Begin | Self::Opens, _) | (_, Self::Begin | Self::Opens) => Self::Opens,
            (Self::Alone, _) | (_, Self::Alone) => Self::Alone,
            _ => Self::Plain,
        }
    }
}

/// A word in lower case, in one number; words over sixteen bytes are all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word(u128);

macro_rules! words {
    ($($name:ident)*) => {
        impl Word { $(const $name: Self = Self::of(stringify!($name).as_bytes());)* }
    };
}

words! {
    ABORT BEGIN CLOSE COMMENT COMMIT COPY DEALLOCATE DECLARE DELETE END EXECUTE EXPLAIN FETCH
    GRANT INSERT LISTEN LOCK MERGE MOVE NOTIFY PREPARE RELEASE RESET REVOKE ROLLBACK SAVEPOINT
    SELECT SET SHOW START TABLE TO TRANSACTION TRUNCATE UNLISTEN UPDATE VALUES WITH WORK
}

impl Word {
    const NONE: Self = Self(0);

    const fn of(mut letters: &[u8]) -> Self {
        let mut word = Self::NONE;
        while let [first, rest @ ..] = letters {
            word = word.with(*first);
            letters = rest;
        }
        word
    }

    /// The bit tells small letters from capitals, and no other two bytes of words that are in
    /// ASCII.
    #[inline]
    const fn with(self, letter: u8) -> Self {
        const LONG: u128 = u128::MAX;
        if self.0 >> 120 == 0 { Self(self.0 << 8 | (letter | 0x20) as u128) } else { Self(LONG) }
    }
}

/// What is behind `COMMIT` or `ROLLBACK` says whether it is only that.
fn end_of_block(rest: &[u8], verb: Verb) -> Verb {
    let rest = match split_word(rest) {
        Some((Word::WORK | Word::TRANSACTION, behind)) => behind,
        _ => rest,
    };
    match split_word(rest) {
        None => verb,
        Some((Word::TO, _)) if verb == Verb::Rollback => Verb::Plain,
        // AND CHAIN, PREPARED, or a syntax error.
        Some(_) => Verb::Any,
    }
}

/// Whether there is no statement in a text.
pub(crate) fn is_empty(mut text: &[u8]) -> bool {
    loop {
        text = match skip_blanks(text) {
            None | Some([]) => return true,
            Some([b';', rest @ ..]) => rest,
            Some(_) => return false,
        }
    }
}

/// The word at the start of `text`, which may be empty, and what is behind it. `None` if
/// there is nothing but blanks and comments.
#[inline]
fn split_word(text: &[u8]) -> Option<(Word, &[u8])> {
    let mut rest = match text {
        [b'a'..=b'z' | b'A'..=b'Z', ..] => text,
        _ => skip_blanks(text).filter(|text| !text.is_empty())?,
    };
    let mut word = Word::NONE;
    while let [
        first @ (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$' | 0x80..),
        behind @ ..,
    ] = rest
    {
        word = word.with(*first);
        rest = behind;
    }
    Some((word, rest))
}

/// `text` without the blanks and comments at its start. `None` if a comment has no end.
pub(crate) fn skip_blanks(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, rest @ ..] => rest,
            [b'-', b'-', rest @ ..] => {
                let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
                rest.get(end..)?
            }
            [b'/', b'*', rest @ ..] => skip_comment(rest)?,
            _ => return Some(text),
        }
    }
}

/// What is behind a comment of which the start has been read; comments nest.
fn skip_comment(mut text: &[u8]) -> Option<&[u8]> {
    let mut depth = 1_usize;
    while depth > 0 {
        text = match text {
            [b'*', b'/', rest @ ..] => {
                depth -= 1;
                rest
            }
            [b'/', b'*', rest @ ..] => {
                depth += 1;
                rest
            }
            [_, rest @ ..] => rest,
            [] => return None,
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_known_by_its_first_words() {
        for (sql, verb) in [
            ("", Verb::Plain),
            ("select 1", Verb::Plain),
            ("(select 1)", Verb::Plain),
            ("/* a /* nested; */ one */ -- line\n Begin isolation level serializable;", Verb::Any),
            ("/* a /* nested */ one */ -- line\n Begin isolation level serializable;", Verb::Begin),
            ("start transaction", Verb::Begin),
            ("COMMIT;", Verb::Commit),
            ("end work ; -- that was it", Verb::Commit),
            ("commit and chain", Verb::Any),
            ("commit prepared 'x'", Verb::Any),
            ("prepare transaction 'x'", Verb::Commit),
            ("prepare transactions as select 1", Verb::Plain),
            ("ROLLBACK", Verb::Rollback),
            ("abort/**/transaction /* no end", Verb::Rollback),
            ("rollback to a", Verb::Plain),
            ("rollback transaction to savepoint a", Verb::Plain),
            ("rollback prepared 'x'", Verb::Any),
            ("rollback (", Verb::Any),
            ("call p()", Verb::Alone),
            ("create database d", Verb::Alone),
            ("averyveryverylongword", Verb::Alone),
            ("commit_", Verb::Alone),
            ("/**/ 7select", Verb::Alone),
            ("insert into t values (';'); select 2", Verb::Plain),
            ("begin; insert into t values (1)", Verb::Opens),
            ("begin; insert into t values (1); commit", Verb::Any),
            ("select 1 -- x; y\n; /* ; */ commit", Verb::Any),
            ("select 1; -- x; y\n commit", Verb::Any),
            ("select 'x /*'; rollback -- */", Verb::Any),
            ("vacuum; begin", Verb::Any),
        ] {
            assert_eq!(Verb::of_text(sql.as_bytes()), verb, "{sql}");
        }
    }

    fn blank() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![" ", "\n", "", "-- a; b\n", "/* ; */", "/* /* */ ; */", "\t"])
    }

    proptest! {
        #[test]
        fn an_end_of_a_block_is_seen_wherever_it_is(
            before in prop::collection::vec((blank(), prop::sample::select(vec![
                "select ';'", "select 1", "select '--'", "select '/*'", "",
            ])), 0..4),
            blanks in prop::collection::vec(blank(), 0..4),
            end in prop::sample::select(vec!["commit", "END", "rollback", "Abort", "prepare transaction 'x'"]),
            behind in prop::sample::select(vec!["", ";", " ; select 1"]),
        ) {
            let mut sql: String = before.iter().map(|(blank, part)| format!("{blank}{part};")).collect();
            sql.extend(blanks);
            sql.push_str(end);
            sql.push_str(behind);
            prop_assert!(Verb::of_text(sql.as_bytes()).ends(), "{}", sql);
        }
    }
}
