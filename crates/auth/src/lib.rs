//! SCRAM-SHA-256(-PLUS) for both sides, bearer tokens, who may enter, and secrets that do not
//! print.
//!
//! Pure: nonces and the per-process [`Seed`] come in as arguments, messages are byte
//! slices, nothing here knows a socket or a clock. Both sides treat the peer as hostile:
//! every message is bounded by [`MESSAGE_MAX`] and an iteration count by
//! [`ITERATIONS_MAX`] before any work is done for it.
//!
//! Towards clients: [`Users::challenge`] → [`Challenge`] → [`ServerFirst`] →
//! [`ServerFinal`]. Towards servers: [`ClientFirst`] → [`ClientFinal`] → [`ScramKeys`].
//! Each state is consumed by the message that ends it. [`Offer`] and [`ChannelBinding`] decide
//! whether the exchange is bound to TLS.
//!
//! Which method a client must pass is [`hba`]'s. Bearer tokens, and what they are worth, are
//! [`oauth`]'s.

mod attribute;
mod binding;
mod certificate;
mod client;
mod error;
mod hash;
pub mod hba;
mod keyring;
mod md5;
pub mod oauth;
mod proof;
mod rotating;
mod secret;
mod server;
#[cfg(test)]
mod tests;
mod users;
mod verifier;

pub use binding::{BindingPolicy, Channel, ChannelBinding, Mechanism, Offer, Selection};
pub use certificate::{CertificateError, ServerEndPoint};
pub use client::{ClientFinal, ClientFirst, ITERATIONS_MAX, Login};
pub use error::{Blame, Error};
pub use keyring::KeyRing;
pub use md5::md5_response;
pub use proof::Proof;
pub use rotating::Rotating;
pub use secret::{Nonce, ScramKeys, Secret, Seed};
pub use server::{Challenge, ServerFinal, ServerFirst};
pub use users::{Password, Users};
pub use verifier::{ITERATIONS_DEFAULT, Verifier};

/// The SASL mechanism without channel binding; [`Mechanism`] has both.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";

/// The longest SASL message read from a peer, in bytes; Postgres has the same limit
/// for what clients send (`PG_MAX_SASL_MESSAGE_LENGTH`).
pub const MESSAGE_MAX: usize = 1024;
