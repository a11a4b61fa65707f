//! `[admin]`: the console.

use std::collections::{BTreeMap, BTreeSet};

use admin::{ConsoleConfig, Right};

use super::access::NAME_BYTES_MAX;
use super::{BOUNDED, SOME};
use crate::Kind;
use crate::section::Section;
use crate::settings::Database;

/// The console, which is there if anybody may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// Its names and limits.
    pub config: ConsoleConfig,
    /// Who may look and act.
    pub users: BTreeSet<String>,
    /// Who may look.
    pub stats_users: BTreeSet<String>,
}

/// What PgBouncer's console is called, where programs look for it.
const ALIAS: &str = "pgbouncer";

impl Console {
    /// What `user` may do there; `None` is nothing.
    pub fn right(&self, user: &str) -> Option<Right> {
        if self.users.contains(user) {
            Some(Right::Admin)
        } else {
            self.stats_users.contains(user).then_some(Right::Stats)
        }
    }

    /// Whether `name` is its database: its own name or PgBouncer's, unless one of `databases` has
    /// that.
    pub fn is_at(&self, name: &str, databases: &BTreeMap<String, Database>) -> bool {
        name == self.config.database || (name == ALIAS && !databases.contains_key(ALIAS))
    }
}

/// `None` if nobody may use it.
pub(super) fn read(
    section: &Section<'_>,
    databases: &BTreeMap<String, Database>,
) -> Option<Console> {
    let default = ConsoleConfig::default();
    let names = |key| section.list(key, None).into_iter().map(|item| item.text);
    let (users, stats_users): (BTreeSet<_>, BTreeSet<_>) =
        (names("users").collect(), names("stats_users").collect());
    let database = section.parsed("database", Kind::String, Some(&default.database), |text| {
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return Err(format!("not a name of 1 to {NAME_BYTES_MAX} bytes"));
        }
        Ok(text.to_owned())
    });
    let connections_max = section.integer("max_connections", default.connections_max, SOME);
    let stats_period = section.duration("stats_period", default.stats_period, BOUNDED);
    if users.is_empty() && stats_users.is_empty() {
        return None;
    }
    let database = database.unwrap_or(default.database);
    if databases.contains_key(&database) {
        let text = "the console is in the way of one of [[databases]], which nobody can reach \
                    any more; give one of them another name";
        section.warning("database", text);
    }
    let config =
        ConsoleConfig { database, connections_max, stats_period, version: default.version };
    Some(Console { config, users, stats_users })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_list_counts_more_and_an_alias_gives_way() {
        let console = Console {
            config: ConsoleConfig::default(),
            users: BTreeSet::from(["root".to_owned(), "both".to_owned()]),
            stats_users: BTreeSet::from(["both".to_owned(), "monitor".to_owned()]),
        };
        assert_eq!(
            ["root", "both", "monitor", "app"].map(|user| console.right(user)),
            [Some(Right::Admin), Some(Right::Admin), Some(Right::Stats), None]
        );
        let none = BTreeMap::new();
        let taken = BTreeMap::from([(ALIAS.to_owned(), Database::default())]);
        assert!(console.is_at("pgmesh", &none) && console.is_at(ALIAS, &none));
        assert!(console.is_at("pgmesh", &taken) && !console.is_at(ALIAS, &taken));
        assert!(!console.is_at("Pgmesh", &none), "nothing is folded");
    }
}
