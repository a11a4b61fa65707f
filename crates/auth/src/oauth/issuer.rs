//! Who issues tokens.

use std::fmt;

/// What separates a discovery document from its issuer (RFC 8414, section 3).
const WELL_KNOWN: &str = "/.well-known/";

/// Where an issuer's discovery document is if nothing else is said.
const OPENID: &str = "/.well-known/openid-configuration";

/// An issuer of tokens. Written as PostgreSQL has it: its URL, or that of its discovery document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    identifier: String,
    document: String,
}

/// A text that names no issuer. It is not quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an issuer: give its URL, such as https://id.example.com/realm")]
pub struct IssuerError;

impl Issuer {
    /// Reads the URL of an issuer, or of its discovery document.
    ///
    /// # Errors
    /// It is no `https` or `http` URL with a host, or has a query, a fragment or a character that
    /// no URL has.
    pub fn new(text: &str) -> Result<Self, IssuerError> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or(IssuerError)?;
        let is_url = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}?#".contains(&byte);
        if rest.is_empty() || rest.starts_with('/') || !rest.bytes().all(is_url) {
            return Err(IssuerError);
        }
        Ok(match text.split_once(WELL_KNOWN) {
            None => Self { identifier: text.to_owned(), document: format!("{text}{OPENID}") },
            // Behind the name of the document may be the issuer's path (RFC 8414).
            Some((before, name)) => {
                let path = name.find('/').map_or("", |slash| &name[slash..]);
                Self { identifier: format!("{before}{path}"), document: text.to_owned() }
            }
        })
    }

    /// What the claim `iss` of its tokens is.
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// The URL of its discovery document.
    pub fn document(&self) -> &str {
        &self.document
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identifier)
    }
}
