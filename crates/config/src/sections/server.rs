//! `[server]` and `[server.tls]`: connections to servers.

use std::time::Duration;

use auth::BindingPolicy;
use backend::Config;
use transport::{ClientTls, Negotiation, TlsMode};

use super::{BOUNDED, tcp, tls};
use crate::section::Section;

/// A third of what the kernel would take, and longer than the component's default: see
/// [`tcp::read`].
const USER_TIMEOUT: Duration = Duration::from_secs(300);

const NEGOTIATIONS: &[(&str, Negotiation)] =
    &[("postgres", Negotiation::Postgres), ("direct", Negotiation::Direct)];

const BINDINGS: &[(&str, BindingPolicy)] = &[
    ("disable", BindingPolicy::Disable),
    ("prefer", BindingPolicy::Prefer),
    ("require", BindingPolicy::Require),
];

pub(super) fn read(section: &Section<'_>) -> Config {
    let default = Config::default();
    let tls = client_tls(&section.section("tls"));
    let channel_binding = section.choice("channel_binding", default.channel_binding, BINDINGS);
    if channel_binding == BindingPolicy::Require && tls.mode <= TlsMode::Allow {
        section.error(
            "channel_binding",
            format!(
                "require needs TLS, and server.tls.mode is {}; set that to require or more",
                tls.mode
            ),
        );
    }
    Config {
        connect_timeout: section.duration("connect_timeout", default.connect_timeout, BOUNDED),
        login_timeout: section.duration("login_timeout", default.login_timeout, BOUNDED),
        tcp: tcp::read(section, USER_TIMEOUT),
        tls,
        channel_binding,
    }
}

fn client_tls(section: &Section<'_>) -> ClientTls {
    let mode = section.choice("mode", ClientTls::default().mode, tls::MODES);
    let negotiation = section.choice("sslnegotiation", Negotiation::default(), NEGOTIATIONS);
    let ca = tls::path(section, "ca");
    let (certificate, key) = tls::pair(section);
    let policy = tls::policy(section);
    if mode.verifies() && ca.is_none() {
        section.error("mode", format!("{mode} needs ca; name the PEM file of the servers' CA"));
    }
    if negotiation == Negotiation::Direct && !mode.is_required() {
        section.error(
            "sslnegotiation",
            format!("direct does not go with mode {mode}; set mode to require or more"),
        );
    }
    ClientTls { mode, negotiation, ca, certificate, key, policy }
}
