//! How much there may be of what, as configured, so that rules can compare with it.

use crate::family::{Row, Spec};

/// Limits of the whole process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Clients at the most.
    pub clients: u64,
    /// Clients that may wait while no server can be had.
    pub held: u64,
    /// Resident memory, in bytes; `None` is no limit.
    pub memory_bytes: Option<u64>,
}

pub(crate) const ROWS: &[Row<Bounds>] = &[
    Row {
        spec: Spec::gauge("pgmesh_max_clients", "Clients that may be connected.", &[]),
        read: |spec, bounds| vec![spec.sample(&[], bounds.clients)],
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_max_held_clients",
            "Clients that may wait while no server can be had.",
            &[],
        ),
        read: |spec, bounds| vec![spec.sample(&[], bounds.held)],
    },
    Row {
        spec: Spec::gauge(
            "pgmesh_max_memory_bytes",
            "Resident memory from which on clients are refused; absent without a limit.",
            &[],
        ),
        read: |spec, bounds| {
            bounds.memory_bytes.into_iter().map(|bytes| spec.sample(&[], bytes)).collect()
        },
    },
];
