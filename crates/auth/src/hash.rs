//! The hash functions of SCRAM-SHA-256 (RFC 5802, section 3; RFC 7677).

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// A SHA-256 sized key.
pub(crate) type Key = [u8; 32];

/// SHA-256's block size, in bytes: the length of an HMAC key.
const BLOCK: usize = 64;

pub(crate) fn sha256(data: &[u8]) -> Key {
    Sha256::digest(data).into()
}

/// HMAC-SHA-256 over the concatenation of `parts`.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// `Hi()`: PBKDF2 with HMAC-SHA-256 and one block of output. `iterations` below 1 count
/// as 1. Costs two compressions per iteration: about a millisecond at 4096.
pub(crate) fn salted_password(password: &str, salt: &[u8], iterations: u32) -> Zeroizing<Key> {
    let mac = match prepared(password) {
        Cow::Borrowed(password) => keyed(password.as_bytes()),
        Cow::Owned(password) => keyed(Zeroizing::new(password).as_bytes()),
    };
    let step = |parts: [&[u8]; 2]| -> Key {
        let mut mac = mac.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    };
    let mut previous = Zeroizing::new(step([salt, &1u32.to_be_bytes()]));
    let mut out = previous.clone();
    for _ in 1..iterations {
        *previous = step([&*previous, &[]]);
        xor(&mut out, &previous);
    }
    out
}

pub(crate) fn xor(left: &mut Key, right: &Key) {
    for (left, right) in left.iter_mut().zip(right) {
        *left ^= right;
    }
}

/// SASLprep, or the text as it is where SASLprep refuses it or leaves nothing: that is
/// what Postgres does on both sides, so that any password works.
fn prepared(password: &str) -> Cow<'_, str> {
    match stringprep::saslprep(password) {
        Ok(prepared) if !prepared.is_empty() => prepared,
        Ok(_) | Err(_) => Cow::Borrowed(password),
    }
}

/// An HMAC with its key already mixed in. Pads or hashes the key to one block itself
/// (RFC 2104), as the constructor for a whole block is the one that cannot fail.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let hashed;
    let key = if key.len() > BLOCK {
        hashed = Zeroizing::new(sha256(key));
        &hashed[..]
    } else {
        key
    };
    let mut block = Zeroizing::new([0; BLOCK]);
    for (slot, byte) in block.iter_mut().zip(key) {
        *slot = *byte;
    }
    Hmac::new((&*block).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 2 (short key) and 6 (key longer than a block).
    #[test]
    fn hmac_matches_rfc_4231() {
        let short = hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(short[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        let long = hmac(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(long[..4], [0x60, 0xe4, 0x31, 0x59]);
    }

    #[test]
    fn saslprep_normalises_and_falls_back_to_the_raw_text() {
        // U+00AD is mapped to nothing, U+00A0 to a space, U+2168 to "IX".
        assert_eq!(prepared("I\u{ad}X"), "IX");
        assert_eq!(prepared("a\u{a0}b"), "a b");
        assert_eq!(prepared("\u{2168}"), "IX");
        // Prohibited (control), a mix of directions, and a text of which nothing is left.
        for raw in ["a\u{7}b", "\u{627}1", "\u{ad}"] {
            assert_eq!(prepared(raw), raw);
        }
    }

    #[test]
    fn passwords_longer_than_a_block_or_a_kilobyte_work() {
        for length in [63, 64, 65, 1023, 1024, 65_536] {
            let password = "x".repeat(length);
            let other = "x".repeat(length + 1);
            assert_ne!(salted_password(&password, b"salt", 2), salted_password(&other, b"salt", 2));
        }
    }
}
