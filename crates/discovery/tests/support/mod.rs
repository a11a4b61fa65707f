//! Waiting for a snapshot, and reading it.

use std::sync::Arc;
use std::time::Duration;

use discovery::Discovery;
use topology::{Access, Snapshot};

/// More than any wait on a busy two-core machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The first snapshot, from the current one on, that fulfils `condition`.
pub(crate) async fn until(
    discovery: &mut Discovery,
    condition: impl FnMut(&Arc<Snapshot>) -> bool,
) -> Arc<Snapshot> {
    let last = discovery.snapshots.clone();
    let wait = tokio::time::timeout(LIMIT, discovery.snapshots.wait_for(condition)).await;
    match wait {
        Ok(snapshot) => snapshot.expect("discovery runs").clone(),
        Err(_) => panic!("the condition never held; last: {:#?}", last.borrow()),
    }
}

/// The names that serve `access`, or `-`.
pub(crate) fn route(snapshot: &Snapshot, access: Access) -> String {
    match snapshot.route(access) {
        Ok(route) => route.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(" "),
        Err(_) => "-".into(),
    }
}

pub(crate) fn primary(snapshot: &Snapshot) -> String {
    route(snapshot, Access::ReadWrite)
}
