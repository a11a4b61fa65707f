//! What a scrape reads: valid text, every family from the start, no unbounded labels.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use telemetry::{
    Bounds, Build, Cancel, CertificateExpiries, ClusterState, ConnectFailure, Discard, Exposition,
    Listening, Lookups, Metrics, NodeState, POOLS_MAX, PinState, PoolLabels, PoolState, PoolStates,
    PoolTotals, Refusal, Registry, Reset, Retry, Role, Via, Words,
};

const BUILD: Build = Build { version: "1.2.3", commit: "abc" };

fn set_up() -> (Metrics, Exposition) {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry, BUILD).expect("a fresh registry");
    (metrics, Exposition::new(registry))
}

fn labels(database: &str, user: &str) -> PoolLabels {
    PoolLabels { database: database.to_owned(), user: user.to_owned(), role: Role::Primary }
}

/// A cluster of two, one of them the leader.
fn led(epoch: u64, leader: Option<&str>) -> ClusterState {
    let node = |name: &str, is_leader, lag| NodeState {
        group: "0".to_owned(),
        name: name.to_owned(),
        role: if is_leader { "primary" } else { "replica" },
        state: "running",
        is_leader,
        lag,
    };
    let mut nodes = vec![node("n9", false, Some(17))];
    nodes.extend(leader.map(|name| node(name, true, None)));
    ClusterState { epoch, leader: leader.map(str::to_owned), standing: "proven", nodes }
}

fn state(labels: PoolLabels) -> PoolState {
    PoolState {
        labels,
        active: 3,
        kept: 6,
        idle: 2,
        login: 1,
        warm: 2,
        is_holding: true,
        is_paused: false,
        waiting: 4,
        oldest_wait: Duration::from_millis(1500),
        size: 25,
        max_pinned: 24,
        pinned: vec![PinState { reason: "listen", now: 2, total: 5 }],
        totals: PoolTotals {
            connects: 6,
            recalls: 3,
            connect_failures: vec![(ConnectFailure::Timeout, 7), (ConnectFailure::Timeout, 1)],
            resets: vec![(Reset::Targeted, 1)],
            discards: vec![(Discard::Idle, 9)],
        },
    }
}

/// One line of the text format, taken apart.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `a="x",b="y"}` and what follows it. Values may have `\\`, `\"` and `\n` escaped.
fn parse_labels(mut rest: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("no label")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().ok_or("open label")? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().ok_or("open escape")?.1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => return Err(format!("escape {c}")),
                }),
                (_, '\n') => return Err("newline in a label".to_owned()),
                (_, c) => value.push(c),
            }
        };
        if !is_name(name) || labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("label {name}"));
        }
        match after[end + 1..].split_at_checked(1) {
            Some((",", more)) => rest = more,
            Some(("}", more)) => return Ok((labels, more)),
            _ => return Err("after a label".to_owned()),
        }
    }
}

/// Parses the text format 0.0.4 as strictly as Prometheus does.
fn parse(text: &str) -> Result<Vec<Sample>, String> {
    let mut samples = Vec::new();
    let mut seen = BTreeSet::new();
    let mut family: Option<(String, String)> = None;
    for line in text.split_terminator('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            help.split_once(' ').filter(|(_, text)| !text.is_empty()).ok_or(line)?;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or(line)?;
            if !seen.insert(name.to_owned()) {
                return Err(format!("{name} twice"));
            }
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let (name, kind) = family.as_ref().ok_or(line)?;
            let end = line.find(['{', ' ']).ok_or(line)?;
            let (full, rest) = line.split_at(end);
            let (labels, rest) = match rest.strip_prefix('{') {
                Some(rest) => parse_labels(rest)?,
                None => (BTreeMap::new(), rest),
            };
            let value: f64 = rest.trim_start().parse().map_err(|_| line)?;
            let suffix = full.strip_prefix(name.as_str()).ok_or(line)?;
            let fits = match kind.as_str() {
                "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count"),
                "counter" => suffix.is_empty() && name.ends_with("_total") && value >= 0.0,
                _ => suffix.is_empty() && kind == "gauge" && !name.ends_with("_total"),
            };
            if !fits || !is_name(full) {
                return Err(format!("{kind}: {line}"));
            }
            samples.push(Sample { name: full.to_owned(), labels, value });
        }
    }
    Ok(samples)
}

fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let fits = |sample: &&Sample| {
        sample.name == name
            && labels.iter().all(|(k, v)| sample.labels.get(*k).map(String::as_str) == Some(*v))
    };
    let mut found = samples.iter().filter(fits);
    let value = found.next()?.value;
    assert!(found.next().is_none(), "{name} {labels:?} is ambiguous");
    Some(value)
}

