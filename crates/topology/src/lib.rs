//! The cluster as pgmesh knows it: an immutable [`Snapshot`], the [`Machine`] that turns what a
//! source saw into the next snapshot, and routing from a snapshot to candidate nodes.
//!
//! Pure: no sockets, no clock, no randomness. A source (etcd, Patroni REST, a static list) feeds
//! [`Event`]s; everything else reads `Arc<Snapshot>`s.
//!
//! Invariants, property-tested in `tests/properties.rs`:
//! - epochs and their timelines never go back;
//! - a snapshot has at most one writable node, and one epoch never has two;
//! - duplicate, re-ordered and missed events converge to the source's state once a whole read
//!   was applied;
//! - a source that falls silent changes nothing.

mod access;
mod address;
mod machine;
mod name;
mod snapshot;
mod source;
mod tenure;

pub use access::{Access, PoolKey};
pub use address::{Address, AddressError};
pub use machine::Machine;
pub use name::{Epoch, Lsn, NameError, NodeName, Revision, Timeline};
pub use snapshot::{Node, Refusal, Route, Snapshot};
pub use source::{
    Change, Event, Member, NodeState, Outcome, Probe, Replay, Role, SourceState, Switchover,
};
pub use tenure::{Authority, Standing};
