//! `[proxy]` and `[proxy.tls]`: listeners, limits and TLS towards clients.

use std::net::IpAddr;
use std::time::Duration;

use frontend::Config;
use transport::{ServerTls, TlsMode};

use super::{BOUNDED, tcp, tls, unix};
use crate::section::Section;
use crate::{CoreDumps, UNLIMITED};

/// What one process with a raised descriptor limit serves.
const CLIENTS_MAX: u32 = 10_000;

/// Off, unlike the component's default: see [`tcp::read`].
const USER_TIMEOUT: Duration = Duration::ZERO;

/// The frontend's configuration, `max_client_connections` and `tls.client_map`.
pub(super) fn read(section: &Section<'_>) -> (Config, u32, Option<String>) {
    let default = Config::default();
    let (tls, client_map) = server_tls(&section.section("tls"));
    let config = Config {
        listen: listen(section, default.listen),
        port: section.integer("port", default.port, 1..=u16::MAX),
        replica_port: section.optional_integer("replica_port", 1..=u16::MAX),
        any_port: section.optional_integer("any_port", 1..=u16::MAX),
        unix: unix::read(section),
        login_timeout: section.duration("client_login_timeout", default.login_timeout, BOUNDED),
        backlog: section.integer("backlog", default.backlog, 1..=65_535),
        tls,
        tcp: tcp::read(section, USER_TIMEOUT),
    };
    distinct_ports(section, &config);
    let most = u32::try_from(UNLIMITED).unwrap_or(u32::MAX);
    let clients_max = section.integer("max_client_connections", CLIENTS_MAX, 1..=most);
    (config, clients_max, client_map)
}

/// What may be told of its memory.
pub(super) fn core_dumps(section: &Section<'_>) -> CoreDumps {
    section.either("core_dumps", false, [CoreDumps::Forbidden, CoreDumps::Allowed])
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

fn server_tls(section: &Section<'_>) -> (ServerTls, Option<String>) {
    let mode = section.choice("mode", ServerTls::default().mode, tls::MODES);
    let (certificate, key) = tls::pair(section);
    let client_ca = tls::path(section, "client_ca");
    let policy = tls::policy(section);
    let client_map = section.optional_string("client_map");
    if client_map.is_some() && mode != TlsMode::VerifyFull {
        section.error("client_map", "is for mode verify-full; set that, or leave the key out");
    }
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
        let mode = TlsMode::Disable;
        return (ServerTls { mode, certificate, key, client_ca, policy }, client_map);
    }
    (ServerTls { mode, certificate, key, client_ca, policy }, client_map)
}
