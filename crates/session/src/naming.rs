//! Names of prepared statements in a text, and the text that makes one by `PREPARE`.

use crate::classify::NameUse;
use crate::lexer::{Token, Tokens, is_in_word};
use crate::statements::key;

/// The view in which a client finds its statements, and the function behind it.
const VIEW: &[u8] = b"pg_prepared_statement";

/// Whether a text may have a name in it, in any case, in quotes or without.
pub(crate) fn mentions(text: &[u8], name: &[u8]) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|&byte| is_in_word(byte));
    let escaped: Vec<u8>;
    let name = if name.contains(&b'"') {
        escaped = name
            .iter()
            .flat_map(|&byte| [byte; 2].into_iter().take(1 + usize::from(byte == b'"')))
            .collect();
        &escaped
    } else {
        name
    };
    !name.is_empty()
        && text.windows(name.len()).enumerate().any(|(at, window)| {
            window.eq_ignore_ascii_case(name)
                && !is_part(at.checked_sub(1).and_then(|before| text.get(before)))
                && !is_part(text.get(at + name.len()))
        })
}

/// What a text in which `prepare` is may do.
pub(crate) fn prepares(text: &[u8]) -> NameUse {
    let views = text.windows(VIEW.len()).any(|window| window.eq_ignore_ascii_case(VIEW));
    if views { NameUse::Views } else { NameUse::Makes }
}

/// What makes `name` by `PREPARE`: the text if that is all there is in it, or the one statement of
/// it that does; `None` if that cannot be told.
pub(crate) fn made_by<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let mut found = None;
    let mut others = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (statement, behind) = statement(rest);
        rest = behind;
        let mut tokens = Tokens::of(statement);
        match (tokens.next(), tokens.next()) {
            (Some(first), Some(second)) if first.is(b"prepare") && is_this_name(second, name) => {
                if found.replace(statement).is_some() {
                    return None;
                }
            }
            (None, _) => {}
            _ => others += 1,
        }
    }
    let found = found?;
    str::from_utf8(if others == 0 { text } else { found.trim_ascii() }).ok()
}

/// The first statement of a text, and what is behind its semicolon.
fn statement(text: &[u8]) -> (&[u8], &[u8]) {
    let mut tokens = Tokens::of(text);
    while let Some(token) = tokens.next() {
        if token == Token::Symbol(b';') {
            let end = text.len() - tokens.rest().len();
            let (statement, behind) = text.split_at(end);
            return (statement.strip_suffix(b";").unwrap_or(statement), behind);
        }
    }
    (text, &[])
}

fn is_this_name(token: Token<'_>, name: &[u8]) -> bool {
    token.identifier().is_some_and(|meant| key(&meant) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_it_may_be_meant() {
        for (text, name, is) in [
            ("execute s", "s", true),
            ("EXECUTE \"S\"(1)", "s", true),
            ("DO 'BEGIN EXECUTE ''EXECUTE s''; END'", "s", true),
            ("execute \"a b\"", "a b", true),
            ("execute \"a\"\"b\"", "a\"b", true),
            ("execute ss", "s", false),
            ("execute s$1", "s", false),
            ("execute", "", false),
        ] {
            assert_eq!(mentions(text.as_bytes(), name.as_bytes()), is, "{text}");
        }
    }

    #[test]
    fn what_makes_a_statement_is_cut_out_of_its_text() {
        let long = format!("prepare {}b as select 1", "a".repeat(63));
        for (text, name, made_by) in [
            ("PREPARE s AS SELECT 1;", "s", Some("PREPARE s AS SELECT 1;")),
            (
                " /* ; */ prepare S (int) as select $1 ",
                "s",
                Some(" /* ; */ prepare S (int) as select $1 "),
            ),
            (
                "select ';'; prepare s as select ';' ; select 2",
                "s",
                Some("prepare s as select ';'"),
            ),
            ("prepare \"a\"\"B\" as select 1", "a\"B", Some("prepare \"a\"\"B\" as select 1")),
            (long.as_str(), &long[8..71], Some(long.as_str())),
            ("prepare s as select 1; deallocate s; prepare s as select 2", "s", None),
            ("select 'prepare s as select 1'", "s", None),
            ("prepare t as select 1", "s", None),
            ("", "s", None),
        ] {
            assert_eq!(super::made_by(text.as_bytes(), name.as_bytes()), made_by, "{text}");
        }
    }
}
