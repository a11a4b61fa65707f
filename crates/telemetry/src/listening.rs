//! What clients that LISTEN are told, read at scrape time.

use crate::family::{Row, Spec};

/// What clients that LISTEN have and were told since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listening {
    /// Server connections that listen now.
    pub connections: u64,
    /// Clients that listen now.
    pub clients: u64,
    /// Channels that are listened on now.
    pub channels: u64,
    /// Notifications that servers have sent.
    pub received: u64,
    /// Notifications that were put down for clients.
    pub delivered: u64,
    /// Connections opened anew for clients that had listened.
    pub resumed: u64,
    /// Logins that have failed.
    pub connect_failures: u64,
    /// Clients that have not read in time.
    pub lagged: u64,
}

const fn gauge(name: &'static str, help: &'static str) -> Spec {
    Spec::gauge(name, help, &[])
}

const fn counter(name: &'static str, help: &'static str) -> Spec {
    Spec::counter(name, help, &[])
}

pub(crate) const ROWS: &[Row<Listening>] = &[
    Row {
        spec: gauge("pgmesh_listen_connections", "Server connections that LISTEN for clients."),
        read: |spec, it| vec![spec.sample(&[], it.connections)],
    },
    Row {
        spec: gauge("pgmesh_listen_clients", "Clients that LISTEN over a connection of others."),
        read: |spec, it| vec![spec.sample(&[], it.clients)],
    },
    Row {
        spec: gauge("pgmesh_listen_channels", "Channels that are listened on for clients."),
        read: |spec, it| vec![spec.sample(&[], it.channels)],
    },
    Row {
        spec: counter("pgmesh_listen_received_total", "Notifications that servers have sent."),
        read: |spec, it| vec![spec.sample(&[], it.received)],
    },
    Row {
        spec: counter("pgmesh_listen_delivered_total", "Notifications put down for clients."),
        read: |spec, it| vec![spec.sample(&[], it.delivered)],
    },
    Row {
        spec: counter(
            "pgmesh_listen_resumed_total",
            "Connections opened anew for clients that may have missed notifications.",
        ),
        read: |spec, it| vec![spec.sample(&[], it.resumed)],
    },
    Row {
        spec: counter(
            "pgmesh_listen_connect_failures_total",
            "Failed logins of connections that LISTEN.",
        ),
        read: |spec, it| vec![spec.sample(&[], it.connect_failures)],
    },
    Row {
        spec: counter(
            "pgmesh_listen_lagged_total",
            "Clients for which too many notifications waited.",
        ),
        read: |spec, it| vec![spec.sample(&[], it.lagged)],
    },
];
