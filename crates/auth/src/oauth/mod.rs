//! OAUTHBEARER (RFC 7628) as PostgreSQL 18 serves it, and JSON Web Tokens (RFC 7519).
//!
//! The exchange: [`Exchange`] takes the client's first message and gives a [`Presented`] token or
//! a [`Refusing`], which sends the challenge that tells the client where tokens are to be had.
//! The token: [`verify`] is a function of the token, the issuer's [`KeySet`], a [`Policy`] and the
//! time. What is wrong with a token is a [`Rejection`], of which the client hears nothing.
//!
//! Who signs with what is the key's to say and never the token's: only asymmetric algorithms are
//! known, and a key is used with those of its own kind alone.

mod exchange;
mod issuer;
mod keys;
mod rejection;
mod signature;
#[cfg(test)]
mod tests;
mod token;

pub use exchange::{Exchange, Malformed, Presented, Received, Refusing};
pub use issuer::{Issuer, IssuerError};
pub use keys::{KeySet, KeySetError};
pub use rejection::Rejection;
pub use token::{Policy, TOKEN_MAX, verify};

/// The SASL mechanism.
pub const OAUTHBEARER: &str = "OAUTHBEARER";

/// The longest SASL message that is read in this mechanism, in bytes: a token of [`TOKEN_MAX`] and
/// what is around it.
pub const MESSAGE_MAX: usize = TOKEN_MAX + 1024;
