//! `[databases]` and `[peers]`: where the servers are, and what each database has of its own.

use std::collections::BTreeSet;

use topology::Address;

use super::access::is_plain;
use super::draft::{self, Draft};
use super::ini::{self, Item};
use super::pgbouncer::{Form, Ini, Servers, convert};

/// What stands for every database that is not named.
const FALLBACK: &str = "*";

/// The port of PostgreSQL, and PgBouncer's own.
const POSTGRES: u16 = 5432;
const PGBOUNCER: u16 = 6432;

/// A limit's name there, here in `[[databases]]`, and here in `[pool]` or `[proxy]`.
struct Limit {
    theirs: &'static [&'static str],
    ours: &'static str,
    general: (&'static str, &'static str),
    form: Form,
}

const LIMITS: [Limit; 6] = [
    Limit::new(&["pool_mode"], "pool_mode", ("pool", "mode"), Form::Word),
    Limit::new(&["pool_size"], "pool_size", ("pool", "size"), Form::Number),
    Limit::new(&["min_pool_size"], "min_size", ("pool", "min_size"), Form::Number),
    Limit::new(
        &["reserve_pool_size", "reserve_pool"],
        "reserve_size",
        ("pool", "reserve_size"),
        Form::Number,
    ),
    Limit::new(
        &["max_db_connections"],
        "max_db_connections",
        ("pool", "max_db_connections"),
        Form::Number,
    ),
    Limit::new(
        &["max_db_client_connections"],
        "max_db_client_connections",
        ("proxy", "max_db_client_connections"),
        Form::Number,
    ),
];

impl Limit {
    const fn new(
        theirs: &'static [&'static str],
        ours: &'static str,
        general: (&'static str, &'static str),
        form: Form,
    ) -> Self {
        Self { theirs, ours, general, form }
    }

    fn of(key: &str) -> Option<&'static Self> {
        LIMITS.iter().find(|limit| limit.theirs.contains(&key))
    }
}

/// Where each database is; a Unix socket is on this machine.
fn hosts(item: &Item) -> Vec<Address> {
    let pairs = ini::connection(&item.value).unwrap_or_default();
    let of =
        |key| pairs.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let port = of("port").map_or(Some(POSTGRES), |port| port.parse().ok());
    let host = of("host").filter(|host| !host.starts_with(['/', '@'])).unwrap_or("127.0.0.1");
    // Two names of one host would look like two clusters.
    let local = |host| if host == "localhost" { "127.0.0.1" } else { host };
    let hosts = host.split(',').map(str::trim).map(local);
    hosts.filter_map(|host| Address::new(host, port?).ok()).collect()
}

/// Where PgBouncer finds its servers, each once.
pub(super) fn targets(ini: &Ini) -> Vec<Address> {
    let mut targets = Vec::new();
    for address in ini.databases.iter().flat_map(hosts) {
        if !targets.contains(&address) {
            targets.push(address);
        }
    }
    targets
}

/// The names of the databases, if there are no others and rules can say them.
pub(super) fn only(ini: &Ini) -> Option<Vec<String>> {
    let mut names: Vec<String> = ini.databases.iter().map(real_name).collect();
    names.dedup();
    (!names.is_empty() && names.iter().all(|name| is_plain(name))).then_some(names)
}

/// What the servers call it.
fn real_name(item: &Item) -> String {
    let pairs = ini::connection(&item.value).unwrap_or_default();
    let named = pairs.into_iter().rev().find(|(key, _)| key == "dbname");
    named.map_or_else(|| item.key.clone(), |(_, name)| name)
}

/// `auth_user` and its like of databases, as if they were keys of `[pgbouncer]`.
pub(super) fn lookups(ini: &Ini) -> Vec<Item> {
    let mut items = Vec::new();
    for item in &ini.databases {
        for (key, value) in ini::connection(&item.value).unwrap_or_default() {
            if matches!(key.as_str(), "auth_user" | "auth_query" | "auth_dbname") {
                let origin = item.origin.part(&key, &value);
                items.push(Item { key, value, origin, ..item.clone() });
            }
        }
    }
    items
}

