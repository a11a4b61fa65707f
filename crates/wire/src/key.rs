//! Cancel keys: what BackendKeyData gives and CancelRequest shows.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize as _;

use crate::Malformed;

/// The secret half of a cancel key: 4 bytes in protocol 3.0, 4 to 256 in 3.2.
///
/// Compared in constant time, never printed, and overwritten when dropped.
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

/// Which of several proxies gave a key: 1 to [`KeyOwner::MAX`].
///
/// It stands in the upper 10 of the 31 bits that a positive process id has, in protocol 3.0
/// and 3.2 alike. The secret is not touched: 3.0 has 32 bits of it, and none to spare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyOwner(u16);

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

impl KeyOwner {
    /// The largest there is.
    pub const MAX: u16 = 1023;

    /// An owner by its number; `None` if it is 0 or larger than [`KeyOwner::MAX`].
    pub fn new(number: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// The owner of a process id; `None` if no owner gives such an id.
    pub fn of(pid: i32) -> Option<Self> {
        let pid = u32::try_from(pid).ok()?;
        u16::try_from(pid >> PID_BITS).ok().and_then(Self::new)
    }

    /// Its number.
    pub fn get(self) -> u16 {
        self.0
    }

    /// A process id of this owner, made of the lower 21 bits of `number`: positive, as some
    /// drivers take for granted.
    pub fn pid(self, number: u32) -> i32 {
        let number = number & ((1 << PID_BITS) - 1);
        // Ten bits above 21 of them leave the sign alone.
        (u32::from(self.0) << PID_BITS | number).cast_signed()
    }
}

/// What is left of a process id for the clients of one owner: two million at one time.
const PID_BITS: u32 = 21;

impl PartialEq for CancelSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for CancelSecret {}

impl Drop for CancelSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for CancelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_has_four_to_256_bytes_and_does_not_print() {
        assert_eq!(CancelSecret::new(&[1; 3]), Err(Malformed));
        assert_eq!(CancelSecret::new(&[1; 257]), Err(Malformed));
        let secret = CancelSecret::new(&[0x77; 32]).unwrap();
        assert_eq!(secret, CancelSecret::new(&[0x77; 32]).unwrap());
        assert_ne!(secret, CancelSecret::new(&[0x77; 4]).unwrap());
        assert!(!format!("{secret:?}").contains("77"));
    }

    #[test]
    fn no_owner_gives_a_process_id_that_is_not_positive() {
        assert_eq!((KeyOwner::new(0), KeyOwner::new(KeyOwner::MAX + 1)), (None, None));
        for pid in [0, 1, (1 << PID_BITS) - 1, -1, i32::MIN] {
            assert_eq!(KeyOwner::of(pid), None, "{pid}");
        }
        let last = KeyOwner::new(KeyOwner::MAX).unwrap();
        assert_eq!(last.pid(u32::MAX), i32::MAX);
    }

    proptest! {
        #[test]
        fn a_process_id_tells_its_owner(owner in 1..=KeyOwner::MAX, number: u32, other: u32) {
            let owner = KeyOwner::new(owner).unwrap();
            let pid = owner.pid(number);
            prop_assert!(pid > 0);
            prop_assert_eq!(KeyOwner::of(pid), Some(owner));
            let alike = number << (32 - PID_BITS) == other << (32 - PID_BITS);
            prop_assert_eq!(pid == owner.pid(other), alike);
        }
    }
}
