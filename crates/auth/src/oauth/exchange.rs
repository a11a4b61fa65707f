//! The server side of an OAUTHBEARER exchange (RFC 7628, section 3), as PostgreSQL 18 has it.

use std::fmt;

use serde_json::json;
use wire::{ErrorMessage, SqlState};
use zeroize::Zeroizing;

use super::{Issuer, MESSAGE_MAX, Rejection, TOKEN_MAX};
use crate::Secret;

/// What separates the fields of a message.
const SEPARATOR: char = '\x01';

/// The only field that counts.
const AUTH: &str = "auth";

/// The only scheme in it, in whatever case.
const BEARER: &str = "Bearer ";

/// A message that RFC 7628 does not allow. Carries nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// What is wrong with it, in PostgreSQL's words.
    #[error("malformed OAUTHBEARER message: {0}")]
    Message(&'static str),
    /// The client wants to act as somebody else.
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
}

/// The start of an exchange: waits for the client's first message.
#[derive(Debug, Clone)]
pub struct Exchange {
    challenge: String,
}

/// What the first message was.
#[derive(Debug)]
pub enum Received {
    /// A token, to be verified.
    Token(Presented),
    /// No token that could be.
    Refused(Refusing),
}

/// A token that the client has shown.
pub struct Presented {
    token: Secret,
    exchange: Exchange,
}

/// A login that fails: the client gets a challenge, answers it, and hears of the failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusing {
    challenge: String,
    why: Rejection,
}

// === impl Malformed ===

impl Malformed {
    /// What the client is told.
    pub fn fatal(&self) -> ErrorMessage {
        match self {
            Self::Message(detail) => {
                let message = "malformed OAUTHBEARER message";
                ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, message).with_detail(*detail)
            }
            Self::AuthorizationIdentity => {
                ErrorMessage::fatal(SqlState::FEATURE_NOT_SUPPORTED, self.to_string())
            }
        }
    }
}

// === impl Exchange ===

impl Exchange {
    /// With clients whose tokens must be of `issuer` and allow `scope`, names separated by blanks.
    pub fn new(issuer: &Issuer, scope: &str) -> Self {
        let mut challenge = json!({
            "status": "invalid_token",
            "openid-configuration": issuer.document(),
        });
        if !scope.is_empty() {
            challenge["scope"] = scope.into();
        }
        Self { challenge: challenge.to_string() }
    }

    /// Takes the client's first message.
    ///
    /// # Errors
    /// It is not what RFC 7628 and PostgreSQL allow. A token that is none is no error: it is
    /// refused as a wrong one is.
    pub fn receive(self, message: Vec<u8>) -> Result<Received, Malformed> {
        let message = Zeroizing::new(message);
        if message.is_empty() {
            return Err(Malformed::Message("The message is empty."));
        }
        if message.len() > MESSAGE_MAX {
            return Err(Malformed::Message("The message is too long."));
        }
        if message.contains(&0) {
            return Err(Malformed::Message("Message length does not match input length."));
        }
        let text = str::from_utf8(&message)
            .map_err(|_| Malformed::Message("Message contains an invalid value."))?;
        let auth = auth_field(behind_header(text)?)?;
        Ok(match bearer_token(auth) {
            Ok(token) => Received::Token(Presented { token: Secret::new(token), exchange: self }),
            Err(why) => Received::Refused(self.refuse(why)),
        })
    }

    fn refuse(self, why: Rejection) -> Refusing {
        Refusing { challenge: self.challenge, why }
    }
}

// === impl Presented ===

impl Presented {
    /// The token, of printable ASCII. A secret.
    pub fn token(&self) -> &str {
        self.token.expose()
    }

    /// The token does not do.
    pub fn refuse(self, why: Rejection) -> Refusing {
        self.exchange.refuse(why)
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").finish_non_exhaustive()
    }
}

// === impl Refusing ===

impl Refusing {
    /// The challenge, for AuthenticationSASLContinue: JSON that says where tokens are to be had.
    pub fn message(&self) -> &str {
        &self.challenge
    }

    /// Takes the client's answer, which has nothing to say. The login has failed then.
    ///
    /// # Errors
    /// It says something.
    pub fn receive(self, message: &[u8]) -> Result<Rejection, Malformed> {
        match message {
            [0x01] => Ok(self.why),
            [] => Err(Malformed::Message("The message is empty.")),
            _ => Err(Malformed::Message("Client did not send a kvsep response.")),
        }
    }
}

/// What follows the GS2 header `n,,` or `y,,` and its separator.
fn behind_header(text: &str) -> Result<&str, Malformed> {
    let malformed = |detail| Err(Malformed::Message(detail));
    let rest = match text.as_bytes().first() {
        Some(b'n' | b'y') => &text[1..],
        Some(b'p') => {
            return malformed(
                "The server does not support channel binding for OAuth, but the client message \
                 includes channel binding data.",
            );
        }
        _ => return malformed("Unexpected channel-binding flag."),
    };
    let Some(rest) = rest.strip_prefix(',') else { return malformed("Comma expected.") };
    if rest.starts_with('a') {
        return Err(Malformed::AuthorizationIdentity);
    }
    let Some(rest) = rest.strip_prefix(',') else {
        return malformed("Unexpected attribute in client-first-message.");
    };
    match rest.strip_prefix(SEPARATOR) {
        Some(rest) => Ok(rest),
        None => malformed("Key-value separator expected."),
    }
}

/// The value of the field `auth`. Others are ignored, as the RFC has it.
fn auth_field(mut rest: &str) -> Result<&str, Malformed> {
    let malformed = |detail| Err(Malformed::Message(detail));
    let mut auth = None;
    loop {
        if rest.is_empty() {
            return malformed("Message did not contain a final terminator.");
        }
        let Some((field, behind)) = rest.split_once(SEPARATOR) else {
            return malformed("Message contains an unterminated key/value pair.");
        };
        rest = behind;
        if field.is_empty() {
            break;
        }
        let Some((key, value)) = field.split_once('=') else {
            return malformed("Message contains a key without a value.");
        };
        if key.is_empty() {
            return malformed("Message contains an empty key name.");
        }
        if !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return malformed("Message contains an invalid key name.");
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic() || b" \t\r\n".contains(&byte)) {
            return malformed("Message contains an invalid value.");
        }
        if key == AUTH && auth.replace(value).is_some() {
            return malformed("Message contains multiple auth values.");
        }
    }
    match auth {
        None => malformed("Message does not contain an auth value."),
        Some(_) if !rest.is_empty() => {
            malformed("Message contains additional data after the final terminator.")
        }
        Some(auth) => Ok(auth),
    }
}

/// The token of an Authorization header (RFC 6750, section 2.1).
fn bearer_token(auth: &str) -> Result<&str, Rejection> {
    if auth.is_empty() {
        return Err(Rejection::Discovery);
    }
    let (scheme, token) = match auth.split_at_checked(BEARER.len()) {
        Some((scheme, token)) => (scheme, token.trim_start_matches(' ')),
        None => (auth, ""),
    };
    if !scheme.eq_ignore_ascii_case(BEARER) {
        return Err(Rejection::Malformed("the scheme is not Bearer"));
    }
    if token.len() > TOKEN_MAX {
        return Err(Rejection::TooLong);
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    let characters = token.trim_end_matches('=');
    if characters.is_empty() || !characters.bytes().all(is_token) {
        return Err(Rejection::Malformed("not in the form of a bearer token"));
    }
    Ok(token)
}
