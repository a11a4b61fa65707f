//! Where each port leads.

use std::collections::BTreeSet;

use testbed::{Cluster, Login, Pgmesh};

use crate::clients::Raw;
use crate::metrics::{eventually, sample, wait_for};
use crate::proxy::Setup;

const WHERE: &str = "SELECT inet_server_port()::text || ' ' || pg_is_in_recovery()";

pub(crate) fn each_port_leads_where_it_should(cluster: &Cluster) {
    let (replica, any) = (testbed::Port::reserve().unwrap(), testbed::Port::reserve().unwrap());
    let keys = format!("replica_port = {replica}\nany_port = {any}");
    // Sessions, so that every client has a server of its own.
    let setup = Setup::before_etcd(cluster).with("pool", "mode = \"session\"\nsize = 6");
    let mesh = setup.with("proxy", &keys).start();
    is_observed(&mesh, "n1");

    let primary = format!("{} false", cluster.leader().unwrap().port());
    let nodes = |replicas_only: bool| -> BTreeSet<String> {
        cluster
            .nodes()
            .iter()
            .filter(|node| !replicas_only || node.name() != "n1")
            .map(|node| format!("{} {}", node.port(), node.name() != "n1"))
            .collect()
    };
    let reached = |port: u16| -> BTreeSet<String> {
        let mut clients: Vec<Raw> =
            (0..6).map(|_| Raw::log_in(&Login { port, ..mesh.app() })).collect();
        clients.iter_mut().map(|client| client.value(WHERE)).collect()
    };
    assert_eq!(reached(mesh.port()), BTreeSet::from([primary]));
    // Members are known a little later than the leader.
    eventually("both replicas are used", || reached(replica.number()) == nodes(true));
    let any_reached = reached(any.number());
    assert!(any_reached.is_subset(&nodes(false)) && !any_reached.is_empty(), "{any_reached:?}");

    let mut reader = Raw::log_in(&Login { port: replica.number(), ..mesh.app() });
    let answer = reader.query("CREATE TABLE not_here ()");
    assert_eq!(answer.errors[0].code, "25006");
    assert_eq!(reader.value("SELECT 1"), "1");
    assert!(sample(&mesh, "pgmesh_servers", "role=\"replica\"") >= 1.0);
}

/// What monitoring sees of a cluster whose primary is this one.
pub(crate) fn is_observed(mesh: &Pgmesh, leader: &str) {
    wait_for(mesh, "pgmesh_leader", &format!("node=\"{leader}\""), 1.0);
    assert_eq!(sample(mesh, "pgmesh_leader", ""), 1.0, "one leader");
    let epoch = sample(mesh, "pgmesh_epoch", "");
    assert!(epoch >= 1.0);
    let ready = mesh.http("/ready").unwrap();
    assert_eq!(ready.status, 200);
    assert!(ready.body.contains(&format!("\"{leader}\"")), "{}", ready.body);
    assert!(ready.body.contains(&epoch.to_string()), "{}", ready.body);
    assert_eq!(mesh.http("/live").unwrap().status, 200);
}
