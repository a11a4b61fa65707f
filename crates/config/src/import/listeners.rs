//! What HAProxy's file says: ports, nodes, and limits.

use std::net::{IpAddr, Ipv4Addr};

use topology::Address;

use super::draft::{self, Draft, Origin};
use super::haproxy::{Config, Line, Section};
use super::pgbouncer::{Seam, Servers};
use crate::human;

/// PostgreSQL's port.
const POSTGRES: u16 = 5432;

/// Which nodes a check of Patroni's lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Primary,
    Replica,
    Any,
    /// It asks no such thing.
    Unknown,
}

/// A proxy that has clients on one side and Postgres on the other.
struct Listener<'a> {
    front: &'a Section,
    back: &'a Section,
    role: Role,
    check: Option<&'a Line>,
}

/// Who connects to HAProxy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    /// Everybody: there is no other.
    All,
    /// Everybody; PgBouncer is behind it.
    BeforePgBouncer,
    /// PgBouncer.
    PgBouncer,
}

/// Whether it names servers of Postgres at all.
pub(super) fn servers(config: &Config) -> Servers {
    if listeners(config).is_empty() { Servers::Here } else { Servers::Elsewhere }
}

/// Whether clients come to HAProxy first: its servers are PgBouncers, and none of PgBouncer's is
/// HAProxy.
pub(super) fn are_before(config: &Config, seam: &Seam) -> bool {
    let listeners = listeners(config);
    let mut binds = listeners.iter().flat_map(|it| it.front.all("bind")).filter_map(bind);
    let is_behind = binds.any(|bind| seam.targets.iter().any(|it| it.port() == bind.port));
    let mut lines = listeners.iter().flat_map(|it| it.back.all("server"));
    !is_behind && lines.any(|line| server(line).is_some_and(|it| it.port() == seam.port))
}

/// The proxies for Postgres: all that ask Patroni, or else all that carry bytes.
fn listeners(config: &Config) -> Vec<Listener<'_>> {
    let fronts =
        config.sections.iter().filter(|it| matches!(it.kind.as_str(), "frontend" | "listen"));
    let all = fronts.filter(|front| config.is_tcp(front) && front.all("bind").next().is_some());
    let all = all.filter_map(|front| {
        let back = config.backend(front)?;
        let (role, check) = role(config, back);
        back.all("server").next()?;
        Some(Listener { front, back, role, check })
    });
    let all: Vec<Listener<'_>> = all.collect();
    let is_known = |it: &Listener<'_>| it.role != Role::Unknown;
    if all.iter().any(is_known) { all.into_iter().filter(is_known).collect() } else { all }
}

/// What the check asks, and the line that says so.
fn role<'a>(config: &'a Config, back: &'a Section) -> (Role, Option<&'a Line>) {
    let is_check = |line: &Line| line.word(0) == "option" && line.word(1) == "httpchk";
    let Some(check) = config.own_or_default(back, is_check).pop() else {
        return (Role::Unknown, None);
    };
    let is_send = |line: &Line| line.word(0) == "http-check" && line.word(1) == "send";
    let sent = config.own_or_default(back, is_send);
    let sent = sent.iter().rev().find_map(|line| line.after("uri"));
    let own = match check.words.len() {
        0..=2 => "/",
        3 => check.word(2),
        _ => check.word(3),
    };
    let path = sent.unwrap_or(own).split('?').next().unwrap_or_default().trim_end_matches('/');
    let role = match path {
        "" | "/primary" | "/master" | "/leader" | "/read-write" | "/standby-leader"
        | "/standby_leader" => Role::Primary,
        "/replica" | "/sync" | "/synchronous" | "/async" | "/asynchronous" | "/quorum" => {
            Role::Replica
        }
        "/read-only" | "/read-only-sync" | "/read-only-quorum" | "/health" | "/liveness"
        | "/readiness" | "/patroni" => Role::Any,
        _ => Role::Unknown,
    };
    (role, Some(check))
}

/// Where it listens.
struct Bind {
    address: Option<IpAddr>,
    port: u16,
}

/// `None` for a Unix socket, a range, or what is no address.
fn bind(line: &Line) -> Option<Bind> {
    let first = line.word(1).split(',').next().unwrap_or_default();
    let first = first.trim_start_matches("ipv4@").trim_start_matches("ipv6@");
    let (host, port) = first.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|port| *port != 0)?;
    match host {
        "" | "*" => Some(Bind { address: None, port }),
        host => Some(Bind { address: Some(host.parse().ok()?), port }),
    }
}

