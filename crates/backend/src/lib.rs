//! One server connection: connect, TLS, login, reset, cancel.
//!
//! [`Dialer::connect`] ends in a [`Ready`]: a logged-in session that is idle, with nothing read
//! and not handed over. From there on the bytes belong to whoever relays them; what this crate
//! still does with the session is [`run`] (a reset between two clients), [`Dialer::cancel`] and
//! [`terminate`].
//!
//! The server is not trusted: every message is bounded before it is read, every exchange has a
//! budget of bytes and a limit of time, and a SCRAM server must prove that it knows the password.

mod authentication;
mod cancel;
mod channel;
mod config;
mod dial;
mod error;
mod login;
mod query;
mod ready;

pub use cancel::CancelTarget;
pub use config::{Config, Credentials, Login, RequiredRole, ReservedParameter, Startup, Target};
pub use dial::Dialer;
pub use error::{
    AuthenticationFault, ConnectError, Kind, ProtocolFault, QueryError, Refusal, Stage, no_password,
};
pub use query::{is_in_recovery, run, terminate};
pub use ready::{Parameters, Ready};
