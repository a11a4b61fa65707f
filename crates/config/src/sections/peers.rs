//! `[peers]`: the other proxies beside this one.

use std::time::Duration;

use auth::Secret;
use topology::Address;

use super::BOUNDED;
use crate::section::Section;

/// The other proxies beside this one: what a CancelRequest needs that has come to the wrong one.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Which of the proxies this is, 1 to [`Peers::ID_MAX`]; drawn at start when `None`.
    pub id: Option<u16>,
    /// Where the others listen, at most [`Peers::NAMES_MAX`]; ourselves may be among them. Each
    /// address that a name stands for is a peer.
    pub names: Vec<Address>,
    /// How often the names are looked up.
    pub resolve_interval: Duration,
    /// What all peers know and nobody else; there if there are names.
    pub secret: Option<Secret>,
    /// For asking all peers once, and for being asked by one.
    pub timeout: Duration,
}

impl Peers {
    /// What fits into a cancel key beside the number of the client.
    pub const ID_MAX: u16 = 1023;

    /// More proxies than anybody runs beside each other; each of them is asked.
    pub const NAMES_MAX: usize = 16;
}

/// Long enough that nobody finds it by trying against a conversation that was listened to.
const SECRET_LEN_MIN: usize = 16;

/// How long a container that was replaced may go unnoticed.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);

/// Longer than any round trip between neighbours, shorter than the patience of a user who has
/// pressed Ctrl-C.
const TIMEOUT: Duration = Duration::from_secs(2);

/// `port` is where clients connect: to the same port of the others as to ours.
pub(super) fn read(section: &Section<'_>, port: u16) -> Peers {
    let id = section.optional_integer("id", 1..=Peers::ID_MAX);
    let mut names = addresses(section);
    names.extend(dns(section, port));
    let resolve_interval = section.duration("resolve_interval", RESOLVE_INTERVAL, BOUNDED);
    let secret = section.secret("secret");
    let timeout = section.duration("timeout", TIMEOUT, BOUNDED);
    if !section.has("secret") && (section.has("addresses") || section.has("dns")) {
        section.error(
            "secret",
            "missing; the peers know each other by it: give all the same, best as \
             { env = \"…\" } or { file = \"…\" }",
        );
    }
    if secret.as_ref().is_some_and(|secret| secret.expose().len() < SECRET_LEN_MIN) {
        section.error("secret", format!("too short; write at least {SECRET_LEN_MIN} bytes"));
    }
    Peers { id, names, resolve_interval, secret, timeout }
}

fn addresses(section: &Section<'_>) -> Vec<Address> {
    let mut addresses = Vec::new();
    for item in section.list("addresses", None) {
        match Address::parse(&item.text) {
            Ok(address) if addresses.contains(&address) => {
                section.error_at(&item.place, "a peer appears twice; remove one");
            }
            Ok(address) => addresses.push(address),
            Err(_) => section.error_at(
                &item.place,
                "not a host and port; write \"pgmesh-2:5432\", \"10.0.0.2:5432\" or \
                 \"[::1]:5432\"",
            ),
        }
    }
    // One place is for `dns`.
    let most = Peers::NAMES_MAX - 1;
    if addresses.len() > most {
        section.error("addresses", format!("too many; at most {most} are asked"));
    }
    addresses
}

fn dns(section: &Section<'_>, port: u16) -> Option<Address> {
    let name = section.optional_string("dns");
    let own = section.optional_integer("port", 1..=u16::MAX);
    if section.has("port") && !section.has("dns") {
        section.warning("port", "ignored: it belongs to dns; each of addresses has its own");
    }
    // A colon would begin a port, or be part of an address, which is no name.
    let name = name?;
    match Address::new(&name, own.unwrap_or(port)) {
        Ok(address) if !name.contains(':') => Some(address),
        Ok(_) | Err(_) => {
            section.error(
                "dns",
                "not a name; write one such as \"tasks.pgmesh\", the port goes into peers.port",
            );
            None
        }
    }
}
