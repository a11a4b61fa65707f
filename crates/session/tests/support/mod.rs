//! What the tests of this crate share: a model of Postgres, the relay's part of the work, and
//! the messages of a client. No socket, no clock.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

pub(crate) mod client;
mod execution;
mod lending;
mod losing;
pub(crate) mod postgres;
pub(crate) mod relay;
pub(crate) mod scene;
pub(crate) mod settings;
pub(crate) mod sql;
pub(crate) mod transcript;
