//! `[notifications]`.

use notify::Config;

use super::{BOUNDED, SOME};
use crate::section::Section;

pub(super) fn read(section: &Section<'_>) -> Config {
    let default = Config::default();
    let number = |key, default| section.integer(key, default, SOME);
    let size = section.size("max_queue_size", default.max_queue_size as u64);
    if size == 0 {
        section.error("max_queue_size", "no notification would have room; raise it");
    }
    Config {
        max_connections: number("max_connections", default.max_connections),
        max_channels: number("max_channels", default.max_channels),
        max_subscriptions: number("max_subscriptions", default.max_subscriptions),
        max_queue: number("max_queue", default.max_queue),
        // More than can be addressed cannot wait either.
        max_queue_size: usize::try_from(size).unwrap_or(usize::MAX),
        unlisten_delay: section.duration("unlisten_delay", default.unlisten_delay, BOUNDED),
        idle_timeout: section.duration("idle_timeout", default.idle_timeout, BOUNDED),
    }
}
