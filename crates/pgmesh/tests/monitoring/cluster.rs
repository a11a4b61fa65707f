//! The rules about Patroni, etcd and Postgres, put to a Prometheus that scrapes all three.

use std::fmt::Write as _;
use std::process::Command;

use testbed::{
    Cluster, ClusterOptions, Daemon, Interrupt, Port, Prometheus, SUPERUSER, Signal, http,
    packages, programs,
};

use crate::dashboard::{PATIENCE, ask};
use crate::known::OF_OTHERS;
use crate::rules::alert_rules;

/// A postgres_exporter that asks the leader.
fn exporter(cluster: &Cluster) -> (Daemon, Port) {
    let port = Port::reserve().unwrap();
    let mut exporter = Command::new(programs::find("prometheus-postgres-exporter").unwrap());
    let leader = cluster.leader().unwrap();
    let url = format!(
        "postgresql://{}:{}@{}/postgres?sslmode=disable",
        SUPERUSER.user,
        SUPERUSER.password,
        leader.address()
    );
    exporter.env("DATA_SOURCE_NAME", url).arg(format!("--web.listen-address=127.0.0.1:{port}"));
    cluster.bed().demote(&mut exporter);
    let mut daemon = cluster.bed().spawn("exporter", &mut exporter, Signal::KILL).unwrap();
    let is_there = || http::get(port.number(), "/").is_ok_and(|answer| answer.status == 200);
    daemon.wait_ready(PATIENCE, &Interrupt::default(), is_there).unwrap();
    (daemon, port)
}

/// The jobs that the rules go by, with what was started here.
fn configuration(cluster: &Cluster, exporter: &Port) -> String {
    let mut text = "scrape_configs:\n".to_owned();
    let patroni: Vec<String> =
        cluster.nodes().iter().map(|node| format!("'{}'", node.api_address())).collect();
    // The exporter tries to log in for some seconds, and must be waited for that long.
    for (job, targets, labels, interval) in [
        ("patroni", patroni.join(", "), "{ role: coordinator, group: '0' }", "500ms"),
        ("etcd", format!("'127.0.0.1:{}'", cluster.etcd().port()), "{}", "500ms"),
        ("postgres", format!("'127.0.0.1:{exporter}'"), "{}", "10s"),
    ] {
        let _ = writeln!(
            text,
            "- job_name: {job}\n  scrape_interval: {interval}\n  \
             static_configs: [{{ targets: [{targets}], labels: {labels} }}]"
        );
    }
    text
}

#[test]
fn the_rules_of_the_cluster_ask_for_what_others_tell() {
    packages::ensure(&[packages::PROMETHEUS, packages::POSTGRES_EXPORTER]).unwrap();
    let options = ClusterOptions { nodes: 2, ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options).unwrap();
    let (_exporter, port) = exporter(&cluster);
    let prometheus = Prometheus::start(&configuration(&cluster, &port)).unwrap();
    for name in OF_OTHERS {
        ask(&prometheus, "a metric of others", name);
    }
    ask(&prometheus, "all targets", "sum(up) == 4");
    let rules = alert_rules("cluster.yml");
    for (name, expr) in &rules {
        let samples = prometheus.query(expr).unwrap();
        assert!(samples.is_empty(), "{name}, though all is well: {samples:?}");
    }

    let leader = cluster.leader().unwrap().name().to_owned();
    cluster.kill(&leader).unwrap();
    cluster.etcd_mut().kill();
    let lost = ["EtcdQuorumLost", "EtcdUnreachable", "PatroniDown", "PostgresUnreachable"];
    for (name, expr) in rules.iter().filter(|(name, _)| lost.contains(&name.as_str())) {
        ask(&prometheus, name, expr);
    }
}
