//! Servers that are logged in as a pool's are, and are not the pool's: nobody is lent one, and
//! they count towards none of its limits.

use std::sync::Arc;

use backend::{Startup, Target};
use tokio::net::TcpStream;
use tokio::sync::watch;
use topology::{Access, Address, Epoch, Fence, Snapshot};
use transport::MaybeTls;
use wire::ErrorMessage;

use crate::Pool;
use crate::keeper::outdated;
use crate::logins::{Failed, Purpose};

/// A server that is not the pool's.
#[derive(Debug)]
pub struct Apart {
    /// Idle, with nothing unread.
    pub stream: MaybeTls<TcpStream>,
    /// For how long it may be used.
    pub tenure: Tenure,
}

/// For how long a server may be used.
#[derive(Debug)]
pub struct Tenure {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    access: Access,
    epoch: Epoch,
    address: Address,
}

/// Why there is no such server.
#[derive(Debug, thiserror::Error)]
pub enum ApartError {
    /// The cluster has changed during the login.
    #[error("the cluster has changed")]
    Outdated,
    /// The login has failed.
    #[error("{error}")]
    Login {
        /// What a client may hear of it.
        error: Arc<ErrorMessage>,
        /// Whether it will fail again until somebody changes something.
        retry: Retry,
    },
}

/// Whether a login that has failed is worth being tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may pass by itself.
    Later,
    /// It will fail until somebody changes something.
    InVain,
}

impl Pool {
    /// Waits for a node that serves this pool, and logs in to it as the pool's servers do, with
    /// these settings instead of theirs.
    ///
    /// # Errors
    /// One login is tried: see [`ApartError`]. It has the limits of time of all logins.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn open_apart(
        &self,
        application_name: &str,
        client_encoding: &str,
    ) -> Result<Apart, ApartError> {
        let (address, epoch) = self.routed().await;
        let target = Target::new(address.host(), address.port());
        let startup = Startup::new(&*self.key.database).application_name(application_name);
        // Only names that decide who a session is are reserved.
        let startup = startup.parameter("client_encoding", client_encoding);
        let startup = startup.unwrap_or_else(|_| Startup::new(&*self.key.database));
        let dialed = async {
            let _turn = self.shared.logins.acquire().await;
            self.log_in(&target, Purpose::Apart(&startup)).await
        };
        let outcome = tokio::select! {
            biased;
            () = outdated(self, |it| it.fence(self.key.access, epoch, &address)) => return Err(ApartError::Outdated),
            outcome = dialed => outcome,
        };
        match outcome {
            Ok(ready) => {
                self.observer().connected();
                let (snapshot, access) = (self.shared.snapshot.clone(), self.key.access);
                let tenure = Tenure { snapshot, access, epoch, address };
                Ok(Apart { stream: ready.stream, tenure })
            }
            Err(Failed { error, is_definite }) => {
                self.observer().connect_failed(&error);
                tracing::warn!(event = "server_connect_failed", pool = %self.key, server = %target, %error, "cannot connect to server");
                let retry = if is_definite { Retry::InVain } else { Retry::Later };
                Err(ApartError::Login { error: Arc::new(error.client_error()), retry })
            }
        }
    }

    /// Waits for a node that serves this pool.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn routed(&self) -> (Address, Epoch) {
        let mut snapshot = self.shared.snapshot.clone();
        loop {
            {
                let snapshot = snapshot.borrow_and_update();
                if let Ok(route) = snapshot.route(self.key.access)
                    && let Some(node) = route.nodes.first()
                {
                    return (node.address.clone(), route.epoch);
                }
            }
            if snapshot.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl Tenure {
    /// What the newest snapshot makes of the server.
    pub fn fence(&mut self) -> Fence {
        self.snapshot.borrow_and_update().fence(self.access, self.epoch, &self.address)
    }

    /// Waits for a snapshot that [`Tenure::fence`] was not asked about.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn changed(&mut self) {
        if self.snapshot.changed().await.is_err() {
            return std::future::pending().await;
        }
        self.snapshot.mark_changed();
    }

    /// The epoch that the server belongs to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The node that it is on.
    pub fn address(&self) -> &Address {
        &self.address
    }
}