#[test]
fn every_value_arrives_under_its_name() {
    let (metrics, exposition) = set_up();
    let pool = metrics.pool(labels("shop", "app"));
    pool.wait.observe(Duration::ZERO);
    pool.query.observe(Duration::from_millis(2));
    pool.transaction.observe(Duration::from_secs(90));
    pool.client_received.add(10);
    pool.client_sent.add(20);
    pool.server_received.add(30);
    pool.server_sent.add(40);
    pool.prepared_hits.add(5);
    pool.prepared_misses.inc();
    pool.sequences_forgotten.add(3);
    pool.retries.inc(Retry::PlanChanged);
    metrics.clients().accepted(Via::Tcp).logged_in(Duration::ZERO);
    let _guards: Vec<_> = (0..9).map(|_| metrics.clients().accepted(Via::Tcp)).collect();
    metrics.clients().refusals.inc(Refusal::TooManyClients);
    metrics.clients().cancels.inc(Cancel::Delivered);
    metrics.discovery_failed();
    metrics.set_cluster(led(7, Some("n1")));
    metrics
        .observe_pools(|| PoolStates { pools: vec![state(labels("shop", "app"))], held_bytes: 17 })
        .unwrap();

    let text = exposition.text().unwrap();
    let samples = parse(&text).unwrap();
    let of = |name: &str, labels: &[(&str, &str)]| value(&samples, name, labels).unwrap_or(-1.0);
    let shop = ("database", "shop");
    assert_eq!(of("pgmesh_wait_seconds_bucket", &[("le", "0.0001"), shop]), 1.0);
    assert_eq!(of("pgmesh_query_seconds_bucket", &[("le", "0.001")]), 0.0);
    assert_eq!(of("pgmesh_query_seconds_bucket", &[("le", "0.003")]), 1.0);
    assert_eq!(of("pgmesh_transaction_seconds_bucket", &[("le", "60")]), 0.0);
    assert_eq!(of("pgmesh_transaction_seconds_bucket", &[("le", "+Inf")]), 1.0);
    assert_eq!(of("pgmesh_transaction_seconds_sum", &[]), 90.0);
    assert_eq!(of("pgmesh_received_bytes_total", &[("peer", "client"), ("user", "app")]), 10.0);
    assert_eq!(of("pgmesh_sent_bytes_total", &[("peer", "client")]), 20.0);
    assert_eq!(of("pgmesh_received_bytes_total", &[("peer", "server")]), 30.0);
    assert_eq!(of("pgmesh_sent_bytes_total", &[("peer", "server")]), 40.0);
    let counted = ["prepared_hits", "prepared_misses", "sequences_forgotten"];
    assert_eq!(counted.map(|it| of(&format!("pgmesh_{it}_total"), &[])), [5.0, 1.0, 3.0]);
    assert_eq!(of("pgmesh_retries_total", &[("reason", "plan_changed")]), 1.0);
    assert_eq!(of("pgmesh_retries_total", &[("reason", "statement_missing")]), 0.0);
    assert_eq!(of("pgmesh_server_connects_total", &[("role", "primary")]), 6.0);
    assert_eq!(of("pgmesh_server_connect_failures_total", &[("kind", "timeout")]), 8.0);
    assert_eq!(of("pgmesh_server_connect_failures_total", &[("kind", "tls")]), 0.0);
    assert_eq!(of("pgmesh_server_resets_total", &[("kind", "targeted")]), 1.0);
    assert_eq!(of("pgmesh_server_discards_total", &[("reason", "idle")]), 9.0);
    assert_eq!(of("pgmesh_accepts_total", &[("via", "tcp")]), 10.0);
    assert_eq!(of("pgmesh_logins_total", &[]), 1.0);
    assert_eq!(of("pgmesh_refusals_total", &[("reason", "too_many_clients")]), 1.0);
    assert_eq!(of("pgmesh_cancels_total", &[("outcome", "delivered")]), 1.0);
    assert_eq!(of("pgmesh_discovery_failures_total", &[]), 1.0);
    assert_eq!(of("pgmesh_epoch", &[]), 7.0);
    assert_eq!(of("pgmesh_leader", &[("node", "n1")]), 1.0);
    assert_eq!(of("pgmesh_group_leader", &[("group", "0"), ("node", "n1")]), 1.0);
    assert_eq!(of("pgmesh_node_lag_bytes", &[("group", "0"), ("node", "n9")]), 17.0);
    assert_eq!(of("pgmesh_primary_standing", &[("standing", "proven")]), 1.0);
    assert_eq!(of("pgmesh_held_bytes", &[]), 17.0);
    assert_eq!(of("pgmesh_build_info", &[("version", "1.2.3"), ("commit", "abc")]), 1.0);
    assert_eq!(of("pgmesh_servers", &[("state", "active")]), 3.0);
    assert_eq!(of("pgmesh_servers", &[("state", "login")]), 1.0);
    assert_eq!(of("pgmesh_waiting_clients", &[shop]), 4.0);
    assert_eq!(of("pgmesh_oldest_wait_seconds", &[shop]), 1.5);
    let sizes = ["pool_size", "max_pinned"].map(|it| of(&format!("pgmesh_{it}"), &[shop]));
    assert_eq!(sizes, [25.0, 24.0]);
    assert_eq!(of("pgmesh_clients", &[("state", "login")]), 9.0);
    assert_eq!(of("pgmesh_clients", &[("state", "active")]), 3.0);
    assert_eq!(of("pgmesh_clients", &[("state", "waiting")]), 4.0);
    assert_eq!(of("pgmesh_clients", &[("state", "idle")]), 0.0);
}

