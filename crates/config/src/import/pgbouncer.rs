//! `[pgbouncer]`: every key that PgBouncer 1.25 has, and what becomes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use topology::Address;

use super::draft::{self, Draft};
use super::ini::{self, Item};
use super::network::{keepalive, listen, user_timeout};
use super::userlist::Users;
use super::{access, databases, network, tls};
use crate::suggest;

/// What becomes of a key.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// It is called so here.
    Is(Form, &'static [(&'static str, &'static str)]),
    /// It has no place here.
    Gone(&'static str),
    /// Nothing is lost if it is off; else somebody has to know.
    Off(&'static str),
    /// [`suggest::needless`] says why.
    Needless,
    /// It takes more than a word.
    By(fn(&Item, &mut Draft)),
    /// It is read together with others.
    Together,
}

/// How a value is written, there and here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Number,
    Seconds,
    Word,
    Names,
}

use Form::{Names, Number, Seconds, Word};
use Rule::{By, Gone, Is, Needless, Off, Together};

const ON_STDERR: &str = "the log goes to stderr, where systemd or the container keeps it; \
                         log.format and log.level say how";
const PROCESS: &str = "whoever starts the process says that: systemd's User=, a container's user";
const COUNTED: &str = "/metrics counts, and what reads it makes averages of it";
const LOOKED_UP: &str = "host names are looked up for each connection to a server, as the system \
                         is set up to; servers of nodes that have gone are not lent";
const BUFFERS: &str = "buffers have a size of their own, and what they may grow to is bounded";
const STARTUP: &str = "every setting is taken, in the startup packet too, and follows its client";
const EVENTS: &str = "the log has these events at the levels that log.level chooses, and /metrics \
                      counts them";

/// The keys, in the order of PgBouncer's `SHOW CONFIG`.
const KEYS: &[(&str, Rule)] = &[
    ("admin_users", Is(Names, &[("admin", "users")])),
    ("application_name_add_host", Off("pgmesh does not change application_name")),
    ("auth_dbname", Together),
    ("auth_file", Together),
    ("auth_hba_file", Together),
    ("auth_ident_file", Together),
    ("auth_ldap_options", Together),
    ("auth_query", Together),
    ("auth_type", Together),
    ("auth_user", Together),
    ("autodb_idle_timeout", Gone("a pool is made for any database, and costs nothing when idle")),
    ("cancel_wait_timeout", Is(Seconds, &[("pool", "cancel_wait_timeout")])),
    ("client_idle_timeout", Is(Seconds, &[("pool", "client_idle_timeout")])),
    ("client_login_timeout", Is(Seconds, &[("proxy", "client_login_timeout")])),
    ("client_tls13_ciphers", Together),
    ("client_tls_ca_file", Together),
    ("client_tls_cert_file", Together),
    ("client_tls_ciphers", Together),
    ("client_tls_dheparams", Together),
    ("client_tls_ecdhcurve", Together),
    ("client_tls_key_file", Together),
    ("client_tls_protocols", Together),
    ("client_tls_sslmode", Together),
    ("conffile", Gone("the command line says it: --config")),
    ("default_pool_size", Is(Number, &[("pool", "size")])),
    ("disable_pqexec", Off("a text with several statements runs as on a direct connection")),
    ("dns_max_ttl", Gone(LOOKED_UP)),
    ("dns_nxdomain_ttl", Gone(LOOKED_UP)),
    ("dns_zone_check_period", Gone(LOOKED_UP)),
    ("idle_transaction_timeout", Is(Seconds, &[("pool", "idle_transaction_timeout")])),
    ("ignore_startup_parameters", Gone(STARTUP)),
    ("job_name", Gone("it names a file and a service, of which there are none")),
    ("listen_addr", By(listen)),
    ("listen_backlog", Is(Number, &[("proxy", "backlog")])),
    ("listen_port", Is(Number, &[("proxy", "port")])),
    ("log_connections", Gone(EVENTS)),
    ("log_disconnections", Gone(EVENTS)),
    ("log_pooler_errors", Gone(EVENTS)),
    ("log_stats", Gone(COUNTED)),
    ("logfile", Gone(ON_STDERR)),
    ("max_client_conn", Is(Number, &[("proxy", "max_client_connections")])),
    ("max_db_client_connections", Is(Number, &[("proxy", "max_db_client_connections")])),
    ("max_db_connections", By(database_limit)),
    ("max_packet_size", By(packet_size)),
    ("max_prepared_statements", By(prepared)),
    ("max_user_client_connections", Is(Number, &[("proxy", "max_user_client_connections")])),
    ("max_user_connections", Is(Number, &[("pool", "max_user_connections")])),
    ("min_pool_size", Is(Number, &[("pool", "min_size")])),
    ("peer_id", Together),
    ("pidfile", Gone("there is none: systemd and containers know the process")),
    ("pkt_buf", Gone(BUFFERS)),
    ("pool_mode", Is(Word, &[("pool", "mode")])),
    ("query_timeout", Is(Seconds, &[("pool", "query_timeout")])),
    ("query_wait_notify", Is(Seconds, &[("pool", "query_wait_notify")])),
    ("query_wait_timeout", Is(Seconds, &[("pool", "query_wait_timeout")])),
    ("reserve_pool_size", Is(Number, &[("pool", "reserve_size")])),
    ("reserve_pool_timeout", Is(Seconds, &[("pool", "reserve_timeout")])),
    ("resolv_conf", Gone(LOOKED_UP)),
    ("sbuf_loopcnt", Gone(BUFFERS)),
    ("scram_iterations", Gone("verifiers are made with PostgreSQL's own number of iterations")),
    ("server_check_delay", Needless),
    ("server_check_query", Needless),
    ("server_connect_timeout", Is(Seconds, CONNECT)),
    ("server_fast_close", Gone("a server that left nothing behind goes between transactions")),
    ("server_idle_timeout", Is(Seconds, &[("pool", "server_idle_timeout")])),
    ("server_lifetime", By(lifetime)),
    ("server_login_retry", Needless),
    ("server_reset_query", By(reset)),
    ("server_reset_query_always", Gone("in every mode what is left behind is taken away")),
    (
        "server_round_robin",
        Off("the server used last is lent first; pool.debug_shuffle, for tests"),
    ),
    ("server_tls13_ciphers", Together),
    ("server_tls_ca_file", Together),
    ("server_tls_cert_file", Together),
    ("server_tls_ciphers", Together),
    ("server_tls_key_file", Together),
    ("server_tls_protocols", Together),
    ("server_tls_sslmode", Together),
    ("service_name", Gone("it names a service of Windows")),
    ("so_reuseport", Gone("one process uses all processors")),
    ("stats_period", Gone(COUNTED)),
    ("stats_users", Is(Names, &[("admin", "stats_users")])),
    ("suspend_timeout", Gone("there is no SUSPEND")),
    ("syslog", Gone(ON_STDERR)),
    ("syslog_facility", Gone(ON_STDERR)),
    ("syslog_ident", Gone(ON_STDERR)),
    (
        "tcp_defer_accept",
        Gone("a connection is taken when it is there; client_login_timeout ends it"),
    ),
    ("tcp_keepalive", By(keepalive)),
    ("tcp_keepcnt", By(keepalive)),
    ("tcp_keepidle", By(keepalive)),
    ("tcp_keepintvl", By(keepalive)),
    ("tcp_socket_buffer", Gone("the kernel sizes the buffers of its sockets")),
    ("tcp_user_timeout", By(user_timeout)),
    ("track_extra_parameters", Gone(STARTUP)),
    ("transaction_timeout", Is(Seconds, &[("pool", "transaction_timeout")])),
    ("unix_socket_dir", Together),
    ("unix_socket_group", Together),
    ("unix_socket_mode", Together),
    ("user", Gone(PROCESS)),
    ("verbose", By(verbose)),
];

const CONNECT: &[(&str, &str)] = &[("server", "connect_timeout"), ("server", "login_timeout")];

/// PgBouncer's defaults where ours are others; what a file does not say it says by these.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("proxy", "listen", "\"127.0.0.1\""),
    ("proxy", "port", "6432"),
    ("proxy", "max_client_connections", "100"),
    ("server", "connect_timeout", "\"15s\""),
    ("server", "login_timeout", "\"15s\""),
    ("pool", "mode", "\"session\""),
    ("pool", "size", "20"),
    ("pool", "reserve_size", "0"),
    ("pool", "reserve_timeout", "\"5s\""),
    ("pool", "query_wait_notify", "\"5s\""),
];

