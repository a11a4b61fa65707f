//! The server side of a SCRAM-SHA-256(-PLUS) exchange: what is asked of clients.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::attribute::{is_printable, skip_extensions, take, take_any, text};
use crate::binding::{BINDING_TYPE, Binding, bound_data};
use crate::hash::{self, Key};
use crate::verifier::parse_key;
use crate::{Error, Nonce, ScramKeys, Selection, Verifier};

/// The start of an exchange: waits for the client-first-message.
#[derive(Debug)]
pub struct Challenge {
    verifier: Arc<Verifier>,
    other: Option<Arc<Verifier>>,
    known: bool,
    binding: Binding,
}

impl Challenge {
    /// An exchange with a user who has this verifier.
    pub fn known(verifier: Arc<Verifier>) -> Self {
        Self { verifier, other: None, known: true, binding: Binding::NotOffered }
    }

    /// An exchange that runs to its end and then fails whatever the client proves.
    pub fn mock(verifier: Arc<Verifier>) -> Self {
        Self { verifier, other: None, known: false, binding: Binding::NotOffered }
    }

    /// Takes the password of this verifier, too: the one before, while it is changed. Of use only
    /// with the same salt and iteration count, for the client is told one of each.
    #[must_use]
    pub fn or(self, other: Option<Arc<Verifier>>) -> Self {
        let other = other.filter(|other| other.is_salted_as(&self.verifier));
        Self { other, ..self }
    }

    /// The mechanism that the client has selected; SCRAM-SHA-256, with nothing else offered,
    /// if this is not called.
    #[must_use]
    pub fn over(self, selection: Selection) -> Self {
        Self { binding: selection.0, ..self }
    }

    /// Takes the client-first-message and gives the server-first-message.
    ///
    /// The user name in it is ignored as Postgres does: the one of the startup packet
    /// counts. The channel-binding flag must agree with what was offered and selected: a client
    /// that was offered binding and says that it was not (`y`) was lied to.
    pub fn receive(self, message: &[u8], nonce: Nonce) -> Result<ServerFirst, Error> {
        self.answer(message, &nonce.text())
    }

    pub(crate) fn answer(self, message: &[u8], server_nonce: &str) -> Result<ServerFirst, Error> {
        let input = text(message)?;
        let (gs2, bare) = split_gs2_header(input, &self.binding)?;
        if bare.starts_with('m') {
            return Err(Error::MandatoryExtension);
        }
        let (_, rest) = take(bare, 'n')?;
        let (client_nonce, rest) = take(rest.ok_or(Error::Malformed("no nonce"))?, 'r')?;
        if !is_printable(client_nonce) {
            return Err(Error::Malformed("non-printable characters in the nonce"));
        }
        skip_extensions(rest)?;

        let nonce = format!("{client_nonce}{server_nonce}");
        let message = format!(
            "r={nonce},s={},i={}",
            STANDARD.encode(&self.verifier.salt),
            self.verifier.iterations
        );
        let (binding, mismatch) = match &self.binding {
            Binding::NotOffered | Binding::Declined => {
                (STANDARD.encode(gs2), Error::BindingAttribute)
            }
            Binding::EndPoint(end_point) => {
                (STANDARD.encode(bound_data(end_point)), Error::BindingMismatch)
            }
        };
        Ok(ServerFirst {
            client_first_bare: bare.to_owned(),
            binding,
            mismatch,
            verifier: self.verifier,
            other: self.other,
            known: self.known,
            nonce,
            message,
        })
    }
}

/// Carries the server-first-message; waits for the client-final-message.
#[derive(Debug)]
pub struct ServerFirst {
    verifier: Arc<Verifier>,
    other: Option<Arc<Verifier>>,
    known: bool,
    client_first_bare: String,
    /// The only attribute `c` to accept, and what any other means.
    binding: String,
    mismatch: Error,
    nonce: String,
    message: String,
}