#[test]
fn logins_and_handshakes_are_timed() {
    let (metrics, exposition) = set_up();
    let mut client = metrics.clients().accepted(Via::Tcp);
    client.logged_in(Duration::from_millis(7));
    let _stranger = metrics.clients().accepted(Via::Tcp);
    (0..2).for_each(|_| metrics.tls().client.observe(Duration::from_millis(1)));
    metrics.tls().server.observe(Duration::from_secs(3));
    let samples = parse(&exposition.text().unwrap()).unwrap();
    let of = |name: &str, labels: &[(&str, &str)]| value(&samples, name, labels).unwrap_or(-1.0);
    assert_eq!(of("pgmesh_login_seconds_count", &[]), 1.0);
    assert_eq!(of("pgmesh_login_seconds_sum", &[]), 0.007);
    assert_eq!(of("pgmesh_tls_handshake_seconds_count", &[("side", "client")]), 2.0);
    assert_eq!(of("pgmesh_tls_handshake_seconds_sum", &[("side", "server")]), 3.0);
}

#[test]
fn certificates_tell_when_they_end() {
    let (metrics, exposition) = set_up();
    metrics
        .observe_certificates(|| CertificateExpiries { client: Some(1_900_000_000), server: None })
        .unwrap();
    let samples = parse(&exposition.text().unwrap()).unwrap();
    let expiry = "pgmesh_tls_certificate_expiry_timestamp_seconds";
    assert_eq!(value(&samples, expiry, &[("side", "client")]), Some(1_900_000_000.0));
    assert_eq!(value(&samples, expiry, &[("side", "server")]), None);
}

#[test]
fn look_ups_of_roles_are_told_once_somebody_does_them() {
    let (metrics, exposition) = set_up();
    let text = exposition.text().unwrap();
    assert!(!text.contains("pgmesh_auth_query"), "{text}");
    let took = Duration::from_millis(1500);
    let lookups = Lookups { asked: 1, cached: 2, joined: 3, stale: 4, failed: 5, took, entries: 6 };
    metrics.observe_lookups(move || lookups).unwrap();
    assert!(metrics.observe_lookups(Lookups::default).is_err());
    let samples = parse(&exposition.text().unwrap()).unwrap();
    for (answer, count) in [("asked", 1.0), ("cached", 2.0), ("joined", 3.0), ("stale", 4.0)] {
        let labels = [("answer", answer)];
        assert_eq!(value(&samples, "pgmesh_auth_query_lookups_total", &labels), Some(count));
    }
    for (name, count) in [("failures_total", 5.0), ("seconds_total", 1.5), ("cache_entries", 6.0)] {
        assert_eq!(value(&samples, &format!("pgmesh_auth_query_{name}"), &[]), Some(count));
    }
}

#[test]
fn bounds_are_told_and_none_is_no_number() {
    let (metrics, exposition) = set_up();
    assert!(!exposition.text().unwrap().contains("pgmesh_max_"));
    metrics.observe_bounds(|| Bounds { clients: 3, held: 2, memory_bytes: None }).unwrap();
    let samples = parse(&exposition.text().unwrap()).unwrap();
    assert_eq!(value(&samples, "pgmesh_max_clients", &[]), Some(3.0));
    assert_eq!(value(&samples, "pgmesh_max_held_clients", &[]), Some(2.0));
    assert_eq!(value(&samples, "pgmesh_max_memory_bytes", &[]), None);
}

