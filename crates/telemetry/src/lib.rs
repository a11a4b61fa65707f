//! What pgmesh counts and what it logs.
//!
//! [`Metrics`] is built once, on a [`Registry`] that is passed in, and handed down; there are no
//! statics. What is touched per transaction is a [`PoolMetrics`]: its counters are resolved when
//! the pool is made, so that a transaction costs a few relaxed atomic additions and no lookup.
//! Gauges of pools are asked for at scrape time ([`Metrics::observe_pools`]).
//!
//! Names are `pgmesh_*` with the units that Prometheus wants (seconds, bytes). Label values come
//! from fixed sets of words, or are (database, user, role) of a pool, of which at most
//! [`POOLS_MAX`] are told apart.

mod bounds;
mod clients;
mod cluster;
mod console;
mod durations;
mod error;
pub mod events;
mod exposition;
mod family;
mod histogram;
mod labels;
mod listening;
pub mod log;
mod lookups;
mod metrics;
mod pool;
mod process;
mod reference;
mod reloads;
mod source;
mod state;

pub use bounds::Bounds;
pub use clients::{ClientGuard, ClientMetrics};
pub use cluster::{ClusterState, NODES_MAX, NodeState};
pub use console::Console;
pub use durations::Durations;
pub use error::Error;
pub use exposition::Exposition;
pub use histogram::Histogram;
pub use labels::{
    Cancel, ClientEnd, ConnectFailure, Counter, Counts, Discard, KeyFetch, LdapCheck, Limit,
    PoolLabels, Refusal, ReloadOutcome, Reset, Retry, Role, ServerLoss, Token, Via, Words,
};
pub use listening::Listening;
pub use lookups::Lookups;
pub use metrics::{Build, FailoverMetrics, Metrics, TlsMetrics};
pub use pool::{POOLS_MAX, PoolMetrics};
pub use process::resident_bytes;
pub use prometheus::Registry;
pub use reference::{Kind, Reference, Unit, reference};
pub use reloads::ReloadMetrics;
pub use state::{CertificateExpiries, PinState, PoolState, PoolStates, PoolTotals};
