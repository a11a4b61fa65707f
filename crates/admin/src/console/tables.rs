//! Every `SHOW` of the console with its columns: PgBouncer's names, types and order where the
//! thing is the same (1.25), and behind them what is ours.

use super::value::Kind::{self, Int4, Int8, Numeric, Text};

/// Name and type of a column.
pub(crate) type Column = (&'static str, Kind);

macro_rules! shows {
    ($($variant:ident $word:literal $columns:expr;)+) => {
        /// What can be shown.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Show { $(#[doc = $word] $variant,)+ }

        impl Show {
            /// All of them, by name.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word behind `SHOW`.
            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The columns; none for what answers with a notice.
            pub(crate) fn columns(self) -> &'static [Column] {
                match self { $(Self::$variant => $columns,)+ }
            }
        }
    };
}

shows! {
    ActiveSockets "ACTIVE_SOCKETS" SOCKETS;
    Clients "CLIENTS" CONNECTIONS;
    Cluster "CLUSTER" CLUSTER;
    Config "CONFIG" CONFIG;
    Databases "DATABASES" DATABASES;
    DnsHosts "DNS_HOSTS" DNS_HOSTS;
    DnsZones "DNS_ZONES" DNS_ZONES;
    Failovers "FAILOVERS" FAILOVERS;
    Fds "FDS" &[];
    Help "HELP" &[];
    Lists "LISTS" LISTS;
    Mem "MEM" MEM;
    Peers "PEERS" PEERS;
    PeerPools "PEER_POOLS" PEER_POOLS;
    Pins "PINS" PINS;
    Pools "POOLS" POOLS;
    PreparedStatements "PREPARED_STATEMENTS" PREPARED_STATEMENTS;
    Servers "SERVERS" CONNECTIONS;
    Sockets "SOCKETS" SOCKETS;
    State "STATE" STATE;
    Stats "STATS" STATS;
    StatsAverages "STATS_AVERAGES" STATS_AVERAGES;
    StatsTotals "STATS_TOTALS" STATS_TOTALS;
    Totals "TOTALS" TOTALS;
    Users "USERS" USERS;
    Version "VERSION" VERSION;
}

impl Show {
    /// The one of this name, in any case.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|show| show.word().eq_ignore_ascii_case(word))
    }
}

const POOLS: &[Column] = &[
    ("database", Text),
    ("user", Text),
    ("cl_active", Int4),
    ("cl_waiting", Int4),
    ("cl_active_cancel_req", Int4),
    ("cl_waiting_cancel_req", Int4),
    ("sv_active", Int4),
    ("sv_active_cancel", Int4),
    ("sv_being_canceled", Int4),
    ("sv_idle", Int4),
    ("sv_used", Int4),
    ("sv_tested", Int4),
    ("sv_login", Int4),
    ("maxwait", Int4),
    ("maxwait_us", Int4),
    ("pool_mode", Text),
    ("load_balance_hosts", Text),
    // Ours.
    ("role", Text),
    ("sv_warm", Int4),
    ("held", Int4),
    ("pinned", Int4),
];

const DATABASES: &[Column] = &[
    ("name", Text),
    ("host", Text),
    ("port", Int4),
    ("database", Text),
    ("force_user", Text),
    ("pool_size", Int4),
    ("min_pool_size", Int4),
    ("reserve_pool_size", Int4),
    ("server_lifetime", Int4),
    ("pool_mode", Text),
    ("load_balance_hosts", Text),
    ("max_connections", Int4),
    ("current_connections", Int4),
    ("max_client_connections", Int4),
    ("current_client_connections", Int4),
    ("paused", Int4),
    ("disabled", Int4),
    // The name before 1.24, which exporters still read.
    ("reserve_pool", Int4),
];

macro_rules! connection_columns {
    ($($more:expr,)*) => {
        &[
            ("type", Text),
            ("user", Text),
            ("database", Text),
            ("replication", Text),
            ("state", Text),
            ("addr", Text),
            ("port", Int4),
            ("local_addr", Text),
            ("local_port", Int4),
            ("connect_time", Text),
            ("request_time", Text),
            ("wait", Int4),
            ("wait_us", Int4),
            ("close_needed", Int4),
            ("ptr", Text),
            ("link", Text),
            ("remote_pid", Int4),
            ("tls", Text),
            ("application_name", Text),
            ("prepared_statements", Int4),
            // int4 there: its numbers come again, ours do not.
            ("id", Int8),
            $($more,)*
        ]
    };
}

const CONNECTIONS: &[Column] = connection_columns!();

const SOCKETS: &[Column] = connection_columns!(
    ("recv_pos", Int4),
    ("pkt_pos", Int4),
    ("pkt_remain", Int4),
    ("send_pos", Int4),
    ("send_remain", Int4),
    ("pkt_avail", Int4),
    ("send_avail", Int4),
);

