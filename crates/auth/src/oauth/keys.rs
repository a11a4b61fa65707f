//! An issuer's public keys (RFC 7517).

use std::fmt;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;

use super::Rejection;
use super::signature::use_ring;

/// More keys than an issuer has; so that one that goes mad does not cost us.
const KEYS_MAX: usize = 100;

/// Bits of an RSA modulus that ring takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The keys of an issuer that tokens can be verified with.
#[derive(Clone)]
pub struct KeySet(Vec<Key>);

#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    /// The only ones that it is used with.
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// A text that is no set of keys, or not one that anything can be verified with. It is not quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON, or not in the form of a set.
    #[error("not a JSON Web Key Set: expected {{\"keys\": […]}}")]
    Form,
    /// Far more keys than an issuer has.
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
    /// Nothing that a token may be signed with.
    #[error(
        "no usable key: expected one for signatures, of RSA (2048 to 8192 bits), P-256, P-384 or \
         Ed25519"
    )]
    NoneUsable,
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys for something else, or of a kind that is not known, are
    /// passed over, as RFC 7517 has it; shared secrets are, too.
    ///
    /// # Errors
    /// It is no set, or has no usable key.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        use_ring();
        let mut document: Value = serde_json::from_slice(text).map_err(|_| KeySetError::Form)?;
        let Some(Value::Array(keys)) = document.get_mut("keys").map(Value::take) else {
            return Err(KeySetError::Form);
        };
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let jwks = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let keys: Vec<Key> = jwks.filter_map(|jwk| Key::new(&jwk)).collect();
        if keys.is_empty() { Err(KeySetError::NoneUsable) } else { Ok(Self(keys)) }
    }

    /// How many there are that can be used.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none; never so.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that a token names. One that names none must leave no choice.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, Rejection> {
        let named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        if !self.0.iter().any(|key| named(&key)) {
            return Err(Rejection::UnknownKey);
        }
        let fits = |key: &&Key| named(key) && key.algorithms.contains(&algorithm);
        let mut fitting = self.0.iter().filter(fits);
        match (fitting.next(), fitting.next(), id) {
            (None, ..) => Err(Rejection::Algorithm),
            (Some(_), Some(_), None) => Err(Rejection::UnknownKey),
            (Some(key), ..) => Ok(key),
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySet").field(&self.0.len()).finish()
    }
}

impl Key {
    /// `None` if no token may be verified with it.
    fn new(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let is_for_signatures = common
            .public_key_use
            .as_ref()
            .is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let verifies = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !is_for_signatures || !verifies {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let mut algorithms = algorithms(&jwk.algorithm, key.kind())?.to_vec();
        if let Some(own) = common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == own);
        }
        if algorithms.is_empty() {
            return None;
        }
        Some(Self { id: common.key_id.clone(), algorithms, key })
    }
}

/// What a key of this kind can be used with.
fn algorithms(
    parameters: &AlgorithmParameters,
    key: &DecodingKeyKind,
) -> Option<&'static [Algorithm]> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let length = match key {
        DecodingKeyKind::SecretOrDer(point) => point.len(),
        DecodingKeyKind::RsaModulusExponent { n, .. } => bits(n),
    };
    match parameters {
        AlgorithmParameters::RSA(_) if RSA_BITS.contains(&length) => {
            Some(&[RS256, RS384, RS512, PS256, PS384, PS512])
        }
        // A point is a byte 4 and its two coordinates.
        AlgorithmParameters::EllipticCurve(it) => match (&it.curve, length) {
            (EllipticCurve::P256, 65) => Some(&[ES256]),
            (EllipticCurve::P384, 97) => Some(&[ES384]),
            _ => None,
        },
        AlgorithmParameters::OctetKeyPair(it) if it.curve == EllipticCurve::Ed25519 => {
            (length == 32).then_some(&[EdDSA])
        }
        _ => None,
    }
}

fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    let first = number.get(zeros).map_or(0, |byte| byte.leading_zeros());
    (number.len() - zeros) * 8 - first as usize
}
