//! What `[proxy.tls]` and `[server.tls]` have in common.

use std::path::PathBuf;
use std::str::FromStr;

use transport::{Policy, TlsMode, UnknownName};

use crate::Kind;
use crate::section::Section;

pub(super) const MODES: &[(&str, TlsMode)] = &[
    ("disable", TlsMode::Disable),
    ("allow", TlsMode::Allow),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];

/// `certificate` and `key`, which only make sense together.
pub(super) fn pair(section: &Section<'_>) -> (Option<PathBuf>, Option<PathBuf>) {
    let (certificate, key) = (path(section, "certificate"), path(section, "key"));
    match (section.has("certificate"), section.has("key")) {
        (true, false) => section.error("certificate", "needs its private key; set key"),
        (false, true) => section.error("key", "needs its certificate; set certificate"),
        (true, true) | (false, false) => {}
    }
    (certificate, key)
}

pub(super) fn path(section: &Section<'_>, key: &'static str) -> Option<PathBuf> {
    section.parsed(key, Kind::Path, None, |text| Ok(PathBuf::from(text)))
}

/// `protocols`, `ciphers` and `groups`.
pub(super) fn policy(section: &Section<'_>) -> Policy {
    let (protocols, ciphers) = (names(section, "protocols"), names(section, "ciphers"));
    let groups = names(section, "groups");
    let (Some(protocols), Some(ciphers), Some(groups)) = (protocols, ciphers, groups) else {
        return Policy::default();
    };
    Policy::new(protocols, ciphers, groups).unwrap_or_else(|error| {
        section.error("ciphers", error.to_string());
        Policy::default()
    })
}

/// Empty for a key that is not there; `None` when something was reported.
fn names<T: FromStr<Err = UnknownName>>(
    section: &Section<'_>,
    key: &'static str,
) -> Option<Vec<T>> {
    let items = section.list(key, None);
    if items.is_empty() && section.has(key) {
        section.error(key, "names none; leave the key out for all that there are");
        return None;
    }
    let read = items.iter().map(|item| match item.text.parse::<T>() {
        Ok(name) => Some(name),
        Err(error) => {
            section.error_at(&item.place, error.to_string());
            None
        }
    });
    // Collected twice, so that every wrong name is reported and not the first alone.
    read.collect::<Vec<Option<T>>>().into_iter().collect()
}
