//! Settings of Postgres: what drivers are told at login, ask for, and try to set.

use super::super::lexer::Token;
use super::super::value::Kind;
use super::{Foreign, Rows, Who, one};
use crate::facts::Right;

const IGNORED: &str = "SET ignored: the console has no such setting";

/// Settings that drivers and tools set, which are taken and forgotten. None is a name of
/// PgBouncer's.
const SETTINGS: &[&str] = &[
    "application_name",
    "bytea_output",
    "check_function_bodies",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "enable_seqscan",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "jit",
    "lc_messages",
    "lock_timeout",
    "row_security",
    "search_path",
    "session_replication_role",
    "standard_conforming_strings",
    "statement_timeout",
    "synchronize_seqscans",
    "synchronous_commit",
    "timezone",
    "transaction_isolation",
    "transaction_read_only",
    "work_mem",
    "xmloption",
];

/// Whether `SET` of it is a driver's, and not an operator's.
pub(crate) fn is_setting(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.eq_ignore_ascii_case(name))
}

/// What a console tells at login, as ParameterStatus messages.
pub(crate) fn statuses(who: &Who) -> Vec<(&'static str, String)> {
    let on = |is| if is { "on" } else { "off" };
    [
        ("server_version", server_version(who)),
        ("server_encoding", "UTF8".to_owned()),
        ("client_encoding", "UTF8".to_owned()),
        ("application_name", who.application_name.clone()),
        ("default_transaction_read_only", "off".to_owned()),
        ("in_hot_standby", "off".to_owned()),
        ("is_superuser", on(who.right == Right::Admin).to_owned()),
        ("session_authorization", who.user.clone()),
        ("DateStyle", "ISO, MDY".to_owned()),
        ("IntervalStyle", "postgres".to_owned()),
        ("TimeZone", "UTC".to_owned()),
        ("integer_datetimes", "on".to_owned()),
        ("standard_conforming_strings", "on".to_owned()),
    ]
    .to_vec()
}

/// Old enough for any driver, new enough that none warns.
pub(super) fn server_version(who: &Who) -> String {
    format!("14.0 (pgmesh {})", who.version)
}

/// What else can be asked for.
const CONSTANTS: &[(&str, &str)] = &[
    ("default_transaction_isolation", "read committed"),
    ("max_identifier_length", "63"),
    ("search_path", ""),
    ("server_version_num", "140000"),
    ("ssl", "off"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "off"),
];

/// The value of a setting.
pub(super) fn value(name: &str, who: &Who) -> Option<(&'static str, String)> {
    let constants = CONSTANTS.iter().map(|&(name, value)| (name, value.to_owned()));
    let mut all = statuses(who).into_iter().chain(constants);
    all.find(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// `SHOW` of a setting.
pub(super) fn show(rest: &[Token<'_>], who: &Who) -> Option<Foreign> {
    let name = match rest {
        [a, b, c] if a.is("TRANSACTION") && b.is("ISOLATION") && c.is("LEVEL") => {
            "transaction_isolation"
        }
        [a, b] if a.is("TIME") && b.is("ZONE") => "TimeZone",
        [word] if word.is("ALL") => return Some(all(who)),
        [Token::Word(word)] => word,
        [Token::Quoted(word)] => word.as_str(),
        _ => return None,
    };
    value(name, who).map(|(name, value)| one("SHOW", name, value))
}

fn all(who: &Who) -> Foreign {
    let columns = ["name", "setting", "description"];
    let row = |(name, value): (&'static str, String)| vec![name.into(), value.into(), "".into()];
    let constants = CONSTANTS.iter().map(|&(name, value)| (name, value.to_owned()));
    Foreign::Rows(Rows {
        tag: "SHOW",
        columns: columns.map(|name| (name.to_owned(), Kind::Text)).to_vec(),
        rows: statuses(who).into_iter().chain(constants).map(row).collect(),
    })
}

/// `SET` of anything that is a driver's.
pub(super) fn set(rest: &[Token<'_>]) -> Option<Foreign> {
    let ignored = Some(Foreign::Noted { tag: "SET", notice: Some(IGNORED) });
    let [first, second, ..] = rest else { return None };
    if first.is("NAMES") || (first.is("TIME") && second.is("ZONE")) || first.is("TRANSACTION") {
        return ignored;
    }
    // What changes who somebody is must not seem to have worked.
    if first.is("SESSION") || first.is("LOCAL") {
        return (!second.is("AUTHORIZATION") && !second.is("ROLE")).then_some(ignored).flatten();
    }
    let is_assignment = *second == Token::Symbol('=') || second.is("TO");
    (is_assignment && first.text().is_some_and(is_setting)).then_some(ignored).flatten()
}
