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
    /// What a text of the simple protocol does. A `;` in a literal or comment may make it
    /// look worse than it is, never better: each statement but the first is behind a `;`,
    /// with nothing but blanks and comments in between.
    #[inline]
    pub(crate) fn of_text(text: &[u8]) -> Self {
        if text.contains(&b';') { Self::of_parts(text) } else { Self::of_statement(text) }
    }

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
                    let next = Self::of_statement(statement);
                    all = Some(all.map_or(next, |before: Self| before.then(next)));
                }
            }
            match behind.split_first() {
                Some((_, behind)) => rest = behind,
                None => return all.unwrap_or_default(),
            }
        }
    }

    /// What one statement does.
    #[inline]
    pub(crate) fn of_statement(text: &[u8]) -> Self {
        let Some((word, rest)) = split_word(text) else { return Self::Plain };
        let mut lower = [0; 12];
        let Some(lower) = lower.get_mut(..word.len()) else { return Self::Alone };
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        match &*lower {
            // Nothing, or a parenthesis.
            b"" => Self::Plain,
            b"select" | b"insert" | b"update" | b"delete" | b"with" | b"values" | b"table"
            | b"merge" | b"copy" | b"fetch" | b"move" | b"declare" | b"close" | b"set"
            | b"show" | b"reset" | b"lock" | b"savepoint" | b"release" | b"explain"
            | b"execute" | b"deallocate" | b"listen" | b"notify" | b"unlisten" | b"truncate"
            | b"grant" | b"revoke" | b"comment" => Self::Plain,
            b"begin" | b"start" => Self::Begin,
            b"commit" | b"end" => end_of_block(rest, Self::Commit),
            b"rollback" | b"abort" => end_of_block(rest, Self::Rollback),
            b"prepare" if starts_with_word(rest, b"transaction") => Self::Commit,
            b"prepare" => Self::Plain,
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

/// What is behind `COMMIT` or `ROLLBACK` says whether it is only that.
fn end_of_block(rest: &[u8], verb: Verb) -> Verb {
    let Some((word, behind)) = split_word(rest) else { return verb };
    let is = |known: &[u8]| word.eq_ignore_ascii_case(known);
    if is(b"work") || is(b"transaction") {
        return end_of_block(behind, verb);
    }
    match verb {
        Verb::Rollback if is(b"to") => Verb::Plain,
        // AND CHAIN, PREPARED, or a syntax error.
        _ => Verb::Any,
    }
}

fn starts_with_word(text: &[u8], word: &[u8]) -> bool {
    split_word(text).is_some_and(|(first, _)| first.eq_ignore_ascii_case(word))
}

/// The word at the start of `text`, which may be empty, and what is behind it. `None` if
/// there is nothing but blanks and comments.
#[inline]
fn split_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = skip_blanks(text).filter(|text| !text.is_empty())?;
    let is_in_word =
        |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'_' | b'$' | 0x80..);
    text.split_at_checked(text.iter().take_while(is_in_word).count())
}

/// `text` without the blanks and comments at its start. `None` if a comment has no end.
#[inline]
fn skip_blanks(mut text: &[u8]) -> Option<&[u8]> {
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
