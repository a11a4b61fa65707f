//! Where the cluster's state comes from: an etcd watch, Patroni's REST interface or a fixed list,
//! turned into a `watch` of [`Snapshot`]s. The only crate that knows etcd.
//!
//! One task owns the [`topology::Machine`]. A source that is lost changes nothing: the last
//! snapshot stays until the source says something else.

mod backoff;
mod config;
mod etcd;
mod fixed;
mod http;
mod patroni;
mod publisher;
mod rest;
mod tls;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use topology::{Probe, Snapshot};

pub use config::{Config, Error, EtcdConfig, FixedConfig, RestConfig, Tls};

use crate::publisher::Publisher;

/// A running source.
#[derive(Debug)]
pub struct Discovery {
    /// The cluster as it is known now; the first value knows nothing.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The task behind it. It ends only when dropped, or by a panic.
    pub task: AbortOnDropHandle<()>,
}

/// Starts to follow the cluster. Returns at once; what is wrong with the source itself is logged
/// and retried for ever.
///
/// `probes` are results of asking the nodes. A fixed list of several nodes needs them to find its
/// primary; the other sources are refined by them.
///
/// # Errors
/// The configuration cannot work: a malformed endpoint, an unreadable or unfit TLS file.
pub fn spawn(config: Config, probes: Option<mpsc::Receiver<Probe>>) -> Result<Discovery, Error> {
    let (publisher, snapshots) = Publisher::new(config.authority(), probes);
    let task = match config {
        Config::Etcd(config) => tokio::spawn(etcd::Source::new(config)?.run(publisher)),
        Config::Fixed(config) => tokio::spawn(fixed::run(config, publisher)),
        Config::Rest(config) => tokio::spawn(rest::Source::new(config)?.run(publisher)),
    };
    Ok(Discovery { snapshots, task: AbortOnDropHandle::new(task) })
}
