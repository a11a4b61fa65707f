//! Why a bearer token does not do.

use crate::hba::Mismatch;

/// Why a token does not do. For the log and a metric: the client hears that its login has failed.
/// Never carries a part of the token, but for the name of a map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The client gave none on purpose: it asked where tokens are to be had.
    #[error("no token: the client asked for the issuer")]
    Discovery,
    /// Not `Bearer` and a token, or no signed JWT in an algorithm that is known.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// Longer than [`TOKEN_MAX`](super::TOKEN_MAX).
    #[error("token too long")]
    TooLong,
    /// An algorithm that is not of the key, or that nobody should use.
    #[error("the token's algorithm is not one of its key's")]
    Algorithm,
    /// None of the issuer's keys is the one that the token names.
    #[error("the token's key is not among the issuer's")]
    UnknownKey,
    /// The signature does not verify.
    #[error("wrong signature")]
    Signature,
    /// The claim `iss` is missing, or is somebody else.
    #[error("wrong or missing issuer (iss)")]
    Issuer,
    /// The claim `aud` is missing, or the token is for somebody else.
    #[error("wrong or missing audience (aud)")]
    Audience,
    /// It is past the claim `exp`.
    #[error("expired")]
    Expired,
    /// The claim `exp` is missing or no time.
    #[error("no expiry (exp)")]
    NoExpiry,
    /// It is before the claim `nbf`, or that is no time.
    #[error("not valid yet (nbf)")]
    NotYetValid,
    /// A scope that the rule wants is not among the token's.
    #[error("missing scope")]
    Scope,
    /// The claim that names the user is missing or no text.
    #[error("no user: the configured claim is missing or no text")]
    NoUser,
    /// The token is good, and is not this user's.
    #[error("the token is another user's: {0}")]
    User(#[from] Mismatch),
    /// The issuer's keys are not known.
    #[error("the issuer's keys could not be had")]
    NoKeys,
}

impl Rejection {
    /// Whether it says something against the token. Somebody who sends such ones is guessing.
    pub fn is_of_the_token(&self) -> bool {
        !matches!(self, Self::Discovery | Self::NoKeys)
    }
}
