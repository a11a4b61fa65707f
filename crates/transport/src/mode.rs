//! The six TLS modes, named as libpq's `sslmode`, and its two ways to begin TLS.

use std::fmt;
use std::str::FromStr;

/// How much TLS is asked for. Ordered from least to most.
///
/// Towards servers it means what libpq's `sslmode` means. Towards clients: `Disable` answers
/// every SSLRequest with `N`, `Allow` and `Prefer` take both, `Require` refuses a login without
/// TLS, `VerifyCa` and `VerifyFull` also want a client certificate signed by the client CA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsMode {
    /// Never TLS.
    Disable,
    /// Plain first, TLS when the server refuses plain.
    Allow,
    /// TLS when the peer has it, else plain.
    #[default]
    Prefer,
    /// TLS or nothing; certificates are not looked at unless a CA is given.
    Require,
    /// TLS with a certificate that chains to the CA; names are not compared.
    VerifyCa,
    /// TLS with a certificate that chains to the CA and carries the host's name.
    VerifyFull,
}

/// How TLS begins. Towards clients both are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Negotiation {
    /// Behind an SSLRequest, which every Postgres knows.
    #[default]
    Postgres,
    /// With the first byte, which saves a round trip: Postgres 17 and newer. The peers must
    /// agree on the ALPN protocol `postgresql`, so that nobody is led to a server of another
    /// protocol that has the same certificate.
    Direct,
}

/// A text that names no [`TlsMode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown TLS mode {0:?}: expected disable, allow, prefer, require, verify-ca or verify-full"
)]
pub struct UnknownTlsMode(pub String);

impl TlsMode {
    /// Every mode, from least to most.
    pub const ALL: [Self; 6] =
        [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// The name in configuration files, which is libpq's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Whether a connection without TLS is out of the question.
    pub fn is_required(self) -> bool {
        self >= Self::Require
    }

    /// Whether the peer's certificate must be checked, so that a CA is needed.
    pub fn verifies(self) -> bool {
        self >= Self::VerifyCa
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for TlsMode {
    type Err = UnknownTlsMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| UnknownTlsMode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_mode() {
        for mode in TlsMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        let error = "Verify_Full".parse::<TlsMode>().unwrap_err().to_string();
        assert!(error.contains("verify-full"), "{error}");
    }

    #[test]
    fn modes_are_ordered_by_strictness() {
        assert!(TlsMode::ALL.is_sorted());
        assert!(!TlsMode::Prefer.is_required() && TlsMode::Require.is_required());
        assert!(!TlsMode::Require.verifies() && TlsMode::VerifyCa.verifies());
    }
}
