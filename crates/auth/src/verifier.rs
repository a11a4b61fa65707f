//! A stored SCRAM-SHA-256 verifier, in the text form of `pg_authid.rolpassword`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::hash::{self, Key};
use crate::{Error, ScramKeys, Secret};

/// Postgres' default iteration count, used for verifiers that we derive.
pub const ITERATIONS_DEFAULT: u32 = 4096;

/// Salts are 16 bytes in Postgres and anything in verifiers made elsewhere. The bound
/// keeps the server-first message below what clients and we accept.
const SALT_MAX: usize = 512;

const PREFIX: &str = "SCRAM-SHA-256$";

/// What a server has to know to check a client's proof: no password, but with a
/// captured exchange enough to guess at one, so it does not print.
#[derive(Clone)]
pub struct Verifier {
    pub(crate) iterations: u32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Key,
    pub(crate) server_key: Key,
}

impl Verifier {
    /// Derives the verifier of a password, which goes through SASLprep where that
    /// accepts it. Costs PBKDF2 (about a millisecond at 4096).
    pub fn derive(password: &Secret, salt: &[u8], iterations: u32) -> Self {
        let keys = ScramKeys::derive(password, salt, iterations);
        Self {
            iterations,
            stored_key: hash::sha256(&keys.client_key),
            salt: salt.to_vec(),
            server_key: keys.server_key,
        }
    }

    /// Whether one exchange can check both: the client is told one salt and one iteration count.
    pub(crate) fn is_salted_as(&self, other: &Self) -> bool {
        self.salt == other.salt && self.iterations == other.iterations
    }

    /// Whether a text claims to be a verifier and not a plain password.
    pub fn looks_like(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The text form, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
    pub fn format(&self) -> Secret {
        Secret::new(format!(
            "{PREFIX}{}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        ))
    }
}

impl FromStr for Verifier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = text
            .strip_prefix(PREFIX)
            .ok_or(Error::Verifier("it does not begin with SCRAM-SHA-256$"))?;
        let (parameters, keys) = rest.split_once('$').ok_or(Error::Verifier("no keys"))?;
        let (iterations, salt) = parameters.split_once(':').ok_or(Error::Verifier("no salt"))?;
        let (stored_key, server_key) =
            keys.split_once(':').ok_or(Error::Verifier("no ServerKey"))?;
        Ok(Self {
            iterations: parse_iterations(iterations).ok_or(Error::Verifier("iteration count"))?,
            salt: parse_salt(salt).ok_or(Error::Verifier("salt"))?,
            stored_key: parse_key(stored_key).ok_or(Error::Verifier("StoredKey"))?,
            server_key: parse_key(server_key).ok_or(Error::Verifier("ServerKey"))?,
        })
    }
}

/// In a time that does not depend on the keys.
impl PartialEq for Verifier {
    fn eq(&self, other: &Self) -> bool {
        let keys =
            self.stored_key.ct_eq(&other.stored_key) & self.server_key.ct_eq(&other.server_key);
        self.is_salted_as(other) && bool::from(keys)
    }
}

impl Eq for Verifier {}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

/// A decimal number of at least 1 that Postgres' `int` can hold, without a sign.
pub(crate) fn parse_iterations(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let iterations = text.parse().ok()?;
    (1..=i32::MAX.unsigned_abs()).contains(&iterations).then_some(iterations)
}

/// Base64 of 1 to [`SALT_MAX`] bytes.
pub(crate) fn parse_salt(text: &str) -> Option<Vec<u8>> {
    let salt = STANDARD.decode(text).ok()?;
    (1..=SALT_MAX).contains(&salt.len()).then_some(salt)
}

/// Base64 of exactly 32 bytes.
pub(crate) fn parse_key(text: &str) -> Option<Key> {
    // As decoders guess: three bytes for four characters.
    let mut bytes = Zeroizing::new([0; KEY_TEXT_LEN / 4 * 3]);
    if text.len() != KEY_TEXT_LEN {
        return None;
    }
    let len = STANDARD.decode_slice(text, &mut *bytes).ok()?;
    bytes.get(..len)?.try_into().ok()
}

/// Of 32 bytes in Base64, padded.
const KEY_TEXT_LEN: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7677's salt and password; the keys computed by another implementation.
    const RFC: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn the_verifier_of_rfc_7677_parses_derives_and_formats() {
        let verifier: Verifier = RFC.parse().unwrap();
        let derived = Verifier::derive(&Secret::new("pencil"), &verifier.salt, 4096);
        assert_eq!(derived, verifier);
        assert_eq!(verifier.format().expose(), RFC);
        assert_eq!(format!("{verifier:?}"), "Verifier(…)");
    }

    #[test]
    fn a_broken_verifier_names_the_broken_part() {
        let cases = [
            ("md5abc", "it does not begin with SCRAM-SHA-256$"),
            ("SCRAM-SHA-256$4096:AAAA", "no keys"),
            ("SCRAM-SHA-256$4096$a:b", "no salt"),
            ("SCRAM-SHA-256$4096:AAAA$abc", "no ServerKey"),
            ("SCRAM-SHA-256$0:AAAA$a:b", "iteration count"),
            ("SCRAM-SHA-256$+1:AAAA$a:b", "iteration count"),
            ("SCRAM-SHA-256$2147483648:AAAA$a:b", "iteration count"),
            ("SCRAM-SHA-256$4096:$a:b", "salt"),
            ("SCRAM-SHA-256$4096:AAAA$AAAA:b", "StoredKey"),
        ];
        for (text, part) in cases {
            assert_eq!(text.parse::<Verifier>(), Err(Error::Verifier(part)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_legal_salt_and_iteration_count_survives_the_text_form(
            salt in proptest::collection::vec(any::<u8>(), 1..=SALT_MAX),
            iterations in 1..=i32::MAX as u32,
            stored_key: [u8; 32],
            server_key: [u8; 32],
        ) {
            let verifier = Verifier { iterations, salt, stored_key, server_key };
            prop_assert_eq!(verifier.format().expose().parse::<Verifier>(), Ok(verifier));
        }

        #[test]
        fn any_text_parses_or_is_refused(text in "(SCRAM-SHA-256\\$)?[0-9:$+/=A-Za-z]{0,100}") {
            let _ = text.parse::<Verifier>();
        }
    }
}
