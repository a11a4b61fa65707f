//! Cancel keys: what BackendKeyData gives and CancelRequest shows.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::Malformed;

/// The secret half of a cancel key: 4 bytes in protocol 3.0, 4 to 256 in 3.2.
///
/// Compared in constant time, and never printed.
#[derive(Clone)]
pub struct CancelSecret(Box<[u8]>);

/// A process id and its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelKey {
    /// The id that the key's owner was told; not a secret.
    pub pid: i32,
    /// What proves that the sender was told it.
    pub secret: CancelSecret,
}

impl CancelSecret {
    /// The largest secret of protocol 3.2.
    pub const MAX_LEN: usize = 256;

    /// Wraps a secret.
    ///
    /// # Errors
    /// It has fewer than 4 or more than 256 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, Malformed> {
        if (4..=Self::MAX_LEN).contains(&bytes.len()) {
            Ok(Self(bytes.into()))
        } else {
            Err(Malformed)
        }
    }

    /// The bytes, for the wire only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for CancelSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for CancelSecret {}

impl fmt::Debug for CancelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_four_to_256_bytes_and_does_not_print() {
        assert_eq!(CancelSecret::new(&[1; 3]), Err(Malformed));
        assert_eq!(CancelSecret::new(&[1; 257]), Err(Malformed));
        let secret = CancelSecret::new(&[0x77; 32]).unwrap();
        assert_eq!(secret, CancelSecret::new(&[0x77; 32]).unwrap());
        assert_ne!(secret, CancelSecret::new(&[0x77; 4]).unwrap());
        assert!(!format!("{secret:?}").contains("77"));
    }
}
