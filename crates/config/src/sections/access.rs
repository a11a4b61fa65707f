//! `[[users]]` and `[[databases]]`.

use std::collections::BTreeMap;

use auth::Password;

use super::pool::{MODES, timeout_overrides};
use super::{ANY, BOUNDED, OPTIONAL, SOME, state};
use crate::Kind;
use crate::error::Place;
use crate::section::Section;
use crate::settings::{Database, User};

/// Postgres' NAMEDATALEN less its terminator, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 63;

pub(super) fn users(root: &Section<'_>) -> BTreeMap<String, User> {
    unique(
        root,
        root.tables("users", |section| {
            let name = name(section);
            let password = section.secret("password");
            if section.exists() && !section.has("password") {
                section.error(
                    "",
                    "password is missing; set it, best as { env = \"…\" } or { file = \"…\" }, or \
                 give a SCRAM-SHA-256 verifier",
                );
            }
            let password = password.and_then(|text| match Password::parse(text) {
                Ok(password) => Some(password),
                Err(error) => {
                    section.error("password", error.to_string());
                    None
                }
            });
            let user = (
                section.secret("server_password"),
                section.optional_choice("pool_mode", MODES),
                section.optional_integer("pool_size", SOME),
                section.optional_integer("max_connections", 1..=u32::MAX),
                section.optional_integer("max_user_connections", SOME),
            );
            let (server_password, pool_mode, pool_size, max_connections, max_user_connections) =
                user;
            let timeouts = timeout_overrides(section);
            let state = state::overrides(&section.section("state"));
            let password = password?;
            let user = User {
                password,
                password_file: section.file_of("password"),
                server_password,
                server_password_file: section.file_of("server_password"),
                pool_mode,
                pool_size,
                max_connections,
                max_user_connections,
                state,
                timeouts,
            };
            Some((name?, section.place("name"), user))
        }),
    )
}

/// There may be another way than `[[users]]` to know who may log in: the database, or rules by
/// which an LDAP server does.
pub(super) fn somebody(root: &Section<'_>, auth: &Section<'_>) {
    let has_rules = root.has("hba") || auth.has("hba_file");
    if !root.has("users") && !auth.has("query_user") && !has_rules {
        root.error(
            "users",
            "nobody could log in; add [[users]] with name and password, or set auth.query_user",
        );
    }
}

pub(super) fn databases(root: &Section<'_>) -> BTreeMap<String, Database> {
    unique(
        root,
        root.tables("databases", |section| {
            let name = name(section);
            let database = Database {
                pool_mode: section.optional_choice("pool_mode", MODES),
                pool_size: section.optional_integer("pool_size", SOME),
                min_size: section.optional_integer("min_size", ANY),
                reserve_size: section.optional_integer("reserve_size", ANY),
                reserve_timeout: section.optional_duration("reserve_timeout", OPTIONAL),
                max_db_connections: section.optional_integer("max_db_connections", SOME),
                query_wait_timeout: section.optional_duration("query_wait_timeout", BOUNDED),
                max_db_client_connections: section
                    .optional_integer("max_db_client_connections", 1..=u32::MAX),
                state: state::overrides(&section.section("state")),
                timeouts: timeout_overrides(section),
            };
            if let (Some(min), Some(size)) = (database.min_size, database.pool_size)
                && min > size
            {
                section
                    .error("min_size", format!("more than pool_size, which is {size}; lower it"));
            }
            Some((name?, section.place("name"), database))
        }),
    )
}

fn name(section: &Section<'_>) -> Option<String> {
    let name = section.parsed("name", Kind::String, None, |text| {
        if text.len() > NAME_BYTES_MAX {
            return Err(format!("longer than Postgres' {NAME_BYTES_MAX} bytes"));
        }
        Ok(text.to_owned())
    });
    if section.exists() && !section.has("name") {
        section.error("", "name is missing; set it");
    }
    name
}

/// Puts named tables into a map; a name that appears again is an error at its second line.
fn unique<T>(root: &Section<'_>, list: Vec<(String, Place, T)>) -> BTreeMap<String, T> {
    let mut lines: BTreeMap<String, Place> = BTreeMap::new();
    let mut map = BTreeMap::new();
    for (name, place, value) in list {
        match lines.get(&name) {
            Some(first) => {
                let first = first.line.unwrap_or_default();
                root.error_at(&place, format!("the name is taken by line {first}; keep one"));
            }
            None => {
                lines.insert(name.clone(), place);
                map.insert(name, value);
            }
        }
    }
    map
}
