//! The whole proxy behind etcd: in front of a Patroni cluster of three, with its keys laid out as
//! Citus has them, and in front of servers that only seem to be one. One cluster serves all
//! checks that need it, since it takes longer to come up than they do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was skipped, and where screenshots are")]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/clients.rs"]
#[allow(dead_code, reason = "these checks use a part of it")]
mod clients;
#[path = "../support/metrics.rs"]
#[allow(dead_code, reason = "these checks use a part of it")]
mod metrics;
#[path = "../support/proxy.rs"]
#[allow(dead_code, reason = "these checks use a part of it")]
mod proxy;

mod drivers;
mod epochs;
mod page;
mod ports;
mod rust_driver;
mod switchover;

use testbed::{Cluster, ClusterOptions};

use proxy::Setup;

#[test]
fn clients_of_a_cluster_work_as_usual_and_outlive_a_switchover() {
    let options = ClusterOptions { group: Some(0), ..ClusterOptions::default() };
    let cluster = Cluster::start(options).unwrap();
    // Small, so that servers are shared.
    let mesh = Setup::before_etcd(&cluster).with("pool", "size = 4").start();
    drivers::psql_works(&mesh);
    drivers::pgbench_works(&mesh);
    drivers::psycopg_works(&mesh);
    rust_driver::tokio_postgres_works(&mesh);
    drop(mesh);
    ports::each_port_leads_where_it_should(&cluster);
    switchover::is_a_pause(&cluster);
}