impl ServerFirst {
    /// The server-first-message, for AuthenticationSASLContinue.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Takes the client-final-message and checks its proof. Takes the same time for a
    /// user who does not exist as for a wrong password.
    pub fn receive(self, message: &[u8]) -> Result<ServerFinal, Error> {
        let input = text(message)?;
        let (unproven, proof) = input.rsplit_once(",p=").ok_or(Error::Malformed("no proof"))?;
        let (binding, rest) = take(unproven, 'c')?;
        if binding != self.binding {
            return Err(self.mismatch);
        }
        let (nonce, rest) = take(rest.ok_or(Error::Malformed("no nonce"))?, 'r')?;
        if nonce != self.nonce {
            return Err(Error::Nonce);
        }
        skip_extensions(rest)?;
        let proof = parse_key(proof).ok_or(Error::Malformed("proof"))?;

        let transcript: [&[u8]; 5] = [
            self.client_first_bare.as_bytes(),
            b",",
            self.message.as_bytes(),
            b",",
            unproven.as_bytes(),
        ];
        // Each to its end, so that the time does not tell which of two was right.
        let proven = prove(&self.verifier, &proof, &transcript);
        let also = self.other.as_deref().and_then(|other| prove(other, &proof, &transcript));
        match proven.or(also) {
            Some(server_final) if self.known => Ok(server_final),
            Some(_) | None if self.known => Err(Error::WrongPassword),
            Some(_) | None => Err(Error::UnknownUser),
        }
    }
}

/// The client has proven its password. Carries the server-final-message.
#[derive(Debug)]
pub struct ServerFinal {
    message: String,
    keys: ScramKeys,
}

impl ServerFinal {
    /// The server-final-message, for AuthenticationSASLFinal.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the proof disclosed: enough to log in to a server whose role has the same
    /// verifier, where only the verifier is configured here.
    pub fn into_keys(self) -> ScramKeys {
        self.keys
    }
}

/// What follows if a proof is of this verifier's password.
fn prove(verifier: &Verifier, proof: &Key, transcript: &[&[u8]]) -> Option<ServerFinal> {
    let mut keys = ScramKeys {
        salt: verifier.salt.clone(),
        iterations: verifier.iterations,
        client_key: *proof,
        server_key: verifier.server_key,
    };
    hash::xor(&mut keys.client_key, &hash::hmac(&verifier.stored_key, transcript));
    let is_proven = hash::sha256(&keys.client_key).ct_eq(&verifier.stored_key);
    let server_signature = hash::hmac(&verifier.server_key, transcript);
    let message = format!("v={}", STANDARD.encode(server_signature));
    bool::from(is_proven).then_some(ServerFinal { message, keys })
}

/// Splits `n,,`, `y,,` or `p=…,,` off a client-first-message.
fn split_gs2_header<'a>(input: &'a str, binding: &Binding) -> Result<(&'a str, &'a str), Error> {
    let (flag, rest) = input.split_once(',').ok_or(Error::Malformed("comma expected"))?;
    match (flag, binding) {
        ("n", Binding::NotOffered | Binding::Declined) | ("y", Binding::NotOffered) => {}
        ("n" | "y", Binding::EndPoint(_)) => return Err(Error::BindingMissing),
        ("y", Binding::Declined) => return Err(Error::Downgrade),
        _ => match (flag.strip_prefix("p="), binding) {
            (Some(_), Binding::NotOffered | Binding::Declined) => {
                return Err(Error::BindingUnexpected);
            }
            (Some(BINDING_TYPE), Binding::EndPoint(_)) => {}
            (Some(_), Binding::EndPoint(_)) => return Err(Error::BindingType),
            (None, _) => return Err(Error::Malformed("unexpected channel-binding flag")),
        },
    }
    let (authzid, bare) = rest.split_once(',').ok_or(Error::Malformed("comma expected"))?;
    if !authzid.is_empty() {
        return Err(match take_any(authzid) {
            Ok(('a', ..)) => Error::AuthorizationIdentity,
            _ => Error::Malformed("unexpected attribute"),
        });
    }
    let header = &input[..input.len() - bare.len()];
    Ok((header, bare))
}