#[test]
fn what_listening_clients_are_told_is_told() {
    let (metrics, exposition) = set_up();
    assert!(!exposition.text().unwrap().contains("pgmesh_listen_"));
    let listening = Listening {
        connections: 1,
        clients: 2,
        channels: 3,
        received: 4,
        delivered: 5,
        resumed: 6,
        connect_failures: 7,
        lagged: 8,
    };
    metrics.observe_listening(move || listening).unwrap();
    assert!(metrics.observe_listening(Listening::default).is_err());
    let samples = parse(&exposition.text().unwrap()).unwrap();
    for (name, count) in [
        ("connections", 1.0),
        ("clients", 2.0),
        ("channels", 3.0),
        ("received_total", 4.0),
        ("delivered_total", 5.0),
        ("resumed_total", 6.0),
        ("connect_failures_total", 7.0),
        ("lagged_total", 8.0),
    ] {
        assert_eq!(value(&samples, &format!("pgmesh_listen_{name}"), &[]), Some(count), "{name}");
    }
}

#[test]
fn a_fresh_process_exposes_its_families_and_no_leader() {
    let (metrics, exposition) = set_up();
    let samples = parse(&exposition.text().unwrap()).unwrap();
    assert_eq!(value(&samples, "pgmesh_epoch", &[]), Some(0.0));
    assert_eq!(value(&samples, "pgmesh_leader", &[]), None);
    assert_eq!(value(&samples, "pgmesh_refusals_total", &[("reason", "tls")]), Some(0.0));
    metrics.set_cluster(led(1, Some("n1")));
    metrics.set_cluster(led(2, None));
    let samples = parse(&exposition.text().unwrap()).unwrap();
    assert_eq!(value(&samples, "pgmesh_leader", &[]), None, "an old leader does not stay");
}

#[test]
fn a_registry_takes_the_metrics_once_and_two_registries_do_not_meet() {
    let registry = Registry::new();
    let first = Metrics::new(&registry, BUILD).unwrap();
    assert!(Metrics::new(&registry, BUILD).is_err());
    let (_other, exposition) = set_up();
    first.clients().refusals.inc(Refusal::Tls);
    let samples = parse(&exposition.text().unwrap()).unwrap();
    assert_eq!(value(&samples, "pgmesh_refusals_total", &[("reason", "tls")]), Some(0.0));
    first.observe_pools(PoolStates::default).unwrap();
    assert!(first.observe_pools(PoolStates::default).is_err());
    first.observe_certificates(CertificateExpiries::default).unwrap();
    assert!(first.observe_certificates(CertificateExpiries::default).is_err());
}

#[test]
fn label_sets_are_bounded_whatever_clients_ask_for() {
    let (metrics, exposition) = set_up();
    let held: Vec<_> =
        (0..POOLS_MAX * 3).map(|index| metrics.pool(labels(&index.to_string(), "u"))).collect();
    for pool in &held {
        pool.prepared_misses.inc();
    }
    metrics
        .observe_pools(|| PoolStates {
            pools: (0..POOLS_MAX * 3).map(|i| state(labels(&i.to_string(), "u"))).collect(),
            held_bytes: 0,
        })
        .unwrap();
    let samples = parse(&exposition.text().unwrap()).unwrap();
    for name in ["pgmesh_prepared_misses_total", "pgmesh_server_resets_total"] {
        let of_family: Vec<_> = samples.iter().filter(|sample| sample.name == name).collect();
        let kinds = if name == "pgmesh_server_resets_total" { Reset::ALL.len() } else { 1 };
        assert_eq!(of_family.len(), (POOLS_MAX + 1) * kinds, "{name}");
    }
    for name in ["pgmesh_prepared_misses_total", "pgmesh_server_resets_total"] {
        let of_family = samples.iter().filter(|sample| sample.name == name);
        let sum: f64 = of_family.map(|sample| sample.value).sum();
        assert_eq!(sum, (POOLS_MAX * 3) as f64, "nothing is lost of {name}");
    }
}

proptest! {
    #[test]
    fn any_name_is_valid_text(database in ".*", user in ".*", node in ".*") {
        let (metrics, exposition) = set_up();
        let pool = metrics.pool(labels(&database, &user));
        pool.prepared_misses.inc();
        metrics.set_cluster(led(1, Some(&node)));
        let samples = parse(&exposition.text().unwrap()).unwrap();
        let labels = [("database", database.as_str()), ("user", user.as_str())];
        prop_assert_eq!(value(&samples, "pgmesh_prepared_misses_total", &labels), Some(1.0));
        prop_assert_eq!(value(&samples, "pgmesh_leader", &[("node", node.as_str())]), Some(1.0));
    }
}
