//! A planned switchover: for idle clients nothing, for writers a pause, and no write of anybody
//! goes to the old primary once there is a new one. The same by every kind of discovery.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use testbed::{Cluster, Login, Pgmesh};
use wire::Version;

use crate::browser::{Browser, Look};
use crate::clients::Raw;
use crate::metrics::{eventually, sample, wait_for};
use crate::page::page;
use crate::ports::is_observed;
use crate::proxy::Setup;

/// A proxy, clients that are idle, and the name by which it knows the new leader.
struct Side {
    mesh: Pgmesh,
    idle: Vec<Raw>,
    leader: String,
    epoch: f64,
}

/// A write that was acknowledged: its number, and the port of the node that took it.
type Written = (u32, u16);

pub(crate) fn is_a_pause(cluster: &Cluster) {
    cluster.app().unwrap().psql("CREATE TABLE written (n int, side text)").unwrap();
    let (old, new) = (cluster.node("n1").unwrap().port(), cluster.node("n2").unwrap().port());
    let ports: Vec<u16> = cluster.nodes().iter().rev().map(testbed::Node::port).collect();
    let mut sides = [
        side(Setup::before_etcd(cluster), "n2".to_owned()),
        side(Setup::before_patroni(cluster), "n2".to_owned()),
        // By probing: the primary is the last in the list.
        side(Setup::before_nodes(&ports), format!("127.0.0.1:{new}")),
    ];
    let (stop, logins) = (AtomicBool::new(false), sides.each_ref().map(|side| side.mesh.app()));
    let written: Vec<Vec<Written>> = thread::scope(|scope| {
        let stop = &stop;
        let writers: Vec<_> = logins
            .iter()
            .zip(1_u32..)
            .map(|(login, number)| scope.spawn(move || write_until(stop, login, number)))
            .collect();
        cluster.switchover("n2").unwrap();
        for side in &mut sides {
            arrives(side, new);
        }
        is_told(&sides[0].mesh);
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    cluster.wait_ready(std::time::Duration::from_secs(120)).unwrap();
    if let Some(browser) = Browser::find() {
        let dom = browser.dom(&page(&sides[0].mesh));
        assert!(dom.contains("switchover: n1 → n2"), "{dom}");
        browser.screenshot(&page(&sides[0].mesh), Look::Light);
    }
    for (written, number) in written.iter().zip(1_u32..) {
        let first_new = written.iter().position(|(_, port)| *port == new).unwrap();
        let (before, after) = written.split_at(first_new);
        assert!(before.iter().all(|(_, port)| *port == old), "{before:?}");
        assert!(after.iter().all(|(_, port)| *port == new), "back to the old one: {after:?}");
        // What was acknowledged is there.
        let kept = format!("SELECT n FROM written WHERE side = '{number}'");
        let kept = cluster.app().unwrap().psql(&kept).unwrap();
        let kept: std::collections::HashSet<u32> =
            kept.lines().map(|line| line.parse().unwrap()).collect();
        let lost: Vec<_> = written.iter().filter(|(n, _)| !kept.contains(n)).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}

fn side(setup: Setup, leader: String) -> Side {
    let mesh = setup.start();
    // The primary may not be known yet when the port is open.
    let login = || Raw::log_in_with(&mesh.app(), Version::V3_0, &[]);
    eventually("a login", || login().is_ok());
    let mut idle: Vec<Raw> = (0..5).map(|_| login().unwrap()).collect();
    for client in &mut idle {
        client.value("SELECT 1");
    }
    let epoch = sample(&mesh, "pgmesh_epoch", "");
    Side { mesh, idle, leader, epoch }
}

/// The new leader is known, and every client that was idle goes on there.
fn arrives(side: &mut Side, port: u16) {
    let Side { mesh, idle, leader, epoch } = side;
    wait_for(mesh, "pgmesh_leader", &format!("node=\"{leader}\""), 1.0);
    is_observed(mesh, leader);
    assert!(sample(mesh, "pgmesh_epoch", "") > *epoch);
    for client in idle {
        let sql = "INSERT INTO written VALUES (0, 'idle') RETURNING inet_server_port()";
        let answer = client.query(sql);
        assert_eq!((answer.errors, answer.rows), (vec![], vec![vec![port.to_string()]]));
    }
}

/// Whoever follows the keys knows that it was asked for, and who waited how long.
fn is_told(mesh: &Pgmesh) {
    let body = mesh.http("/cluster").unwrap().body;
    let cluster: serde_json::Value = serde_json::from_str(&body).unwrap();
    let last = cluster["failovers"].as_array().unwrap().last().unwrap();
    let [kind, from, to, outcome] = ["kind", "from", "to", "outcome"].map(|key| &last[key]);
    assert_eq!([kind, from, to, outcome], ["switchover", "n1", "n2", "over"], "{body}");
    assert!(last["clients_held"].as_u64().unwrap() >= 1, "the writer waited: {body}");
    assert!(last["hold_ms"].as_f64().unwrap() > 0.0, "{body}");
    assert_eq!(cluster["leader"]["node"], "n2");
}

/// Writes numbers one by one, by a new connection after an error, as applications do.
fn write_until(stop: &AtomicBool, login: &Login, side: u32) -> Vec<Written> {
    let mut written = Vec::new();
    let mut client = Raw::log_in(login);
    let mut after = 0;
    for n in 0.. {
        // Until some were written after the end.
        after += u32::from(stop.load(Ordering::Relaxed));
        if after > 20 {
            break;
        }
        client.ask(&format!(
            "INSERT INTO written VALUES ({n}, '{side}') RETURNING inet_server_port()"
        ));
        match client.whole_answer() {
            Some(answer) if answer.errors.is_empty() => {
                written.push((n, answer.rows[0][0].parse().unwrap()));
            }
            Some(_) => {}
            None => client = Raw::log_in(login),
        }
    }
    written
}
