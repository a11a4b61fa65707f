//! Who may log in, and how: `auth_*`, the userlist and `[users]`.

use std::collections::BTreeMap;

use super::databases;
use super::draft::{self, Draft, Element};
use super::ini::{self, Item};
use super::pgbouncer::{Form, Ini, convert};
use super::userlist::Proof;

pub(super) fn translate(ini: &Ini, draft: &mut Draft) {
    file(ini, draft);
    users(ini, draft);
    lookup(ini, draft);
    let method = method(ini, draft);
    rules(ini, method, draft);
}

/// `auth_file` names what is read beside.
fn file(ini: &Ini, draft: &mut Draft) {
    let Some(item) = ini.get("auth_file") else { return };
    match ini.listed {
        Some(_) => draft.taken(&item.origin, "its lines are in [[users]]"),
        None => draft.open(
            Some(&item.origin),
            "not read: name it on the command line, --userlist FILE, and its users are taken over",
        ),
    }
}

/// The userlist, with what `[users]` says of each.
fn users(ini: &Ini, draft: &mut Draft) {
    let mut elements: BTreeMap<&str, Element> = BTreeMap::new();
    for (name, listed) in ini.listed.iter().flatten() {
        let (secret, note) = match &listed.proof {
            Proof::Plain(secret) => (secret, "its password"),
            Proof::Verifier(secret) => {
                (secret, "a SCRAM verifier, which the servers must have, too")
            }
            Proof::Unusable => continue,
        };
        let reference = draft.secret(&format!("user-{name}"), secret.expose());
        let user = draft.element("users");
        draft.put(user, "name", draft::text(name));
        draft.put_from(user, "password", reference, &listed.origin);
        draft.note(user, note);
        elements.insert(name, user);
    }
    for item in &ini.users {
        let Some(pairs) = ini::connection(&item.value) else {
            draft.open(Some(&item.origin), "PgBouncer would not take this value");
            continue;
        };
        match elements.get(item.key.as_str()) {
            Some(user) => limits(*user, item, &pairs, draft),
            None => draft.open(
                Some(&item.origin),
                "only a user of [[users]], with a password, has limits of its own: add it there",
            ),
        }
    }
}

fn limits(user: Element, item: &Item, pairs: &[(String, String)], draft: &mut Draft) {
    for (key, value) in pairs {
        let origin = item.origin.part(key, value);
        let (ours, form) = match key.as_str() {
            "pool_mode" => ("pool_mode", Form::Word),
            "pool_size" => ("pool_size", Form::Number),
            "max_user_connections" => ("max_user_connections", Form::Number),
            "max_user_client_connections" => ("max_connections", Form::Number),
            "query_timeout" => ("query_timeout", Form::Seconds),
            "idle_transaction_timeout" => ("idle_transaction_timeout", Form::Seconds),
            "transaction_timeout" => ("transaction_timeout", Form::Seconds),
            "client_idle_timeout" => ("client_idle_timeout", Form::Seconds),
            "reserve_pool_size" => {
                draft.open(Some(&origin), "users have no reserve of their own: pool.reserve_size");
                continue;
            }
            _ => {
                draft.open(Some(&origin), "PgBouncer 1.25 has no such key");
                continue;
            }
        };
        if form == Form::Number && value == "0" {
            draft.gone(Some(&origin), "no limit, which it is when absent");
            continue;
        }
        match convert(form, value) {
            Some(value) => draft.put_from(user, ours, value, &origin),
            None => draft.open(Some(&origin), "PgBouncer would not take this value"),
        }
    }
}

