//! The client side of a SCRAM-SHA-256 exchange: how pgmesh logs in to servers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use crate::attribute::{is_printable, skip_extensions, take, text};
use crate::binding::Gs2;
use crate::hash;
use crate::verifier::{parse_iterations, parse_key, parse_salt};
use crate::{Error, Mechanism, Nonce, ScramKeys, Secret};

/// The most iterations done for a server: above every recommendation for this hash, some
/// hundreds of milliseconds. A server names the count before it has proven anything, so
/// without a bound it could occupy a thread for hours. Keys at hand cost nothing and may be
/// of more.
pub const ITERATIONS_MAX: u32 = 1_000_000;

/// With what to log in to a server.
#[derive(Debug, Clone)]
pub enum Login {
    /// The password, and keys derived from it at an earlier login: they save PBKDF2
    /// while the server's salt and iteration count stay the same.
    Password {
        /// The password in plain text.
        password: Secret,
        /// What an earlier [`ClientFinal::receive`] gave.
        cached: Option<ScramKeys>,
    },
    /// Only the keys, as a client disclosed them when it logged in here.
    Keys(ScramKeys),
}

/// Carries the client-first-message; waits for the server-first-message.
#[derive(Debug)]
pub struct ClientFirst {
    gs2: Gs2,
    login: Login,
    nonce: String,
    message: String,
}

impl ClientFirst {
    /// Starts an exchange without channel binding, whatever the server has offered:
    /// [`crate::ChannelBinding::begin`] chooses. Like libpq it leaves the user name empty: the
    /// one in the startup packet counts.
    pub fn new(login: Login, nonce: Nonce) -> Self {
        Self::over(Gs2::Unable, login, nonce)
    }

    pub(crate) fn over(gs2: Gs2, login: Login, nonce: Nonce) -> Self {
        Self::with(gs2, login, "", nonce.text())
    }

    pub(crate) fn with(gs2: Gs2, login: Login, user: &str, nonce: String) -> Self {
        let message = format!("{}n={user},r={nonce}", gs2.header());
        Self { gs2, login, nonce, message }
    }

    /// The mechanism to name in SASLInitialResponse.
    pub fn mechanism(&self) -> Mechanism {
        self.gs2.mechanism()
    }

    /// The client-first-message, for SASLInitialResponse.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Takes the server-first-message and gives the client-final-message. Costs PBKDF2
    /// unless keys at hand fit.
    pub fn receive(self, message: &[u8]) -> Result<ClientFinal, Error> {
        let input = text(message)?;
        if input.starts_with('m') {
            return Err(Error::MandatoryExtension);
        }
        let (nonce, rest) = take(input, 'r')?;
        let (salt, rest) = take(rest.ok_or(Error::Malformed("no salt"))?, 's')?;
        let (iterations, rest) = take(rest.ok_or(Error::Malformed("no iteration count"))?, 'i')?;
        skip_extensions(rest)?;
        let server_part = nonce.strip_prefix(self.nonce.as_str()).ok_or(Error::Nonce)?;
        if !is_printable(server_part) {
            return Err(Error::Nonce);
        }
        let salt = parse_salt(salt).ok_or(Error::Malformed("salt"))?;
        let iterations = parse_iterations(iterations).ok_or(Error::Malformed("iteration count"))?;
        let keys = self.login.into_keys(&salt, iterations)?;

        let unproven = format!("c={},r={nonce}", STANDARD.encode(self.gs2.data()));
        let header = self.gs2.header();
        let client_first_bare = self.message.strip_prefix(header).unwrap_or(&self.message);
        let transcript: [&[u8]; 5] =
            [client_first_bare.as_bytes(), b",", input.as_bytes(), b",", unproven.as_bytes()];
        let stored_key = hash::sha256(&keys.client_key);
        let mut proof = hash::hmac(&stored_key, &transcript);
        hash::xor(&mut proof, &keys.client_key);
        Ok(ClientFinal {
            message: format!("{unproven},p={}", STANDARD.encode(proof)),
            server_signature: hash::hmac(&keys.server_key, &transcript),
            keys,
        })
    }
}

/// Carries the client-final-message; waits for the server's own proof.
#[derive(Debug)]
pub struct ClientFinal {
    message: String,
    server_signature: hash::Key,
    keys: ScramKeys,
}

impl ClientFinal {
    /// The client-final-message, for SASLResponse.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Takes the server-final-message: only a server that knows the verifier can send
    /// it. Gives the keys, for the next login of the same role.
    pub fn receive(self, message: &[u8]) -> Result<ScramKeys, Error> {
        let input = text(message)?;
        if input.starts_with("e=") {
            return Err(Error::ServerRefused);
        }
        let (signature, rest) = take(input, 'v')?;
        skip_extensions(rest)?;
        let signature = parse_key(signature).ok_or(Error::Malformed("server signature"))?;
        if bool::from(signature.ct_eq(&self.server_signature)) {
            Ok(self.keys)
        } else {
            Err(Error::ServerProof)
        }
    }
}

impl Login {
    fn into_keys(self, salt: &[u8], iterations: u32) -> Result<ScramKeys, Error> {
        match self {
            Self::Keys(keys) if keys.fit(salt, iterations) => Ok(keys),
            Self::Keys(_) => Err(Error::KeysDoNotFit),
            Self::Password { cached: Some(keys), .. } if keys.fit(salt, iterations) => Ok(keys),
            Self::Password { .. } if iterations > ITERATIONS_MAX => {
                Err(Error::Iterations(iterations))
            }
            Self::Password { password, .. } => Ok(ScramKeys::derive(&password, salt, iterations)),
        }
    }
}
