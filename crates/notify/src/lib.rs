//! LISTEN for thousands of clients over one server connection per database.
//!
//! [`Hubs`] finds or makes the hub of a (database, user, client encoding); a client that listens
//! has a [`Subscriber`] of it, which costs some hundred bytes and no task. What is decided lives
//! in the pure `core`; `driver` carries it out on a connection of its own, which is logged in as
//! the pool's servers are, to the proven primary alone. It dies with its epoch: then all
//! channels are listened on again before anybody is told anything else.
//!
//! Why one per encoding: the server converts channels and payloads to the encoding of the
//! session that listens.
//!
//! The server is not trusted: messages are bounded, and one that has no place here ends the
//! connection.

mod channel;
mod config;
mod connection;
mod core;
#[cfg(test)]
mod core_tests;
mod driver;
mod error;
mod hub;
mod notification;
mod queue;
mod registry;
mod stats;

pub use config::Config;
pub use error::{HubError, lagged_error, resumed_warning};
pub use hub::Subscriber;
pub use notification::Notification;
pub use queue::Event;
pub use registry::Hubs;
pub use stats::Stats;
