//! Polling Patroni's REST interface, and fixed lists with probes.

#[path = "support/node.rs"]
mod node;
mod support;

use std::sync::Arc;
use std::time::Duration;

use discovery::{Config, FixedConfig, RestConfig, Tls, spawn};
use node::{Node, cluster, ok};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use support::{primary, route, until};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use topology::{
    Access, Address, Config as Rules, Event, NodeName, Outcome, Probe, Snapshot, Timeline,
};

fn config(nodes: &[&Node]) -> RestConfig {
    RestConfig {
        poll_interval: Duration::from_millis(20),
        ..RestConfig::new(nodes.iter().map(|node| node.url()).collect())
    }
}

#[tokio::test]
async fn a_new_leader_is_seen_by_polling() {
    let node = Node::start(cluster("n1", 1), None).await;
    let mut discovery = spawn(Config::Rest(config(&[&node])), Rules::default(), None).unwrap();
    let first = until(&mut discovery, |s| primary(s) == "n1").await;
    assert_eq!(first.primary().unwrap().address.to_string(), "n1:5432");
    assert_eq!(route(&first, Access::ReadOnly), "n2");
    // Shown as leader before it is promoted: one epoch, not two.
    node.response.send_replace(cluster("n2", 1));
    until(&mut discovery, |s| primary(s) == "n2").await;
    node.response.send_replace(cluster("n2", 2));
    let promoted = until(&mut discovery, |s| s.timeline() == Some(Timeline(2))).await;
    assert_eq!(promoted.epoch().get(), 2);
}

#[tokio::test]
async fn the_next_node_is_asked_when_one_fails_or_shows_the_past() {
    let (a, mut b) =
        (Node::start(cluster("n2", 2), None).await, Node::start(cluster("n2", 3), None).await);
    let mut discovery = spawn(Config::Rest(config(&[&a, &b])), Rules::default(), None).unwrap();
    until(&mut discovery, |s| s.timeline() == Some(Timeline(2))).await;
    a.response.send_replace("HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".into());
    until(&mut discovery, |s| s.timeline() == Some(Timeline(3))).await;

    // `a` is cut off and shows n1's time; `b` answers no more, then garbage, then far too much.
    a.response.send_replace(cluster("n1", 1));
    let huge = "x".repeat(300 * 1024);
    for bad in [String::new(), "garbage\r\n\r\n".into(), ok("<html>"), ok(&huge)] {
        b.response.send_replace(bad);
        b.asked_again().await;
        assert!(!discovery.snapshots.has_changed().unwrap());
    }
    b.response.send_replace(cluster("n1", 4));
    let back = until(&mut discovery, |s| primary(s) == "n1").await;
    assert_eq!(back.epoch().get(), 3);
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_given_up() {
    let hanging = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let good = Node::start(cluster("n1", 1), None).await;
    let mut config = config(&[&good]);
    config.endpoints.insert(0, format!("http://{}", hanging.local_addr().unwrap()));
    config.request_timeout = Duration::from_millis(100);
    let mut discovery = spawn(Config::Rest(config), Rules::default(), None).unwrap();
    until(&mut discovery, |s| primary(s) == "n1").await;
}

#[tokio::test]
async fn https_endpoints_are_verified() {
    let own = rcgen::generate_simple_self_signed(["patroni.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let mut node = Node::start(cluster("n1", 1), Some(Arc::new(server))).await;
    let files = tempfile::tempdir().unwrap();
    let ca = files.path().join("ca.crt");
    std::fs::write(&ca, own.cert.pem()).unwrap();

    let port = node.port;
    let config = |server_name: Option<&str>| RestConfig {
        tls: Tls { ca: Some(ca.clone()), server_name: server_name.map(Into::into), identity: None },
        poll_interval: Duration::from_millis(20),
        ..RestConfig::new(vec![format!("https://127.0.0.1:{port}")])
    };
    let mut named =
        spawn(Config::Rest(config(Some("patroni.test"))), Rules::default(), None).unwrap();
    until(&mut named, |s| primary(s) == "n1").await;

    drop(named);
    // The certificate is not for 127.0.0.1.
    let unnamed = spawn(Config::Rest(config(None)), Rules::default(), None).unwrap();
    node.asked_again().await;
    assert!(unnamed.snapshots.borrow().primary().is_none());
}

#[tokio::test]
async fn one_fixed_node_is_the_primary() {
    let nodes = vec![Address::parse("db:6543").unwrap()];
    let mut discovery =
        spawn(Config::Fixed(FixedConfig { nodes }), Rules::default(), None).unwrap();
    let snapshot = until(&mut discovery, |s| primary(s) == "db:6543").await;
    assert_eq!(snapshot.epoch().get(), 1);
    assert_eq!(route(&snapshot, Access::Any), "db:6543");
}

#[tokio::test]
async fn of_several_fixed_nodes_probes_find_the_primary() {
    let nodes: Vec<_> = ["a:1", "b:2"].map(|text| Address::parse(text).unwrap()).into();
    let (probes, receiver) = mpsc::channel(4);
    let config = Config::Fixed(FixedConfig { nodes: nodes.clone() });
    let mut discovery = spawn(config, Rules::default(), Some(receiver)).unwrap();
    let probe = |seen: &Snapshot, n: usize, in_recovery, timeline| {
        let timeline = Some(Timeline(timeline));
        Event::Probe(Probe {
            node: NodeName::new(&nodes[n].to_string()).unwrap(),
            address: nodes[n].clone(),
            round: seen.round(),
            outcome: Outcome::Answered { in_recovery, timeline, position: None },
        })
    };
    let listed = until(&mut discovery, |s| s.nodes().len() == 2).await;
    probes.send(probe(&listed, 0, true, 1)).await.unwrap();
    probes.send(probe(&listed, 1, false, 1)).await.unwrap();
    let first = until(&mut discovery, |s| primary(s) == "b:2").await;
    assert_eq!(route(&first, Access::ReadOnly), "a:1");
    probes.send(probe(&first, 0, false, 2)).await.unwrap();
    let second = until(&mut discovery, |s| primary(s) == "a:1").await;
    assert_eq!((first.epoch().get(), second.epoch().get()), (1, 2));
    // The prober ends; the task goes on.
    drop(probes);
    tokio::task::yield_now().await;
    assert!(!discovery.task.is_finished());
}
