//! One round of each fault that a primary meets, under load, with what every client sees of it:
//! idle ones nothing, open transactions 40001 with the connection kept, statements under way an
//! honest error, and no write twice or lost. `cargo xtask bench failover` runs many rounds and
//! takes the times.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "shown when a test fails: what led there")]

#[path = "../support/clients.rs"]
#[allow(dead_code, reason = "these checks use a part of it")]
mod clients;
#[path = "../support/metrics.rs"]
#[allow(dead_code, reason = "these checks use a part of it")]
mod metrics;
#[path = "../support/proxy.rs"]
#[allow(dead_code, reason = "these checks use a part of it")]
mod proxy;

mod fault;
mod load;
mod round;

use testbed::{Cluster, ClusterOptions, Network, Pgmesh};

use fault::Fault;
use proxy::Setup;

/// A cluster that loses nothing by itself, so that whatever is lost is ours.
fn stage(network: Network) -> (Cluster, Pgmesh) {
    let options =
        ClusterOptions { failsafe: true, synchronous: true, network, ..ClusterOptions::default() };
    let cluster = Cluster::start(options).unwrap();
    cluster.app().unwrap().psql("CREATE TABLE written (writer int, seq int)").unwrap();
    // Longer than two of Patroni's ttl: these machines are slow.
    let failover = "hold_timeout = '50s'";
    let mesh = Setup::before_etcd(&cluster).with("failover", failover).start();
    (cluster, mesh)
}

#[test]
fn a_cluster_of_processes_that_stop_die_and_hang() {
    let (mut cluster, mesh) = stage(Network::Loopback);
    for fault in [Fault::Switchover, Fault::Postmaster, Fault::Node, Fault::Hang] {
        round::play(&mut cluster, &mesh, fault);
    }
}

#[test]
fn a_cluster_that_loses_its_network_and_its_store() {
    let can_cut = Network::can_be_cut();
    if let Err(error) = &can_cut {
        println!("the network is not cut here: {error}");
    }
    let network = if can_cut.is_ok() { Network::Namespaces } else { Network::Loopback };
    let (mut cluster, mesh) = stage(network);
    if can_cut.is_ok() {
        round::play(&mut cluster, &mesh, Fault::Partition);
    }
    for fault in [Fault::Store, Fault::StoreAndNode] {
        round::play(&mut cluster, &mesh, fault);
    }
}
