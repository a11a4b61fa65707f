//! `[auth] hba_file`, `ident_file`, `[[hba]]` and `[[ident]]`: how clients prove who they are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use auth::hba::{InlineMap, InlineRule, LineError, Maps, Rules, TokenIssuer};

use super::{ldap, oauth, tls};
use crate::error::Place;
use crate::section::Section;
use crate::settings::{Access, Written};

/// The kinds of a rule, in PostgreSQL's order. The rule's own parser reads them again.
const TYPES: &[(&str, &str)] = &[
    ("local", "local"),
    ("host", "host"),
    ("hostssl", "hostssl"),
    ("hostnossl", "hostnossl"),
    ("hostgssenc", "hostgssenc"),
    ("hostnogssenc", "hostnogssenc"),
];

/// Whether anybody can be asked who is in which group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Groups {
    Known,
    Unknown,
}

/// `auth` is `[auth]`, whose other keys are read elsewhere; `client_map` stands in `[proxy.tls]`.
pub(super) fn read(root: &Section<'_>, auth: &Section<'_>, client_map: Option<String>) -> Access {
    let hba_file = tls::path(auth, "hba_file");
    let ident_file = tls::path(auth, "ident_file");
    let tokens = auth.section("oauth");
    let (issuer, oauth) = (oauth::issuer(&tokens), oauth::read(&tokens));
    drop(tokens);
    let groups = if auth.has("query_user") { Groups::Known } else { Groups::Unknown };
    let (rules, maps) = (rules(root, groups, issuer), maps(root, groups));
    Access {
        rules: either(root, "hba", "auth.hba_file", hba_file, rules)
            .unwrap_or_else(|| Written::Here(Rules::scram_everywhere())),
        maps: either(root, "ident", "auth.ident_file", ident_file, maps)
            .unwrap_or_else(|| Written::Here(Maps::default())),
        client_map,
        oauth,
        cleartext: ldap::cleartext(auth),
    }
}

fn either<T>(
    root: &Section<'_>,
    table: &'static str,
    key: &str,
    file: Option<PathBuf>,
    here: Option<T>,
) -> Option<Written<T>> {
    match (file, here) {
        (Some(_), Some(_)) => {
            root.error(table, format!("{key} is set, too; keep one"));
            None
        }
        (Some(file), None) => Some(Written::File(file)),
        (None, here) => here.map(Written::Here),
    }
}

/// A rule as it is written, before it is read as PostgreSQL would.
struct RawRule {
    place: Place,
    kind: &'static str,
    database: String,
    user: String,
    address: Option<String>,
    method: String,
    options: Vec<(String, String)>,
}

fn rules(root: &Section<'_>, groups: Groups, issuer: TokenIssuer) -> Option<Rules> {
    let rules = root.tables("hba", |section| {
        let kind = section.optional_choice("type", TYPES);
        let database = joined(section, "database");
        let user = joined(section, "user");
        let address = section.optional_string("address");
        let method = section.optional_string("method");
        let options = options(section);
        for (key, example) in [("type", "host"), ("method", "scram-sha-256")] {
            if section.exists() && !section.has(key) {
                section.error("", format!("{key} is missing; write one such as \"{example}\""));
            }
        }
        let (place, method) = (section.place(""), method?);
        Some(RawRule { place, kind: kind?, database, user, address, method, options: options? })
    });
    if rules.is_empty() {
        return None;
    }
    let places: Vec<_> = rules.iter().map(|rule| rule.place.clone()).collect();
    let options: Vec<Vec<(&str, &str)>> = rules.iter().map(|rule| rule.options()).collect();
    let inline = rules.iter().zip(&options).map(|(rule, options)| InlineRule {
        line: rule.place.line.unwrap_or_default(),
        kind: rule.kind,
        database: &rule.database,
        user: &rule.user,
        address: rule.address.as_deref(),
        method: &rule.method,
        options,
    });
    let (rules, mut errors) = Rules::read_inline(inline);
    if groups == Groups::Unknown {
        errors.extend(rules.ask_for_groups());
    }
    errors.extend(rules.without_tokens(issuer));
    report(root, &places, errors);
    Some(rules)
}

impl RawRule {
    fn options(&self) -> Vec<(&str, &str)> {
        self.options.iter().map(|(name, value)| (&**name, &**value)).collect()
    }
}

fn maps(root: &Section<'_>, groups: Groups) -> Option<Maps> {
    let lines = root.tables("ident", |section| {
        let [map, system_user, database_user] =
            ["map", "system_user", "database_user"].map(|key| {
                if section.exists() && !section.has(key) {
                    section.error("", format!("{key} is missing; set it"));
                }
                section.optional_string(key)
            });
        Some((section.place(""), map?, system_user?, database_user?))
    });
    if lines.is_empty() {
        return None;
    }
    let places: Vec<_> = lines.iter().map(|(place, ..)| place.clone()).collect();
    let inline = lines.iter().map(|(place, map, system_user, database_user)| InlineMap {
        line: place.line.unwrap_or_default(),
        map,
        system_user,
        database_user,
    });
    let (maps, mut errors) = Maps::read_inline(inline);
    if groups == Groups::Unknown {
        errors.extend(maps.ask_for_groups());
    }
    report(root, &places, errors);
    Some(maps)
}

/// A list of databases or roles, as one field.
fn joined(section: &Section<'_>, key: &'static str) -> String {
    let items: Vec<String> =
        section.list(key, Some("all")).into_iter().map(|item| item.text).collect();
    if items.is_empty() { "all".to_owned() } else { items.join(",") }
}

/// `name=value`, each; `None` when something was reported.
fn options(section: &Section<'_>) -> Option<Vec<(String, String)>> {
    let items = section.list("options", None);
    let read = items.iter().map(|item| match item.text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => {
            section.error_at(&item.place, "not an option; write one such as \"map=employees\"");
            None
        }
    });
    // Collected twice, so that every wrong one is reported and not the first alone.
    let read: Vec<_> = read.collect();
    read.into_iter().collect()
}

fn report(root: &Section<'_>, places: &[Place], errors: Vec<LineError>) {
    let places: BTreeMap<_, _> =
        places.iter().map(|place| (place.line.unwrap_or_default(), place)).collect();
    for error in errors {
        if let Some(place) = places.get(&error.line) {
            root.error_at(place, error.fault.to_string());
        }
    }
}
