//! What `[proxy]` says of limits of clients.

use std::time::Duration;

use super::OPTIONAL;
use crate::section::Section;
use crate::settings::Limits;

/// Less would not take the statements that drivers send by themselves.
const PACKET_MIN: u64 = 1024;

/// More than that is no limit to anybody.
const RATE_MAX: u32 = 1_000_000;

/// Enough to make a search for passwords hopeless, and bearable for whoever shares an address
/// with a client that has a wrong one.
const DELAY: Duration = Duration::from_secs(1);

pub(super) fn read(section: &Section<'_>) -> Limits {
    let clients = |key| match section.integer(key, 0, 0..=u32::MAX) {
        0 => None,
        clients => Some(clients),
    };
    let rate = |key| section.integer(key, 0, 0..=RATE_MAX);
    Limits {
        max_user_client_connections: clients("max_user_client_connections"),
        max_db_client_connections: clients("max_db_client_connections"),
        max_packet_size: packet(section),
        max_memory: section.optional_size("max_memory"),
        logins_per_second_per_address: rate("logins_per_second_per_address"),
        logins_per_second_per_user: rate("logins_per_second_per_user"),
        transactions_per_second_per_address: rate("transactions_per_second_per_address"),
        transactions_per_second_per_user: rate("transactions_per_second_per_user"),
        tls_handshakes_per_second: rate("tls_handshakes_per_second"),
        failed_login_delay: section.duration("failed_login_delay", DELAY, OPTIONAL),
    }
}

fn packet(section: &Section<'_>) -> Option<u32> {
    let size = section.optional_size("max_packet_size")?;
    if size < PACKET_MIN {
        section.error("max_packet_size", "too small for what drivers send; write at least 1KiB");
    }
    Some(u32::try_from(size).unwrap_or(u32::MAX))
}
