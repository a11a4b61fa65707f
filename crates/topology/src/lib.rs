//! The cluster as pgmesh knows it: an immutable [`Snapshot`], the [`Machine`] that turns what a
//! source saw into the next snapshot, and routing from a snapshot to candidate nodes.
//!
//! Pure: no sockets, no clock, no randomness. A source (etcd, Patroni REST, a static list) feeds
//! [`Event`]s; everything else reads `Arc<Snapshot>`s.
//!
//! Three things are kept apart. Who the primary is, and since when: the authority and the
//! timelines say so, and each change is an epoch (`tenure`). Whether it may be written to: a
//! probe that was begun in this epoch has proven it, or a login will. And whether a transaction
//! may start now: not while a switchover is under way (`drain`) or the leader key is gone.
//!
//! Invariants, property-tested in `tests/properties.rs`:
//! - epochs and their timelines never go back;
//! - a snapshot has at most one writable node, one epoch never has two, and where proof is
//!   required it was given in this round;
//! - every drain ends by itself, and every suspicion with the next answer;
//! - duplicate, re-ordered and missed events converge to the source's state once a whole read
//!   was applied;
//! - a source that falls silent changes nothing.

mod access;
mod address;
mod drain;
mod machine;
mod name;
mod orders;
mod routes;
mod snapshot;
mod source;
mod tenure;
mod time;
mod view;

pub use access::{Access, PoolKey};
pub use address::{Address, AddressError};
pub use machine::{Config, Machine};
pub use name::{Epoch, Lsn, NameError, NodeName, Revision, Round, Timeline};
pub use orders::{Command, Order, OrderError, Orders, Target};
pub use routes::{Fallback, Fence, Refusal, Route, RoutePolicy};
pub use snapshot::{Group, Node, Snapshot};
pub use source::{
    Change, Event, Member, NodeState, Outcome, Probe, Replay, Role, SourceState, Switchover,
    Synchronous,
};
pub use tenure::{Authority, Proof, Standing};
pub use time::Now;
