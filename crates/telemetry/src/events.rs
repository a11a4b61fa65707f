//! The names of events: what a line of the log has in its field `event`.
//!
//! A name stays when the message changes, so that alerts and queries can go by it. A test holds
//! this list against the code, and makes `docs/logs.md` from it.

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What the field `event` has.
    pub name: &'static str,
    /// What it is about.
    pub about: About,
    /// What has happened, and what it means.
    pub meaning: &'static str,
}

/// What an event is about: a heading in the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// pgmesh itself.
    Process,
    /// Clients and their sessions.
    Clients,
    /// Servers and pools.
    Servers,
    /// The cluster and who follows it.
    Cluster,
    /// Configuration, files and secrets.
    Configuration,
    /// The console and the metrics port.
    Administration,
    /// Other instances of pgmesh.
    Peers,
}

impl About {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Process,
        Self::Clients,
        Self::Servers,
        Self::Cluster,
        Self::Configuration,
        Self::Administration,
        Self::Peers,
    ];

    /// The heading.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "pgmesh itself",
            Self::Clients => "Clients",
            Self::Servers => "Servers and pools",
            Self::Cluster => "The cluster",
            Self::Configuration => "Configuration, files and secrets",
            Self::Administration => "Console and metrics",
            Self::Peers => "Other instances",
        }
    }
}

const fn kind(about: About, name: &'static str, meaning: &'static str) -> Kind {
    Kind { name, about, meaning }
}

