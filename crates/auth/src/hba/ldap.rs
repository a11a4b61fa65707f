//! The options of the method `ldap`.

use std::fmt;

use super::Fault;
use super::ldap_url::Url;
use super::options::Options;
use super::token::Word;
use crate::Secret;

/// Where and how passwords are checked with LDAP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ldap {
    /// Host names or addresses, separated by blanks, to be tried in this order.
    pub server: String,
    /// The port; `None` for the default of `security`.
    pub port: Option<u16>,
    /// TLS, or not.
    pub security: LdapSecurity,
    /// How the user's DN is found.
    pub bind: LdapBind,
}

/// What protects the connection to the LDAP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LdapSecurity {
    /// Nothing; port 389.
    None,
    /// `ldaptls=1`: StartTLS; port 389.
    StartTls,
    /// `ldapscheme=ldaps`; port 636.
    Tls,
}

/// How far below the base a search goes. Anything but [`LdapScope::Subtree`] is written in an
/// `ldapurl`: PostgreSQL has no option for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LdapScope {
    /// The base alone.
    Base,
    /// What is directly below it.
    One,
    /// It and all below it.
    Subtree,
}

/// How the user's DN is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LdapBind {
    /// It is prefix, user name and suffix.
    Simple {
        /// `ldapprefix`.
        prefix: String,
        /// `ldapsuffix`.
        suffix: String,
    },
    /// It is searched for.
    Search {
        /// `ldapbasedn`.
        base_dn: String,
        /// How far below it.
        scope: LdapScope,
        /// `ldapbinddn`: who searches; empty for anybody.
        bind_dn: String,
        /// `ldapbindpasswd`, of that DN.
        bind_password: Option<Secret>,
        /// What the entry must have.
        search: LdapSearch,
    },
}

/// What to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LdapSearch {
    /// An attribute whose value is the user name; `uid` unless given.
    Attribute(String),
    /// `ldapsearchfilter`: a filter in which `$username` stands for the name.
    Filter(String),
}

impl Ldap {
    pub(super) fn take(options: &mut Options) -> Result<Self, Fault> {
        let url = options.take_text("ldapurl").map(|url| Url::parse(&url)).transpose()?;
        let mut url = url.unwrap_or_default();
        let server = either("ldapserver", url.host.take(), options)?.ok_or(Fault::LdapServer)?;
        let port = either("ldapport", url.port.take(), options)?.map(|port| match port.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(Fault::OptionValue { option: "ldapport", values: "a port number" }),
        });
        let security = security(either("ldapscheme", url.scheme.take(), options)?, options)?;
        Ok(Self { server, port: port.transpose()?, security, bind: bind(url, options)? })
    }
}

/// What the URL or the option says; one of them must be silent. An empty value says nothing.
fn either(
    option: &'static str,
    in_url: Option<String>,
    options: &mut Options,
) -> Result<Option<String>, Fault> {
    match (in_url, options.take_text(option)) {
        (Some(_), Some(_)) => Err(Fault::LdapUrlAnd(option)),
        (in_url, given) => Ok(in_url.or(given)),
    }
}

fn security(scheme: Option<String>, options: &mut Options) -> Result<LdapSecurity, Fault> {
    let start_tls = match options.take("ldaptls").as_deref() {
        None | Some("0") => LdapSecurity::None,
        Some("1") => LdapSecurity::StartTls,
        Some(_) => return Err(Fault::OptionValue { option: "ldaptls", values: "0 or 1" }),
    };
    match (scheme.as_deref(), start_tls) {
        (None | Some("ldap"), start_tls) => Ok(start_tls),
        (Some("ldaps"), LdapSecurity::None) => Ok(LdapSecurity::Tls),
        (Some("ldaps"), _) => Err(Fault::LdapTls),
        (Some(_), _) => {
            Err(Fault::OptionValue { option: "ldapscheme", values: "\"ldap\" or \"ldaps\"" })
        }
    }
}

fn bind(url: Url, options: &mut Options) -> Result<LdapBind, Fault> {
    let (prefix, suffix) = (options.take_text("ldapprefix"), options.take_text("ldapsuffix"));
    let base_dn = either("ldapbasedn", url.base_dn, options)?;
    let bind_dn = options.take_text("ldapbinddn");
    let bind_password = options.take_text("ldapbindpasswd").map(Secret::new);
    let attribute = either("ldapsearchattribute", url.attribute, options)?;
    let filter = either("ldapsearchfilter", url.filter, options)?;
    let searches = bind_dn.is_some() || bind_password.is_some() || attribute.is_some();
    let searches = searches || filter.is_some() || base_dn.is_some();
    if prefix.is_some() || suffix.is_some() {
        return if searches {
            Err(Fault::LdapModes)
        } else {
            let (prefix, suffix) = (prefix.unwrap_or_default(), suffix.unwrap_or_default());
            Ok(LdapBind::Simple { prefix, suffix })
        };
    }
    let base_dn = base_dn.ok_or(Fault::LdapMode)?;
    let search = match (attribute, filter) {
        (Some(_), Some(_)) => return Err(Fault::LdapSearch),
        (None, Some(filter)) => LdapSearch::Filter(filter),
        (Some(attribute), None) => LdapSearch::Attribute(attribute),
        (None, None) => LdapSearch::Attribute("uid".to_owned()),
    };
    let (scope, bind_dn) = (url.scope.unwrap_or(LdapScope::Subtree), bind_dn.unwrap_or_default());
    Ok(LdapBind::Search { base_dn, scope, bind_dn, bind_password, search })
}

/// As options. The password is left out, as everywhere: what is printed is not for loading.
impl fmt::Display for Ldap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = Url::of(self);
        let mut put = |name: &str, value: &str| match value {
            "" => Ok(()),
            value => write!(f, " {name}={}", Word(value)),
        };
        let start_tls = if self.security == LdapSecurity::StartTls { "1" } else { "" };
        match &url {
            Some(url) => {
                put("ldapurl", &url.to_string())?;
                put("ldaptls", start_tls)?;
            }
            None => {
                put("ldapserver", &self.server)?;
                put("ldapport", &self.port.map(|port| port.to_string()).unwrap_or_default())?;
                put("ldaptls", start_tls)?;
                put("ldapscheme", if self.security == LdapSecurity::Tls { "ldaps" } else { "" })?;
            }
        }
        match &self.bind {
            LdapBind::Simple { prefix, suffix } => {
                put("ldapprefix", prefix)?;
                put("ldapsuffix", suffix)
            }
            LdapBind::Search { base_dn, bind_dn, bind_password, search, .. } => {
                if url.is_none() {
                    put("ldapbasedn", base_dn)?;
                }
                put("ldapbinddn", bind_dn)?;
                put("ldapbindpasswd", if bind_password.is_some() { "***" } else { "" })?;
                match search {
                    _ if url.is_some() => Ok(()),
                    LdapSearch::Attribute(attribute) => put("ldapsearchattribute", attribute),
                    LdapSearch::Filter(filter) => put("ldapsearchfilter", filter),
                }
            }
        }
    }
}
