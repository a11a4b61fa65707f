//! What each key says, with its line, and what differs between two configurations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use auth::Secret;

use crate::document::Key;
use crate::reload::{Reload, reload_class};

/// Keys whose files are followed anyway: that a file says something else is no change of theirs.
const FOLLOWED: [&str; 4] =
    ["auth.query_password", "cluster.password", "users[].password", "users[].server_password"];

/// Values that are not secrets, but may have one inside.
const HIDDEN: [&str; 2] = ["auth.oauth.jwks_url", "hba[].options"];

/// A longer value is cut when it is shown, in characters.
const SHOWN_MAX: usize = 64;

/// What a key says.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    /// As in the list of keys: `users[].pool_size`.
    pub(crate) key: String,
    pub(crate) line: Option<usize>,
    /// Any of them may be a secret.
    pub(crate) text: Secret,
    pub(crate) shown: Shown,
    /// The file that it comes from.
    pub(crate) file: Option<PathBuf>,
}

/// Whether a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Text,
    Never,
}

/// All that a configuration says, by path: `pool.size`, `users.app_user.pool_size`.
#[derive(Debug, Clone, Default)]
pub struct Values {
    inner: BTreeMap<String, Value>,
    /// What is written, and waits for a restart.
    waiting: Vec<Change>,
}

/// A key whose value differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The key with its tables, such as `pool.size` or `users.app_user.pool_size`; of a table
    /// that was added or removed, the table; of the rules of `[[hba]]` and `[[ident]]`, these.
    pub path: String,
    /// Where it stands in the newer one, from 1; `None` if it does not.
    pub line: Option<usize>,
    /// When it counts.
    pub reload: Reload,
    /// What has happened to it.
    pub what: What,
}

/// What has happened to a key or table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The table is new.
    Added,
    /// It has another value, which is not to be shown.
    Changed,
    /// The table has gone.
    Removed,
    /// It has another value; `None` is none at all.
    Set {
        /// The value of before.
        before: Option<String>,
        /// The value now.
        after: Option<String>,
    },
}

/// One key with what it says: a row of `SHOW CONFIG`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The key with its tables.
    pub path: String,
    /// What it says, or its default; `None` if it has neither.
    pub value: Option<String>,
    /// Its default.
    pub default: Option<String>,
    /// When a change of it counts.
    pub reload: Reload,
}

// === impl Values ===

impl Values {
    pub(crate) fn insert(&mut self, path: String, value: Value) {
        self.inner.insert(path, value);
    }

    /// What holds once `read` was read again: what needs a restart stays as it was here.
    #[must_use]
    pub fn changed_to(&self, read: &Self) -> Self {
        let needs_restart = |value: &Value| reload_class(&value.key) == Reload::Restart;
        let kept = self.inner.iter().filter(|(_, value)| needs_restart(value));
        let read_now = read.inner.iter().filter(|(_, value)| !needs_restart(value));
        let inner = kept.chain(read_now).map(|(path, value)| (path.clone(), value.clone()));
        let mut waiting = diff(self, read);
        waiting.retain(|change| change.reload == Reload::Restart);
        Self { inner: inner.collect(), waiting }
    }

    /// What was written when it was last read, and waits for a restart.
    pub fn waiting(&self) -> Vec<Change> {
        self.waiting.clone()
    }

    /// Every key that stands in the file or has a default, sorted by path; none that is secret.
    pub fn rows(&self) -> Vec<Row> {
        let keys = crate::reference();
        let default = |key: &str| keys.iter().find(|it| it.path == key)?.default.clone();
        let written =
            self.inner.iter().filter(|(_, value)| value.is_shown()).map(|(path, value)| Row {
                path: path.clone(),
                value: Some(value.text.expose().to_owned()),
                default: default(&value.key),
                reload: reload_class(&value.key),
            });
        let absent = keys.iter().filter(|key| !key.path.contains("[]"));
        let absent = absent.filter(|key| !self.inner.contains_key(&key.path) && key.is_shown());
        let absent = absent.map(|key| Row {
            path: key.path.clone(),
            value: key.default.clone(),
            default: key.default.clone(),
            reload: reload_class(&key.path),
        });
        let mut rows: Vec<_> = written.chain(absent).collect();
        rows.sort_unstable();
        rows
    }
}