/// Who names the servers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Servers {
    /// The databases do.
    Here,
    /// HAProxy's file does.
    Elsewhere,
}

/// Where PgBouncer and HAProxy meet.
#[derive(Debug)]
pub(super) struct Seam {
    /// Where PgBouncer listens.
    pub(super) port: u16,
    /// Where its databases are.
    pub(super) targets: Vec<Address>,
}

/// PgBouncer's file, by section.
#[derive(Debug, Default)]
pub(super) struct Ini {
    pub(super) settings: BTreeMap<String, Item>,
    pub(super) databases: Vec<Item>,
    pub(super) users: Vec<Item>,
    pub(super) peers: Vec<Item>,
    /// None without a userlist.
    pub(super) listed: Option<Users>,
}

impl Ini {
    pub(super) fn new(items: Vec<Item>, listed: Option<Users>, draft: &mut Draft) -> Self {
        let mut ini = Self { listed, ..Self::default() };
        for item in items {
            match item.section.as_str() {
                "pgbouncer" => {
                    if let Some(before) = ini.settings.insert(item.key.clone(), item) {
                        draft.gone(Some(&before.origin), "it comes again, and the last counts");
                    }
                }
                "databases" => last_counts(&mut ini.databases, item, draft),
                "users" => last_counts(&mut ini.users, item, draft),
                "peers" => last_counts(&mut ini.peers, item, draft),
                _ => draft.open(Some(&item.origin), "in a section that PgBouncer does not know"),
            }
        }
        ini
    }

