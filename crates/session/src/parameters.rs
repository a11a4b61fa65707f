//! The settings that follow a client from server to server.
//!
//! A set is immutable and interned (see [`crate::Catalog`]), so that "the server already
//! has what this client wants" is one comparison of pointers.

use std::fmt::Write as _;
use std::sync::Arc;

/// Settings by name, sorted by their lower-case name.
#[derive(Debug, PartialEq, Eq)]
pub struct ParameterSet {
    pub(crate) planner: u64,
    /// Whether the session is in another role than that of its login.
    pub(crate) has_role: bool,
    pub(crate) values: Values,
}

/// Names and values, sorted.
pub(crate) type Values = Vec<(Arc<str>, Arc<str>)>;

/// Reported by servers but not to be set by a client: never carried over.
const NOT_CARRIED: [&str; 6] = [
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
];

/// Settings that cannot change what a statement means when it is parsed.
const NOT_PLANNED: [&str; 2] = ["application_name", LISTEN];

/// Whether a reported parameter is one that a client sets and that must follow it.
pub fn is_carried(name: &str) -> bool {
    !NOT_CARRIED.iter().any(|fixed| fixed.eq_ignore_ascii_case(name))
}

/// Whether a parameter takes part in what a prepared statement means.
pub(crate) fn is_planned(name: &str) -> bool {
    !NOT_PLANNED.iter().any(|harmless| harmless.eq_ignore_ascii_case(name))
}

/// What `SET ROLE` sets.
const ROLE: &str = "role";

/// What `SET SESSION AUTHORIZATION` sets. Servers report it for the login's own role too, which
/// must not be set: so only the account tells.
const SESSION_AUTHORIZATION: &str = "session_authorization";

/// No setting, and a name that none can have, since those of modules have a dot: the SQL that
/// listens on the client's channels.
pub(crate) const LISTEN: &str = "listen";

/// Who the session is: taken off before all else is set, and put on after it.
const IDENTITY: [(&str, &str); 2] =
    [(ROLE, "RESET ROLE"), (SESSION_AUTHORIZATION, "RESET SESSION AUTHORIZATION")];

