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
    let setup = Setup::before_etcd(cluster)
        .with("pool", "mode = \"session\"\nsize = 6")
        .with("admin", "users = 'app_user'");
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

    // An operator takes one replica out, and back in.
    let mut admin = Raw::log_in(&Login { database: "pgmesh".to_owned(), ..mesh.app() });
    assert_eq!(admin.query("DRAIN n1").errors[0].code, "55000", "it is the primary");
    assert_eq!(admin.query("DRAIN n2").errors, []);
    let n3 = cluster.nodes().iter().find(|node| node.name() == "n3").unwrap().port();
    assert_eq!(reached(replica.number()), BTreeSet::from([format!("{n3} true")]));
    let shown = admin.query("SHOW CLUSTER").rows;
    let drained = shown.iter().filter(|row| row.get(12).is_some_and(|it| it == "yes"));
    assert_eq!(drained.map(|row| row[1].as_str()).collect::<Vec<_>>(), ["n2"], "{shown:?}");
    assert_eq!(admin.query("UNDRAIN n2").errors, []);
    // Those that are idle on the other one are lent first.
    assert_eq!(admin.query("RECONNECT app").errors, []);
    eventually("both replicas are used again", || reached(replica.number()) == nodes(true));
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
