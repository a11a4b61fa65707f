//! `SELECT`s of constants and functions, as drivers send them at connect; and of the catalogue,
//! as tools do.

use super::super::lexer::Token;
use super::super::value::{Kind, Value};
use super::{Foreign, Rows, Who, catalog, settings};

/// Columns that a list may have.
const ITEMS_MAX: usize = 32;

/// What a list of items gives: one row.
#[derive(Debug, Default)]
struct Items {
    columns: Vec<(String, Kind)>,
    values: Vec<Value>,
}

/// Understands what follows `SELECT`.
pub(super) fn select(rest: &[Token<'_>], who: &Who) -> Option<Foreign> {
    let from = rest.iter().position(|token| token.is("FROM"));
    let Some(from) = from else {
        return items(rest, who).map(|it| rows(it.columns, vec![it.values]));
    };
    let (list, behind) = rest.split_at(from);
    let table = behind.get(1)?.text()?;
    let table = table.strip_prefix("pg_catalog.").unwrap_or(table);
    if ["pg_settings", "pg_show_all_settings"].iter().any(|it| table.eq_ignore_ascii_case(it)) {
        // A function that is called once per setting of a name, and settings have one name.
        return items(list, who).map(|it| rows(it.columns, vec![it.values]));
    }
    if table.eq_ignore_ascii_case("pg_type") && list.iter().any(|token| token.is("typname")) {
        let (columns, values) = catalog::types();
        return Some(rows(columns, values));
    }
    let (columns, values) = catalog::table(table, who)?;
    Some(rows(columns, values))
}

fn rows(columns: Vec<(String, Kind)>, rows: Vec<Vec<Value>>) -> Foreign {
    Foreign::Rows(Rows { tag: "SELECT", columns, rows })
}

/// A list of items, all of which must be known.
fn items(tokens: &[Token<'_>], who: &Who) -> Option<Items> {
    let mut found = Items::default();
    let mut rest = tokens;
    loop {
        let (name, kind, value, behind) = item(rest, who)?;
        let (name, behind) = alias(name, behind);
        found.columns.push((name, kind));
        found.values.push(value);
        match behind {
            [] => return Some(found),
            [Token::Symbol(','), more @ ..] if found.columns.len() < ITEMS_MAX => rest = more,
            _ => return None,
        }
    }
}

type Item<'t, 'a> = (String, Kind, Value, &'t [Token<'a>]);

fn item<'t, 'a>(tokens: &'t [Token<'a>], who: &Who) -> Option<Item<'t, 'a>> {
    let (first, rest) = tokens.split_first()?;
    let nameless = "?column?".to_owned();
    let word = match first {
        Token::Text(text) => {
            return Some((nameless, Kind::Text, text.clone().into(), without_cast(rest)));
        }
        Token::Word(word) => *word,
        Token::Quoted(_) | Token::Symbol(_) => return None,
    };
    if let Ok(number) = word.parse::<u32>() {
        return Some((nameless, Kind::Int4, u64::from(number).into(), without_cast(rest)));
    }
    let name = word.to_ascii_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    let (arguments, rest) = arguments(rest)?;
    let (kind, value) = function(name, arguments, who)?;
    Some((name.to_owned(), kind, value, without_cast(rest)))
}

/// The tokens between parentheses; none if there are no parentheses.
fn arguments<'t, 'a>(rest: &'t [Token<'a>]) -> Option<(Option<&'t [Token<'a>]>, &'t [Token<'a>])> {
    let [Token::Symbol('('), behind @ ..] = rest else { return Some((None, rest)) };
    let end = behind.iter().position(|token| *token == Token::Symbol(')'))?;
    let (inside, behind) = behind.split_at(end);
    Some((Some(inside), behind.get(1..).unwrap_or_default()))
}

/// `::type` changes nothing here.
fn without_cast<'t, 'a>(rest: &'t [Token<'a>]) -> &'t [Token<'a>] {
    match rest {
        [Token::Symbol(':'), Token::Symbol(':'), Token::Word(_), rest @ ..] => rest,
        rest => rest,
    }
}

/// The name of a column, and what is behind it. An `AS` without a name stays, and is refused.
fn alias<'t, 'a>(name: String, rest: &'t [Token<'a>]) -> (String, &'t [Token<'a>]) {
    let named = match rest {
        [word, rest @ ..] if word.is("AS") => rest,
        rest => rest,
    };
    match named {
        [Token::Word(alias), rest @ ..] => (alias.to_lowercase(), rest),
        [Token::Quoted(alias), rest @ ..] => (alias.clone(), rest),
        _ => (name, rest),
    }
}

fn function(name: &str, arguments: Option<&[Token<'_>]>, who: &Who) -> Option<(Kind, Value)> {
    let text = |value: String| Some((Kind::Text, value.into()));
    match (name, arguments) {
        ("current_user" | "session_user" | "user" | "current_role", None) => text(who.user.clone()),
        ("current_catalog", None) | ("current_database", Some([])) => text(who.database.clone()),
        ("current_schema", None | Some([])) => text("public".to_owned()),
        ("version", Some([])) => text(format!("PostgreSQL {}", settings::server_version(who))),
        ("pg_backend_pid", Some([])) => Some((Kind::Int4, who.id.into())),
        ("pg_is_in_recovery", Some([])) => Some((Kind::Bool, Value::Bool(false))),
        ("pg_advisory_unlock_all", Some([])) => Some((Kind::Text, "".into())),
        ("current_setting", Some([Token::Text(name), ..])) => {
            settings::value(name, who).and_then(|(_, value)| text(value))
        }
        ("set_config", Some([Token::Text(name), Token::Symbol(','), Token::Text(value), ..]))
            if settings::is_setting(name) =>
        {
            text(value.clone())
        }
        _ => None,
    }
}
