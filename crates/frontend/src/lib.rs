//! Listeners, TLS, startup and cancel dispatch, client login.
//!
//! A connection is accepted by a [`Listener`] and goes through [`handshake`], which ends in
//! a [`CancelCall`], a [`PeerCall`], a [`LoginRequest`] or a [`Refused`]. A login request is
//! authenticated into a [`Client`], or shows a password as a [`Claim`] for somebody else to check;
//! the client is greeted into an [`Established`]: from there on it is the relay's. At each step the
//! client can be refused with a FATAL instead.
//!
//! All of it happens under one deadline. What a client can make us hold is one startup
//! packet or one SASL message, which is longest with a bearer token in it; the buffers end with the login. Bytes that came behind the
//! login's last message are handed on and never lost.
//!
//! The futures here are large and short-lived: box them where a long-lived task awaits them.

mod address;
mod bearer;
mod config;
pub mod fatal;
mod handshake;
mod line;
mod listener;
mod login;
mod options;
mod password;
mod refused;
mod startup;

pub use address::{ClientAddress, Endpoint};
pub use bearer::TokenLogin;
pub use config::{Config, Port, UnixSockets};
pub use handshake::{CancelCall, Handshake, PeerCall, handshake};
pub use listener::{BindError, Bound, Listener};
pub use login::{Client, Established, LoginRequest};
pub use password::Claim;
pub use refused::{Blame, Refused};
pub use startup::Startup;
