//! `[auth]`: how LDAP servers are asked, and where passwords may be shown.

use control::ldap::Config;

use super::{BOUNDED, tls};
use crate::Cleartext;
use crate::section::Section;

/// Which servers there are is in the rules.
pub(super) fn read(section: &Section<'_>) -> Config {
    Config {
        timeout: section.duration("ldap_timeout", Config::TIMEOUT, BOUNDED),
        ca: tls::path(section, "ldap_ca"),
    }
}

pub(super) fn cleartext(section: &Section<'_>) -> Cleartext {
    let values = [Cleartext::Protected, Cleartext::Anywhere];
    section.either("allow_cleartext_without_tls", false, values)
}
