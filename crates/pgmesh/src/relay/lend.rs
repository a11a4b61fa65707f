//! Where the relay gets its servers: the pool, or a script in tests.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use notify::{Event, HubError, Hubs, Subscriber};
use pool::{Cancels, CheckoutError, Closed, Lease, Member, Pool, Server, Settings, Vacancy};
use session::{Disposition, Emptying, ServerState, Timeouts};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use topology::Fence;
use transport::MaybeTls;

use crate::cancel::{self, Slot};

/// Lends servers.
pub(crate) trait Lend {
    /// What listens on channels for a client.
    type Hub: Hear + Send;

    /// A server that is lent.
    type Leased: Leased;
    /// The wait for one.
    type Wait: Waiting<Output = Result<Self::Leased, CheckoutError>> + Unpin;

    /// A server, if one is there at once.
    fn try_lend(&self) -> Option<Self::Leased>;

    /// A place in the queue for one.
    fn wait(&self) -> Self::Wait;

    /// Whether a transaction may begin now on a server that is lent for longer than one.
    fn may_begin(&self, on: &Self::Leased) -> bool;

    /// Whether the client may keep a server between two transactions.
    fn may_pin(&self) -> bool;

    /// A place at what listens for all clients of this encoding, if anything does.
    fn hub(&self, encoding: &str) -> Option<Self::Hub>;

    /// Lets databases be left for what a client does on this server, or no longer.
    fn vacate(&self, on: &mut Self::Leased, emptying: Emptying);

    /// How long the client may go on with what it does.
    fn timeouts(&self) -> &Timeouts;

    /// Bytes that a message of the client's may have.
    fn max_packet_size(&self) -> u32;

    /// Cancels the statement that the owner of `slot` has under way, without waiting for it.
    fn cancel(&self, slot: &Slot);
}

/// The wait for a server.
pub(crate) trait Waiting: Future {
    /// Notes that the client has sent so many bytes ahead. False if no more may be read from it.
    fn may_buffer(&mut self, bytes: usize) -> bool;
}

/// A server that is lent. Dropped without [`Leased::release`] it is closed.
pub(crate) trait Leased {
    /// The connection to it.
    type Stream: AsyncRead + AsyncWrite + Unpin;

    /// Its parts, to be used side by side.
    fn parts(&mut self) -> Parts<'_, Self::Stream>;

    /// Its number, which no other server of this process has had.
    fn id(&self) -> u64;

    /// Counts why the client keeps it between two transactions, if it does.
    fn note_pins(&mut self);

    /// Keeps it until the client's next transaction, or until another client wants it. False if one
    /// does.
    fn rest(&mut self) -> bool;

    /// The client's next transaction begins. False if another client is to have the server.
    fn resume(&mut self) -> bool;

    /// Whether it is kept so, and wanted: the task is woken as by [`Leased::watch_recall`].
    fn is_wanted(&self) -> bool;

    /// Whether the connection is encrypted.
    fn is_tls(&self) -> bool;

    /// What cancels a statement on it.
    fn cancels(&self) -> Option<&Arc<Cancels>>;

    /// Whether it was called back, and may be used no more.
    fn is_recalled(&self) -> bool;

    /// Wakes this task when it is called back. Once per lease is enough.
    fn watch_recall(&self, waker: &Waker);

    /// It has refused a write as a node in recovery does.
    fn suspect(&self);

    /// Gives it back.
    fn release(self, disposition: Disposition, now: Instant);

    /// Closes it.
    fn close(self, why: Closed);
}

/// A client's place at what listens on channels for many: see [`notify::Subscriber`].
pub(crate) trait Hear {
    fn listen(&mut self, channel: &[u8]) -> Result<(), HubError>;

    fn set(&mut self, channels: &[&[u8]]) -> Result<(), HubError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HubError>>;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event>;
}

/// The parts of a lent server.
pub(crate) struct Parts<'a, S> {
    pub(crate) stream: &'a mut S,
    pub(crate) state: &'a mut ServerState,
    /// Read and not dealt with.
    pub(crate) unread: &'a mut Vec<u8>,
    /// To be written.
    pub(crate) unsent: &'a mut Vec<u8>,
}

