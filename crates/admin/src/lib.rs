//! For operators: `/metrics`, `/live`, `/ready`, `/cluster`, `/pools` and a status page over HTTP,
//! and the console, on a thread and runtime of its own, so that a busy data path still answers.
//!
//! Every HTTP connection serves one request and has one time limit for all of it, so that neither a
//! slow nor a silent peer keeps anything for long; connections beyond the limit wait in the
//! kernel's queue. The page's events are a stream with limits of their own. Nothing there
//! authenticates but for what the page shows, if a login is set: listen where only operators
//! connect. Clients of the console have logged in as any client does before they come here.

mod averages;
mod console;
mod error;
mod facts;
mod order;
mod readiness;
pub mod rows;
mod server;
mod service;
mod status;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub use console::{ConsoleConfig, Consoles, Line, Seat};
pub use error::Error;
pub use facts::{CarryingOut, Done, Facts, Operate, Operator, Outcome, Right};
pub use order::{Command, Shutdown, Target};
pub use readiness::{Readiness, Ready};
pub use server::{AdminHandle, bind, spawn, spawn_at};
pub use status::{Cluster, Login, Look, PoolsView, Reign, Start, Work};

/// Where to listen, and the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address of the listener.
    pub listen: SocketAddr,
    /// From accept to the last byte written; also the longest wait of a graceful stop.
    pub request_timeout: Duration,
    /// Connections at one time; at least 1.
    pub connections_max: usize,
    /// Request line and headers, in bytes.
    pub header_bytes_max: usize,
    /// Whether there is a status page.
    pub page: Page,
    /// Who may see it, and `/cluster` and `/pools`; everybody if `None`.
    pub login: Option<Login>,
}

/// Whether there is a status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// No, nor `/events`.
    Off,
    /// Yes, at `/`.
    On,
}

/// The exporters' port that PgBouncer's and Postgres' exporters chose before us, on every
/// address; 10 s is Prometheus' default scrape timeout.
impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9187)),
            request_timeout: Duration::from_secs(10),
            connections_max: 64,
            header_bytes_max: 8 * 1024,
            page: Page::On,
            login: None,
        }
    }
}