pub(crate) fn is_identity(name: &str) -> bool {
    IDENTITY.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// Whether it is set and reset as any other.
pub(crate) fn is_setting(name: &str) -> bool {
    name != LISTEN && !is_identity(name)
}

/// Whether a setting that a server accounts for is one that follows the client.
pub(crate) fn is_accounted(name: &str) -> bool {
    is_carried(name) || is_identity(name)
}

fn put_set_config(sql: &mut String, name: &str, value: &str) {
    sql.push_str("pg_catalog.set_config(");
    put_literal(sql, name);
    sql.push_str(", ");
    put_literal(sql, value);
    sql.push_str(", false)");
}

fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    let a = a.bytes().map(|byte| byte.to_ascii_lowercase());
    a.cmp(b.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// Changes one of the values, or adds it.
pub(crate) fn put(values: &mut Values, name: &str, value: &str) {
    match values.binary_search_by(|(known, _)| compare(known, name)) {
        Ok(at) => {
            if let Some(pair) = values.get_mut(at) {
                pair.1 = value.into();
            }
        }
        Err(at) => values.insert(at, (name.into(), value.into())),
    }
}

impl ParameterSet {
    /// The value of a setting, by any case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.values.binary_search_by(|(known, _)| compare(known, name)).ok()?;
        self.values.get(at).map(|(_, value)| &**value)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The settings of `self` that differ in `other` or are missing there.
    pub(crate) fn changes_from<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter(|(name, value)| other.get(name) != Some(value))
    }

    /// SQL that takes a server from `current` to `self`; empty if there is nothing to do.
    ///
    /// `set_config` is used because it takes a list such as `search_path` as reported,
    /// which SET would take for one identifier.
    ///
    /// Other settings are changed in the role of the login, which may be allowed more.
    pub fn sql_from(&self, current: &Self) -> String {
        if self == current { String::new() } else { self.sql_anew(current) }
    }

    /// As [`ParameterSet::sql_from`]; the same role is taken off and put on, too.
    pub(crate) fn sql_anew(&self, current: &Self) -> String {
        let mut sql = Statements::default();
        for (name, reset) in IDENTITY {
            if current.get(name).is_some() {
                sql.statement().push_str(reset);
            }
        }
        if self.get(LISTEN) != current.get(LISTEN) {
            if current.get(LISTEN).is_some() {
                sql.statement().push_str("UNLISTEN *");
            }
            if let Some(listens) = self.get(LISTEN) {
                sql.statement().push_str(listens);
            }
        }
        self.put_settings(current, &mut sql);
        for (name, _) in IDENTITY.iter().rev() {
            if let Some(value) = self.get(name) {
                put_set_config(sql.select(), name, value);
            }
        }
        sql.0
    }

    /// As [`ParameterSet::sql_from`], within a transaction block of the client's: what it has done
    /// there to its role and its channels is known when the block has ended, so neither is touched.
    pub(crate) fn sql_within_block(&self, current: &Self) -> String {
        let mut sql = Statements::default();
        self.put_settings(current, &mut sql);
        sql.0
    }

    fn put_settings(&self, current: &Self, sql: &mut Statements) {
        let others = self.changes_from(current).filter(|(name, _)| is_setting(name));
        for (at, (name, value)) in others.enumerate() {
            let sql = if at == 0 { sql.select() } else { sql.column() };
            put_set_config(sql, name, value);
        }
        let gone = current.iter().filter(|(name, _)| is_setting(name) && self.get(name).is_none());
        for (name, _) in gone {
            let sql = sql.statement();
            sql.push_str("RESET ");
            put_identifier(sql, name);
        }
    }
}

/// Statements of one text.
#[derive(Default)]
struct Statements(String);

impl Statements {
    /// Where the next one goes.
    fn statement(&mut self) -> &mut String {
        if !self.0.is_empty() {
            self.0.push_str("; ");
        }
        &mut self.0
    }

    fn select(&mut self) -> &mut String {
        let sql = self.statement();
        sql.push_str("SELECT ");
        sql
    }

    /// Where another column of a SELECT goes.
    fn column(&mut self) -> &mut String {
        self.0.push_str(", ");
        &mut self.0
    }
}

/// A quoted literal that means the same under any `standard_conforming_strings` and any
/// `client_encoding`: everything that is not plain ASCII is written as an escape, so no
/// multi-byte encoding can swallow the closing quote.
pub(crate) fn put_literal(sql: &mut String, text: &str) {
    sql.push_str("E'");
    for byte in text.bytes() {
        match byte {
            b'\'' => sql.push_str("''"),
            b'\\' => sql.push_str("\\\\"),
            0x20..=0x7e => sql.push(char::from(byte)),
            _ => {
                let _infallible = write!(sql, "\\x{byte:02x}");
            }
        }
    }
    sql.push('\'');
}

/// The name of a setting: letters, digits, `_`, `$` and dots between parts; anything else
/// is left out, for a name comes from a client's startup packet.
fn put_identifier(sql: &mut String, name: &str) {
    for (at, part) in name.split('.').enumerate() {
        if at > 0 {
            sql.push('.');
        }
        sql.push('"');
        sql.extend(
            part.chars()
                .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))
                .map(|c| c.to_ascii_lowercase()),
        );
        sql.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    fn set(values: &[(&str, &str)]) -> Arc<ParameterSet> {
        Catalog::default().parameters(values.iter().copied())
    }

    #[test]
    fn the_difference_is_set_and_what_is_too_much_is_reset() {
        let wanted = set(&[("TimeZone", "UTC"), ("search_path", "a, \"b\"")]);
        let current =
            set(&[("timezone", "CET"), ("statement_timeout", "5s"), ("search_path", "a, \"b\"")]);
        assert_eq!(
            wanted.sql_from(&current),
            "SELECT pg_catalog.set_config(E'TimeZone', E'UTC', false); RESET \"statement_timeout\""
        );
        assert_eq!(wanted.sql_from(&wanted), "");
    }

    #[test]
    fn within_a_block_neither_role_nor_channels_are_touched() {
        let wanted = set(&[("a", "1"), ("role", "one"), ("b", "1")]);
        let current = set(&[("a", "2"), ("role", "one"), ("c", "1"), (LISTEN, "LISTEN x")]);
        assert_eq!(
            wanted.sql_within_block(&current),
            "SELECT pg_catalog.set_config(E'a', E'1', false), \
             pg_catalog.set_config(E'b', E'1', false); RESET \"c\""
        );
    }

    #[test]
    fn the_role_is_taken_off_first_and_put_on_last() {
        let (plain, one) = (set(&[("a", "1")]), set(&[("a", "2"), ("role", "one")]));
        let set_a = "SELECT pg_catalog.set_config(E'a', E'2', false)";
        let set_role = "SELECT pg_catalog.set_config(E'role', E'one', false)";
        assert_eq!(one.sql_from(&plain), format!("{set_a}; {set_role}"));
        assert_eq!(plain.sql_from(&set(&[("a", "1"), ("role", "one")])), "RESET ROLE");
        let other = set(&[("a", "1"), ("b", "1"), ("role", "two")]);
        let expected = format!("RESET ROLE; {set_a}; RESET \"b\"; {set_role}");
        assert_eq!(one.sql_from(&other), expected);
        let both = set(&[("a", "1"), ("role", "one"), ("session_authorization", "two")]);
        let set_both = "SELECT pg_catalog.set_config(E'session_authorization', E'two', false); \
            SELECT pg_catalog.set_config(E'role', E'one', false)";
        assert_eq!(both.sql_from(&set(&[("a", "1")])), set_both);
        let off = "RESET ROLE; RESET SESSION AUTHORIZATION";
        assert_eq!(set(&[("a", "1")]).sql_from(&both), off);
    }

    #[test]
    fn no_value_can_leave_its_quotes() {
        let mut sql = String::new();
        put_literal(&mut sql, "a'b\\é");
        assert_eq!(sql, "E'a''b\\\\\\xc3\\xa9'");
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(set(&[("DateStyle", "ISO")]).get("datestyle"), Some("ISO"));
    }
}
