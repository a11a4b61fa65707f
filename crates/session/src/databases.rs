//! Databases that a statement wants to itself: Postgres drops, renames, moves or copies none that
//! has sessions, and waits five seconds for them to go (`CountOtherDBBackends`). Those that wait for
//! a client here are in the way as long.

use crate::lexer::{Token, Tokens};
use crate::server::ServerState;
use crate::verb::{Verb, skip_blanks};

/// Names of databases; none for nearly every text.
pub(crate) type Databases = Option<Box<[Box<str>]>>;

/// From where a database is copied if a CREATE names no other.
const TEMPLATE: &str = "template1";

/// Tokens of one statement that are looked at, from its front.
const TOKENS_MAX: usize = 256;

/// What a server's client needs of databases that are to be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emptying {
    /// From now on these are to be left by whoever can leave: the statement is on its way.
    Begins(Box<[Box<str>]>),
    /// It has failed, or its transaction is over.
    Ends,
}

/// How far that is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Need {
    #[default]
    None,
    /// It is to be told of.
    New(Box<[Box<str>]>),
    UnderWay,
    /// It is over, and that is to be told.
    Over,
}

impl ServerState {
    /// What has to be done about databases that the client needs empty, each once. To be asked
    /// after each chunk of either side, and nothing is under way behind the end of a lease.
    #[inline]
    pub fn take_emptying(&mut self) -> Option<Emptying> {
        match self.emptying {
            Need::None | Need::UnderWay => None,
            Need::New(_) | Need::Over => self.next_emptying(),
        }
    }

    #[cold]
    fn next_emptying(&mut self) -> Option<Emptying> {
        match std::mem::take(&mut self.emptying) {
            Need::New(databases) => {
                self.emptying = Need::UnderWay;
                Some(Emptying::Begins(databases))
            }
            Need::Over => Some(Emptying::Ends),
            Need::None | Need::UnderWay => None,
        }
    }

    /// A statement that needs these runs.
    #[inline]
    pub(crate) fn needs_empty(&mut self, databases: Databases) {
        if let Some(databases) = databases {
            self.emptying = Need::New(databases);
        }
    }

    /// It runs no more.
    #[inline]
    pub(crate) fn needs_none_empty(&mut self) {
        match self.emptying {
            Need::None | Need::Over => {}
            Need::New(_) => self.emptying = Need::None,
            Need::UnderWay => self.emptying = Need::Over,
        }
    }
}

/// The databases that must be empty for what a text begins with. All but a RENAME must be alone in
/// their text; what is behind another statement is not looked for.
#[inline]
pub(crate) fn emptied(text: &[u8]) -> Databases {
    if Verb::is_frequent(text) {
        return None;
    }
    let first = skip_blanks(text)?.first()?;
    if matches!(first.to_ascii_lowercase(), b'a' | b'c' | b'd') { of_statement(text) } else { None }
}

fn of_statement(text: &[u8]) -> Databases {
    let mut tokens = Tokens::of(text);
    let verb = tokens.next()?;
    if !tokens.next()?.is(b"database") {
        return None;
    }
    let rest: Vec<Token<'_>> =
        tokens.take(TOKENS_MAX).take_while(|token| *token != Token::Symbol(b';')).collect();
    let name = match rest.as_slice() {
        [condition, exists, name, ..]
            if verb.is(b"drop") && condition.is(b"if") && exists.is(b"exists") =>
        {
            name_of(*name)?
        }
        [name, ..] if verb.is(b"drop") => name_of(*name)?,
        [name, does, ..] if verb.is(b"alter") && does.is(b"rename") => name_of(*name)?,
        [name, does, what, ..]
            if verb.is(b"alter") && does.is(b"set") && what.is(b"tablespace") =>
        {
            name_of(*name)?
        }
        [_, options @ ..] if verb.is(b"create") => template(options)?,
        _ => return None,
    };
    Some([name].into())
}

/// What a CREATE copies.
fn template(options: &[Token<'_>]) -> Option<Box<str>> {
    let Some(at) = options.iter().position(|token| token.is(b"template")) else {
        return Some(TEMPLATE.into());
    };
    let name = match options.get(at + 1..)? {
        [Token::Symbol(b'='), name, ..] | [name, ..] => *name,
        [] => return None,
    };
    if name.is(b"default") { Some(TEMPLATE.into()) } else { name_of(name) }
}

fn name_of(token: Token<'_>) -> Option<Box<str>> {
    if let Token::Literal(name) = token {
        return Some(str::from_utf8(name).ok()?.replace("''", "'").into());
    }
    Some(String::from_utf8(token.identifier()?).ok()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_empty_is_seen_in_the_words_of_the_first_statement() {
        for (sql, name) in [
            ("DROP DATABASE app", "app"),
            ("drop database if exists App;", "app"),
            ("/* x */ DROP -- y\n DATABASE \"My \"\"App\" WITH (FORCE)", "My \"App"),
            ("ALTER DATABASE app RENAME TO other", "app"),
            ("alter database \"app\" set tablespace fast", "app"),
            ("CREATE DATABASE new TEMPLATE app", "app"),
            ("create database new with owner = joe template = 'app' encoding 'UTF8'", "app"),
            ("CREATE DATABASE new TEMPLATE DEFAULT", "template1"),
            ("CREATE DATABASE new TEMPLATE = DEFAULT", "template1"),
            ("CREATE DATABASE new; SELECT template app", "template1"),
        ] {
            assert_eq!(emptied(sql.as_bytes()), Some([name.into()].into()), "{sql}");
        }
        for sql in [
            "",
            ";",
            "DROP",
            "DROP DATABASE",
            "DROP TABLE database",
            "SELECT 1; DROP DATABASE app",
            "SELECT 'DROP DATABASE app'",
            "ALTER DATABASE app SET work_mem = '1MB'",
            "ALTER DATABASE app OWNER TO joe",
            "CREATE TABLE database (n int)",
            "COMMENT ON DATABASE app IS 'x'",
            "COMMIT",
            "DEALLOCATE ALL",
        ] {
            assert_eq!(emptied(sql.as_bytes()), None, "{sql}");
        }
    }
}