/// What `*` alone says holds for every database, and goes before what holds in general.
pub(super) fn fallback(ini: &Ini, draft: &mut Draft) {
    let [item] = ini.databases.as_slice() else { return };
    if item.key != FALLBACK {
        return;
    }
    for (key, value) in ini::connection(&item.value).unwrap_or_default() {
        let Some(limit) = Limit::of(&key) else { continue };
        let origin = item.origin.part(&key, &value);
        match convert(limit.form, &value) {
            Some(value) => {
                let (table, key) = limit.general;
                draft.set(table, key, value, &origin, "of every database");
            }
            None => draft.open(Some(&origin), "PgBouncer would not take this value"),
        }
    }
}

pub(super) fn translate(ini: &Ini, servers: Servers, draft: &mut Draft) {
    let is_alone = matches!(ini.databases.as_slice(), [item] if item.key == FALLBACK);
    let main = main(ini);
    let mut limited_names = BTreeSet::new();
    for item in &ini.databases {
        match ini::connection(&item.value) {
            Some(pairs) => {
                let has_limits = pairs.iter().any(|(key, _)| Limit::of(key).is_some());
                let limited = if is_alone {
                    Limited::InGeneral
                } else if has_limits && !limited_names.insert(real_name(item)) {
                    Limited::Already
                } else {
                    Limited::ByItself
                };
                database(item, &pairs, limited, draft);
            }
            None => {
                draft.open(Some(&item.origin), "no connection string that PgBouncer would take");
                continue;
            }
        }
        reach(item, &main, servers, draft);
    }
    if servers == Servers::Here && !main.is_empty() {
        let nodes = main.iter().map(Address::to_string);
        draft.listed_nodes(nodes, "where PgBouncer finds them");
    }
    peers(ini, draft);
}

/// The servers that are followed: those of `*`, or else of the most databases.
fn main(ini: &Ini) -> Vec<Address> {
    let fallback = ini.databases.iter().find(|item| item.key == FALLBACK);
    if let Some(item) = fallback {
        return hosts(item);
    }
    let all: Vec<Vec<Address>> = ini.databases.iter().map(hosts).collect();
    let count = |hosts: &Vec<Address>| all.iter().filter(|it| *it == hosts).count();
    // Of several as many, the first.
    all.iter().rev().max_by_key(|hosts| count(hosts)).cloned().unwrap_or_default()
}

/// What becomes of a database's host.
fn reach(item: &Item, main: &[Address], servers: Servers, draft: &mut Draft) {
    let hosts = hosts(item);
    if servers == Servers::Elsewhere {
        draft.taken(&item.origin, "its servers are those that HAProxy's file names: [cluster]");
    } else if hosts.is_empty() {
        draft.open(Some(&item.origin), "its host or port cannot be used: set cluster.nodes");
    } else if hosts == main {
        draft.taken(&item.origin, "its servers are in cluster.nodes");
    } else {
        draft.open(
            Some(&item.origin),
            "it is on other servers: a pgmesh follows one cluster, so run another one for it",
        );
    }
}

/// Where the limits of a database are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limited {
    /// In `[pool]`, which was done.
    InGeneral,
    /// In `[[databases]]`.
    ByItself,
    /// Another name of the same database has them.
    Already,
}

fn database(item: &Item, pairs: &[(String, String)], limited: Limited, draft: &mut Draft) {
    let mut element = None;
    for (key, value) in pairs {
        let origin = item.origin.part(key, value);
        let Some(limit) = Limit::of(key) else {
            other(item, key, value, draft);
            continue;
        };
        match limited {
            Limited::InGeneral => continue,
            Limited::Already => {
                let what = "not written: a line before has limits for the same database";
                draft.open(Some(&origin), what);
                continue;
            }
            Limited::ByItself => {}
        }
        if item.key == FALLBACK {
            let (table, key) = limit.general;
            draft.open(
                Some(&origin),
                format!("not written: {table}.{key} is for databases without a line of their own"),
            );
            continue;
        }
        if value == "0" && matches!(limit.ours, "max_db_connections" | "max_db_client_connections")
        {
            draft.open(Some(&origin), "no limit for one database alone: lift the one in general");
            continue;
        }
        let Some(value) = convert(limit.form, value) else {
            draft.open(Some(&origin), "PgBouncer would not take this value");
            continue;
        };
        let element = *element.get_or_insert_with(|| {
            let element = draft.element("databases");
            draft.put(element, "name", draft::text(&real_name(item)));
            element
        });
        draft.put_from(element, limit.ours, value, &origin);
    }
}

