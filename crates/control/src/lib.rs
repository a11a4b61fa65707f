//! pgmesh's own SQL on the nodes: who is in recovery, on which timeline, how far; and what the
//! cluster knows of the roles that want to log in ([`auth_query`]). Beside it, what an LDAP server
//! thinks of their passwords ([`ldap`]), and with which keys an issuer signs tokens ([`jwks`]).
//!
//! Nothing here shares a connection with clients, and no name in the SQL depends on a client's or
//! a role's `search_path`. A connection is kept to every node, so that a probe is one round trip
//! and a standby that is promoted needs no login to say so.

pub mod auth_query;
mod error;
pub mod jwks;
pub mod ldap;
mod login;
mod node;
mod pace;
mod prober;
mod tls;

pub use prober::{Config, Prober, spawn};
