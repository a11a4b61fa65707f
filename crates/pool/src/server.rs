//! A server connection with all that travels with it from lease to lease.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use session::{Catalog, ServerState};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use topology::{Address, Epoch, Fence, PoolKey, Snapshot};
use transport::MaybeTls;

use crate::badge::Badge;
use crate::cancel::Cancels;
use crate::core::Member;
use crate::limit::Permits;
use crate::origin::Origin;
use crate::recall::Recall;
use crate::vacancy::Vacancy;

/// A logged-in server.
#[derive(Debug)]
pub struct Server {
    /// The connection.
    pub stream: MaybeTls<TcpStream>,
    /// What is known of the session in it.
    pub state: ServerState,
    /// Read from it and not yet dealt with. Empty between leases.
    pub unread: Vec<u8>,
    /// Not yet written to it. Empty between leases.
    pub unsent: Vec<u8>,
    /// While its client needs databases empty. Ends with the lease.
    pub vacancy: Option<Vacancy>,
    pub(crate) id: u64,
    pub(crate) origin: Origin,
    pub(crate) expires: Instant,
    /// How long it may be idle, with this server's share of jitter.
    pub(crate) idle_for: Duration,
    /// The pool's generation under which this server was last found valid.
    pub(crate) generation: u64,
    pub(crate) cancels: Option<Arc<Cancels>>,
    pub(crate) waker: Waker,
    /// Shared by the servers of a pool that are on one node, where a pool has several nodes.
    pub(crate) load: Option<Arc<AtomicUsize>>,
    pub(crate) recall: Arc<Recall>,
    pub(crate) badge: Arc<Badge>,
    /// None while it is a warm standby, whose node has its own limit.
    pub(crate) permit: Option<Permits>,
}

impl Server {
    /// Its number. No two servers of one process have the same.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What cancels a statement on this server, if it gave a key.
    pub fn cancels(&self) -> Option<&Arc<Cancels>> {
        self.cancels.as_ref()
    }

    /// Tells its user that it may be used no more.
    pub fn recall(&self) -> &Arc<Recall> {
        &self.recall
    }

    /// What becomes of it in the pool of `key`, as the cluster is and operators have ordered.
    pub fn fence(&self, snapshot: &Snapshot, key: &PoolKey) -> Fence {
        self.origin.fence(snapshot, key)
    }

    /// The epoch that it belongs to.
    pub fn epoch(&self) -> Epoch {
        self.origin.epoch
    }

    /// The node that it is on.
    pub fn address(&self) -> &Address {
        &self.origin.address
    }

    /// Deals with what a server says while nobody has it, and leaves a waker for the next
    /// time. False if it has closed, said something final, or said anything that cannot
    /// come from an idle server.
    pub(crate) fn watch(&mut self, catalog: &Catalog) -> bool {
        let waker = self.waker.clone();
        let mut cx = Context::from_waker(&waker);
        let mut scratch = [std::mem::MaybeUninit::uninit(); 1024];
        for _ in 0..READS_MAX {
            let mut buf = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf) {
                Poll::Pending => return self.unread.is_empty(),
                Poll::Ready(Err(_)) => return false,
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return false,
                Poll::Ready(Ok(())) => {
                    if !self.state.on_idle(catalog, buf.filled()) {
                        return false;
                    }
                }
            }
        }
        false
    }

    /// Whether nothing is half way between us and the server.
    pub(crate) fn is_clean(&self) -> bool {
        self.unread.is_empty() && self.unsent.is_empty() && self.state.is_quiet()
    }
}

/// A server that keeps talking while idle is closed.
const READS_MAX: usize = 16;

impl Member for Box<Server> {
    fn id(&self) -> u64 {
        self.id
    }

    fn expires(&self) -> Instant {
        self.expires
    }

    #[inline]
    fn lend(&mut self, spare: bool) {
        self.state.lend(spare);
    }

    fn load(&self) -> usize {
        self.load.as_ref().map_or(0, |load| load.load(Relaxed))
    }
}
