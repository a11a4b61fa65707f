//! The Postgres wire protocol as pgmesh needs it: frame headers, the messages it
//! interprets, SQLSTATEs and cancel keys. Pure: no io, no clock, no randomness.
//!
//! Two rules shape this crate. What is only forwarded is never decoded, so a
//! [`Header`] is enough for most traffic. What is decoded comes from a peer that may be
//! hostile, so every decoder works on a borrowed slice, checks every length before it
//! uses it, and allocates nothing that the peer can size.

mod cursor;
mod error;
mod frame;
mod key;
pub mod message;
mod peer;
mod sqlstate;
mod startup;
pub mod tag;

pub use cursor::{Cursor, Malformed};
pub use error::{ErrorFields, ErrorMessage, Severity};
pub use frame::{FrameError, HEADER_LEN, Header, MAX_MESSAGE_LEN};
pub use key::{CancelKey, CancelSecret, KeyOwner};
pub use peer::{PeerCancel, PeerChallenge, PeerHello};
pub use sqlstate::SqlState;
pub use startup::{
    MAX_STARTUP_PACKET_LEN, StartupMessage, StartupPacket, Version, put_cancel_request,
    put_peer_hello, put_ssl_request, put_startup,
};