    /// A key of `[pgbouncer]` that says something.
    pub(super) fn get(&self, key: &str) -> Option<&Item> {
        self.settings.get(key).filter(|item| !item.value.is_empty())
    }

    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(|item| item.value.as_str())
    }

    pub(super) fn seam(&self) -> Seam {
        let port = self.value("listen_port").and_then(|port| port.parse().ok()).unwrap_or(6432);
        Seam { port, targets: databases::targets(self) }
    }

    pub(super) fn translate(&self, servers: Servers, draft: &mut Draft) {
        // The one that stands for all of them is nearer to each than what holds in general.
        databases::fallback(self, draft);
        for (key, item) in &self.settings {
            let rule = KEYS.iter().find(|(known, _)| known == key).map(|(_, rule)| *rule);
            match rule {
                Some(rule) => apply(rule, item, draft),
                None => draft.open(Some(&item.origin), "PgBouncer 1.25 has no such key"),
            }
        }
        network::sockets(self, draft);
        tls::translate(self, draft);
        access::translate(self, draft);
        databases::translate(self, servers, draft);
        for (table, key, value) in DEFAULTS {
            draft.default(table, key, (*value).to_owned(), "PgBouncer's default");
        }
        no_limit(draft);
    }
}

fn last_counts(items: &mut Vec<Item>, item: Item, draft: &mut Draft) {
    if let Some(at) = items.iter().position(|it| it.key == item.key) {
        let before = items.remove(at);
        draft.gone(Some(&before.origin), "the name comes again, and the last counts");
    }
    items.push(item);
}

pub(super) fn apply(rule: Rule, item: &Item, draft: &mut Draft) {
    let origin = Some(&item.origin);
    match rule {
        // Nothing is what is not there, but for addresses and directories.
        Is(..) if item.value.is_empty() => draft.gone(origin, "says nothing"),
        Is(form, places) => match convert(form, &item.value) {
            Some(value) => {
                for (table, key) in places {
                    draft.set(table, key, value.clone(), &item.origin, "");
                }
            }
            None => draft.open(origin, "PgBouncer would not take this value"),
        },
        Gone(why) => draft.gone(origin, why),
        Off(_) if matches!(item.value.as_str(), "" | "0") => draft.gone(origin, "off, as here"),
        Off(what) => draft.open(origin, format!("not there: {what}")),
        Needless => draft.gone(origin, suggest::needless(&item.key).unwrap_or_default()),
        By(rule) => rule(item, draft),
        // An empty directory says that there is to be no socket.
        Together if item.value.is_empty() && item.key != "unix_socket_dir" => {
            draft.gone(origin, "says nothing");
        }
        Together => {}
    }
}

