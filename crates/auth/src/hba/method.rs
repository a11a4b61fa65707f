//! How a client has to prove who it is.

use std::fmt;

use wire::{ErrorMessage, SqlState};

use super::options::Options;
use super::token::{Token, Word};
use super::{Fault, HostKind, Ldap, Origin};

/// How a client has to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    Trust,
    /// It cannot.
    Reject,
    /// By its password, which it does not show. Also written `md5`.
    ScramSha256,
    /// By the name in its certificate.
    Cert {
        /// The ident map between the name and the roles; without one they are the same.
        map: Option<String>,
    },
    /// By the user that its process runs as.
    Peer {
        /// As for `Cert`.
        map: Option<String>,
    },
    /// By its password, which an LDAP server checks.
    Ldap(Box<Ldap>),
    /// By a bearer token.
    Oauth(Box<Oauth>),
}

/// The options of the method `oauth`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Oauth {
    /// Whose tokens are taken: a URL. `None` leaves it to the configuration.
    pub issuer: Option<String>,
    /// What a token must allow, separated by blanks. `None` leaves it to the configuration.
    pub scope: Option<String>,
    /// The ident map between the token's subject and the roles.
    pub map: Option<String>,
}

/// What is said beside the rules of whose tokens are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenIssuer {
    /// Nothing: nobody's keys are known.
    Unknown,
    /// Whose keys they are must be said by each rule.
    Unnamed,
    /// Rules that say nothing mean this issuer.
    Named,
}

/// What a rule wants of client certificates besides its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateCheck {
    /// Nothing.
    None,
    /// `clientcert=verify-ca`: there is one, and TLS has verified it.
    VerifyCa,
    /// `clientcert=verify-full`: its common name is the user, too.
    VerifyFull,
}

impl Method {
    /// The ident map, if it has one.
    pub fn map(&self) -> Option<&str> {
        match self {
            Self::Cert { map } | Self::Peer { map } => map.as_deref(),
            Self::Oauth(oauth) => oauth.map.as_deref(),
            Self::Trust | Self::Reject | Self::ScramSha256 | Self::Ldap(_) => None,
        }
    }

    /// Its name in a file; fit for a metric label.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Reject => "reject",
            Self::ScramSha256 => "scram-sha-256",
            Self::Cert { .. } => "cert",
            Self::Peer { .. } => "peer",
            Self::Ldap(_) => "ldap",
            Self::Oauth(_) => "oauth",
        }
    }

    /// PostgreSQL's FATAL for a client that did not pass: `28P01` if it had to give a password,
    /// else `28000`.
    pub fn failed(&self, user: &str) -> ErrorMessage {
        let (state, what) = match self {
            Self::ScramSha256 => (SqlState::INVALID_PASSWORD, "password authentication failed"),
            Self::Ldap(_) => {
                (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "LDAP authentication failed")
            }
            Self::Trust => {
                (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "\"trust\" authentication failed")
            }
            Self::Cert { .. } => {
                (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "certificate authentication failed")
            }
            Self::Peer { .. } => {
                (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "Peer authentication failed")
            }
            Self::Oauth(_) => (
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                "OAuth bearer authentication failed",
            ),
            Self::Reject => {
                let text = format!("authentication failed for user \"{user}\": host rejected");
                return ErrorMessage::fatal(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, text);
            }
        };
        ErrorMessage::fatal(state, format!("{what} for user \"{user}\""))
    }

    /// Reads the name of the method, and takes its options.
    pub(super) fn parse(
        token: &Token,
        origin: &Origin,
        options: &mut Options,
    ) -> Result<Self, Fault> {
        match (token.text.as_str(), origin) {
            ("trust", _) => Ok(Self::Trust),
            ("reject", _) => Ok(Self::Reject),
            ("scram-sha-256" | "md5", _) => Ok(Self::ScramSha256),
            // PostgreSQL means peer where ident is on a Unix socket.
            ("peer" | "ident", Origin::Local) => Ok(Self::Peer { map: options.take_text("map") }),
            ("peer", Origin::Host(..)) => Err(Fault::PeerNotLocal),
            ("cert", Origin::Host(HostKind::Ssl, _)) => {
                Ok(Self::Cert { map: options.take_text("map") })
            }
            ("cert", _) => Err(Fault::CertNotTls),
            ("ldap", _) => Ok(Self::Ldap(Box::new(Ldap::take(options)?))),
            ("oauth", _) => Ok(Self::Oauth(Box::new(Oauth {
                issuer: options.take_text("issuer"),
                scope: options.take_text("scope"),
                map: options.take_text("map"),
            }))),
            (other, _) => Err(Fault::Method(other.to_owned())),
        }
    }
}

impl CertificateCheck {
    pub(super) fn take(
        method: &Method,
        origin: &Origin,
        options: &mut Options,
    ) -> Result<Self, Fault> {
        let is_tls = matches!(origin, Origin::Host(HostKind::Ssl, _));
        let is_cert = matches!(method, Method::Cert { .. });
        let check = match (options.take("clientcert").as_deref(), is_cert) {
            (Some(_), _) if !is_tls => return Err(Fault::ClientCertNotTls),
            (None, false) => Self::None,
            (Some("verify-ca"), false) => Self::VerifyCa,
            (Some("verify-full"), _) | (None, true) => Self::VerifyFull,
            (Some("verify-ca"), true) => return Err(Fault::ClientCertWithCert),
            (Some(_), _) => {
                let values = "\"verify-ca\" or \"verify-full\"";
                return Err(Fault::OptionValue { option: "clientcert", values });
            }
        };
        // The common name is what we look at; DN is PostgreSQL's other value.
        if check == Self::VerifyFull && options.take("clientname").is_some_and(|name| name != "CN")
        {
            return Err(Fault::OptionValue { option: "clientname", values: "\"CN\"" });
        }
        Ok(check)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Ldap(ldap) => ldap.fmt(f)?,
            Self::Oauth(oauth) => {
                put(f, "issuer", oauth.issuer.as_deref())?;
                put(f, "scope", oauth.scope.as_deref())?;
            }
            _ => {}
        }
        put(f, "map", self.map())
    }
}

fn put(f: &mut fmt::Formatter<'_>, name: &str, value: Option<&str>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {name}={}", Word(value)))
}