/// Lends from a pool, by what is known of the cluster.
#[derive(Debug)]
pub(crate) struct Lender {
    pool: Member,
    hubs: Arc<Hubs>,
    /// What held when the client logged in.
    rules: Arc<Settings>,
}

impl Lender {
    pub(crate) fn new(pool: Arc<Pool>, hubs: Arc<Hubs>) -> Self {
        let rules = pool.settings();
        Self { pool: pool.join(), hubs, rules }
    }
}

impl Lend for Lender {
    type Hub = Subscriber;
    type Leased = Lease;
    type Wait = pool::Checkout;

    #[inline]
    fn try_lend(&self) -> Option<Lease> {
        self.pool.try_checkout()
    }

    fn wait(&self) -> pool::Checkout {
        self.pool.checkout()
    }

    /// Not while the pool lends nothing, and not on a node that it lends no more of.
    fn may_begin(&self, on: &Lease) -> bool {
        self.pool.is_open() && on.pool().fence(on) == Fence::Open
    }

    fn may_pin(&self) -> bool {
        self.pool.may_pin()
    }

    fn hub(&self, encoding: &str) -> Option<Subscriber> {
        self.hubs
            .subscriber(self.pool.key(), encoding)
            .inspect_err(
                |error| tracing::warn!(event = "listen_not_shared", pool = %self.pool.key(), %error, "LISTEN is not shared"),
            )
            .ok()
    }

    #[cold]
    fn vacate(&self, on: &mut Lease, emptying: Emptying) {
        on.vacancy = match emptying {
            Emptying::Ends => None,
            Emptying::Begins(databases) => {
                let hubs = Arc::clone(&self.hubs);
                Some(Vacancy::begin(move || {
                    for database in &databases {
                        hubs.pools().leave_database(database);
                        hubs.leave_database(database);
                    }
                }))
            }
        };
    }

    #[inline]
    fn timeouts(&self) -> &Timeouts {
        &self.rules.timeouts
    }

    fn max_packet_size(&self) -> u32 {
        self.rules.max_packet_size
    }

    fn cancel(&self, slot: &Slot) {
        // Begun here and now: later the server may be another's.
        let Some(guard) = slot.begin_cancel() else { return };
        let pool = Arc::clone(&self.pool);
        let limit = self.timeouts().cancel_wait;
        // Detached on purpose: it ends within cancel_wait_timeout.
        tokio::spawn(async move {
            cancel::deliver(guard, async |target| pool.cancel(target, limit).await).await
        });
    }
}

impl Hear for Subscriber {
    fn listen(&mut self, channel: &[u8]) -> Result<(), HubError> {
        Self::listen(self, channel)
    }

    fn set(&mut self, channels: &[&[u8]]) -> Result<(), HubError> {
        Self::set(self, channels)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HubError>> {
        Self::poll_ready(self, cx)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        Self::poll_next(self, cx)
    }
}

impl Waiting for pool::Checkout {
    fn may_buffer(&mut self, bytes: usize) -> bool {
        Self::may_buffer(self, bytes)
    }
}

impl Leased for Lease {
    type Stream = MaybeTls<TcpStream>;

    #[inline]
    fn id(&self) -> u64 {
        Server::id(self)
    }

    #[inline]
    fn parts(&mut self) -> Parts<'_, Self::Stream> {
        let server = &mut **self;
        Parts {
            stream: &mut server.stream,
            state: &mut server.state,
            unread: &mut server.unread,
            unsent: &mut server.unsent,
        }
    }

    fn note_pins(&mut self) {
        Self::note_pins(self);
    }

    fn rest(&mut self) -> bool {
        Self::rest(self)
    }

    fn resume(&mut self) -> bool {
        Self::resume(self)
    }

    #[inline]
    fn is_wanted(&self) -> bool {
        Self::is_wanted(self)
    }

    fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    fn cancels(&self) -> Option<&Arc<Cancels>> {
        Server::cancels(self)
    }

    #[inline]
    fn is_recalled(&self) -> bool {
        self.recall().is_called()
    }

    fn watch_recall(&self, waker: &Waker) {
        self.recall().register(waker);
    }

    fn suspect(&self) {
        self.pool().suspect(self.epoch());
    }

    #[inline]
    fn release(self, disposition: Disposition, now: Instant) {
        Self::release(self, disposition, now);
    }

    fn close(self, why: Closed) {
        Self::close(self, why);
    }
}
