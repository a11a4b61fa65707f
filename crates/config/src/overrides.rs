//! Values that somebody has set at run time, over those of the file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::document::Key;
use crate::reload::{Reload, reload_class};
use crate::{Kind, suggest};

/// Values over those of the file, by path: `pool.size`, `users.app_user.pool_size`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<String, String>);

impl Overrides {
    /// Sets a key, by its path in proxy.toml or by PgBouncer's name. Whether the value is one
    /// that the key can have is seen when the file is read with it. The path.
    ///
    /// # Errors
    /// There is no such key, it is secret, or it needs a restart; says what to do.
    pub fn set(&mut self, name: &str, value: &str) -> Result<String, String> {
        let keys = crate::reference();
        let (path, key, is_foreign) = find(name, &keys)?;
        if key.kind == Kind::Secret {
            return Err(format!("{path} is secret; change it where it is kept, and reload"));
        }
        if reload_class(&key.path) == Reload::Restart {
            return Err(format!("{path} needs a restart; change it in proxy.toml"));
        }
        if key.path.ends_with("[].name") {
            return Err(format!("{path} is not a setting; change it in proxy.toml, and reload"));
        }
        // PgBouncer's times are in seconds and have no unit.
        let has_no_unit = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let value = match key.kind {
            Kind::Duration if is_foreign && has_no_unit => format!("{value}s"),
            _ => value.to_owned(),
        };
        self.0.insert(path.clone(), value);
        Ok(path)
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths that are set.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The path, the key that it is of, and whether it was named as in PgBouncer.
fn find<'k>(name: &str, keys: &'k [Key]) -> Result<(String, &'k Key, bool), String> {
    let exactly = |path: &str| keys.iter().find(|key| key.path == path);
    if let Some(key) = exactly(name).filter(|key| !key.path.contains("[]")) {
        return Ok((name.to_owned(), key, false));
    }
    if let Some(key) = keys.iter().find(|key| is_of_table(name, &key.path)) {
        return Ok((name.to_owned(), key, false));
    }
    let own = suggest::foreign(name).map(str::to_owned);
    let own = own.or_else(|| {
        let mut paths = ["pool", "proxy", "server"].into_iter().map(|it| format!("{it}.{name}"));
        paths.find(|path| exactly(path).is_some())
    });
    if let Some(key) = own.as_deref().and_then(exactly) {
        return Ok((key.path.clone(), key, true));
    }
    let near = suggest::nearest(name, keys.iter().map(|key| key.path.as_str()));
    let hint = suggest::needless(name).map(str::to_owned);
    let hint = hint.or_else(|| near.map(|near| format!("did you mean {near}?")));
    let hint = hint.unwrap_or_else(|| "docs/reference.md lists every key".to_owned());
    Err(format!("there is no key {name:?}; {hint}"))
}

/// Whether `path` is `users.NAME.pool_size` where `key` is `users[].pool_size`.
fn is_of_table(path: &str, key: &str) -> bool {
    let Some((table @ ("users" | "databases"), rest)) = key.split_once("[]") else { return false };
    let named = path.strip_prefix(table).and_then(|path| path.strip_suffix(rest));
    named.and_then(|named| named.strip_prefix('.')).is_some_and(|name| !name.is_empty())
}

/// The overrides during a walk, and which of them were asked for.
#[derive(Debug, Default)]
pub(crate) struct Laid {
    over: Overrides,
    used: RefCell<BTreeSet<String>>,
}

impl Laid {
    pub(crate) fn new(over: Overrides) -> Self {
        Self { over, used: RefCell::default() }
    }

    /// What is set for `path`.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        let value = self.over.0.get(path)?;
        self.used.borrow_mut().insert(path.to_owned());
        Some(value)
    }

    /// Those that are for a table that is not in the file.
    pub(crate) fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        self.over.paths().filter(|path| !used.contains(*path)).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_either_name() {
        let set = |name: &str, value: &str| {
            let mut over = Overrides::default();
            over.set(name, value).map(|path| (over.0[&path].clone(), path))
        };
        let ok = |value: &str, path: &str| Ok((value.to_owned(), path.to_owned()));
        assert_eq!(set("pool.size", "30"), ok("30", "pool.size"));
        assert_eq!(set("default_pool_size", "30"), ok("30", "pool.size"));
        assert_eq!(set("query_wait_timeout", "60"), ok("60s", "pool.query_wait_timeout"));
        assert_eq!(set("pool.query_wait_timeout", "60"), ok("60", "pool.query_wait_timeout"));
        assert_eq!(set("max_client_conn", "9"), ok("9", "proxy.max_client_connections"));
        assert_eq!(set("users.a.b.pool_size", "9"), ok("9", "users.a.b.pool_size"));
        assert_eq!(set("log.level", "debug"), ok("debug", "log.level"));
    }

    #[test]
    fn what_cannot_be_set_says_why() {
        for (name, part) in [
            ("proxy.port", "needs a restart"),
            ("listen_port", "needs a restart"),
            ("users.a.password", "secret"),
            ("users.a.name", "not a setting"),
            ("hba[0].method", "no key"),
            ("pool.sise", "did you mean pool.size?"),
            ("server_check_query", "idle servers are watched"),
            ("users[].pool_size", "no key"),
            ("users..pool_size", "no key"),
            ("", "no key"),
        ] {
            let error = Overrides::default().set(name, "1").unwrap_err();
            assert!(error.contains(part), "{name}: {error}");
        }
    }
}