/// The address of a server.
fn server(line: &Line) -> Option<Address> {
    let text = line.word(2).trim_start_matches("ipv4@").trim_start_matches("ipv6@");
    Address::parse(text).ok()
}

/// A word of a server's, its `default-server`, or its defaults'.
fn parameter<'a>(
    config: &'a Config,
    back: &'a Section,
    server: &'a Line,
    name: &str,
) -> Option<&'a str> {
    let defaults = config.own_or_default(back, |line| line.word(0) == "default-server");
    server.after(name).or_else(|| defaults.iter().rev().find_map(|line| line.after(name)))
}

pub(super) fn translate(config: &Config, seam: Option<&Seam>, draft: &mut Draft) {
    let listeners = listeners(config);
    let clients = match seam {
        None => Clients::All,
        Some(seam) if are_before(config, seam) => Clients::BeforePgBouncer,
        Some(_) => Clients::PgBouncer,
    };
    if listeners.is_empty() {
        draft.open(None, "HAProxy's file has no listener in mode tcp with servers behind it");
    }
    for (key, role) in [
        ("port", Role::Primary),
        ("port", Role::Unknown),
        ("replica_port", Role::Replica),
        ("any_port", Role::Any),
    ] {
        for listener in listeners.iter().filter(|it| it.role == role) {
            ports(listener, key, clients, seam, draft);
        }
    }
    nodes(config, &listeners, seam, draft);
    if clients == Clients::All && !listeners.is_empty() {
        draft.open(
            None,
            "behind HAProxy every client has a server of its own; pool.mode = \"session\" is that, \
             and \"transaction\", the default, shares servers",
        );
    }
    let used = |section: &Section| {
        let is = |it: &Section| std::ptr::eq(it, section);
        listeners.iter().any(|it| is(it.front) || is(it.back))
    };
    // What a proxy says itself goes before what holds in general.
    let (own, general): (Vec<&Section>, Vec<&Section>) =
        config.sections.iter().partition(|section| used(section));
    for section in own {
        for line in &section.lines {
            common(line, clients, draft);
        }
    }
    for kind in ["", "defaults", "global"] {
        let clients = if listeners.is_empty() { Clients::PgBouncer } else { clients };
        for line in general.iter().filter(|it| it.kind == kind).flat_map(|it| &it.lines) {
            common(line, clients, draft);
        }
    }
    let is_general =
        |section: &&&Section| matches!(section.kind.as_str(), "" | "defaults" | "global");
    for section in general.iter().filter(|section| !is_general(section)) {
        foreign(section, draft);
    }
}

fn ports(
    listener: &Listener<'_>,
    key: &'static str,
    clients: Clients,
    seam: Option<&Seam>,
    draft: &mut Draft,
) {
    for line in listener.front.all("bind") {
        let origin = &line.origin;
        let Some(bind) = bind(line) else {
            draft.open(Some(origin), format!("no address and port: set proxy.{key}"));
            continue;
        };
        if line.has("ssl") {
            draft.open(
                Some(origin),
                "TLS towards clients needs proxy.tls.certificate and key: HAProxy's is not libpq's \
                 but for sslnegotiation=direct, and pgmesh has both",
            );
        }
        if line.has("accept-proxy") {
            draft.open(Some(origin), "no PROXY protocol: clients connect without a balancer");
        }
        let is_taken = seam.is_some_and(|seam| seam.port == bind.port);
        if clients == Clients::PgBouncer && (key == "port" || is_taken) {
            draft.gone(Some(origin), "PgBouncer's clients connect to proxy.port, and nobody here");
            continue;
        }
        draft.set("proxy", key, bind.port.to_string(), origin, "");
        if key == "port" && clients != Clients::PgBouncer {
            let any = || "0.0.0.0".to_owned();
            let address = bind.address.map_or_else(any, |address| address.to_string());
            draft.default("proxy", "listen", draft::text(&address), "every port is opened there");
        }
    }
}

