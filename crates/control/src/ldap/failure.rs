//! Why LDAP has no answer, and what it refused.

use std::fmt;
use std::io;

use transport::HandshakeError;

use super::ber::Malformed;
use super::filter::FilterFault;
use super::message::Done;

/// Why a password could not be checked. Nothing of it is for the client's ears: it says how the
/// directory is set up, and quotes it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Too many are being checked already.
    #[error("too many passwords are being checked with LDAP")]
    Busy,
    /// Nobody answered in time.
    #[error("no answer in time")]
    Timeout,
    /// The rule names no server.
    #[error("the rule names no server")]
    NoServer,
    /// The host is not known or not reached.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(#[source] io::Error),
    /// TLS is not possible.
    #[error(transparent)]
    Tls(HandshakeError),
    /// The authorities for TLS cannot be read.
    #[error("no authorities for TLS: {0}")]
    Authorities(#[source] transport::Error),
    /// Something came between the answer to StartTLS and the handshake.
    #[error("unencrypted data behind the answer to StartTLS")]
    Unencrypted,
    /// What the server says is no LDAP, or too long.
    #[error("malformed or oversized LDAP message")]
    Malformed,
    /// A message that does not belong here.
    #[error("an LDAP message out of place")]
    Unexpected,
    /// The filter of the rule.
    #[error("ldapsearchfilter or ldapsearchattribute {0}")]
    Filter(#[source] FilterFault),
    /// The server does not do what it is there for.
    #[error("the server refused {operation}: {result}")]
    Operation {
        /// What it was asked to do.
        operation: &'static str,
        /// Its answer.
        result: LdapResult,
    },
}

/// A server's answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapResult {
    /// RFC 4511, appendix A.
    pub code: u32,
    /// The server's own words, cut short.
    pub diagnostic: String,
}

impl Failure {
    pub(super) fn operation(operation: &'static str, done: Done) -> Self {
        Self::Operation { operation, result: done.into() }
    }
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<Done> for LdapResult {
    fn from(done: Done) -> Self {
        Self { code: done.code, diagnostic: done.diagnostic }
    }
}

impl LdapResult {
    /// Whether the server could not say anything about the password: its own trouble, or a wish
    /// that whoever set the rule up has to fulfil.
    pub(super) fn is_no_answer(&self) -> bool {
        // operationsError, protocolError, timeLimitExceeded, authMethodNotSupported,
        // strongerAuthRequired, referral, adminLimitExceeded, confidentialityRequired, busy,
        // unavailable, loopDetect, other.
        matches!(self.code, 1..=3 | 7 | 8 | 10 | 11 | 13 | 51 | 52 | 54 | 80)
    }
}

impl fmt::Display for LdapResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.code {
            1 => "operationsError",
            2 => "protocolError",
            3 => "timeLimitExceeded",
            4 => "sizeLimitExceeded",
            7 => "authMethodNotSupported",
            8 => "strongerAuthRequired",
            10 => "referral, which is not followed",
            11 => "adminLimitExceeded",
            13 => "confidentialityRequired",
            19 => "constraintViolation",
            32 => "noSuchObject",
            34 => "invalidDNSyntax",
            48 => "inappropriateAuthentication",
            49 => "invalidCredentials",
            50 => "insufficientAccessRights",
            51 => "busy",
            52 => "unavailable",
            53 => "unwillingToPerform",
            80 => "other",
            _ => "result",
        };
        write!(f, "{name} ({})", self.code)?;
        if self.diagnostic.is_empty() { Ok(()) } else { write!(f, ", {:?}", self.diagnostic) }
    }
}
