//! Secrets that do not print.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use crate::Verifier;
use crate::hash::{self, Key};

/// A password, key or verifier, overwritten when it is dropped. `Debug` never shows it and there is no `Display`;
/// [`Secret::expose`] is the one way in, so that a grep finds every use.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself. Never log it, never put it in an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// In a time that tells the lengths and nothing else.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// 32 random bytes from which everything that must look random yet stay the same is
/// derived: the salts of plain passwords and those of users who do not exist. Drawn
/// once per process, or configured where several proxies must agree.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Wraps 32 bytes from a cryptographic source.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn derive(&self, purpose: &str, name: &str) -> Key {
        hash::hmac(&self.0, &[purpose.as_bytes(), b"\0", name.as_bytes()])
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// One side's part of a SCRAM nonce: 18 bytes from a cryptographic source, as Postgres
/// takes, never used twice.
#[derive(Debug, Clone, Copy)]
pub struct Nonce([u8; 18]);

impl Nonce {
    /// Wraps 18 bytes from a cryptographic source.
    pub fn new(bytes: [u8; 18]) -> Self {
        Self(bytes)
    }

    pub(crate) fn text(self) -> String {
        STANDARD.encode(self.0)
    }
}

/// What is enough to log in wherever a role's verifier has this salt and iteration
/// count, without the password and without PBKDF2. As secret as the password; overwritten when
/// dropped.
#[derive(Clone)]
pub struct ScramKeys {
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    pub(crate) client_key: Key,
    pub(crate) server_key: Key,
}

impl ScramKeys {
    /// Derives the keys of a password. Costs PBKDF2 (about a millisecond at 4096).
    pub fn derive(password: &Secret, salt: &[u8], iterations: u32) -> Self {
        let salted = hash::salted_password(password.expose(), salt, iterations);
        Self {
            salt: salt.to_vec(),
            iterations,
            client_key: hash::hmac(&*salted, &[b"Client Key"]),
            server_key: hash::hmac(&*salted, &[b"Server Key"]),
        }
    }

    /// Whether these are the keys of that verifier: same salt, iteration count and keys.
    pub fn belong_to(&self, verifier: &Verifier) -> bool {
        let stored_key = hash::sha256(&self.client_key).ct_eq(&verifier.stored_key);
        let server_key = self.server_key.ct_eq(&verifier.server_key);
        self.fit(&verifier.salt, verifier.iterations) && bool::from(stored_key & server_key)
    }

    /// Whether a server that asks with this salt and iteration count can be answered.
    pub fn fit(&self, salt: &[u8], iterations: u32) -> bool {
        self.salt == salt && self.iterations == iterations
    }
}

/// In a time that does not depend on the keys.
impl PartialEq for ScramKeys {
    fn eq(&self, other: &Self) -> bool {
        let keys =
            self.client_key.ct_eq(&other.client_key) & self.server_key.ct_eq(&other.server_key);
        self.fit(&other.salt, other.iterations) && bool::from(keys)
    }
}

impl Eq for ScramKeys {}

impl Drop for ScramKeys {
    fn drop(&mut self) {
        self.client_key.zeroize();
        self.server_key.zeroize();
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let password = Secret::new("hunter2");
        let keys = ScramKeys::derive(&password, b"salt", 1);
        let shown = format!("{password:?} {keys:?} {:?}", Seed::new([7; 32]));
        assert_eq!(shown, "Secret(…) ScramKeys(…) Seed(…)");
    }
}