/// `auth_user`, `auth_query` and `auth_dbname`, of `[pgbouncer]` or of the first database that
/// has them.
fn lookup(ini: &Ini, draft: &mut Draft) {
    let items: Vec<Item> = ["auth_user", "auth_query", "auth_dbname"]
        .into_iter()
        .filter_map(|key| ini.get(key).cloned())
        .chain(databases::lookups(ini))
        .collect();
    let Some(user) = items.iter().find(|item| item.key == "auth_user") else {
        for item in &items {
            draft.gone(Some(&item.origin), "nobody is looked up without auth_user");
        }
        return;
    };
    for item in &items {
        let (key, note) = match item.key.as_str() {
            "auth_user" => ("query_user", "one role looks up for all databases"),
            "auth_query" => ("query", "runs in auth.query_database, and nowhere else"),
            _ => ("query_database", ""),
        };
        draft.set("auth", key, draft::text(&item.value), &item.origin, note);
    }
    if !items.iter().any(|item| item.key == "auth_dbname") {
        draft.open(
            Some(&user.origin),
            "PgBouncer asks in the database that the client wants, pgmesh in auth.query_database \
             alone (postgres): a function that auth.query calls has to be there",
        );
    }
    let listed = ini.listed.as_ref().and_then(|listed| listed.get(&user.value));
    match listed.map(|listed| &listed.proof) {
        Some(Proof::Plain(secret)) => {
            let reference = draft.secret(&format!("user-{}", user.value), secret.expose());
            draft.default("auth", "query_password", reference, "");
        }
        Some(Proof::Verifier(_) | Proof::Unusable) => draft.open(
            Some(&user.origin),
            "its password is not known in plain text: set auth.query_password, if servers want one",
        ),
        None => draft.open(
            Some(&user.origin),
            "it is in no userlist that was read: set auth.query_password, if servers want one",
        ),
    }
}

/// How clients prove who they are, where no file has rules.
enum Method {
    Password,
    Trust,
    Certificate,
    Ldap,
    File,
}

fn method(ini: &Ini, draft: &mut Draft) -> Method {
    let Some(item) = ini.get("auth_type") else {
        draft.gone(None, "auth_type is md5 by default: every password is checked by SCRAM-SHA-256");
        return unused(ini, Method::Password, draft);
    };
    let origin = Some(&item.origin);
    let method = match item.value.as_str() {
        "scram-sha-256" => {
            draft.taken(&item.origin, "as everywhere without rules");
            Method::Password
        }
        "md5" | "plain" => {
            draft.taken(&item.origin, "every password is checked by SCRAM-SHA-256");
            Method::Password
        }
        "trust" => Method::Trust,
        "cert" => Method::Certificate,
        "hba" => Method::File,
        "ldap" => Method::Ldap,
        "any" => {
            draft.open(
                origin,
                "not there: servers are logged in to as the client's own role, so it has to prove \
                 who it is; every password is checked by SCRAM-SHA-256",
            );
            Method::Password
        }
        "pam" => {
            draft.open(
                origin,
                "not there: use ldap in [[hba]], or passwords in [[users]] or the database; until \
                 then every password is checked by SCRAM-SHA-256",
            );
            Method::Password
        }
        _ => {
            draft.open(origin, "no method that PgBouncer has; taken for scram-sha-256");
            Method::Password
        }
    };
    unused(ini, method, draft)
}

/// Says which files the method does not look at.
fn unused(ini: &Ini, method: Method, draft: &mut Draft) -> Method {
    let for_others: &[&str] = match method {
        Method::File => &["auth_ldap_options"],
        Method::Ldap => &["auth_hba_file", "auth_ident_file"],
        Method::Password | Method::Trust | Method::Certificate => {
            &["auth_hba_file", "auth_ident_file", "auth_ldap_options"]
        }
    };
    for item in for_others.iter().filter_map(|key| ini.get(key)) {
        draft.gone(Some(&item.origin), "PgBouncer does not look at it with this auth_type");
    }
    method
}