/// Patroni's interfaces if they are asked, and else the servers.
fn nodes(config: &Config, listeners: &[Listener<'_>], seam: Option<&Seam>, draft: &mut Draft) {
    let (mut endpoints, mut nodes): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for Listener { back, role, check, .. } in listeners {
        for line in back.all("server") {
            let Some(address) = server(line) else {
                draft.open(Some(&line.origin), "no address that can be used: see [cluster]");
                continue;
            };
            let port = if seam.is_some_and(|seam| seam.port == address.port()) {
                let local = seam.and_then(|seam| seam.targets.first());
                local.map_or(POSTGRES, Address::port)
            } else {
                address.port()
            };
            if let Ok(node) = Address::new(address.host(), port) {
                push(&mut nodes, node.to_string());
            }
            if *role == Role::Unknown || check.is_none() {
                continue;
            }
            let own = |name| parameter(config, back, line, name);
            let host = own("addr").unwrap_or_else(|| address.host());
            let port = own("port").map_or_else(|| Some(address.port()), |port| port.parse().ok());
            let scheme = if line.has("check-ssl") || line.has("ssl") { "https" } else { "http" };
            if let Some(Ok(address)) = port.map(|port| Address::new(host, port)) {
                push(&mut endpoints, format!("{scheme}://{address}"));
            }
            if let Some(ca) = own("ca-file").filter(|_| scheme == "https") {
                draft.default("cluster.tls", "ca", draft::text(ca), "");
            }
        }
    }
    if !endpoints.is_empty() {
        draft.default("cluster", "discovery", draft::text("patroni"), "");
        draft.default("cluster", "endpoints", draft::list(endpoints), "what HAProxy checks");
        draft.open(
            None,
            "Patroni is asked every second; better watch its etcd: discovery = \"etcd\" with \
             endpoints and scope, and these addresses in patroni_fallback",
        );
    } else if !nodes.is_empty() {
        draft.listed_nodes(nodes, "HAProxy's servers");
    }
}

fn push(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// A line of `global`, of `defaults`, or of a proxy for Postgres.
fn common(line: &Line, clients: Clients, draft: &mut Draft) {
    let origin = &line.origin;
    match line.word(0) {
        // Said with the ports.
        "bind" => {}
        "server" => draft.taken(origin, &server_note(line)),
        "server-template" => draft.open(Some(origin), "name the nodes, or better etcd: [cluster]"),
        "timeout" => timeout(line, clients, draft),
        "maxconn" => maxconn(line, clients, draft),
        "option" if line.word(1) == "httpchk" => lag(line, draft),
        "http-check" => lag(line, draft),
        "use_backend" => draft.open(Some(origin), "no rules choose a server: only the port does"),
        word => match gone(word) {
            Some(why) => draft.gone(Some(origin), why),
            None => draft.open(Some(origin), "not known here: see if something depends on it"),
        },
    }
}

fn server_note(line: &Line) -> String {
    let mut note = "in [cluster]".to_owned();
    if line.has("send-proxy") || line.has("send-proxy-v2") {
        note.push_str("; no PROXY protocol is sent: pgmesh logs the clients' addresses itself");
    }
    if line.has("maxconn") {
        note.push_str("; pool.size and pool.max_db_connections bound what a node gets");
    }
    if line.has("backup") || line.has("weight") {
        note.push_str("; Patroni's roles say who serves what, no weights");
    }
    note
}

fn timeout(line: &Line, clients: Clients, draft: &mut Draft) {
    let origin = &line.origin;
    // Without a unit these are milliseconds.
    let millis = line.word(2).parse::<u32>().ok();
    let time = millis.map(|millis| std::time::Duration::from_millis(millis.into()));
    let Some(time) = time.or_else(|| human::duration(line.word(2))).map(draft::time) else {
        draft.open(Some(origin), "HAProxy would not take this value");
        return;
    };
    let (table, key, note) = match (line.word(1), clients) {
        ("check", _) => ("cluster", "request_timeout", ""),
        ("connect", Clients::All | Clients::BeforePgBouncer) => ("server", "connect_timeout", ""),
        ("queue", Clients::All) => ("pool", "query_wait_timeout", ""),
        ("client", Clients::All | Clients::BeforePgBouncer) => {
            let note = "HAProxy needs one; leave it out unless idle clients are to be ended";
            ("pool", "client_idle_timeout", note)
        }
        ("connect" | "client" | "queue", _) => {
            return draft.gone(Some(origin), "it was for PgBouncer's connections");
        }
        ("server", _) => {
            let why = "a server that computes is silent; pool.query_timeout ends statements, and \
                       server.tcp_* notice a server that is gone";
            return draft.gone(Some(origin), why);
        }
        _ => return draft.gone(Some(origin), "no such wait in a connection of Postgres"),
    };
    draft.set(table, key, time, origin, note);
}

fn maxconn(line: &Line, clients: Clients, draft: &mut Draft) {
    let origin = &line.origin;
    match (clients, line.word(1).parse::<u32>()) {
        (Clients::All, Ok(most)) => {
            draft.set("proxy", "max_client_connections", most.to_string(), origin, "");
        }
        (Clients::All, Err(_)) => draft.open(Some(origin), "HAProxy would not take this value"),
        _ => draft.gone(Some(origin), "PgBouncer's max_client_conn counts"),
    }
}

/// The check: a replica's lag is the one thing of it that is a key.
fn lag(line: &Line, draft: &mut Draft) {
    let asked = line.words.iter().find_map(|word| word.split_once("lag=")).map(|(_, lag)| lag);
    let Some(lag) = asked else {
        draft.taken(&line.origin, "Patroni is asked, or followed, by [cluster]");
        return;
    };
    let lag = lag.split('&').next().unwrap_or_default();
    let digits = lag.find(|c: char| !c.is_ascii_digit()).unwrap_or(lag.len());
    // Bytes, or PostgreSQL's units.
    let size = if digits == lag.len() { format!("{lag}B") } else { lag.to_owned() };
    match human::size(&size) {
        Some(bytes) => {
            let value = draft::text(&human::write_size(bytes));
            draft.set("cluster", "max_replica_lag", value, &line.origin, "");
        }
        None => draft.open(Some(&line.origin), "no size: set cluster.max_replica_lag"),
    }
}

/// Why a keyword has no place here.
fn gone(word: &str) -> Option<&'static str> {
    Some(match word {
        "log" | "log-format" | "log-tag" | "option" | "no" | "unique-id-format" => {
            "pgmesh knows the protocol: its log and its checks need no such option"
        }
        "mode" => "there is only Postgres",
        "balance" | "hash-type" => "the primary serves proxy.port, replicas share replica_port",
        "retries" | "redispatch" | "fullconn" | "default-server" | "tcp-check"
        | "external-check" => {
            "nodes are followed, not guessed at: Patroni's word counts at once, and clients are \
             held meanwhile (failover.hold_timeout)"
        }
        "default_backend" | "description" | "id" | "enabled" | "disabled" | "acl" => {
            "a port is chosen by its role"
        }
        "chroot" | "user" | "group" | "uid" | "gid" | "daemon" | "master-worker" | "pidfile"
        | "node" | "presetenv" | "setenv" | "set-dumpable" | "localpeer" => {
            "whoever starts the process says that: systemd's User= and its like"
        }
        "nbproc" | "nbthread" | "cpu-map" | "thread-groups" => "one process uses all processors",
        "ulimit-n" => "the limit of descriptors is raised at start",
        "stats" => "metrics.listen has the numbers, for Prometheus",
        "errorfile" | "errorloc" | "errorloc302" | "errorloc303" | "errorfiles" => {
            "clients get errors of Postgres, with a SQLSTATE"
        }
        "hard-stop-after" | "grace" => "a stop ends connections",
        "stick" | "stick-table" | "tcp-request" | "tcp-response" | "rate-limit" => {
            "proxy.*_per_second and [[hba]] bound who may do what"
        }
        "ca-base" | "crt-base" | "key-base" => "paths are written in full",
        word if word.starts_with("ssl-") => "proxy.tls chooses protocols and ciphers",
        word if word.starts_with("tune.") => "buffers are bounded by themselves",
        word if word.starts_with("http-") || word.starts_with("server-state") => {
            "it is about HTTP, or about states that Patroni knows"
        }
        _ => return None,
    })
}

/// A section that is no proxy for Postgres.
fn foreign(section: &Section, draft: &mut Draft) {
    let is_page = section.lines.iter().any(|it| it.word(0) == "stats" && it.word(1) != "socket");
    if section.is_proxy() && is_page {
        return page(section, draft);
    }
    let why = match section.kind.as_str() {
        "frontend" | "backend" | "listen" => {
            "not for Postgres: HAProxy, or another, goes on with it"
        }
        "resolvers" => "names are looked up as the system is set up to",
        "peers" => "nothing sticks to a node; [peers] carries CancelRequests",
        "userlist" => "nobody logs in to a status page; users of Postgres are in [[users]]",
        _ => "nothing here has need of it",
    };
    for line in &section.lines {
        draft.gone(Some(&line.origin), why);
    }
}

/// The status page: its port is that of the metrics.
fn page(section: &Section, draft: &mut Draft) {
    for line in &section.lines {
        let origin: &Origin = &line.origin;
        match (line.word(0), bind(line)) {
            ("bind", Some(Bind { address, port })) => {
                let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                let address = std::net::SocketAddr::new(address, port).to_string();
                let note = "numbers for Prometheus on /metrics; asks nobody for a password";
                draft.set("metrics", "listen", draft::text(&address), origin, note);
            }
            _ => draft.gone(Some(origin), "metrics.listen has the numbers, for Prometheus"),
        }
    }
}
