//! docs/metrics.md is what the registry has: written by the test below, and compared with it.
//!
//! `PGMESH_WRITE_DOCS=1 cargo test -p telemetry --test reference` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::{env, fs};

use prometheus::proto::MetricFamily;
use telemetry::{
    Bounds, Build, CertificateExpiries, ClusterState, Console, Kind, Listening, Lookups, Metrics,
    NodeState, PinState, PoolLabels, PoolState, PoolStates, PoolTotals, Reference, Registry, Role,
    reference,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

const HEAD: &str = "\
# Metrics

`GET /metrics` on `metrics.listen` has them in Prometheus' text format. This page is made from
the code by `crates/telemetry/tests/reference.rs`: do not edit it.

- Counters begin at zero with the process and only grow: look at `rate(…)` or `increase(…)`.
- A histogram has the samples `_bucket` with the label `le`, `_sum` and `_count`; all have the same
  bounds, from 100 µs to 60 s.
- `database`, `user` and `role` are those of a pool; `role` is the part of the cluster that its port
  leads to: `primary`, `replica` or `any`. At most 512 pools are told apart, the others are together
  under `database=\"_other\"`. At most 512 nodes are shown.
- A scrape reads numbers that are kept anyway: it asks no server and walks no client, and does not
  grow with the number of clients. `pgmesh_auth_query_*` are there with `auth.query_user` only,
  `pgmesh_console_*` with `admin.users` or `admin.stats_users`.

What to look at when is in [operations.md](operations.md), what to do about an alert in
[alerts.md](alerts.md); rules and a dashboard that look at them in
[deploy/monitoring](../deploy/monitoring).
";

/// Stands where a value is not one of telemetry's own words.
const FREE: &str = "a name";

/// Everything that can be exposed, exposed.
fn gather() -> Vec<MetricFamily> {
    let registry = Registry::new();
    let build = Build { version: FREE, commit: FREE };
    let metrics = Metrics::new(&registry, build).expect("a fresh registry");
    let labels =
        PoolLabels { database: FREE.to_owned(), user: FREE.to_owned(), role: Role::Primary };
    let state = PoolState {
        labels: labels.clone(),
        active: 0,
        kept: 0,
        idle: 0,
        login: 0,
        warm: 0,
        is_holding: false,
        is_paused: false,
        waiting: 0,
        oldest_wait: std::time::Duration::ZERO,
        size: 0,
        max_pinned: 0,
        pinned: vec![PinState { reason: FREE, now: 0, total: 0 }],
        totals: PoolTotals::default(),
    };
    metrics
        .observe_pools(move || PoolStates { pools: vec![state.clone()], held_bytes: 0 })
        .expect("a first source");
    metrics
        .observe_certificates(|| CertificateExpiries { client: Some(0), server: Some(0) })
        .expect("a first source");
    metrics.observe_lookups(Lookups::default).expect("a first source");
    metrics.observe_listening(Listening::default).expect("a first source");
    metrics
        .observe_bounds(|| Bounds { clients: 0, held: 0, memory_bytes: Some(0) })
        .expect("a first source");
    metrics
        .observe_console(|| Console { clients: 0, commands: vec![(FREE, FREE, 0)] })
        .expect("a first source");
    let node = NodeState {
        group: FREE.to_owned(),
        name: FREE.to_owned(),
        role: FREE,
        state: FREE,
        is_leader: true,
        lag: Some(0),
    };
    metrics.set_cluster(ClusterState {
        epoch: 1,
        leader: Some(FREE.to_owned()),
        standing: FREE,
        nodes: vec![node],
    });
    let _pool = metrics.pool(labels);
    registry.gather()
}

/// For each label of a family that has a fixed set of words: these. Those of `role` are told once.
fn words(family: &MetricFamily) -> BTreeMap<String, BTreeSet<String>> {
    let mut words: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let pairs = family.get_metric().iter().flat_map(|metric| metric.get_label());
    for pair in pairs.filter(|pair| pair.name() != "role" && pair.value() != FREE) {
        words.entry(pair.name().to_owned()).or_default().insert(pair.value().to_owned());
    }
    words
}

fn label(name: &str, words: Option<&BTreeMap<String, BTreeSet<String>>>) -> String {
    let values = words.and_then(|words| words.get(name)).into_iter().flatten();
    let values: Vec<_> = values.map(|value| format!("`{value}`")).collect();
    match values.is_empty() {
        true => format!("`{name}`"),
        false => format!("`{name}`: {}", values.join(", ")),
    }
}

fn document() -> String {
    let families = gather();
    let words: BTreeMap<_, _> =
        families.iter().map(|family| (family.name().to_owned(), words(family))).collect();
    let mut text = HEAD.to_owned();
    text.push_str("\n| name | kind | labels | unit | what it is |\n|---|---|---|---|---|\n");
    for Reference { name, kind, labels, unit, help } in reference() {
        let labels: Vec<_> = labels.iter().map(|it| label(it, words.get(name))).collect();
        let labels = labels.join("; ");
        writeln!(text, "| `{name}` | {kind} | {labels} | {unit} | {help} |")
            .expect("a String takes it");
    }
    text
}

#[test]
fn the_reference_has_every_family_and_no_other() {
    let exposed: BTreeMap<_, _> = gather()
        .iter()
        .map(|family| {
            let labels: BTreeSet<_> = family.get_metric()[0]
                .get_label()
                .iter()
                .map(|pair| pair.name().to_owned())
                .collect();
            (family.name().to_owned(), labels)
        })
        .collect();
    let known: BTreeMap<_, _> = reference()
        .iter()
        .map(|it| (it.name.to_owned(), it.labels.iter().map(|&label| label.to_owned()).collect()))
        .collect();
    assert_eq!(exposed, known);
}

#[test]
fn names_say_what_prometheus_wants_them_to_say() {
    for it in reference() {
        assert!(it.name.starts_with("pgmesh_") || it.name.starts_with("process_"), "{}", it.name);
        assert_eq!(it.kind == Kind::Counter, it.name.ends_with("_total"), "{}", it.name);
        assert!(it.help.ends_with('.') && !it.help.contains('|'), "{}: {}", it.name, it.help);
    }
}

#[test]
fn the_document_is_what_the_registry_has() {
    let expected = document();
    if env::var_os("PGMESH_WRITE_DOCS").is_some() {
        fs::write(PATH, &expected).unwrap();
    }
    let written = fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        written == expected,
        "docs/metrics.md is not what the registry has:\n    \
         PGMESH_WRITE_DOCS=1 cargo test -p telemetry --test reference"
    );
}
