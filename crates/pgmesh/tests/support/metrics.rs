//! What a pgmesh counts, and waiting for it.

use std::time::Duration;

use testbed::{Interrupt, Pgmesh, until};

/// For what happens in its own time, on a machine that is busy with other tests. Shorter than
/// the 30 s after which a pool looks around anyway: what is waited for must be noticed.
const PATIENCE: Duration = Duration::from_secs(25);

/// The sum of all samples of a metric whose labels contain `labels`, as in `state="idle"`.
pub(crate) fn sample(mesh: &Pgmesh, name: &str, labels: &str) -> f64 {
    let text = mesh.metrics().unwrap();
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (found, value) = rest.rsplit_once(' ')?;
        let is_whole_name = found.is_empty() || found.starts_with('{');
        (is_whole_name && found.contains(labels)).then(|| value.parse::<f64>().unwrap())
    });
    samples.sum()
}

/// Waits until a metric has this value; see [`sample`].
pub(crate) fn wait_for(mesh: &Pgmesh, name: &str, labels: &str, value: f64) {
    eventually(&format!("{name}{{{labels}}} = {value}"), || {
        (sample(mesh, name, labels) - value).abs() < 0.5
    });
}

/// Waits until a metric has this value or more. A client may hear of what happens to it before it
/// is counted.
pub(crate) fn wait_for_at_least(mesh: &Pgmesh, name: &str, labels: &str, value: f64) {
    eventually(&format!("{name}{{{labels}}} >= {value}"), || sample(mesh, name, labels) >= value);
}

/// Waits until this many clients wait for a server.
pub(crate) fn wait_for_waiters(mesh: &Pgmesh, count: u32) {
    wait_for(mesh, "pgmesh_waiting_clients", "", f64::from(count));
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    until(what, PATIENCE, &Interrupt::default(), || Ok(is_so().then_some(()))).unwrap();
}
