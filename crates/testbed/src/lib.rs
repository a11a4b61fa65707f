//! A real Patroni cluster on loopback: etcd, Patroni and Postgres processes in a temporary directory.
//!
//! Used by `cargo xtask demo`, by integration tests and by benches. Blocking code on purpose: a test
//! that drives an async proxy must not share its runtime with what it drives.
//!
//! Whatever is started lives in a [`Bed`]: one temporary directory and a janitor process that ends
//! every process living in that directory and removes it once the bed's owner is gone, be it through
//! `Drop`, a panic, Ctrl-C or SIGKILL. Nothing is ended by name: only processes that were started
//! here, and Postgres processes whose working directory is inside the bed.
//! Network namespaces and interfaces, where nodes have them, are the janitor's work too.
//!
//! Run as root, the database daemons run as the `postgres` user, as Postgres demands; otherwise
//! everything runs as the caller.

mod account;
mod bed;
mod census;
mod cluster;
mod command;
mod daemon;
mod descriptors;
mod error;
mod etcd;
mod haproxy;
pub mod http;
mod login;
mod network;
pub mod packages;
mod patroni;
mod pgbouncer;
mod pgmesh;
mod port;
mod postgres;
mod probe;
pub mod programs;
mod prometheus;
mod slapd;
mod wait;

pub use bed::Bed;
pub use cluster::{Cluster, ClusterOptions};
pub use command::run;
pub use daemon::{Daemon, Signal};
pub use descriptors::raise_descriptor_limit;
pub use error::Error;
pub use etcd::Etcd;
pub use haproxy::{Backend, HaProxy};
pub use login::{APP_DATABASE, APP_USER, Credentials, Login, REPLICATOR, SUPERUSER};
pub use network::Network;
pub use patroni::Node;
pub use pgbouncer::{Clients, PgBouncer, PgBouncerOptions};
pub use pgmesh::{Pgmesh, PgmeshOptions, ProxyPorts};
pub use port::Port;
pub use postgres::{Method, Postgres, PostgresOptions, Role, ServerTls, Stop};
pub use probe::answers;
pub use prometheus::Prometheus;
pub use slapd::{Slapd, SlapdOptions};
pub use wait::{Interrupt, until};
