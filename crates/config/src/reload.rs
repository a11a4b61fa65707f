//! When a change of a key counts: the one list of what can change without a restart.

use std::fmt;

/// When a change of a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reload {
    /// As soon as the file is read again, for everybody.
    Now,
    /// For clients that connect after the file is read again; those there are go on as they
    /// began.
    NewConnections,
    /// When pgmesh is started again.
    Restart,
}

impl Reload {
    /// As the reference has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::NewConnections => "new connections",
            Self::Restart => "restart",
        }
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

use Reload::{NewConnections, Now, Restart};

/// Keys, and sections for what is not listed of them. The longest that fits counts.
const CLASSES: &[(&str, Reload)] = &[
    ("admin", Restart),
    ("auth", Restart),
    ("auth.allow_cleartext_without_tls", NewConnections),
    ("auth.hba_file", NewConnections),
    ("auth.ident_file", NewConnections),
    ("cluster", Restart),
    ("databases[]", Now),
    ("databases[].client_idle_timeout", NewConnections),
    ("databases[].idle_transaction_timeout", NewConnections),
    ("databases[].max_db_client_connections", NewConnections),
    ("databases[].pool_mode", NewConnections),
    ("databases[].query_timeout", NewConnections),
    ("databases[].state", NewConnections),
    ("databases[].transaction_timeout", NewConnections),
    ("failover", Restart),
    ("failover.hold_timeout", Now),
    ("failover.warm_standby_size", Now),
    ("hba[]", NewConnections),
    ("ident[]", NewConnections),
    ("log", Restart),
    ("log.connections", Now),
    ("log.level", Now),
    ("log.min_duration", Now),
    ("metrics", Restart),
    ("notifications", Restart),
    ("peers", Restart),
    ("pool", Now),
    ("pool.cancel_wait_timeout", Restart),
    ("pool.client_idle_timeout", NewConnections),
    ("pool.idle_transaction_timeout", NewConnections),
    ("pool.mode", NewConnections),
    ("pool.query_timeout", NewConnections),
    ("pool.query_wait_notify", NewConnections),
    ("pool.state", NewConnections),
    ("pool.strict_state", NewConnections),
    ("pool.transaction_timeout", NewConnections),
    ("proxy", Restart),
    ("proxy.failed_login_delay", NewConnections),
    ("proxy.logins_per_second_per_address", NewConnections),
    ("proxy.logins_per_second_per_user", NewConnections),
    ("proxy.max_client_connections", NewConnections),
    ("proxy.max_db_client_connections", NewConnections),
    ("proxy.max_memory", NewConnections),
    ("proxy.max_packet_size", NewConnections),
    ("proxy.max_user_client_connections", NewConnections),
    ("proxy.tls_handshakes_per_second", NewConnections),
    ("proxy.transactions_per_second_per_address", NewConnections),
    ("proxy.transactions_per_second_per_user", NewConnections),
    ("server", Restart),
    ("shutdown", Restart),
    ("users[]", Now),
    ("users[].client_idle_timeout", NewConnections),
    ("users[].idle_transaction_timeout", NewConnections),
    ("users[].max_connections", NewConnections),
    ("users[].pool_mode", NewConnections),
    ("users[].query_timeout", NewConnections),
    ("users[].state", NewConnections),
    ("users[].transaction_timeout", NewConnections),
];

/// When a change of `key` counts; `key` is as in [`crate::reference`]: `users[].pool_size`.
pub fn reload_class(key: &str) -> Reload {
    class_of(key).unwrap_or(Restart)
}

fn class_of(key: &str) -> Option<Reload> {
    let fits = |name: &str| {
        key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let fitting = CLASSES.iter().filter(|(name, _)| fits(name));
    fitting.max_by_key(|(name, _)| name.len()).map(|(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_class_and_every_class_a_key() {
        let keys = crate::reference();
        for key in &keys {
            assert!(class_of(&key.path).is_some(), "{}: add it or its section", key.path);
        }
        for (name, class) in CLASSES {
            // Sections of keys that are still to come.
            let is_known = keys.iter().any(|key| key.path.starts_with(name));
            assert!(is_known || *class == Restart, "{name}: there is no such key");
        }
        assert!(CLASSES.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn the_longest_name_counts() {
        assert_eq!(reload_class("pool.size"), Now);
        assert_eq!(reload_class("pool.mode"), NewConnections);
        assert_eq!(reload_class("pool.modes"), Now);
        assert_eq!(reload_class("users[].state.role"), NewConnections);
        assert_eq!(reload_class("proxy.tls.mode"), Restart);
        assert_eq!(reload_class("nowhere"), Restart);
    }
}
