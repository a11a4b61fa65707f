//! Which protocol versions, cipher suites and key exchange groups are taken.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::hash::HashAlgorithm;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion, version};

/// A protocol version. Ordered from old to new; older ones are not spoken at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// A cipher suite that ring has. Those of TLS 1.3 and of 1.2 are distinct.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cipher(CipherSuite);

/// A key exchange group ("curve") that ring has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Group(NamedGroup);

/// What of TLS is taken. The default is all that ring has, which is all of it good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Empty: those that have a cipher.
    protocols: Vec<Protocol>,
    /// Empty: all.
    ciphers: Vec<Cipher>,
    /// Empty: all.
    groups: Vec<Group>,
}

/// A text that names nothing known. It is not quoted: it may have come from anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind}; known are {}", known.join(", "))]
pub struct UnknownName {
    kind: &'static str,
    known: Vec<&'static str>,
}

/// A protocol version was asked for, and ciphers that are all of the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no cipher suite of {0} is among the ciphers: add one, or leave out the protocol")]
pub struct NoCipher(pub Protocol);

// === impl Protocol ===

impl Protocol {
    /// Every version, from old to new.
    pub const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    /// The name, as in `pg_stat_ssl`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }

    fn of_rustls(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &version::TLS12,
            Self::Tls13 => &version::TLS13,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        named("TLS version", &Self::ALL, |protocol| protocol.as_str(), text)
    }
}

// === impl Cipher ===

impl Cipher {
    /// Every suite, in ring's order of preference.
    pub fn all() -> Vec<Self> {
        ring::ALL_CIPHER_SUITES.iter().map(|suite| Self(suite.suite())).collect()
    }

    /// The name that IANA gives it.
    pub fn as_str(self) -> &'static str {
        // rustls puts the version into the names of TLS 1.3.
        match self.0 {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
            CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
            suite => suite.as_str().unwrap_or_default(),
        }
    }

    fn protocol(self) -> Option<Protocol> {
        let suite = ring::ALL_CIPHER_SUITES.iter().find(|suite| suite.suite() == self.0)?;
        Some(if suite.tls13().is_some() { Protocol::Tls13 } else { Protocol::Tls12 })
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Cipher {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        named("cipher suite", &Self::all(), |cipher| cipher.as_str(), text)
    }
}

// === impl Group ===

impl Group {
    /// Every group, in ring's order of preference.
    pub fn all() -> Vec<Self> {
        ring::ALL_KX_GROUPS.iter().map(|group| Self(group.name())).collect()
    }

    /// The name that IANA gives it.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            NamedGroup::X25519 => "x25519",
            group => group.as_str().unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `prime256v1` is what OpenSSL, and so Postgres' `ssl_groups`, calls `secp256r1`.
impl FromStr for Group {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = if text.eq_ignore_ascii_case("prime256v1") { "secp256r1" } else { text };
        named("key exchange group", &Self::all(), |group| group.as_str(), text)
    }
}

// === impl Policy ===

impl Policy {
    /// What is named, each list empty for all that there is.
    ///
    /// # Errors
    /// A version without a cipher: nobody could speak it.
    pub fn new(
        protocols: Vec<Protocol>,
        ciphers: Vec<Cipher>,
        groups: Vec<Group>,
    ) -> Result<Self, NoCipher> {
        let policy = Self { protocols, ciphers, groups };
        match policy.protocols.iter().find(|protocol| !policy.has_cipher(**protocol)) {
            Some(protocol) => Err(NoCipher(*protocol)),
            None => Ok(policy),
        }
    }

    fn has_cipher(&self, protocol: Protocol) -> bool {
        self.ciphers.is_empty() || self.ciphers.iter().any(|it| it.protocol() == Some(protocol))
    }

    pub(crate) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let taken = |protocol: &Protocol| match self.protocols.as_slice() {
            [] => self.has_cipher(*protocol),
            some => some.contains(protocol),
        };
        Protocol::ALL.into_iter().filter(taken).map(Protocol::of_rustls).collect()
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = ring::default_provider();
        // Stable: but for this the order is ring's. Most processors have instructions for SHA-256
        // and none for SHA-384, with which a handshake derives all its keys.
        provider.cipher_suites.sort_by_key(|suite| hash(suite) == HashAlgorithm::SHA384);
        if !self.ciphers.is_empty() {
            provider.cipher_suites.retain(|suite| self.ciphers.contains(&Cipher(suite.suite())));
        }
        if !self.groups.is_empty() {
            provider.kx_groups.retain(|group| self.groups.contains(&Group(group.name())));
        }
        Arc::new(provider)
    }
}

fn hash(suite: &SupportedCipherSuite) -> HashAlgorithm {
    let common = match suite {
        SupportedCipherSuite::Tls12(suite) => &suite.common,
        SupportedCipherSuite::Tls13(suite) => &suite.common,
    };
    common.hash_provider.algorithm()
}

fn named<T: Copy>(
    kind: &'static str,
    all: &[T],
    name: fn(T) -> &'static str,
    text: &str,
) -> Result<T, UnknownName> {
    let found = all.iter().copied().find(|it| name(*it).eq_ignore_ascii_case(text));
    found.ok_or_else(|| UnknownName { kind, known: all.iter().copied().map(name).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_what_it_names() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        assert_eq!("tlsv1.3".parse(), Ok(Protocol::Tls13));
        for cipher in Cipher::all() {
            assert!(cipher.as_str().starts_with("TLS_"), "{cipher:?}");
            assert_eq!(cipher.as_str().parse(), Ok(cipher));
            assert!(cipher.protocol().is_some());
        }
        for group in Group::all() {
            assert_eq!(group.as_str().parse(), Ok(group));
        }
        assert_eq!("prime256v1".parse::<Group>(), "SECP256R1".parse());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let version = "SSLv3".parse::<Protocol>().unwrap_err().to_string();
        assert_eq!(version, "unknown TLS version; known are TLSv1.2, TLSv1.3");
        let cipher = "RC4-MD5".parse::<Cipher>().unwrap_err().to_string();
        assert!(cipher.contains("TLS_AES_128_GCM_SHA256"), "{cipher}");
        let group = "brainpool".parse::<Group>().unwrap_err().to_string();
        assert_eq!(group, "unknown key exchange group; known are x25519, secp256r1, secp384r1");
    }

    #[test]
    fn the_cheapest_suite_is_preferred() {
        let suites = Policy::default().provider().cipher_suites.clone();
        assert_eq!(suites.len(), Cipher::all().len());
        assert_eq!(Cipher(suites[0].suite()).as_str(), "TLS_AES_128_GCM_SHA256");
        let first = suites.iter().position(|suite| hash(suite) == HashAlgorithm::SHA384).unwrap();
        assert!(suites[first..].iter().all(|suite| hash(suite) == HashAlgorithm::SHA384));
    }

    #[test]
    fn a_version_needs_a_cipher_and_ciphers_choose_the_versions() {
        let modern: Cipher = "TLS_AES_256_GCM_SHA384".parse().unwrap();
        let refused = Policy::new(vec![Protocol::Tls12], vec![modern], Vec::new());
        assert_eq!(refused, Err(NoCipher(Protocol::Tls12)));
        let policy = Policy::new(Vec::new(), vec![modern], Vec::new()).unwrap();
        assert_eq!(policy.versions(), [&version::TLS13]);
        assert_eq!(policy.provider().cipher_suites.len(), 1);
        assert_eq!(Policy::default().versions().len(), 2);
        assert_eq!(Policy::default().provider().kx_groups.len(), Group::all().len());
    }
}
