//! What can go wrong when the service starts.

use std::io;
use std::net::SocketAddr;

/// Why the service does not run. Always about this host, never about a peer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for metrics; choose another metrics.listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// The thread or its runtime could not be started.
    #[error("cannot start the metrics thread")]
    Start(#[source] io::Error),
}
