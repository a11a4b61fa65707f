//! The `name=value` options at the end of a rule.

use super::Fault;
use super::token::Field;

/// The options of one rule; each is taken out by what understands it.
#[derive(Debug, Default)]
pub(super) struct Options(Vec<(String, String)>);

impl Options {
    pub(super) fn parse(fields: impl Iterator<Item = Field>) -> Result<Self, Fault> {
        let mut options = Self::default();
        for (at, token) in fields.flatten().enumerate() {
            let (name, value) = token.text.split_once('=').ok_or(Fault::OptionForm(at + 1))?;
            options.add(name, value)?;
        }
        Ok(options)
    }

    pub(super) fn add(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        if !KNOWN.iter().any(|(known, _)| *known == name) {
            return Err(Fault::UnknownOption(name.to_owned()));
        }
        if value.contains(['\0', '\n']) {
            return Err(Fault::Control);
        }
        if self.0.iter().any(|(given, _)| given == name) {
            return Err(Fault::OptionTwice(name.to_owned()));
        }
        self.0.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The same, with an empty value as good as none.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        self.take(name).filter(|value| !value.is_empty())
    }

    /// Whether all were taken.
    pub(super) fn end(self) -> Result<(), Fault> {
        let Some((option, _)) = self.0.into_iter().next() else { return Ok(()) };
        let known = KNOWN.iter().find(|(known, _)| *known == option);
        Err(match known {
            Some((_, methods)) => Fault::OptionMethod { option, methods },
            None => Fault::UnknownOption(option),
        })
    }
}

/// Each option, and what it is for.
const KNOWN: [(&str, &str); 17] = [
    ("clientcert", "hostssl lines"),
    ("clientname", "cert, and hostssl lines with clientcert=verify-full"),
    ("issuer", "oauth"),
    ("ldapbasedn", "ldap"),
    ("ldapbinddn", "ldap"),
    ("ldapbindpasswd", "ldap"),
    ("ldapport", "ldap"),
    ("ldapprefix", "ldap"),
    ("ldapscheme", "ldap"),
    ("ldapsearchattribute", "ldap"),
    ("ldapsearchfilter", "ldap"),
    ("ldapserver", "ldap"),
    ("ldapsuffix", "ldap"),
    ("ldaptls", "ldap"),
    ("ldapurl", "ldap"),
    ("map", "cert, peer and oauth"),
    ("scope", "oauth"),
];

/// [`KNOWN`] for people.
pub(super) const KNOWN_TEXT: &str = "clientcert, clientname, map; for oauth issuer, scope; for \
    ldap ldapserver, ldapport, ldapscheme, ldaptls, ldapprefix, ldapsuffix, ldapbasedn, \
    ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter, ldapurl";
