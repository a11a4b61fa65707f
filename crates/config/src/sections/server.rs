//! `[server]` and `[server.tls]`: connections to servers.

use std::time::Duration;

use backend::Config;
use transport::ClientTls;

use super::proxy::{TLS_MODES, pair, path};
use super::{BOUNDED, tcp};
use crate::section::Section;

/// A third of what the kernel would take, and longer than the component's default: see
/// [`tcp::read`].
const USER_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn read(section: &Section<'_>) -> Config {
    let default = Config::default();
    Config {
        connect_timeout: section.duration("connect_timeout", default.connect_timeout, BOUNDED),
        login_timeout: section.duration("login_timeout", default.login_timeout, BOUNDED),
        tcp: tcp::read(section, USER_TIMEOUT),
        tls: tls(&section.section("tls")),
    }
}

fn tls(section: &Section<'_>) -> ClientTls {
    let mode = section.choice("mode", ClientTls::default().mode, TLS_MODES);
    let ca = path(section, "ca");
    let (certificate, key) = pair(section);
    if mode.verifies() && ca.is_none() {
        section.error("mode", format!("{mode} needs ca; name the PEM file of the servers' CA"));
    }
    ClientTls { mode, ca, certificate, key }
}
