//! Which features a text uses, where a rule refuses some: read word by word, so that no literal,
//! comment or name is taken for a use. What DO blocks, functions and EXECUTE do is not seen here;
//! the server tells of that afterwards.

use crate::lexer::{Token, Tokens};
use crate::rules::{Feature, Features};

/// Words of one statement that are looked at, from its front.
const TOKENS_MAX: usize = 4096;

/// Functions that take an advisory lock of the session.
const LOCKS: [&[u8]; 4] = [
    b"pg_advisory_lock",
    b"pg_advisory_lock_shared",
    b"pg_try_advisory_lock",
    b"pg_try_advisory_lock_shared",
];

/// Functions that return what a sequence has given before.
const SEQUENCES: [&[u8]; 2] = [b"currval", b"lastval"];

/// Functions whose effect no server can be asked about.
const UNACCOUNTABLE: [&[u8]; 3] = [b"setseed", b"dblink_connect", b"dblink_connect_u"];

/// What the statements of a text use.
pub(crate) fn features(text: &[u8]) -> Features {
    let mut found = Features::default();
    let mut statement = Vec::new();
    for token in Tokens::of(text).chain([Token::Symbol(b';')]) {
        if token != Token::Symbol(b';') {
            if statement.len() < TOKENS_MAX {
                statement.push(token);
            }
        } else {
            of_statement(&statement, &mut found);
            statement.clear();
        }
    }
    found
}

