//! Another process takes this one's place and nobody is refused: `pgmesh run --takeover`.
//!
//! The newer process connects to the older one's `proxy.takeover_socket` and is given its
//! listening sockets (SCM_RIGHTS): the very same, with everybody who waits in their queues. It
//! builds all it needs, begins to take clients and says so; only then does the older one stop
//! taking them, and departs. If the newer one fails before that, nothing has happened.
//!
//! The line stays open until the older process ends: CancelRequests come to the newer one now,
//! and those with keys that it has not given are passed on.

mod claim;
mod offer;
mod words;

use std::time::Duration;

use nix::unistd::Uid;
use tokio::net::UnixStream;

pub(crate) use self::claim::{Predecessor, claim};
pub(crate) use self::offer::{Door, Offer};

/// For the next word of the other process.
const STEP: Duration = Duration::from_secs(5);

/// For a newer process to build all it needs, the search for the primary included.
const BUILDING: Duration = Duration::from_secs(60);

/// Whether the process at the other end is ours, or root's. The kernel says who it was when it
/// connected or listened.
fn is_trusted(line: &UnixStream) -> bool {
    line.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == Uid::effective().as_raw())
}
