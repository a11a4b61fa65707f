//! What is done on the console, read at scrape time.

use crate::family::{Row, Spec};

/// Clients of the console, and what they have ordered since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Console {
    /// Clients now.
    pub clients: u64,
    /// Orders by verb and outcome.
    pub commands: Vec<(&'static str, &'static str, u64)>,
}

pub(crate) const ROWS: &[Row<Console>] = &[
    Row {
        spec: Spec::gauge("pgmesh_console_clients", "Clients of the console.", &[]),
        read: |spec, it| vec![spec.sample(&[], it.clients)],
    },
    Row {
        spec: Spec::counter(
            "pgmesh_console_commands_total",
            "Orders that were given on the console, by what came of them.",
            &["verb", "outcome"],
        ),
        read: |spec, it| {
            let sample = |&(verb, outcome, count): &_| spec.sample(&[verb, outcome], count);
            it.commands.iter().map(sample).collect()
        },
    },
];