/// What has changed from `old` to `new`, sorted by path. Secrets are compared and not shown.
pub fn diff(old: &Values, new: &Values) -> Vec<Change> {
    let keys = crate::reference();
    let paths: BTreeSet<&String> = old.inner.keys().chain(new.inner.keys()).collect();
    let mut changes = BTreeMap::new();
    for path in paths {
        let (before, after) = (old.inner.get(path), new.inner.get(path));
        let Some(key) = after.or(before).map(|value| value.key.as_str()) else { continue };
        let default = keys.iter().find(|it| it.path == key).and_then(|it| it.default.as_deref());
        if Value::say_the_same(before, after, default) {
            continue;
        }
        let line = after.and_then(|value| value.line);
        let table = table_of(path, key).filter(|table| {
            let name = format!("{table}.name");
            old.inner.contains_key(&name) != new.inner.contains_key(&name)
        });
        let (path, reload, what) = match (table, key.split_once("[]")) {
            (Some(table), Some((kind, _))) => {
                let is_new = new.inner.contains_key(&format!("{table}.name"));
                let what = if is_new { What::Added } else { What::Removed };
                (table, reload_class(&format!("{kind}[]")), what)
            }
            // Their order is part of them, and one that was put between two moves the others.
            (None, Some((rules @ ("hba" | "ident"), _))) => {
                (rules, reload_class(key), What::Changed)
            }
            (_, _) => (path.as_str(), reload_class(key), Value::what(before, after, default)),
        };
        let change = Change { path: path.to_owned(), line, reload, what };
        let first = changes.entry(path.to_owned()).or_insert(change);
        first.line = [first.line, line].into_iter().flatten().min();
    }
    changes.into_values().collect()
}

/// `users.app_user` of `users.app_user.pool_size`, where tables have names.
fn table_of<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let (table, rest) = key.split_once("[]")?;
    let named = path.strip_suffix(rest)?;
    named.strip_prefix(table)?.strip_prefix('.').map(|_| named)
}

// === impl Value ===

impl Value {
    fn is_shown(&self) -> bool {
        self.shown == Shown::Text && !HIDDEN.contains(&self.key.as_str())
    }

    fn say_the_same(before: Option<&Self>, after: Option<&Self>, default: Option<&str>) -> bool {
        if let (Some(before), Some(after)) = (before, after)
            && FOLLOWED.contains(&after.key.as_str())
            && before.file.is_some()
        {
            return before.file == after.file;
        }
        let text = |value: Option<&Self>| match value {
            Some(value) => Some(value.text.clone()),
            None => default.map(Secret::new),
        };
        text(before) == text(after)
    }

    fn what(before: Option<&Self>, after: Option<&Self>, default: Option<&str>) -> What {
        if [before, after].into_iter().flatten().any(|value| !value.is_shown()) {
            return What::Changed;
        }
        let text = |value: Option<&Self>| {
            value.map(|value| value.text.expose()).or(default).map(str::to_owned)
        };
        What::Set { before: text(before), after: text(after) }
    }
}

impl Key {
    /// Whether its default may be shown, if it has one.
    fn is_shown(&self) -> bool {
        self.kind != crate::Kind::Secret && !HIDDEN.contains(&self.path.as_str())
    }
}

// === impl Change ===

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let What::Set { after: Some(after), .. } = &self.what {
            write!(f, " = {}", cut(after))?;
        }
        if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        }
        match &self.what {
            What::Added => f.write_str(" is new"),
            What::Changed => f.write_str(" has changed"),
            What::Removed => f.write_str(" has gone"),
            What::Set { before: Some(before), after: Some(_) } => {
                write!(f, ", was {}", cut(before))
            }
            What::Set { before: None, .. } => f.write_str(", was not set"),
            What::Set { before: Some(before), after: None } => {
                write!(f, " is not set any more, was {}", cut(before))
            }
        }
    }
}

/// One line of a readable length, whatever it is.
fn cut(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let end = if shown.len() < text.len() { "…" } else { "" };
    format!("{}{end}", shown.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_their_names() {
        assert_eq!(table_of("users.a.b.pool_size", "users[].pool_size"), Some("users.a.b"));
        assert_eq!(table_of("users.a.state.role", "users[].state.role"), Some("users.a"));
        assert_eq!(table_of("hba[3].method", "hba[].method"), None);
        assert_eq!(table_of("pool.size", "pool.size"), None);
    }

    #[test]
    fn a_change_is_one_short_line() {
        let what = What::Set { before: Some("a\nb".to_owned()), after: Some("x".repeat(100)) };
        let change = Change { path: "p".to_owned(), line: Some(7), reload: Reload::Now, what };
        assert_eq!(change.to_string(), format!("p = {}… (line 7), was a\\nb", "x".repeat(64)));
    }
}
