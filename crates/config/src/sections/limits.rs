//! What `[proxy]` says of limits of clients.

use crate::section::Section;
use crate::settings::Limits;

/// Less would not take the statements that drivers send by themselves.
const PACKET_MIN: u64 = 1024;

pub(super) fn read(section: &Section<'_>) -> Limits {
    let clients = |key| match section.integer(key, 0, 0..=u32::MAX) {
        0 => None,
        clients => Some(clients),
    };
    Limits {
        max_user_client_connections: clients("max_user_client_connections"),
        max_db_client_connections: clients("max_db_client_connections"),
        max_packet_size: packet(section),
    }
}

fn packet(section: &Section<'_>) -> Option<u32> {
    let size = section.optional_size("max_packet_size")?;
    if size < PACKET_MIN {
        section.error("max_packet_size", "too small for what drivers send; write at least 1KiB");
    }
    Some(u32::try_from(size).unwrap_or(u32::MAX))
}
