//! `tcp_*`: socket options, the same keys in `[proxy]` and `[server]`.

use std::time::Duration;

use transport::{Config, Keepalive};

use super::{OPTIONAL, unless_zero};
use crate::section::Section;

/// Longest keepalive time that Linux takes: 32,767 seconds.
const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);

/// Reads the options; the user timeout's default differs by side.
///
/// The kernel gives up on `TCP_USER_TIMEOUT` also a peer that is alive but does not read: it
/// counts the time in which the peer's window stays closed, answered probes or not. So it is
/// off towards clients (a pager open over a long result is a closed window) and long towards
/// servers (a COPY that waits for a lock is one, too).
pub(super) fn read(section: &Section<'_>, user_timeout: Duration) -> Config {
    let default = Keepalive::default();
    let idle =
        section.duration("tcp_keepalives_idle", default.idle, Duration::ZERO..=KEEPALIVE_MAX);
    let interval = section.duration(
        "tcp_keepalives_interval",
        default.interval,
        Duration::from_secs(1)..=KEEPALIVE_MAX,
    );
    let count = section.integer("tcp_keepalives_count", default.count, 1..=127);
    let user_timeout = section.duration("tcp_user_timeout", user_timeout, OPTIONAL);
    Config {
        keepalive: unless_zero(idle).map(|idle| Keepalive { idle, interval, count }),
        user_timeout: unless_zero(user_timeout),
    }
}
