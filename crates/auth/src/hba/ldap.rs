//! The options of the method `ldap`.

use std::fmt;

use super::Fault;
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
        let server = options.take_text("ldapserver").ok_or(Fault::LdapServer)?;
        let port = options.take("ldapport").map(|port| match port.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(Fault::OptionValue { option: "ldapport", values: "a port number" }),
        });
        let security = security(options)?;
        Ok(Self { server, port: port.transpose()?, security, bind: bind(options)? })
    }
}

fn security(options: &mut Options) -> Result<LdapSecurity, Fault> {
    let start_tls = match options.take("ldaptls").as_deref() {
        None | Some("0") => LdapSecurity::None,
        Some("1") => LdapSecurity::StartTls,
        Some(_) => return Err(Fault::OptionValue { option: "ldaptls", values: "0 or 1" }),
    };
    match (options.take("ldapscheme").as_deref(), start_tls) {
        (None | Some("ldap"), start_tls) => Ok(start_tls),
        (Some("ldaps"), LdapSecurity::None) => Ok(LdapSecurity::Tls),
        (Some("ldaps"), _) => Err(Fault::LdapTls),
        (Some(_), _) => {
            Err(Fault::OptionValue { option: "ldapscheme", values: "\"ldap\" or \"ldaps\"" })
        }
    }
}

fn bind(options: &mut Options) -> Result<LdapBind, Fault> {
    let (prefix, suffix) = (options.take_text("ldapprefix"), options.take_text("ldapsuffix"));
    let base_dn = options.take_text("ldapbasedn");
    let bind_dn = options.take_text("ldapbinddn");
    let bind_password = options.take_text("ldapbindpasswd").map(Secret::new);
    let attribute = options.take_text("ldapsearchattribute");
    let filter = options.take_text("ldapsearchfilter");
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
    Ok(LdapBind::Search { base_dn, bind_dn: bind_dn.unwrap_or_default(), bind_password, search })
}

/// As options. The password is left out, as everywhere: what is printed is not for loading.
impl fmt::Display for Ldap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " ldapserver={}", Word(&self.server))?;
        if let Some(port) = self.port {
            write!(f, " ldapport={port}")?;
        }
        f.write_str(match self.security {
            LdapSecurity::None => "",
            LdapSecurity::StartTls => " ldaptls=1",
            LdapSecurity::Tls => " ldapscheme=ldaps",
        })?;
        let mut put = |name: &str, value: &str| match value {
            "" => Ok(()),
            value => write!(f, " {name}={}", Word(value)),
        };
        match &self.bind {
            LdapBind::Simple { prefix, suffix } => {
                put("ldapprefix", prefix)?;
                put("ldapsuffix", suffix)
            }
            LdapBind::Search { base_dn, bind_dn, bind_password, search } => {
                put("ldapbasedn", base_dn)?;
                put("ldapbinddn", bind_dn)?;
                put("ldapbindpasswd", if bind_password.is_some() { "***" } else { "" })?;
                match search {
                    LdapSearch::Attribute(attribute) => put("ldapsearchattribute", attribute),
                    LdapSearch::Filter(filter) => put("ldapsearchfilter", filter),
                }
            }
        }
    }
}