/// What is no limit.
fn other(item: &Item, key: &str, value: &str, draft: &mut Draft) {
    let shown = if matches!(key, "password" | "connect_query") { "…" } else { value };
    let origin = item.origin.part(key, shown);
    let open = match key {
        // Said of the line as a whole, or with the keys of [pgbouncer].
        "host" | "port" | "auth_user" | "auth_query" | "auth_dbname" => return,
        "dbname" if value == item.key => return,
        "dbname" => format!(
            "a database has one name: clients ask for {value} where they asked for {}",
            item.key
        ),
        "user" => format!(
            "servers are logged in to as the client's own role: let clients log in as {value}, or \
             give their roles what it may do (GRANT)"
        ),
        "password" => "not written: the role's password belongs into [[users]], as \
                       server_password where it is another than the client's"
            .to_owned(),
        "connect_query" => "nothing is run on a new server: ALTER ROLE … SET or ALTER DATABASE … \
                            SET say what holds in every session"
            .to_owned(),
        "client_encoding" | "datestyle" | "timezone" | "application_name" => {
            format!("clients say it themselves, or the server: ALTER DATABASE … SET {key} = …")
        }
        "server_lifetime" => "one for all databases: pool.server_lifetime".to_owned(),
        "load_balance_hosts" => {
            let why = "the primary serves proxy.port, replicas share proxy.replica_port";
            return draft.gone(Some(&origin), why);
        }
        _ => "PgBouncer 1.25 has no such key".to_owned(),
    };
    draft.open(Some(&origin), open);
}

/// `peer_id` and `[peers]`.
fn peers(ini: &Ini, draft: &mut Draft) {
    let mut addresses = Vec::new();
    for item in &ini.peers {
        let pairs = ini::connection(&item.value).unwrap_or_default();
        let of = |key| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let port = of("port").map_or(Some(PGBOUNCER), |port| port.parse().ok());
        match of("host") {
            Some(host) if host.starts_with(['/', '@']) => draft.gone(
                Some(&item.origin),
                "a process on the same machine: one pgmesh uses all processors",
            ),
            Some(host) => match port.map(|port| Address::new(host, port)) {
                Some(Ok(address)) if addresses.contains(&address) => {
                    draft.gone(Some(&item.origin), "its address was there before");
                }
                Some(Ok(address)) => {
                    draft.taken(&item.origin, "one of peers.addresses");
                    addresses.push(address);
                }
                Some(Err(_)) | None => {
                    draft.open(Some(&item.origin), "no address: peers.addresses")
                }
            },
            None => draft.open(Some(&item.origin), "has no host: see peers.addresses"),
        }
    }
    let id = ini.get("peer_id");
    if addresses.is_empty() {
        if let Some(item) = id {
            draft.gone(Some(&item.origin), "there are no peers on other machines");
        }
        return;
    }
    if let Some(item) = id {
        match item.value.parse::<u32>() {
            Ok(id @ 1..) => draft.set("peers", "id", id.to_string(), &item.origin, ""),
            Ok(0) | Err(_) => draft.gone(Some(&item.origin), "a number is drawn at start"),
        }
    }
    let written = draft::list(addresses.iter().map(Address::to_string));
    draft.default("peers", "addresses", written, "where each pgmesh will listen");
    let secret = draft.secret_path("peers");
    draft.default("peers", "secret", secret, "the same for all, 32 random bytes");
    draft.open(
        None,
        "peers know each other by a secret, which PgBouncer's have none of: put 32 random bytes, as \
         text, into the file that peers.secret names, the same for all",
    );
}
