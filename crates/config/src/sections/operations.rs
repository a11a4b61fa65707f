//! `[metrics]` and `[log]`.

use std::net::SocketAddr;
use std::time::Duration;

use admin::{Login, Page};
use telemetry::log::{Format, Level};

use crate::Kind;
use crate::section::Section;
use crate::sections::OPTIONAL;

const FORMATS: &[(&str, Format)] =
    &[("text", Format::Text), ("json", Format::Json), ("journald", Format::Journald)];

const LEVELS: &[(&str, Level)] = &[
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];

pub(super) fn metrics(section: &Section<'_>, proxy: &frontend::Config) -> admin::Config {
    let default = admin::Config::default();
    let written = default.listen.to_string();
    let listen = section.parsed("listen", Kind::Address, Some(&written), |text| {
        text.parse::<SocketAddr>()
            .map_err(|_| format!("not an address and port; write one such as \"{written}\""))
    });
    let config = admin::Config {
        listen: listen.unwrap_or(default.listen),
        page: section.either("page", true, [Page::Off, Page::On]),
        login: login(section),
        ..default
    };
    let ports = [Some(proxy.port), proxy.replica_port, proxy.any_port];
    if ports.contains(&Some(config.listen.port())) {
        section.error("listen", "has the port of a listener in [proxy]; choose another");
    }
    config
}

/// `user` and `password`, which only make sense together.
fn login(section: &Section<'_>) -> Option<Login> {
    let user = section.parsed("user", Kind::String, None, |text| {
        if text.contains(':') {
            return Err("has a colon, which HTTP cannot carry".to_owned());
        }
        Ok(text.to_owned())
    });
    let password = section.secret("password");
    match (section.has("user"), section.has("password")) {
        (true, false) => section.error("user", "needs its password; set password"),
        (false, true) => section.error("password", "needs a name; set user"),
        (true, true) | (false, false) => {}
    }
    Some(Login { user: user?, password: password? })
}

pub(super) fn log(section: &Section<'_>) -> telemetry::log::Config {
    telemetry::log::Config {
        format: section.choice("format", Format::Text, FORMATS),
        level: section.choice("level", Level::Info, LEVELS),
        rate: section.integer("rate", 100, 0..=1_000_000),
        connections: section.either("connections", true, [false, true]),
        min_duration: section.duration("min_duration", Duration::ZERO, OPTIONAL),
    }
}
