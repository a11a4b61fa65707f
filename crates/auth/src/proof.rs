//! Proof that one knows a secret that is shared, without showing it.

use std::fmt;

use subtle::ConstantTimeEq as _;

use crate::Secret;
use crate::hash::{self, Key};

/// An HMAC-SHA-256 of something under a shared secret. Compared in constant time, and never
/// printed: it may be the answer that somebody is asked for.
#[derive(Clone, Copy)]
pub struct Proof(Key);

impl Proof {
    /// Its length in bytes.
    pub const LEN: usize = 32;

    /// Proves knowledge of `secret` over `parts`, one after the other: all but the last must be
    /// of a fixed length for a `purpose`, so that no two lists of parts read alike. A proof for
    /// one purpose is none for another; `purpose` has no zero byte.
    pub fn new(secret: &Secret, purpose: &str, parts: &[&[u8]]) -> Self {
        let purpose = [purpose.as_bytes(), b"\0"];
        let all: Vec<&[u8]> = purpose.iter().chain(parts).copied().collect();
        Self(hash::hmac(secret.expose().as_bytes(), &all))
    }

    /// For the wire only.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }
}

/// A proof that somebody gave.
impl From<[u8; Self::LEN]> for Proof {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Proof {}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_one_secret_one_purpose_and_one_text() {
        let secret = Secret::new("shared");
        let proof = Proof::new(&secret, "a", &[b"bc", b"d"]);
        assert_eq!(proof, Proof::from(Proof::new(&secret, "a", &[b"bc", b"d"]).to_bytes()));
        for other in [
            Proof::new(&Secret::new("other"), "a", &[b"bc", b"d"]),
            Proof::new(&secret, "ab", &[b"c", b"d"]),
            Proof::new(&secret, "a", &[b"bc", b"e"]),
            Proof::new(&secret, "a", &[]),
        ] {
            assert_ne!(proof, other);
        }
        assert_eq!(format!("{proof:?}"), "Proof(…)");
    }
}