/// A value of PgBouncer's as TOML has it here; `None` if it is none.
pub(super) fn convert(form: Form, value: &str) -> Option<String> {
    match form {
        Number => value.parse::<u32>().ok().map(|number| number.to_string()),
        Seconds => seconds(value).map(draft::time),
        Word => Some(draft::text(&value.to_ascii_lowercase())),
        Names => Some(draft::list(ini::names(value))),
    }
}

fn seconds(value: &str) -> Option<Duration> {
    let time = Duration::try_from_secs_f64(value.parse().ok()?).ok()?;
    // What is finer than a microsecond cannot be written.
    Some(Duration::from_micros(u64::try_from(time.as_micros()).ok()?))
}

fn packet_size(item: &Item, draft: &mut Draft) {
    match item.value.parse::<u32>() {
        // Its default, and more than the protocol has.
        Ok(size) if size >= 1 << 30 => draft.gone(Some(&item.origin), "the protocol's own limit"),
        Ok(size) => {
            let value = draft::text(&crate::human::write_size(size.into()));
            draft.set("proxy", "max_packet_size", value, &item.origin, "");
        }
        Err(_) => draft.open(Some(&item.origin), "PgBouncer would not take this value"),
    }
}

/// No limit is written as one: descriptors are made ready for as many servers as there may be.
fn database_limit(item: &Item, draft: &mut Draft) {
    if item.value == "0" {
        draft.taken(&item.origin, "no limit is pool.max_db_connections, as high as need be");
    } else {
        apply(Is(Number, &[("pool", "max_db_connections")]), item, draft);
    }
}

/// What a database may have in all, where PgBouncer has no limit.
fn no_limit(draft: &mut Draft) {
    const ENOUGH: u64 = 100;
    if draft.has("pool", "max_db_connections") {
        return;
    }
    let number = |key| draft.line("pool", key).and_then(|line| line.value.parse::<u64>().ok());
    let pool = number("size").unwrap_or(0).saturating_add(number("reserve_size").unwrap_or(0));
    let note = "for all users together; PgBouncer has no such limit unless it is set";
    draft.default("pool", "max_db_connections", pool.max(ENOUGH).to_string(), note);
    draft.open(
        None,
        "servers of a database have a limit, pool.max_db_connections, for all its users together: \
         see that it fits the servers' max_connections",
    );
}

fn prepared(item: &Item, draft: &mut Draft) {
    if item.value == "0" {
        draft.gone(
            Some(&item.origin),
            "prepared statements are always followed from server to server",
        );
    } else {
        apply(Is(Number, &[("pool", "prepared_statements")]), item, draft);
    }
}

/// Zero is one use in PgBouncer, and for ever here.
fn lifetime(item: &Item, draft: &mut Draft) {
    match seconds(&item.value) {
        Some(Duration::ZERO) => {
            let value = draft::time(Duration::from_millis(1));
            draft.set("pool", "server_lifetime", value, &item.origin, "every server is used once");
        }
        _ => apply(Is(Seconds, &[("pool", "server_lifetime")]), item, draft),
    }
}

fn reset(item: &Item, draft: &mut Draft) {
    let known = ["DISCARD", "DEALLOCATE", "RESET", "UNLISTEN", "CLOSE"];
    let clears = |statement: &str| {
        let word = statement.split_whitespace().next().unwrap_or_default();
        word.is_empty() || known.iter().any(|known| word.eq_ignore_ascii_case(known))
    };
    if item.value.split(';').all(clears) {
        draft.gone(
            Some(&item.origin),
            "what a client has left is known and taken away, and everything when it is not known",
        );
    } else {
        draft.open(
            Some(&item.origin),
            "no statement of yours is run between two clients; what is set with ALTER ROLE … SET \
             or ALTER DATABASE … SET holds in every session",
        );
    }
}

fn verbose(item: &Item, draft: &mut Draft) {
    match item.value.as_str() {
        "" | "0" => draft.gone(Some(&item.origin), "off, as here"),
        "1" => draft.set("log", "level", draft::text("debug"), &item.origin, ""),
        _ => draft.set("log", "level", draft::text("trace"), &item.origin, ""),
    }
}
