//! `ldapurl`: most of the LDAP options in one (RFC 4516).

use std::fmt;

use super::Fault;
use super::ldap::{Ldap, LdapBind, LdapScope, LdapSearch, LdapSecurity};

/// What a URL says; what it leaves out is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<String>,
    pub(super) base_dn: Option<String>,
    pub(super) attribute: Option<String>,
    /// `Base` where the URL has a base and says nothing of the scope.
    pub(super) scope: Option<LdapScope>,
    pub(super) filter: Option<String>,
}

impl Url {
    /// `ldap[s]://[host[:port]][/base[?[attribute][?[scope][?filter]]]]`. Of several attributes
    /// the first counts, as in PostgreSQL. Extensions are an error.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let (scheme, rest) = text.split_once("://").ok_or(Fault::LdapUrl)?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "ldap" | "ldaps") {
            return Err(Fault::LdapUrl);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host_and_port(authority)?;
        let mut parts = path.split('?');
        let mut part = || parts.next().unwrap_or_default();
        let (base_dn, attributes, scope, filter) = (part(), part(), part(), part());
        if parts.next().is_some() {
            return Err(Fault::LdapUrl);
        }
        let base_dn = decode(base_dn)?;
        let attribute = decode(attributes.split(',').next().unwrap_or_default())?;
        let (scope, filter) = (decode(scope)?, decode(filter)?);
        let scope = match scope.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None => base_dn.is_some().then_some(LdapScope::Base),
            Some("base") => Some(LdapScope::Base),
            Some("one") => Some(LdapScope::One),
            Some("sub") => Some(LdapScope::Subtree),
            Some(_) => return Err(Fault::LdapUrl),
        };
        Ok(Self { scheme: Some(scheme), host, port, base_dn, attribute, scope, filter })
    }

    /// What only a URL can say of an entry.
    pub(super) fn of(ldap: &Ldap) -> Option<Self> {
        let LdapBind::Search { base_dn, scope, search, .. } = &ldap.bind else { return None };
        if *scope == LdapScope::Subtree {
            return None;
        }
        let (attribute, filter) = match search {
            LdapSearch::Attribute(attribute) => (Some(attribute.clone()), None),
            LdapSearch::Filter(filter) => (None, Some(filter.clone())),
        };
        let scheme = if ldap.security == LdapSecurity::Tls { "ldaps" } else { "ldap" };
        Some(Self {
            scheme: text_of(scheme),
            host: text_of(&ldap.server),
            port: ldap.port.map(|port| port.to_string()),
            base_dn: text_of(base_dn),
            attribute,
            scope: Some(*scope),
            filter,
        })
    }
}

/// The host may be an IPv6 address in brackets, which are not part of it.
fn host_and_port(authority: &str) -> Result<(Option<String>, Option<String>), Fault> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(Fault::LdapUrl)?;
            (host, if port.is_empty() { None } else { port.strip_prefix(':') })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.contains(['%', '@', ' ']) {
        return Err(Fault::LdapUrl);
    }
    Ok((text_of(host), port.and_then(text_of)))
}

fn text_of(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Undoes percent-encoding. Empty is none.
fn decode(text: &str) -> Result<Option<String>, Fault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let [high, low, after @ ..] = rest else { return Err(Fault::LdapUrl) };
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(Fault::LdapUrl) };
        bytes.push(high << 4 | low);
        rest = after;
    }
    let text = String::from_utf8(bytes).map_err(|_| Fault::LdapUrl)?;
    if text.contains(['\0', '\n']) {
        return Err(Fault::Control);
    }
    Ok(text_of(&text))
}

/// Percent-encodes all that is not plain everywhere in a URL.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'='
            | b'('
            | b')' => {
                write!(f, "{}", char::from(byte))
            }
            _ => write!(f, "%{byte:02x}"),
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |part: &'_ Option<String>| part.clone().unwrap_or_default();
        let host = text(&self.host);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        write!(f, "{}://{host}", text(&self.scheme))?;
        if let Some(port) = &self.port {
            write!(f, ":{port}")?;
        }
        let scope = match self.scope {
            None => "",
            Some(LdapScope::Base) => "base",
            Some(LdapScope::One) => "one",
            Some(LdapScope::Subtree) => "sub",
        };
        let (base_dn, attribute) = (text(&self.base_dn), text(&self.attribute));
        let filter = text(&self.filter);
        write!(f, "/{}?{}?{scope}?{}", Encoded(&base_dn), Encoded(&attribute), Encoded(&filter))
    }
}
