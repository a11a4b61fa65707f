//! Polling Patroni's REST interface, and fixed lists with probes.

mod support;

use std::sync::Arc;
use std::time::Duration;

use discovery::{Config, FixedConfig, RestConfig, Tls, spawn};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use support::{primary, route, until};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;
use topology::{Access, Address, NodeName, Outcome, Probe, Timeline};

/// Answers every request with the response that it was last given.
struct Node {
    port: u16,
    response: watch::Sender<String>,
    /// Connections that were answered, well or not.
    answered: watch::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
}

impl Node {
    async fn start(response: String, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (sender, receiver) = watch::channel(response);
        let (count, answered) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let response = receiver.borrow().clone();
                match tls.clone().map(TlsAcceptor::from) {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            answer(stream, &response).await;
                        }
                    }
                    None => answer(stream, &response).await,
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Self { port, response: sender, answered, _task: AbortOnDropHandle::new(task) }
    }

    /// Until it has answered twice from now on: the first may be from before.
    async fn asked_again(&mut self) {
        let before = *self.answered.borrow();
        let twice = self.answered.wait_for(|count| *count >= before + 2);
        tokio::time::timeout(Duration::from_secs(60), twice).await.expect("asked").expect("runs");
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, response: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    assert!(request.starts_with(b"GET /cluster HTTP/1.1\r\n"));
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn ok(body: &str) -> String {
    format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// `/cluster` as Patroni 3.0.2 answers.
fn cluster(leader: &str, timeline: u32) -> String {
    let member = |name: &str| {
        let role = if name == leader { "leader" } else { "replica" };
        format!(
            r#"{{"name": "{name}", "role": "{role}", "state": "running", "host": "{name}",
            "port": 5432, "timeline": {timeline}, "lag": 0}}"#
        )
    };
    ok(&format!(r#"{{"members": [{}, {}]}}"#, member("n1"), member("n2")))
}

fn config(nodes: &[&Node]) -> RestConfig {
    RestConfig {
        poll_interval: Duration::from_millis(20),
        ..RestConfig::new(nodes.iter().map(|node| node.url()).collect())
    }
}

#[tokio::test]
async fn a_new_leader_is_seen_by_polling() {
    let node = Node::start(cluster("n1", 1), None).await;
    let mut discovery = spawn(Config::Rest(config(&[&node])), None).unwrap();
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
    let mut discovery = spawn(Config::Rest(config(&[&a, &b])), None).unwrap();
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
    let mut discovery = spawn(Config::Rest(config), None).unwrap();
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
    let mut named = spawn(Config::Rest(config(Some("patroni.test"))), None).unwrap();
    until(&mut named, |s| primary(s) == "n1").await;

    drop(named);
    // The certificate is not for 127.0.0.1.
    let unnamed = spawn(Config::Rest(config(None)), None).unwrap();
    node.asked_again().await;
    assert!(unnamed.snapshots.borrow().primary().is_none());
}

#[tokio::test]
async fn one_fixed_node_is_the_primary() {
    let nodes = vec![Address::parse("db:6543").unwrap()];
    let mut discovery = spawn(Config::Fixed(FixedConfig { nodes }), None).unwrap();
    let snapshot = until(&mut discovery, |s| primary(s) == "db:6543").await;
    assert_eq!(snapshot.epoch().get(), 1);
    assert_eq!(route(&snapshot, Access::Any), "db:6543");
}

#[tokio::test]
async fn of_several_fixed_nodes_probes_find_the_primary() {
    let nodes: Vec<_> = ["a:1", "b:2"].map(|text| Address::parse(text).unwrap()).into();
    let (probes, receiver) = mpsc::channel(4);
    let config = Config::Fixed(FixedConfig { nodes: nodes.clone() });
    let mut discovery = spawn(config, Some(receiver)).unwrap();
    let probe = |n: usize, in_recovery, timeline| Probe {
        node: NodeName::new(&nodes[n].to_string()).unwrap(),
        address: nodes[n].clone(),
        outcome: Outcome::Answered {
            in_recovery,
            timeline: Some(Timeline(timeline)),
            position: None,
        },
    };
    until(&mut discovery, |s| s.nodes().len() == 2).await;
    probes.send(probe(0, true, 1)).await.unwrap();
    probes.send(probe(1, false, 1)).await.unwrap();
    let first = until(&mut discovery, |s| primary(s) == "b:2").await;
    assert_eq!(route(&first, Access::ReadOnly), "a:1");
    probes.send(probe(0, false, 2)).await.unwrap();
    let second = until(&mut discovery, |s| primary(s) == "a:1").await;
    assert_eq!((first.epoch().get(), second.epoch().get()), (1, 2));
    // The prober ends; the task goes on.
    drop(probes);
    tokio::task::yield_now().await;
    assert!(!discovery.task.is_finished());
}
