//! `/cluster`, `/pools`, `/events` and the status page, over a failover made by hand.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use testbed::{Etcd, Pgmesh};

use crate::browser::{Browser, Look};
use crate::clients::Raw;
use crate::epochs::{Keys, postgres, promote};
use crate::metrics::wait_for;
use crate::proxy::Setup;

/// Longer than two samples take.
const PATIENCE: Duration = Duration::from_secs(60);

fn json(mesh: &Pgmesh, path: &str) -> Value {
    let answer = mesh.http(path).unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// The page's address, for what is to be still after it has had its first events.
pub(crate) fn page(mesh: &Pgmesh) -> String {
    mesh.metrics_url().replace("/metrics", "/#still")
}

/// Reads events until `count` of this name have come, and returns the last one's data.
fn read_events(mesh: &Pgmesh, name: &str, count: usize) -> Value {
    let url = mesh.metrics_url();
    let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    for _ in 0..count {
        lines.find(|line| line.as_str() == format!("event: {name}")).unwrap();
    }
    let data = lines.next().unwrap();
    serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap()
}

#[test]
fn the_page_shows_the_cluster_its_pools_and_a_failover() {
    let keys = Keys { etcd: Etcd::start().unwrap() };
    let (first, mut second) = (postgres(), postgres());
    keys.member("n1", &first, "master", 1);
    keys.member("n2", &second, "replica", 1);
    keys.put("leader", "n1");
    let mesh =
        Setup::before_keys(&keys.etcd, "/service/", "split").with("pool", "size = 7").start();
    wait_for(&mesh, "pgmesh_leader", "node=\"n1\"", 1.0);
    let begun = json(&mesh, "/cluster");
    assert_eq!(
        (&begun["failovers"], &begun["leader"]["node"]),
        (&serde_json::json!([]), &"n1".into())
    );
    assert_eq!((&begun["ready"], &begun["leader"]["since_before"]), (&true.into(), &true.into()));

    let stop = AtomicBool::new(false);
    let mut client = Raw::log_in(&mesh.app());
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let answer = client.query("SELECT 1");
                // One may be under way when its server is lost.
                assert!(answer.errors.iter().all(|error| error.code == "08007"), "{answer:?}");
            }
        });
        read_events(&mesh, "sample", 1);
        promote(&mut second);
        keys.put("leader", "n2");
        keys.member("n2", &second, "master", 2);
        keys.member("n1", &first, "replica", 2);
        wait_for(&mesh, "pgmesh_leader", "node=\"n2\"", 1.0);
        let sample = read_events(&mesh, "sample", 1);
        assert_eq!(sample["columns"][0], "transactions");
        assert!(sample["all"][0][0].as_f64().unwrap() > 0.0, "{sample}");
        assert_eq!(sample["databases"][0]["name"], "app", "{sample}");
        wait_for(&mesh, "pgmesh_failover_first_success_seconds_count", "", 1.0);
        stop.store(true, Ordering::Relaxed);
        working.join().unwrap();
    });
    is_told(&mesh);
    let state = read_events(&mesh, "state", 1);
    assert_eq!(state["cluster"]["leader"]["node"], "n2");
    assert_eq!(state["pools"]["pools"][0]["user"], "app_user");
    is_seen(&mesh);
}

fn is_told(mesh: &Pgmesh) {
    let cluster = json(mesh, "/cluster");
    let last = &cluster["failovers"][0];
    let [kind, from, to, outcome] = ["kind", "from", "to", "outcome"].map(|key| &last[key]);
    assert_eq!([kind, from, to, outcome], ["failover", "n1", "n2", "over"], "{cluster}");
    assert_eq!((&last["epoch"], &cluster["leader"]["epoch"]), (&2.into(), &2.into()));
    assert!(last["first_success_ms"].as_f64().unwrap() >= 0.0, "{cluster}");
    let nodes: Vec<_> = cluster["nodes"].as_array().unwrap().iter().collect();
    assert_eq!(nodes.iter().map(|node| &node["leader"]).collect::<Vec<_>>(), [false, true]);
    assert_eq!((&nodes[1]["role"], &nodes[1]["proof"]), (&"primary".into(), &"probe".into()));

    let pools = json(mesh, "/pools");
    let pool = &pools["pools"][0];
    assert_eq!((&pool["database"], &pool["user"]), (&"app".into(), &"app_user".into()), "{pools}");
    assert_eq!((&pool["size"], &pool["role"]), (&7.into(), &"primary".into()), "{pools}");
    assert_eq!((&pools["clients"], &pool["clients_waiting"]), (&1.into(), &0.into()), "{pools}");
}

/// A browser shows what was told.
fn is_seen(mesh: &Pgmesh) {
    let Some(browser) = Browser::find() else { return };
    let dom = browser.dom(&page(mesh));
    for shown in [
        "<b>n2</b> leads since ",
        "failover: n1 → n2",
        "class=\"leads\"",
        "<td data-label=\"User\">app_user</td>",
        "transactions run",
    ] {
        assert!(dom.contains(shown), "{shown}: {dom}");
    }
    browser.screenshot(&page(mesh), Look::Dark);
    browser.screenshot(&page(mesh), Look::Phone);
}
