//! pgmesh's own SQL on the nodes: who is in recovery, on which timeline, how far.
//!
//! Nothing here shares a connection with clients, and no name in the SQL depends on a client's or
//! a role's `search_path`. Connections are plain: servers that insist on TLS cannot be probed.

mod node;
mod prober;

pub use prober::{Config, Prober, spawn};
