//! What a token is worth.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::{KeySet, Rejection};

/// The longest token that is looked at, in bytes.
pub const TOKEN_MAX: usize = 16 * 1024;

/// What a token must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy<'a> {
    /// The claim `iss`, to the letter.
    pub issuer: &'a str,
    /// For whom tokens are: one of these must be in the claim `aud`.
    pub audience: &'a [String],
    /// Names, separated by blanks: all must be in the claim `scope` or `scp`.
    pub scope: &'a str,
    /// The claim that says who somebody is.
    pub claim: &'a str,
    /// How far the issuer's clock may be off.
    pub clock_skew: Duration,
}

/// Who has the token, if it does: the text of the policy's claim. `now` is since 1970.
///
/// # Errors
/// Why the token does not do. Nothing of it has been believed before its signature was verified.
pub fn verify(
    token: &str,
    keys: &KeySet,
    policy: &Policy<'_>,
    now: Duration,
) -> Result<String, Rejection> {
    let claims = signed_claims(token, keys)?;
    let text = |name| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(policy.issuer) {
        return Err(Rejection::Issuer);
    }
    if !is_for(claims.get("aud"), policy.audience) {
        return Err(Rejection::Audience);
    }
    let (now, skew) = (now.as_secs_f64(), policy.clock_skew.as_secs_f64());
    let end = claims.get("exp").and_then(Value::as_f64).ok_or(Rejection::NoExpiry)?;
    if now >= end + skew {
        return Err(Rejection::Expired);
    }
    if let Some(begin) = claims.get("nbf") {
        let begin = begin.as_f64().ok_or(Rejection::NotYetValid)?;
        if now < begin - skew {
            return Err(Rejection::NotYetValid);
        }
    }
    let scopes = scopes(&claims);
    if !policy.scope.split_ascii_whitespace().all(|scope| scopes.contains(&scope)) {
        return Err(Rejection::Scope);
    }
    let name = text(policy.claim).filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or(Rejection::NoUser)
}

/// The claims of a token whose signature is right.
fn signed_claims(token: &str, keys: &KeySet) -> Result<Map<String, Value>, Rejection> {
    if token.len() > TOKEN_MAX {
        return Err(Rejection::TooLong);
    }
    let header = decode_header(token)
        .map_err(|_| Rejection::Malformed("no signed JWT in an algorithm that is known"))?;
    // What must be understood, and none of it is (RFC 7515, section 4.1.11).
    if header.crit.is_some() {
        return Err(Rejection::Malformed("critical extensions in the header"));
    }
    let key = keys.find(header.kid.as_deref(), header.alg)?;
    // The claims are checked above: against the time that was given, and each with its reason.
    let mut signature_alone = Validation::new(header.alg);
    signature_alone.required_spec_claims.clear();
    signature_alone.validate_exp = false;
    signature_alone.validate_aud = false;
    match decode(token, &key.key, &signature_alone) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidSignature => Rejection::Signature,
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Rejection::Algorithm,
            ErrorKind::Json(_) | ErrorKind::Utf8(_) => Rejection::Malformed("the claims"),
            _ => Rejection::Malformed("the encoding"),
        }),
    }
}

/// `aud` is a text or a list of them.
fn is_for(claim: Option<&Value>, audience: &[String]) -> bool {
    let is_ours =
        |value: &Value| value.as_str().is_some_and(|name| audience.iter().any(|ours| ours == name));
    match claim {
        Some(Value::Array(names)) => names.iter().any(is_ours),
        Some(name) => is_ours(name),
        None => false,
    }
}

/// `scope` (RFC 8693) and `scp`, each a text with blanks or a list.
fn scopes(claims: &Map<String, Value>) -> Vec<&str> {
    let claims = ["scope", "scp"].into_iter().filter_map(|name| claims.get(name));
    let values = claims.flat_map(|claim| match claim {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    });
    values.filter_map(Value::as_str).flat_map(str::split_ascii_whitespace).collect()
}