fn of_statement(tokens: &[Token<'_>], found: &mut Features) {
    let Some((first, rest)) = tokens.split_first() else { return };
    let Token::Word(word) = first else { return of_calls(tokens, found) };
    match word.to_ascii_lowercase().as_slice() {
        b"listen" => found.insert(Feature::Listen),
        b"load" => found.insert(Feature::Unaccountable),
        b"prepare" if !starts(rest, &[b"transaction"]) => {
            found.insert(Feature::PreparedStatements);
        }
        b"declare" if is_with_hold(rest) => found.insert(Feature::HoldableCursors),
        b"set" => found.extend(set(rest)),
        b"create" if is_temporary(rest) => found.insert(Feature::TemporaryObjects),
        // What is made there runs later, if at all.
        b"create" | b"alter" | b"comment" => {}
        b"explain" if !rest.iter().any(|token| token.is(b"analyze") || token.is(b"analyse")) => {}
        _ => of_calls(tokens, found),
    }
}

fn starts(tokens: &[Token<'_>], words: &[&[u8]]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.is(word))
}

fn has(tokens: &[Token<'_>], words: &[&[u8]]) -> bool {
    tokens.windows(words.len()).any(|window| starts(window, words))
}

/// Whether a DECLARE says so, in front of its query.
fn is_with_hold(rest: &[Token<'_>]) -> bool {
    let query = rest.iter().position(|token| token.is(b"for")).unwrap_or(rest.len());
    has(rest.get(..query).unwrap_or_default(), &[b"with", b"hold"])
}

/// Whether a CREATE makes something temporary that outlasts its transaction.
fn is_temporary(rest: &[Token<'_>]) -> bool {
    let ends = |token: &Token<'_>| token.is(b"as") || *token == Token::Symbol(b'(');
    let head = rest.get(..rest.iter().position(ends).unwrap_or(rest.len())).unwrap_or_default();
    let kind = head.get(..4).unwrap_or(head);
    let is_temporary = kind.iter().any(|token| token.is(b"temp") || token.is(b"temporary"))
        || head
            .windows(2)
            .any(|pair| matches!(pair, [name, Token::Symbol(b'.')] if name.is_name(b"pg_temp")));
    is_temporary && !has(rest, &[b"on", b"commit", b"drop"])
}

/// What a SET sets for more than its transaction.
fn set(mut rest: &[Token<'_>]) -> Option<Feature> {
    if starts(rest, &[b"session", b"characteristics"]) {
        return Some(Feature::Settings);
    }
    let resets = rest.last().is_some_and(|last| last.is(b"default"));
    if starts(rest, &[b"session", b"authorization"]) {
        return (!resets).then_some(Feature::SessionAuthorization);
    }
    if starts(rest, &[b"session"]) {
        rest = rest.get(1..).unwrap_or_default();
    }
    let name = rest.first()?;
    if resets || name.is(b"local") || name.is(b"transaction") || name.is(b"constraints") {
        return None;
    }
    let is_none = rest.last().is_some_and(|last| last.is(b"none"));
    Some(match name {
        _ if name.is_name(b"role") && is_none => return None,
        _ if name.is_name(b"role") => Feature::Role,
        _ if name.is_name(b"session_authorization") => Feature::SessionAuthorization,
        _ if name.is(b"seed") => Feature::Unaccountable,
        _ => Feature::Settings,
    })
}

/// What functions that are called by name do, and SELECT INTO.
fn of_calls(tokens: &[Token<'_>], found: &mut Features) {
    let mut rest = tokens;
    let mut before = Token::Symbol(b';');
    while let Some((token, behind)) = rest.split_first() {
        rest = behind;
        let inserts = before.is(b"insert") || before.is(b"merge");
        before = *token;
        if token.is(b"into") && !inserts {
            let kind = behind.get(..2).unwrap_or(behind);
            if kind.iter().any(|token| token.is(b"temp") || token.is(b"temporary")) {
                found.insert(Feature::TemporaryObjects);
            }
        }
        let Some((Token::Symbol(b'('), arguments)) = behind.split_first() else { continue };
        if LOCKS.iter().any(|name| token.is_name(name)) {
            found.insert(Feature::AdvisoryLocks);
        } else if SEQUENCES.iter().any(|name| token.is_name(name)) {
            found.insert(Feature::Sequences);
        } else if UNACCOUNTABLE.iter().any(|name| token.is_name(name)) {
            found.insert(Feature::Unaccountable);
        } else if token.is_name(b"set_config") {
            found.extend(set_config(arguments));
        }
    }
}

/// What a `set_config` sets whose last argument says that it is for the session.
fn set_config(arguments: &[Token<'_>]) -> Option<Feature> {
    let mut depth = 0_usize;
    let mut commas = 0;
    let mut last = Vec::new();
    for token in arguments {
        match token {
            Token::Symbol(b'(') => depth += 1,
            Token::Symbol(b')') if depth == 0 => break,
            Token::Symbol(b')') => depth -= 1,
            Token::Symbol(b',') if depth == 0 => {
                commas += 1;
                last.clear();
                continue;
            }
            _ => {}
        }
        if commas == 2 && last.len() < 2 {
            last.push(*token);
        }
    }
    let is_for_session = match last.as_slice() {
        [token @ Token::Word(_)] => token.is(b"false"),
        [Token::Literal(value)] => {
            matches!(
                value.to_ascii_lowercase().as_slice(),
                b"f" | b"false" | b"n" | b"no" | b"off" | b"0"
            )
        }
        // A parameter or an expression: the server tells afterwards.
        _ => false,
    };
    if !is_for_session {
        return None;
    }
    Some(match arguments.first() {
        Some(Token::Literal(name)) if name.eq_ignore_ascii_case(b"role") => Feature::Role,
        Some(Token::Literal(name)) if name.eq_ignore_ascii_case(b"session_authorization") => {
            Feature::SessionAuthorization
        }
        _ => Feature::Settings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_uses_is_seen_in_its_words() {
        use Feature::*;
        for (sql, expected) in [
            ("LISTEN news", Some(Listen)),
            ("select 1; /* x */ listen \"News\"", Some(Listen)),
            ("LOAD 'x'", Some(Unaccountable)),
            ("select setseed(0.5)", Some(Unaccountable)),
            ("SET SEED TO 0.5", Some(Unaccountable)),
            ("PREPARE p AS SELECT 1", Some(PreparedStatements)),
            ("declare c no scroll cursor with hold for select 1", Some(HoldableCursors)),
            ("CREATE TEMP TABLE t (n int)", Some(TemporaryObjects)),
            ("create or replace temporary view v as select 1", Some(TemporaryObjects)),
            ("CREATE GLOBAL TEMPORARY TABLE t AS SELECT 1", Some(TemporaryObjects)),
            ("create table pg_temp.t (n int)", Some(TemporaryObjects)),
            ("CREATE FUNCTION \"pg_temp\".f() RETURNS int AS 'x'", Some(TemporaryObjects)),
            ("SELECT 1 AS n INTO TEMP t", Some(TemporaryObjects)),
            ("with x as (select 1) select * into local temp t from x", Some(TemporaryObjects)),
            ("SELECT pg_catalog.pg_advisory_lock(1)", Some(AdvisoryLocks)),
            ("select \"pg_try_advisory_lock_shared\" (1, 2)", Some(AdvisoryLocks)),
            ("select pg_catalog.CURRVAL('s')", Some(Sequences)),
            ("INSERT INTO t VALUES (\"lastval\"())", Some(Sequences)),
            ("SET SESSION AUTHORIZATION joe", Some(SessionAuthorization)),
            ("set session_authorization = joe", Some(SessionAuthorization)),
            ("SET ROLE joe", Some(Role)),
            ("set session role 'joe'", Some(Role)),
            ("SELECT set_config('role', 'joe', false)", Some(Role)),
            ("SET search_path = a, b", Some(Settings)),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Some(Settings)),
            ("set time zone 'CET'", Some(Settings)),
            ("select pg_catalog.set_config('search_path', '', false);", Some(Settings)),
            ("select set_config('a.b', coalesce('x', 'y'), 'off')", Some(Settings)),
        ] {
            let expected: Features = expected.into_iter().collect();
            assert_eq!(features(sql.as_bytes()), expected, "{sql}");
        }
    }

    #[test]
    fn what_ends_with_its_transaction_or_only_looks_like_a_use_is_none() {
        for sql in [
            "",
            "SELECT 'LISTEN x', \"listen\" FROM t -- ; listen x",
            "PREPARE TRANSACTION 'x'",
            "DECLARE c CURSOR FOR SELECT 'with hold'",
            "declare c cursor without hold for select 1",
            "CREATE TEMP TABLE t (n int) ON COMMIT DROP",
            "create table temperature (temp int)",
            "create table t as select temp from u",
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_lock(1) $$",
            "create view v as select pg_advisory_lock(1)",
            "SELECT pg_advisory_xact_lock(1), pg_advisory_unlock(1), pg_advisory_lock",
            "SELECT nextval('s'), setval('s', 1), 'currval(1)', lastval FROM t",
            "SET LOCAL ROLE joe",
            "SET TRANSACTION READ ONLY",
            "set constraints all deferred",
            "SET ROLE NONE",
            "set search_path to default",
            "SET SESSION AUTHORIZATION DEFAULT",
            "RESET ALL",
            "UPDATE t SET a = 1",
            "INSERT INTO temp VALUES (1)",
            "select set_config('a.b', 'x', true)",
            "select set_config('a.b', 'x', $1)",
            "EXPLAIN SELECT pg_advisory_lock(1)",
            "DO $$ BEGIN PERFORM pg_advisory_lock(1); END $$",
        ] {
            assert!(features(sql.as_bytes()).is_empty(), "{sql}");
        }
    }
}
