//! `[pool]`.

use std::time::Duration;

use ::pool::{Config, Lending};
use session::{Asks, Mode, StateRules, Timeouts};

use super::{ANY, BOUNDED, OPTIONAL, SOME, state, unless_zero};
use crate::UNLIMITED;
use crate::section::Section;
use crate::settings::{Pool, TimeoutOverrides, UNENDING};

pub(super) const MODES: &[(&str, Mode)] = &[
    ("transaction", Mode::Transaction),
    ("session", Mode::Session),
    ("statement", Mode::Statement),
];

/// Without `debug_shuffle`, and with it.
const LENDINGS: [Lending; 2] = [Lending::LastUsed, Lending::LeastRecentlyUsed];

pub(super) fn read(section: &Section<'_>) -> Pool {
    let default = Config::default();
    let number = |key, default, range| section.integer(key, default, range);
    let time = |key, default| section.duration(key, default, OPTIONAL);
    let config = Config {
        size: number("size", default.size, SOME),
        min_size: number("min_size", default.min_size, ANY),
        reserve_size: number("reserve_size", default.reserve_size, ANY),
        reserve_timeout: time("reserve_timeout", default.reserve_timeout),
        max_db_connections: number("max_db_connections", default.max_db_connections, ANY),
        max_user_connections: match number("max_user_connections", 0, ANY) {
            0 => None,
            limit => Some(limit),
        },
        query_wait_timeout: or_unending(time("query_wait_timeout", default.query_wait_timeout)),
        server_lifetime: or_unending(time("server_lifetime", default.server_lifetime)),
        server_idle_timeout: or_unending(time("server_idle_timeout", default.server_idle_timeout)),
        login_concurrency: number("server_login_concurrency", default.login_concurrency, SOME),
        prepared_statements: number("prepared_statements", default.prepared_statements, SOME),
        max_pinned: section.optional_integer("max_pinned", ANY),
        lending: section.either("debug_shuffle", false, LENDINGS),
        reset_timeout: section.duration("reset_timeout", default.reset_timeout, BOUNDED),
        cancel_timeout: section.duration("cancel_timeout", default.cancel_timeout, BOUNDED),
        ..default
    };
    if config.min_size > config.size {
        let text = format!("more than pool.size, which is {}; lower it", config.size);
        section.error("min_size", text);
    }
    if (1..config.size).contains(&config.max_db_connections) {
        let key = ["max_db_connections", "size"].into_iter().find(|key| section.has(key));
        let (size, limit) = (config.size, config.max_db_connections);
        section.warning(
            key.unwrap_or_default(),
            format!("no pool can have its {size} servers, for a database has {limit} in all"),
        );
    }
    let limit = match config.max_db_connections {
        0 => UNLIMITED,
        limit => limit,
    };
    let mode = section.choice("mode", Mode::Transaction, MODES);
    let asks = section.either("strict_state", false, [Asks::WhenHinted, Asks::Always]);
    let state = state::read(&section.section("state"), StateRules::default().asking(asks));
    let timeouts = timeouts(section);
    Pool { mode, state, config: Config { max_db_connections: limit, ..config }, timeouts }
}

fn timeouts(section: &Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    let time = |key| unless_zero(section.duration(key, Duration::ZERO, OPTIONAL));
    Timeouts {
        client_idle: time("client_idle_timeout"),
        idle_transaction: time("idle_transaction_timeout"),
        query: time("query_timeout"),
        transaction: time("transaction_timeout"),
        wait_notify: time("query_wait_notify"),
        cancel_wait: section.duration("cancel_wait_timeout", default.cancel_wait, BOUNDED),
    }
}

/// What `[[users]]` and `[[databases]]` have of it.
pub(super) fn timeout_overrides(section: &Section<'_>) -> TimeoutOverrides {
    let time = |key| section.optional_duration(key, OPTIONAL);
    TimeoutOverrides {
        client_idle: time("client_idle_timeout"),
        idle_transaction: time("idle_transaction_timeout"),
        query: time("query_timeout"),
        transaction: time("transaction_timeout"),
    }
}

fn or_unending(limit: Duration) -> Duration {
    if limit.is_zero() { UNENDING } else { limit }
}
