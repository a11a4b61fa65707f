//! The dashboard, each of its queries put to a Prometheus that scrapes a real pgmesh.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use testbed::{
    Interrupt, Pgmesh, Postgres, PostgresOptions, Prometheus, ServerTls, packages, run, until,
};

use crate::certificates::Authority;
use crate::known::unknown;
use crate::metrics::sample;
use crate::promql::metrics;
use crate::proxy::Setup;
use crate::rules::{alert_rules, monitoring};

/// For what happens in its own time, on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Queries that come to nothing here, by the metric that is missing, and why.
const MAY_BE_EMPTY: &[(&str, &str)] =
    &[("pgmesh_auth_query_lookups_total", "there is no auth.query_user")];

/// What Grafana puts in the place of its variables.
const VARIABLES: &[(&str, &str)] =
    &[("$instance", ".*"), ("$database", ".*"), ("$__rate_interval", "1m"), ("$__range", "1m")];

fn dashboard() -> Value {
    let text = std::fs::read_to_string(monitoring().join("grafana/pgmesh.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every query, with its variables put in, and where it is.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    let mut add = |title: &Value, expr: &Value| {
        let mut expr = expr.as_str().unwrap().to_owned();
        for (name, value) in VARIABLES {
            expr = expr.replace(name, value);
        }
        assert!(!expr.contains('$'), "{title}: {expr} has a variable that nobody knows");
        queries.push((title.as_str().unwrap().to_owned(), expr));
    };
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            add(&panel["title"], &target["expr"]);
        }
    }
    for note in dashboard["annotations"]["list"].as_array().unwrap() {
        add(&note["name"], &note["expr"]);
    }
    queries
}

/// The metrics that the dashboard's variables take their values from.
fn sources(dashboard: &Value) -> BTreeSet<String> {
    let source = |variable: &Value| {
        let definition = variable["definition"].as_str()?;
        let arguments = definition.strip_prefix("label_values(").unwrap();
        Some(arguments.split_once(',').unwrap().0.to_owned())
    };
    dashboard["templating"]["list"].as_array().unwrap().iter().filter_map(source).collect()
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard = dashboard();
    assert_eq!(sources(&dashboard).len(), 2);
    assert_eq!(unknown(&sources(&dashboard)), Vec::<&String>::new());
    let mut asked = BTreeSet::new();
    for (title, expr) in queries(&dashboard) {
        let names = metrics(&expr);
        assert!(!names.is_empty(), "{title}: {expr}");
        assert_eq!(unknown(&names), Vec::<&String>::new(), "{title}: {expr}");
        asked.extend(names);
    }
    for (name, why) in MAY_BE_EMPTY {
        assert!(asked.contains(*name), "{name}: nobody asks for it; {why}");
    }
    let mut places = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let place = &panel["gridPos"];
        assert!(places.insert((place["x"].as_u64(), place["y"].as_u64())), "{panel}");
    }
}

/// A client that goes through a login with TLS and a few transactions.
fn client(mesh: &Pgmesh) {
    let mut psql = mesh.app().command("psql").unwrap();
    psql.env("PGSSLMODE", "require").args(["-X", "-c", "SELECT 1", "-c", "SELECT 2"]);
    run(&mut psql, "", PATIENCE, &Interrupt::default()).unwrap();
}

/// What `expr` comes to once it comes to something.
pub(crate) fn ask(prometheus: &Prometheus, what: &str, expr: &str) -> Vec<Value> {
    until(&format!("{what}: a result of {expr}"), PATIENCE, &Interrupt::default(), || {
        Ok(Some(prometheus.query(expr)?).filter(|samples| !samples.is_empty()))
    })
    .unwrap()
}

#[test]
fn every_query_of_the_dashboard_has_an_answer() {
    packages::ensure(&[packages::PROMETHEUS]).unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.sign(&["localhost"]);
    let tls = Some(ServerTls { certificate, key, client_ca: None });
    let postgres = Postgres::start(PostgresOptions { tls, ..PostgresOptions::default() }).unwrap();
    let mesh = Setup::before(&postgres)
        .with("proxy.tls", &authority.sign_to_files(&["localhost"]))
        .with("server.tls", "mode = \"require\"")
        .with("proxy", "max_memory = \"4GiB\"")
        .with("pool", "max_pinned = 7")
        .start();
    client(&mesh);
    assert!(sample(&mesh, "pgmesh_login_seconds_count", "") >= 1.0);
    assert!(sample(&mesh, "pgmesh_login_seconds_sum", "") > 0.0);
    for side in ["side=\"client\"", "side=\"server\""] {
        assert!(sample(&mesh, "pgmesh_tls_handshake_seconds_count", side) >= 1.0, "{side}");
        assert!(sample(&mesh, "pgmesh_tls_handshake_seconds_sum", side) > 0.0, "{side}");
    }
    for (name, value) in [
        ("max_clients", 10_000.0),
        ("max_held_clients", 10_000.0),
        ("max_memory_bytes", 2f64.powi(32)),
        ("max_pinned", 7.0),
    ] {
        let told = sample(&mesh, &format!("pgmesh_{name}"), "");
        assert!((told - value).abs() < 0.5, "{name}: {told}");
    }

    let prometheus = Prometheus::start(&format!(
        "global: {{ scrape_interval: 500ms }}\n\
         scrape_configs:\n\
         - job_name: pgmesh\n  static_configs: [{{ targets: ['{}'] }}]\n",
        mesh.metrics_url().trim_start_matches("http://").trim_end_matches("/metrics")
    ))
    .unwrap();
    // Rates take two scrapes of the same sample.
    ask(&prometheus, "scrapes", "count_over_time(pgmesh_transaction_seconds_count[1m]) >= 2");
    client(&mesh);
    let transactions = "sum(increase(pgmesh_transaction_seconds_count[1m])) > 0";
    ask(&prometheus, "a transaction between two scrapes", transactions);
    let mut empty = Vec::new();
    for (title, expr) in queries(&dashboard()) {
        let samples = prometheus.query(&expr).unwrap();
        let may = MAY_BE_EMPTY.iter().any(|(name, _)| metrics(&expr).contains(*name))
            // Notes on events: there are none here.
            || title == "New epoch";
        if samples.is_empty() != may {
            empty.push(format!("{title}: {expr} has {} samples", samples.len()));
        }
    }
    assert!(empty.is_empty(), "{empty:#?}");
    for (name, expr) in alert_rules("pgmesh.yml") {
        let samples = prometheus.query(&expr).unwrap();
        assert!(samples.is_empty(), "{name}, though all is well: {samples:?}");
    }
}
