//! What drivers and tools say to any Postgres, and what they must hear to go on: transactions,
//! settings, and a few `SELECT`s. Nothing here acts on pgmesh.

mod catalog;
mod select;
mod settings;

use super::lexer::Token;
use super::value::{Kind, Value};

pub(crate) use settings::{is_setting, statuses};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    /// The user.
    pub(crate) user: String,
    /// The database, by the name that was asked for.
    pub(crate) database: String,
    /// What the client calls itself.
    pub(crate) application_name: String,
    /// The number of the connection.
    pub(crate) id: u64,
    /// Whether it counts as a superuser.
    pub(crate) right: crate::facts::Right,
    /// The version of pgmesh.
    pub(crate) version: &'static str,
}

/// A statement that is not the console's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// A transaction begins; the tag.
    Begin(&'static str),
    /// A transaction ends.
    Commit,
    /// A prepared statement is not needed any more; `None`: all.
    Deallocate(Option<String>),
    /// Nothing is done.
    Noted {
        /// The tag.
        tag: &'static str,
        /// What to say about it.
        notice: Option<&'static str>,
    },
    /// A transaction ends without effect.
    Rollback,
    /// Rows that are always the same.
    Rows(Rows),
}

/// An answer with its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    /// The tag, which gets the count of rows.
    pub(crate) tag: &'static str,
    /// Names and types.
    pub(crate) columns: Vec<(String, Kind)>,
    /// The values.
    pub(crate) rows: Vec<Vec<Value>>,
}

/// Understands what follows `verb`, which is in upper case; `None` if it is nothing that is
/// answered here.
pub(crate) fn parse(verb: &str, rest: &[Token<'_>], who: &Who) -> Option<Foreign> {
    let noted = |tag| Some(Foreign::Noted { tag, notice: None });
    match verb {
        "BEGIN" => Some(Foreign::Begin("BEGIN")),
        "START" if rest.first()?.is("TRANSACTION") => Some(Foreign::Begin("START TRANSACTION")),
        "COMMIT" | "END" if is_plain_end(rest) => Some(Foreign::Commit),
        "ROLLBACK" | "ABORT" if is_plain_end(rest) => Some(Foreign::Rollback),
        "SET" => settings::set(rest),
        "RESET" if !rest.is_empty() => noted("RESET"),
        "DISCARD" => match rest {
            [what] if what.is("ALL") => noted("DISCARD ALL"),
            _ => None,
        },
        "CLOSE" => match rest {
            [what] if what.is("ALL") => noted("CLOSE CURSOR ALL"),
            _ => None,
        },
        "UNLISTEN" if !rest.is_empty() => noted("UNLISTEN"),
        "DEALLOCATE" => deallocate(rest),
        "SHOW" => settings::show(rest, who),
        "SELECT" => select::select(rest, who),
        _ => None,
    }
}

/// `WORK` and `TRANSACTION` mean nothing; savepoints and two-phase commit there are none.
fn is_plain_end(rest: &[Token<'_>]) -> bool {
    match rest {
        [] => true,
        [word] => word.is("WORK") || word.is("TRANSACTION"),
        _ => false,
    }
}

fn deallocate(rest: &[Token<'_>]) -> Option<Foreign> {
    let rest = match rest {
        [word, rest @ ..] if word.is("PREPARE") && !rest.is_empty() => rest,
        rest => rest,
    };
    match rest {
        [word] if word.is("ALL") => Some(Foreign::Deallocate(None)),
        // As in SQL, a bare name is folded.
        [Token::Word(name)] => Some(Foreign::Deallocate(Some(name.to_lowercase()))),
        [Token::Quoted(name)] => Some(Foreign::Deallocate(Some(name.clone()))),
        _ => None,
    }
}

/// One row of one column.
fn one(tag: &'static str, name: &str, value: impl Into<Value>) -> Foreign {
    Foreign::Rows(Rows {
        tag,
        columns: vec![(name.to_owned(), Kind::Text)],
        rows: vec![vec![value.into()]],
    })
}