const STATS: &[Column] = &[
    ("database", Text),
    ("total_server_assignment_count", Numeric),
    ("total_xact_count", Numeric),
    ("total_query_count", Numeric),
    ("total_received", Numeric),
    ("total_sent", Numeric),
    ("total_xact_time", Numeric),
    ("total_query_time", Numeric),
    ("total_wait_time", Numeric),
    ("total_client_parse_count", Numeric),
    ("total_server_parse_count", Numeric),
    ("total_bind_count", Numeric),
    ("avg_server_assignment_count", Numeric),
    ("avg_xact_count", Numeric),
    ("avg_query_count", Numeric),
    ("avg_recv", Numeric),
    ("avg_sent", Numeric),
    ("avg_xact_time", Numeric),
    ("avg_query_time", Numeric),
    ("avg_wait_time", Numeric),
    ("avg_client_parse_count", Numeric),
    ("avg_server_parse_count", Numeric),
    ("avg_bind_count", Numeric),
    // The name before 1.8, without which Debian's exporter dies.
    ("total_requests", Numeric),
];

const STATS_TOTALS: &[Column] = &[
    ("database", Text),
    ("server_assignment_count", Numeric),
    ("xact_count", Numeric),
    ("query_count", Numeric),
    ("bytes_received", Numeric),
    ("bytes_sent", Numeric),
    ("xact_time", Numeric),
    ("query_time", Numeric),
    ("wait_time", Numeric),
    ("client_parse_count", Numeric),
    ("server_parse_count", Numeric),
    ("bind_count", Numeric),
];

const STATS_AVERAGES: &[Column] = &[
    ("database", Text),
    ("server_assignment_count", Numeric),
    ("xact_count", Numeric),
    ("query_count", Numeric),
    ("bytes_received", Numeric),
    ("bytes_sent", Numeric),
    ("xact_time", Numeric),
    ("query_time", Numeric),
    ("wait_time", Numeric),
    ("avg_client_parse_count", Numeric),
    ("avg_server_parse_count", Numeric),
    ("avg_bind_count", Numeric),
];

const TOTALS: &[Column] = &[("name", Text), ("value", Numeric)];

const LISTS: &[Column] = &[("list", Text), ("items", Int4)];

const CONFIG: &[Column] =
    &[("key", Text), ("value", Text), ("default", Text), ("changeable", Text)];

const USERS: &[Column] = &[
    ("name", Text),
    ("pool_size", Text),
    ("reserve_pool_size", Text),
    ("pool_mode", Text),
    ("max_user_connections", Int4),
    ("current_connections", Int4),
    ("max_user_client_connections", Int4),
    ("current_client_connections", Int4),
];

const VERSION: &[Column] = &[("version", Text)];

const MEM: &[Column] =
    &[("name", Text), ("size", Int4), ("used", Int4), ("free", Int4), ("memtotal", Int8)];

const STATE: &[Column] = &[("key", Text), ("value", Text)];

const PEERS: &[Column] = &[("peer_id", Int4), ("host", Text), ("port", Int4), ("pool_size", Int4)];

const PEER_POOLS: &[Column] = &[
    ("peer_id", Int4),
    ("cl_active_cancel_req", Int4),
    ("cl_waiting_cancel_req", Int4),
    ("sv_active_cancel", Int4),
    ("sv_login", Int4),
];

const DNS_HOSTS: &[Column] = &[("hostname", Text), ("ttl", Int8), ("addrs", Text)];

const DNS_ZONES: &[Column] = &[("zonename", Text), ("serial", Int8), ("count", Int4)];

const PREPARED_STATEMENTS: &[Column] =
    &[("name", Text), ("query", Text), ("bytes", Int4), ("holders", Int4)];

const PINS: &[Column] = &[
    ("database", Text),
    ("user", Text),
    ("role", Text),
    ("reason", Text),
    ("client", Int8),
    ("server_id", Int8),
    ("link", Text),
    ("since", Text),
];

const CLUSTER: &[Column] = &[
    ("group", Int4),
    ("node", Text),
    ("role", Text),
    ("state", Text),
    ("leader", Text),
    ("address", Text),
    ("timeline", Int8),
    ("lag_bytes", Int8),
    ("sync", Text),
    ("epoch", Int8),
    ("standing", Text),
    ("proof", Text),
    ("drained", Text),
    ("switchover", Text),
];

const FAILOVERS: &[Column] = &[
    ("started", Text),
    ("kind", Text),
    ("from", Text),
    ("to", Text),
    ("epoch", Int8),
    ("timeline", Int8),
    ("detect_ms", Int8),
    ("hold_ms", Int8),
    ("first_success_ms", Int8),
    ("clients_held", Int4),
    ("outcome", Text),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found_in_any_case() {
        assert!(Show::ALL.is_sorted_by_key(|show| show.word()));
        for show in Show::ALL {
            assert_eq!(Show::named(&show.word().to_lowercase()), Some(*show));
        }
        assert_eq!(Show::named("POOL"), None);
    }

    #[test]
    fn no_column_is_there_twice() {
        for show in Show::ALL {
            let mut names: Vec<&str> = show.columns().iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", show.word());
        }
    }
}
