//! Where the cluster's state comes from: an etcd watch, Patroni's REST interface or a fixed list,
//! turned into a `watch` of [`Snapshot`]s. The only crate that knows etcd.
//!
//! One task owns the [`topology::Machine`]. A source that is lost changes nothing: the last
//! snapshot stays until the source says something else.

mod backoff;
mod config;
mod etcd;
mod fallback;
mod fixed;
mod http;
mod patroni;
mod publisher;
mod rest;
mod tls;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use topology::{Event, Snapshot};

pub use config::{Config, Error, EtcdConfig, FixedConfig, RestConfig, Tls};

use crate::fallback::Fallback;
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
/// `rules` are the topology's. `events` is what the nodes themselves say: probes, and suspicions
/// that their servers raise. A fixed list of several nodes needs probes to find its primary, and
/// so does any source where proof is required.
///
/// # Errors
/// The configuration cannot work: a malformed endpoint, an unreadable or unfit TLS file.
pub fn spawn(
    config: Config,
    rules: topology::Config,
    events: Option<mpsc::Receiver<Event>>,
) -> Result<Discovery, Error> {
    let mut publisher = Publisher::new(config.authority(), rules, events);
    let snapshots = publisher.subscribe();
    let task = match config {
        Config::Etcd(config) => {
            if let Some(rest) = config.fallback() {
                let patience = config.refresh_interval + config.request_timeout;
                let poller = rest::Poller::new(rest)?;
                publisher.fall_back_on(Fallback::start(poller, patience, publisher.subscribe()));
            }
            tokio::spawn(etcd::Source::new(config)?.run(publisher))
        }
        Config::Fixed(config) => tokio::spawn(fixed::run(config, publisher)),
        Config::Rest(config) => tokio::spawn(rest::run(rest::Poller::new(config)?, publisher)),
    };
    Ok(Discovery { snapshots, task: AbortOnDropHandle::new(task) })
}
