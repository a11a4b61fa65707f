//! Where and when a server was opened, which decides what becomes of it.

use topology::{Address, Epoch, Fence, PoolKey, Snapshot};

use crate::{Closed, Pool, Server};

/// Where and when a server was opened.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The epoch that it belongs to.
    pub(crate) epoch: Epoch,
    /// The node that it is on.
    pub(crate) address: Address,
    /// The revision of the operators' orders when its login began.
    pub(crate) born: u64,
}

impl Origin {
    /// What becomes of the server in a pool: by what the cluster has come to, and by what
    /// operators have ordered.
    pub(crate) fn fence(&self, snapshot: &Snapshot, key: &PoolKey) -> Fence {
        let fence = snapshot.fence(key.access, self.epoch, &self.address);
        snapshot.orders().of(&key.database).fence(self.born, fence)
    }

    /// Why the server is closed, if it is because of its fence.
    pub(crate) fn why_closed(&self, snapshot: &Snapshot, key: &PoolKey) -> Closed {
        match snapshot.orders().of(&key.database).fence(self.born, Fence::Open) {
            Fence::Open => Closed::Epoch,
            _ => Closed::Ordered,
        }
    }
}

impl Pool {
    /// What becomes of one of its servers, in the newest snapshot there is.
    pub fn fence(&self, server: &Server) -> Fence {
        server.fence(&self.shared.snapshot.borrow(), &self.key)
    }
}
