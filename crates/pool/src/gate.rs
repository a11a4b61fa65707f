//! Whether a pool lends: the gate between its clients and its servers.

use std::time::Instant;

use topology::{PoolKey, Snapshot};

/// What a pool may do for the clients that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lends {
    Yes,
    /// No node may serve it now: clients are held, servers that come back stay idle.
    NotNow,
    /// An operator has paused it: clients wait, no server is opened.
    Paused,
}

/// [`Lends`], and since when no node may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    Shut { since: Instant },
    Paused,
}

impl Lends {
    /// As the cluster is, and as operators have ordered.
    pub(crate) fn of(key: &PoolKey, snapshot: &Snapshot) -> Self {
        if snapshot.orders().of(&key.database).is_paused {
            Self::Paused
        } else if snapshot.route(key.access).is_ok() {
            Self::Yes
        } else {
            Self::NotNow
        }
    }
}

impl Gate {
    /// Opens or shuts it. Whether it was opened.
    pub(crate) fn set(&mut self, lends: Lends, now: Instant) -> bool {
        let before = std::mem::replace(
            self,
            match (lends, *self) {
                (Lends::Yes, _) => Self::Open,
                (Lends::Paused, _) => Self::Paused,
                (Lends::NotNow, Self::Shut { since }) => Self::Shut { since },
                (Lends::NotNow, Self::Open | Self::Paused) => Self::Shut { since: now },
            },
        );
        *self == Self::Open && before != Self::Open
    }
}
