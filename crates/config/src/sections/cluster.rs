//! `[cluster]` and `[cluster.tls]`: how the servers are found.

use auth::Rotating;
use discovery::{Config, EtcdConfig, FixedConfig, RestConfig, Tls};
use topology::Address;

use super::BOUNDED;
use super::tls::{pair, path};
use crate::Kind;
use crate::section::{Item, Section};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Etcd,
    Patroni,
    Static,
}

const SOURCES: &[(&str, Source)] =
    &[("etcd", Source::Etcd), ("patroni", Source::Patroni), ("static", Source::Static)];

pub(super) fn read(section: &Section<'_>) -> Config {
    let default = EtcdConfig::new(Vec::new(), "");
    let source = section.choice("discovery", Source::Etcd, SOURCES);
    let (endpoints, fallback) =
        (endpoints(section, "endpoints"), endpoints(section, "patroni_fallback"));
    let nodes = nodes(section);
    let scope = section.parsed("scope", Kind::String, None, scope).unwrap_or_default();
    let namespace = section.parsed("namespace", Kind::String, Some(&default.namespace), namespace);
    let group = section.optional_integer("group", 0..=i32::MAX.unsigned_abs());
    let credentials = credentials(section);
    let tls = tls(&section.section("tls"));
    let time = |key, default| section.duration(key, default, BOUNDED);
    let request_timeout = time("request_timeout", default.request_timeout);
    let refresh_interval = time("refresh_interval", default.refresh_interval);
    let poll_interval = time("poll_interval", RestConfig::POLL_INTERVAL);
    complete(section, source, &tls, &endpoints);
    match source {
        Source::Static => Config::Fixed(FixedConfig { nodes }),
        Source::Patroni => {
            Config::Rest(RestConfig { endpoints, tls, request_timeout, poll_interval })
        }
        Source::Etcd => Config::Etcd(EtcdConfig {
            endpoints,
            scope,
            namespace: namespace.unwrap_or(default.namespace),
            group,
            credentials,
            tls,
            request_timeout,
            refresh_interval,
            patroni_fallback: fallback,
        }),
    }
}

/// What the kind of discovery needs is there; what it has no use for is said.
fn complete(section: &Section<'_>, source: Source, tls: &Tls, endpoints: &[String]) {
    let (needed, useless): (&[&str], &[&str]) = match source {
        Source::Etcd => (&["endpoints", "scope"], &["nodes"]),
        Source::Patroni => (&["endpoints"], &["nodes", "user", "password", "patroni_fallback"]),
        Source::Static => (&["nodes"], &["endpoints", "user", "password", "patroni_fallback"]),
    };
    let name = SOURCES.iter().find(|(_, it)| *it == source).map_or("", |(name, _)| *name);
    for key in needed {
        if !section.has(key) {
            let example = match *key {
                "endpoints" if source == Source::Etcd => "[\"http://etcd-1:2379\"]",
                "endpoints" => "[\"http://node-1:8008\"]",
                "scope" => "Patroni's scope",
                _ => "[\"10.0.0.1:5432\"]",
            };
            section.error(key, format!("missing; discovery = \"{name}\" needs it: {example}"));
        }
    }
    for key in useless.iter().filter(|key| section.has(key)) {
        section.warning(key, format!("ignored: means nothing with discovery = \"{name}\""));
    }
    let plain = endpoints.iter().all(|endpoint| endpoint.starts_with("http://"));
    if plain && *tls != Tls::default() {
        section.warning("tls", "ignored: no endpoint is https://");
    }
}

/// Base URLs. They are never quoted: an operator may have put a password into one.
fn endpoints(section: &Section<'_>, key: &'static str) -> Vec<String> {
    let mut endpoints = Vec::new();
    for item in section.list(key, None) {
        match endpoint(&item.text) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(problem) => section.error_at(&item.place, problem),
        }
    }
    none_left(section, key, endpoints.is_empty());
    endpoints
}

fn endpoint(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "not a base URL; write one such as \"http://etcd-1:2379\"";
    let (scheme, authority) = text.split_once("://").ok_or(FORM)?;
    if !matches!(scheme, "http" | "https") {
        return Err("the scheme must be http or https");
    }
    let authority = authority.trim_end_matches('/');
    if authority.contains('@') {
        return Err("user and password go into cluster.user and cluster.password");
    }
    let address = Address::parse(authority).map_err(|_| FORM)?;
    if !authority.ends_with(&format!(":{}", address.port())) {
        return Err("the port is missing; etcd's is 2379, Patroni's 8008");
    }
    Ok(format!("{scheme}://{address}"))
}

fn nodes(section: &Section<'_>) -> Vec<Address> {
    let mut nodes = Vec::new();
    for Item { text, place } in section.list("nodes", None) {
        match Address::parse(&text) {
            Ok(node) if nodes.contains(&node) => {
                section.error_at(&place, "a node appears twice; remove one");
            }
            Ok(node) => nodes.push(node),
            Err(_) => section.error_at(
                &place,
                "not a host and port; write \"10.0.0.1:5432\", \"db.example:5432\" or \
                 \"[::1]:5432\"",
            ),
        }
    }
    none_left(section, "nodes", nodes.is_empty());
    nodes
}

fn none_left(section: &Section<'_>, key: &str, empty: bool) {
    if empty && section.has(key) {
        section.error(key, "names nothing usable; write at least one");
    }
}

/// Patroni writes `/<namespace>/<scope>/…` with exactly one slash on either side.
fn namespace(text: &str) -> Result<String, String> {
    let inner = text.trim_matches('/');
    if inner.is_empty() {
        return Err("names nothing; write one such as \"/service/\"".to_owned());
    }
    Ok(format!("/{inner}/"))
}

fn scope(text: &str) -> Result<String, String> {
    if text.contains('/') {
        return Err("has a slash; it is Patroni's scope alone, the rest is namespace".to_owned());
    }
    Ok(text.to_owned())
}

fn credentials(section: &Section<'_>) -> Option<(String, Rotating)> {
    let (user, password) = (section.optional_string("user"), section.secret("password"));
    match (section.has("user"), section.has("password")) {
        (true, false) => section.error("user", "needs cluster.password; set it"),
        (false, true) => section.error("password", "needs cluster.user; set it"),
        (true, true) | (false, false) => {}
    }
    Some((user?, password?.into()))
}

fn tls(section: &Section<'_>) -> Tls {
    let ca = path(section, "ca");
    let (certificate, key) = pair(section);
    let server_name = section.optional_string("server_name");
    Tls { ca, identity: certificate.zip(key), server_name }
}
