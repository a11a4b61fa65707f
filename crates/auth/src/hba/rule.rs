//! One line of pg_hba.conf.

use std::fmt;

use super::options::Options;
use super::token::{Field, Token};
use super::{
    Address, CertificateCheck, ClientCertificate, Connection, Database, Encryption, Facts, Fault,
    Maps, Method, Mismatch, Peer, Role,
};

/// A rule: for whom it is, and what they have to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Where it was written, from 1.
    pub line: usize,
    /// How a client connects.
    pub origin: Origin,
    /// To which databases, one of them.
    pub databases: Vec<Database>,
    /// As whom, one of them.
    pub roles: Vec<Role>,
    /// What it has to do.
    pub method: Method,
    /// What it has to show besides.
    pub certificate: CertificateCheck,
}

/// How a client connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// By a Unix socket.
    Local,
    /// By TCP.
    Host(HostKind, Address),
}

/// With which encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// `host`: any or none.
    Any,
    /// `hostssl`: TLS.
    Ssl,
    /// `hostnossl`: no TLS.
    NoSsl,
    /// `hostgssenc`: GSSAPI, so never here.
    GssEnc,
    /// `hostnogssenc`: no GSSAPI, so always here.
    NoGssEnc,
}

impl Rule {
    /// Whether the rule is for this connection.
    pub fn matches(&self, connection: &Connection<'_>, facts: &dyn Facts) -> bool {
        self.origin.matches(connection, facts)
            && self.databases.iter().any(|it| it.matches(connection, facts))
            && self.roles.iter().any(|it| it.matches(connection.user, facts))
    }

    /// Checks the name in the client's certificate, if the rule wants that: with the method
    /// `cert` through its map, with `clientcert=verify-full` without one. To be called when the
    /// method has passed; a mismatch ends in [`Method::failed`].
    ///
    /// # Errors
    /// Why the name does not do.
    pub fn certificate_names(
        &self,
        connection: &Connection<'_>,
        maps: &Maps,
        facts: &dyn Facts,
    ) -> Result<(), Mismatch> {
        if self.certificate != CertificateCheck::VerifyFull {
            return Ok(());
        }
        match connection.certificate() {
            ClientCertificate::Verified { common_name: Some(name) } if !name.is_empty() => {
                let map = match &self.method {
                    Method::Cert { map } => map.as_deref(),
                    _ => None,
                };
                maps.admit(map, name, connection.user, facts)
            }
            ClientCertificate::Verified { .. } | ClientCertificate::None => Err(Mismatch::NoName),
        }
    }

    /// Whether somebody whom the method has found to be `system_user` may log in as `role`: for
    /// `peer` and `oauth`, through the method's map.
    ///
    /// # Errors
    /// Why not; it ends in [`Method::failed`].
    pub fn admits(
        &self,
        system_user: &str,
        role: &str,
        maps: &Maps,
        facts: &dyn Facts,
    ) -> Result<(), Mismatch> {
        maps.admit(self.method.map(), system_user, role, facts)
    }

    /// Whether matching it may ask who is in which group.
    pub fn asks_for_groups(&self) -> bool {
        self.databases.contains(&Database::SameRole)
            || self.roles.iter().any(|role| matches!(role, Role::Group(_)))
    }

    pub(super) fn parse(line: usize, fields: Vec<Field>) -> Result<Self, Fault> {
        Self::build(line, fields, Options::parse)
    }

    /// `options` makes the options of what follows the method.
    pub(super) fn build(
        line: usize,
        fields: Vec<Field>,
        options: impl FnOnce(std::vec::IntoIter<Field>) -> Result<Options, Fault>,
    ) -> Result<Self, Fault> {
        let mut fields = fields.into_iter();
        let kind = one(fields.next(), "connection type")?;
        let kind = HostKind::parse(&kind)?;
        let databases = fields.next().ok_or(Fault::Missing("database"))?;
        let databases = databases.into_iter().map(Database::parse).collect::<Result<_, _>>()?;
        let roles = fields.next().ok_or(Fault::Missing("user"))?;
        let roles = roles.into_iter().map(Role::parse).collect::<Result<_, _>>()?;
        let origin = match kind {
            None => Origin::Local,
            Some(kind) => {
                let address = one(fields.next(), "address")?;
                Origin::Host(kind, Address::parse(&address, &mut fields)?)
            }
        };
        let method = one(fields.next(), "authentication method")?;
        let mut options = options(fields)?;
        let method = Method::parse(&method, &origin, &mut options)?;
        let certificate = CertificateCheck::take(&method, &origin, &mut options)?;
        options.end()?;
        Ok(Self { line, origin, databases, roles, method, certificate })
    }
}

/// The only token of a field.
pub(super) fn one(field: Option<Field>, what: &'static str) -> Result<Token, Fault> {
    let mut field = field.ok_or(Fault::Missing(what))?;
    match (field.pop(), field.is_empty()) {
        (Some(token), true) => Ok(token),
        _ => Err(Fault::Several(what)),
    }
}

impl Origin {
    fn matches(&self, connection: &Connection<'_>, facts: &dyn Facts) -> bool {
        match (self, connection.peer) {
            (Self::Local, Peer::Local) => true,
            (Self::Host(kind, address), Peer::Host(peer)) => {
                kind.matches(connection.encryption) && address.contains(peer, facts)
            }
            (Self::Local, Peer::Host(_)) | (Self::Host(..), Peer::Local) => false,
        }
    }
}

impl HostKind {
    fn matches(self, encryption: Encryption<'_>) -> bool {
        match (self, encryption) {
            (Self::Any | Self::NoGssEnc, _)
            | (Self::Ssl, Encryption::Tls(_))
            | (Self::NoSsl, Encryption::None) => true,
            (Self::GssEnc, _)
            | (Self::Ssl, Encryption::None)
            | (Self::NoSsl, Encryption::Tls(_)) => false,
        }
    }

    /// `None` is `local`.
    fn parse(token: &Token) -> Result<Option<Self>, Fault> {
        let known = KINDS.iter().find(|(word, _)| *word == token.text);
        known.map(|(_, kind)| *kind).ok_or_else(|| Fault::ConnectionType(token.text.clone()))
    }
}

/// A line that reads as the same rule, but for an LDAP password, of which only `***` is shown.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.origin {
            Origin::Local => None,
            Origin::Host(kind, _) => Some(kind),
        };
        let word = KINDS.iter().find(|(_, it)| *it == kind);
        f.write_str(word.map_or("local", |(word, _)| word))?;
        put_list(f, &self.databases)?;
        put_list(f, &self.roles)?;
        if let Origin::Host(_, address) = self.origin {
            write!(f, " {address}")?;
        }
        write!(f, " {}", self.method)?;
        match (&self.method, self.certificate) {
            (Method::Cert { .. }, _) | (_, CertificateCheck::None) => Ok(()),
            (_, CertificateCheck::VerifyCa) => f.write_str(" clientcert=verify-ca"),
            (_, CertificateCheck::VerifyFull) => f.write_str(" clientcert=verify-full"),
        }
    }
}

fn put_list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if at == 0 { " " } else { "," })?;
    }
    Ok(())
}

const KINDS: [(&str, Option<HostKind>); 6] = [
    ("local", None),
    ("host", Some(HostKind::Any)),
    ("hostssl", Some(HostKind::Ssl)),
    ("hostnossl", Some(HostKind::NoSsl)),
    ("hostgssenc", Some(HostKind::GssEnc)),
    ("hostnogssenc", Some(HostKind::NoGssEnc)),
];