/// All kinds of events, by what they are about and then by name.
pub const ALL: &[Kind] = &[
    kind(
        About::Process,
        "accept_failed",
        "No connection can be accepted, for want of descriptors or memory; it is tried again.",
    ),
    kind(
        About::Process,
        "accept_queue_closed",
        "Connections that nobody had accepted were closed at the end.",
    ),
    kind(
        About::Process,
        "core_dumps",
        "Whether the memory of the process may be written to disk when it crashes.",
    ),
    kind(
        About::Process,
        "drain_deadline",
        "`shutdown.drain_timeout` is over; the sessions that are left are ended.",
    ),
    kind(About::Process, "drain_hurried", "A second signal: all sessions are ended now."),
    kind(
        About::Process,
        "listener_unwanted",
        "A listener of the older process or of the service manager is not in the configuration; it is closed.",
    ),
    kind(About::Process, "listening", "A port or a Unix socket takes clients."),
    kind(
        About::Process,
        "lock_not_signed",
        "The lock file of a Unix socket could not be given our process id.",
    ),
    kind(About::Process, "log_failed", "What is logged could not be changed."),
    kind(
        About::Process,
        "log_suppressed",
        "So many events of the last second were not written: `log.rate`.",
    ),
    kind(About::Process, "memory_available", "New clients are taken again."),
    kind(About::Process, "memory_full", "`limits.max_memory` is reached; new clients are refused."),
    kind(About::Process, "predecessor_ended", "After a takeover: the older process has ended."),
    kind(
        About::Process,
        "predecessor_silent",
        "The older process does not answer; its clients cannot be cancelled any more.",
    ),
    kind(
        About::Process,
        "service_manager_silent",
        "The service manager could not be told of the state.",
    ),
    kind(About::Process, "started", "pgmesh takes clients."),
    kind(About::Process, "stopped", "The last session has ended; the process ends."),
    kind(About::Process, "stopping", "pgmesh was told to end."),
    kind(About::Process, "takeover_asked", "Another process asks for the listeners."),
    kind(
        About::Process,
        "takeover_done",
        "The older process takes no more clients; this one does.",
    ),
    kind(
        About::Process,
        "takeover_failed",
        "A process that asked for the listeners did not begin to take clients; this one goes on.",
    ),
    kind(
        About::Process,
        "takeover_refused",
        "A process of another user has asked for the listeners.",
    ),
    kind(About::Clients, "auth_query_failed", "`auth.query` had no answer; the login is refused."),
    kind(
        About::Clients,
        "auth_query_unusable",
        "`auth.query` returned a verifier that nobody can log in with.",
    ),
    kind(About::Clients, "cancel_failed", "A cancel request could not be brought to the server."),
    kind(
        About::Clients,
        "client_closed",
        "pgmesh has ended a client's session, or its server did; `end` says why.",
    ),
    kind(About::Clients, "client_connected", "A client has logged in (`log.connections`)."),
    kind(About::Clients, "client_left", "A client has left (`log.connections`)."),
    kind(
        About::Clients,
        "client_pinned",
        "A client keeps its server between transactions; `pins` says for what.",
    ),
    kind(
        About::Clients,
        "client_refused",
        "A client was refused before or at its login; `reason` says why.",
    ),
    kind(
        About::Clients,
        "client_signalled",
        "A client has cancelled or terminated another one of the same user.",
    ),
    kind(
        About::Clients,
        "client_timeout",
        "A limit in time has ended a statement, a transaction or a session.",
    ),
    kind(About::Clients, "client_violation", "A client has sent what no client may."),
    kind(About::Clients, "ldap_failed", "An LDAP server could not check a password."),
    kind(
        About::Clients,
        "listen_not_shared",
        "LISTEN of a client could not be given to the shared connection.",
    ),
    kind(About::Clients, "slow_transaction", "A transaction took longer than `log.min_duration`."),
    kind(
        About::Clients,
        "token_keys_available",
        "The keys of the tokens' issuer can be had again.",
    ),
    kind(About::Clients, "token_keys_changed", "The tokens' issuer has new keys."),
    kind(
        About::Clients,
        "token_keys_unavailable",
        "The keys of the tokens' issuer cannot be had; those before stay.",
    ),
    kind(
        About::Clients,
        "transactions_refused",
        "A client begins more transactions per second than it may.",
    ),
    kind(
        About::Servers,
        "database_vacated",
        "The servers of a database are closed, for a client needs it empty (DROP DATABASE and the like).",
    ),
    kind(
        About::Servers,
        "hub_closed",
        "The connection that listens on channels for all clients of a database is closed.",
    ),
    kind(
        About::Servers,
        "hub_opened",
        "The connection that listens on channels for all clients of a database is there.",
    ),
    kind(
        About::Servers,
        "order_failed",
        "After a reload the servers of a database could not be replaced; `RECONNECT` does it.",
    ),
    kind(About::Servers, "server_connect_failed", "No server could be logged in to."),
    kind(About::Servers, "server_connected", "A server was logged in to."),
    kind(About::Servers, "server_lost", "An idle server has closed the connection."),
    kind(
        About::Servers,
        "server_reset_failed",
        "A server could not be reset for its next client and is closed.",
    ),
    kind(About::Servers, "server_violation", "A server has sent what no server may; it is closed."),
    kind(
        About::Servers,
        "servers_fenced",
        "Servers were closed or called back: their node serves no more, or an operator has ordered it.",
    ),
    kind(
        About::Servers,
        "warm_standby_failed",
        "A warm standby could not be logged in to; it is tried again.",
    ),
    kind(
        About::Servers,
        "warm_standby_lost",
        "A warm standby could not be adopted after a failover.",
    ),
    kind(About::Cluster, "epoch_began", "Another node is the primary."),
    kind(
        About::Cluster,
        "etcd_fallback_began",
        "Nothing is heard of etcd; the nodes' Patroni is asked instead.",
    ),
    kind(About::Cluster, "etcd_fallback_ended", "etcd is heard again."),
    kind(About::Cluster, "etcd_followed", "The cluster is read from etcd and watched."),
    kind(About::Cluster, "etcd_key_changed", "A key of the cluster has changed in etcd."),
    kind(
        About::Cluster,
        "etcd_key_unusable",
        "A key in etcd has a value that is not Patroni's; it is left out.",
    ),
    kind(
        About::Cluster,
        "etcd_lost",
        "etcd does not answer; the cluster stays as it was last seen.",
    ),
    kind(About::Cluster, "etcd_watch_reopened", "The watch on etcd was opened again."),
    kind(About::Cluster, "group_gone", "Another Citus group is gone."),
    kind(About::Cluster, "group_leader_changed", "Another Citus group has another leader."),
    kind(About::Cluster, "hold_began", "No primary may be written to: transactions wait."),
    kind(
        About::Cluster,
        "hold_ended",
        "Transactions begin again; `held_ms` says how long they waited at most.",
    ),
    kind(About::Cluster, "maintenance_changed", "Patroni's maintenance mode is on or off."),
    kind(
        About::Cluster,
        "maintenance_without_leader",
        "No leader is named; in maintenance mode the last one stays the primary.",
    ),
    kind(About::Cluster, "node_changed", "A node has another role, state or address."),
    kind(About::Cluster, "node_gone", "A node is no longer in the cluster."),
    kind(About::Cluster, "node_reachable", "A node answers probes."),
    kind(About::Cluster, "node_refuses_probes", "A node does not let the prober in."),
    kind(About::Cluster, "node_unreachable", "A node does not answer probes."),
    kind(About::Cluster, "node_unusable", "What is said of a node cannot be used; it is left out."),
    kind(About::Cluster, "patroni_reachable", "A node's Patroni answers."),
    kind(About::Cluster, "patroni_unreachable", "A node's Patroni does not answer."),
    kind(
        About::Cluster,
        "suspicion_dropped",
        "A server's refusal of a write was not told, for too much else was to be heard.",
    ),
    kind(
        About::Cluster,
        "switchover_ended",
        "The request for a switchover is gone: it is done, or was called off.",
    ),
    kind(About::Cluster, "switchover_requested", "A switchover was asked for."),
    kind(About::Cluster, "writes_allowed", "The primary is proven; transactions may begin."),
    kind(About::Cluster, "writes_held", "Transactions wait; `reason` says for what."),
    kind(About::Cluster, "writes_refused", "Transactions wait for an operator; `reason` says why."),
    kind(
        About::Configuration,
        "config_refused",
        "The configuration was read again and cannot be used: `reason`, one of several. Nothing changes.",
    ),
    kind(
        About::Configuration,
        "config_reloaded",
        "The configuration was read again and counts; `notice` is a change, or what needs a restart.",
    ),
    kind(
        About::Configuration,
        "config_warning",
        "Something in the configuration works, and is probably not meant so.",
    ),
    kind(
        About::Configuration,
        "hba_changed",
        "pg_hba.conf or pg_ident.conf has changed and counts.",
    ),
    kind(
        About::Configuration,
        "hba_unusable",
        "pg_hba.conf or pg_ident.conf cannot be used; the rules before stay.",
    ),
    kind(
        About::Configuration,
        "password_expired",
        "After a rotation the password before counts no more.",
    ),
    kind(About::Configuration, "reload_signal", "SIGHUP: the configuration is read again."),
    kind(
        About::Configuration,
        "secret_changed",
        "A secret in a file has changed; the one before counts for the window.",
    ),
    kind(
        About::Configuration,
        "secret_unreadable",
        "A secret in a file cannot be used; the one before stays.",
    ),
    kind(
        About::Configuration,
        "tls_changed",
        "TLS files have changed and count for new connections.",
    ),
    kind(About::Configuration, "tls_unusable", "TLS files cannot be used; those before stay."),
    kind(
        About::Administration,
        "console_broken",
        "The console of a client ended in a state that it cannot be in: a defect, to be reported.",
    ),
    kind(
        About::Administration,
        "console_command",
        "An operator has given a command; this is the audit log.",
    ),
    kind(About::Administration, "console_entered", "A client of the console has logged in."),
    kind(About::Administration, "console_lost", "The connection of a console broke."),
    kind(
        About::Administration,
        "metrics_accept_failed",
        "The metrics port cannot accept a connection.",
    ),
    kind(
        About::Administration,
        "metrics_connection_failed",
        "A connection to the metrics port broke.",
    ),
    kind(
        About::Administration,
        "metrics_failed",
        "Metrics could not be written: a defect, to be reported.",
    ),
    kind(
        About::Administration,
        "page_reader_slow",
        "A browser with the status page did not read in time; it connects again.",
    ),
    kind(
        About::Peers,
        "cancel_forwarded",
        "A cancel request was brought to the instance whose client it is.",
    ),
    kind(About::Peers, "peer_left", "The connection of another instance broke."),
    kind(
        About::Peers,
        "peer_overloaded",
        "Too many cancel requests for other instances at one time.",
    ),
    kind(About::Peers, "peer_refused", "Another instance has not proven that it is one."),
    kind(About::Peers, "peer_unreachable", "Another instance cannot be asked."),
    kind(About::Peers, "peers_changed", "The other instances have changed."),
    kind(About::Peers, "peers_unknown", "The name of the other instances cannot be looked up."),
];
