//! SQL `DEALLOCATE` of a statement that the client made by Parse.
//!
//! The server has that statement under our name, and keeps it for others. So an empty one is
//! put under the client's own name first, unseen: then the server itself answers, with its
//! tag, its errors and the client's name in them, and the tag tells that the name is gone.
//! If the tag does not come, what was put there must go before another client has the server.

use wire::message::{self, TransactionStatus};

use crate::catalog::NAME_PREFIX;
use crate::classify::Leaves;
use crate::expect::Expect;
use crate::lexer::is_in_word;
use crate::names::Origin;
use crate::server::ServerState;
use crate::session::Session;
use crate::statements::key;
use crate::unnamed::Uncertain;

/// The definition of a statement that nothing can refuse: no text, no parameters.
const EMPTY: &[u8] = b"\0\0\0";

impl Session {
    /// Puts an empty statement under `name` on the server if it is one of the client's, so
    /// that it can be dropped there. Whatever PREPARE has made of that name goes along.
    ///
    /// # Errors
    /// Whether it is one of the client's, or whether the transaction has failed, depends on
    /// an answer that has not come.
    pub(crate) fn stand_in(
        &self,
        name: &[u8],
        server: &mut ServerState,
        to_server: &mut Vec<u8>,
    ) -> Result<(), Uncertain> {
        if server.reads_copy() || name.starts_with(NAME_PREFIX) {
            return Ok(());
        }
        if self.statement(name, server)?.is_none() && !self.has_prepared(name) {
            return Ok(());
        }
        // A DEALLOCATE is refused in a failed transaction, and nothing would be dropped.
        if !server.is_quiet() {
            return Err(Uncertain);
        } else if server.status == TransactionStatus::Failed {
            return Ok(());
        }
        message::put_close_statement(to_server, name);
        message::put_parse(to_server, name, EMPTY);
        server.expected.push(Expect::StandIn);
        server.expected.push(Expect::StandIn);
        server.names.set(name, Some(Origin::StandIn));
        if server.stand_in.replace(name.into()).is_some_and(|left| *left != *name) {
            server.note_leaves(Leaves::Ask);
        }
        Ok(())
    }
}

/// The name that a text drops if it is one `DEALLOCATE` of one statement and nothing else,
/// as Postgres reads it: folded to lower case unless it is quoted. Comments are not looked
/// through.
pub(crate) fn deallocated(text: &[u8]) -> Option<Box<[u8]>> {
    let text = text.trim_ascii_start();
    let (word, rest) = text.split_at_checked(b"deallocate".len())?;
    if !word.eq_ignore_ascii_case(b"deallocate") || starts_in_word(rest) {
        return None;
    }
    let rest = rest.trim_ascii();
    let rest = rest.strip_suffix(b";").unwrap_or(rest).trim_ascii_end();
    let (first, behind) = identifier(rest)?;
    let is_quoted = |text: &[u8]| text.starts_with(b"\"");
    let (name, plain) = if behind.is_empty() {
        (first, !is_quoted(rest))
    } else {
        let behind = behind.trim_ascii_start();
        let (name, end) = identifier(behind)?;
        if is_quoted(rest) || first != b"prepare" || !end.is_empty() {
            return None;
        }
        (name, !is_quoted(behind))
    };
    let is_none = name.is_empty() || (plain && name == b"all");
    (!is_none).then(|| key(&name).into())
}

/// Whether `text` goes on with the word in front of it.
fn starts_in_word(text: &[u8]) -> bool {
    text.first().is_some_and(|&byte| is_in_word(byte))
}

/// The identifier at the start of `text`, and what is behind it.
pub(crate) fn identifier(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let len = text.iter().take_while(|&&byte| is_in_word(byte)).count();
        let (word, rest) = text.split_at_checked(len)?;
        let starts = word.first().is_some_and(|&byte| !byte.is_ascii_digit() && byte != b'$');
        return starts.then(|| (word.to_ascii_lowercase(), rest));
    };
    let mut name = Vec::new();
    loop {
        let (part, behind) = rest.split_at_checked(rest.iter().position(|&byte| byte == b'"')?)?;
        name.extend_from_slice(part);
        let behind = behind.strip_prefix(b"\"")?;
        match behind.strip_prefix(b"\"") {
            Some(more) => {
                name.push(b'"');
                rest = more;
            }
            None => return Some((name, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_postgres_reads_it() {
        for (sql, name) in [
            ("DEALLOCATE s", Some("s")),
            (" \n deallocate\tPREPARE _Pg3_0 ; ", Some("_pg3_0")),
            ("Deallocate \"A \"\"b;\"", Some("A \"b;")),
            ("DEALLOCATE\"s\"", Some("s")),
            ("DEALLOCATE prepare\"s\";", Some("s")),
            ("deallocate prepare", Some("prepare")),
            ("deallocate \"all\"", Some("all")),
            ("deallocate prepare \"all\"", Some("all")),
            ("deallocate all", None),
            ("deallocate prepare ALL", None),
            ("deallocate s; select 1", None),
            ("deallocate s t", None),
            ("deallocate \"prepare\" s", None),
            ("deallocate 1s", None),
            ("deallocates", None),
            ("deallocate", None),
            ("deallocate \"\"", None),
            ("deallocate \"s", None),
            ("deallocate U&\"s\"", None),
            ("deallocate s;;", None),
            ("select 'deallocate s'", None),
            ("", None),
        ] {
            assert_eq!(deallocated(sql.as_bytes()).as_deref(), name.map(str::as_bytes), "{sql}");
        }
        let long = format!("deallocate {}", "x".repeat(70));
        assert_eq!(deallocated(long.as_bytes()).map(|name| name.len()), Some(63));
    }
}