fn rules(ini: &Ini, method: Method, draft: &mut Draft) {
    let auth_type = ini.get("auth_type").map(|item| item.origin.clone());
    let rule = match method {
        Method::File => return files(ini, draft),
        Method::Ldap => return ldap(ini, draft),
        Method::Password => Rule { kind: "host", method: "scram-sha-256", user: None },
        Method::Certificate => Rule { kind: "hostssl", method: "cert", user: None },
        Method::Trust => {
            let listed = ini.listed.iter().flatten().map(|(name, _)| name.as_str());
            let users: Vec<&str> = listed.filter(|name| is_plain(name)).collect();
            if users.is_empty() {
                draft.open(
                    auth_type.as_ref(),
                    "not written: PgBouncer trusts the names of its userlist, and none was read; \
                     until there is a rule in [[hba]], every password is checked",
                );
                return;
            }
            Rule { kind: "host", method: "trust", user: Some(draft::list(users)) }
        }
    };
    let mut databases = databases::only(ini);
    let has_console = ini.get("admin_users").is_some() || ini.get("stats_users").is_some();
    if let (Some(databases), true) = (&mut databases, has_console) {
        databases.extend(CONSOLE.map(str::to_owned));
    }
    let is_default = matches!(method, Method::Password);
    if is_default && databases.is_none() {
        return;
    }
    let note = match (&databases, is_default) {
        (Some(_), true) => "PgBouncer has these databases and no others",
        _ => "",
    };
    let has_socket = ini.get("unix_socket_dir").is_some();
    let local = (has_socket && rule.kind == "host").then_some("local");
    for kind in [Some(rule.kind), local].into_iter().flatten() {
        let element = draft.element("hba");
        draft.put(element, "type", draft::text(kind));
        if let Some(databases) = &databases {
            draft.put(element, "database", draft::list(databases));
        }
        if let Some(user) = &rule.user {
            draft.put(element, "user", user.clone());
        }
        draft.put(element, "method", draft::text(rule.method));
        draft.note(element, note);
    }
    if let (Some(origin), false) = (auth_type, is_default) {
        draft.taken(&origin, "a rule of [[hba]]");
    }
}

/// What the console is called, which rules must let in, too.
const CONSOLE: [&str; 2] = ["pgmesh", "pgbouncer"];

struct Rule {
    kind: &'static str,
    method: &'static str,
    user: Option<String>,
}

/// A name that means itself in a rule, without quotes.
pub(super) fn is_plain(name: &str) -> bool {
    let keyword = ["all", "sameuser", "samerole", "samegroup", "replication"].contains(&name);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !keyword && !name.is_empty() && name.chars().all(plain)
}

fn files(ini: &Ini, draft: &mut Draft) {
    for (theirs, ours) in [("auth_hba_file", "hba_file"), ("auth_ident_file", "ident_file")] {
        if let Some(item) = ini.get(theirs) {
            let note = "read at start, which names every line that cannot be used";
            draft.set("auth", ours, draft::text(&item.value), &item.origin, note);
        }
    }
    if let Some(item) = ini.get("auth_type") {
        if ini.get("auth_hba_file").is_some() {
            draft.taken(&item.origin, "the file's rules");
        } else {
            draft.open(Some(&item.origin), "no auth_hba_file is named: set auth.hba_file");
        }
    }
}

/// The rule goes into a file: its options are PostgreSQL's own, and one may be a password.
fn ldap(ini: &Ini, draft: &mut Draft) {
    let (Some(kind), Some(options)) = (ini.get("auth_type"), ini.get("auth_ldap_options")) else {
        if let Some(item) = ini.get("auth_type") {
            draft.open(Some(&item.origin), "no auth_ldap_options: write a rule into [[hba]]");
        }
        return;
    };
    if options.value.contains(char::is_control) {
        draft.open(Some(&options.origin), "a control character: write a rule into [[hba]]");
        return;
    }
    let lines = ["host all all all", "local all all"];
    let rules: Vec<String> =
        lines.iter().map(|line| format!("{line} ldap {}\n", options.value)).collect();
    draft.secret("pg_hba_conf", &rules.concat());
    let path = draft.directory.join("pg_hba_conf");
    let value = draft::text(&path.to_string_lossy());
    draft.set("auth", "hba_file", value, &options.origin, "rules with the method ldap");
    draft.taken(&kind.origin, "the method of the rules in auth.hba_file");
    draft.open(
        Some(&kind.origin),
        "clients show their passwords: only inside TLS or on a Unix socket, unless \
         auth.allow_cleartext_without_tls is set",
    );
}
