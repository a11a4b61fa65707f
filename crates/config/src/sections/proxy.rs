//! `[proxy]` and `[proxy.tls]`: listeners, limits and TLS towards clients.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use frontend::Config;
use transport::{ServerTls, TlsMode};

use super::{BOUNDED, tcp};
use crate::section::Section;
use crate::{Kind, UNLIMITED};

/// What one process with a raised descriptor limit serves.
const CLIENTS_MAX: u32 = 10_000;

/// Off, unlike the component's default: see [`tcp::read`].
const USER_TIMEOUT: Duration = Duration::ZERO;

pub(crate) const TLS_MODES: &[(&str, TlsMode)] = &[
    ("disable", TlsMode::Disable),
    ("allow", TlsMode::Allow),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];

/// The frontend's configuration and `max_client_connections`.
pub(super) fn read(section: &Section<'_>) -> (Config, u32) {
    let default = Config::default();
    let config = Config {
        listen: listen(section, default.listen),
        port: section.integer("port", default.port, 1..=u16::MAX),
        replica_port: section.optional_integer("replica_port", 1..=u16::MAX),
        any_port: section.optional_integer("any_port", 1..=u16::MAX),
        login_timeout: section.duration("client_login_timeout", default.login_timeout, BOUNDED),
        backlog: section.integer("backlog", default.backlog, 1..=65_535),
        tls: tls(&section.section("tls")),
        tcp: tcp::read(section, USER_TIMEOUT),
    };
    distinct_ports(section, &config);
    let most = u32::try_from(UNLIMITED).unwrap_or(u32::MAX);
    (config, section.integer("max_client_connections", CLIENTS_MAX, 1..=most))
}

fn listen(section: &Section<'_>, default: Vec<IpAddr>) -> Vec<IpAddr> {
    let written: Vec<String> = default.iter().map(IpAddr::to_string).collect();
    let mut addresses = Vec::new();
    for item in section.list("listen", Some(&written.join(", "))) {
        match item.text.parse::<IpAddr>() {
            Ok(ip) if addresses.contains(&ip) => {
                section.error_at(&item.place, "an address appears twice; remove one");
            }
            Ok(ip) => addresses.push(ip),
            Err(_) => section.error_at(
                &item.place,
                "not an IP address; write one such as \"0.0.0.0\", \"::\" or \"127.0.0.1\", \
                 the port goes into proxy.port",
            ),
        }
    }
    if addresses.is_empty() {
        if section.has("listen") {
            section.error("listen", "names no address; write one or leave the key out");
        }
        return default;
    }
    addresses
}

fn distinct_ports(section: &Section<'_>, proxy: &Config) {
    let same = "is another listener's port, too; give each its own";
    if proxy.replica_port == Some(proxy.port) {
        section.error("replica_port", same);
    }
    if proxy
        .any_port
        .is_some_and(|port| [Some(proxy.port), proxy.replica_port].contains(&Some(port)))
    {
        section.error("any_port", same);
    }
}

fn tls(section: &Section<'_>) -> ServerTls {
    let mode = section.choice("mode", ServerTls::default().mode, TLS_MODES);
    let (certificate, key) = pair(section);
    let client_ca = path(section, "client_ca");
    if mode.is_required() && certificate.is_none() && !section.has("certificate") {
        section.error(
            "mode",
            format!("{mode} needs certificate and key; name their PEM files or use prefer"),
        );
    }
    if mode.verifies() && client_ca.is_none() {
        section.error("mode", format!("{mode} needs client_ca; name its PEM file"));
    }
    if certificate.is_none() && matches!(mode, TlsMode::Allow | TlsMode::Prefer) {
        section.warning(
            "mode",
            "clients are served without TLS, for there is no certificate; set certificate and \
             key, or mode = \"disable\" to mean it",
        );
        return ServerTls { mode: TlsMode::Disable, certificate, key, client_ca };
    }
    ServerTls { mode, certificate, key, client_ca }
}

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
