//! The relay: one task per client drives both sockets.
//!
//! It owns no rules: every frame is shown to the [`session::Session`], and its verdict is carried
//! out. Bytes are written from where they were read; a buffer per thread serves all clients, and
//! only what is cut off at a chunk's end, or not taken by a slow peer, is kept, up to one chunk.
//!
//! - [`frames`] cuts chunks, [`splice`] puts together what goes on, [`outbox`] writes it.
//! - [`turn`] moves bytes one chunk at a time; [`Run`] repeats it until nothing moves.
//! - [`hearing`] lets the hub listen for a client that has no server.
//! - [`overdue`] ends what takes too long, [`called`] who is to go.
//! - [`lost`] goes on without a server that was lost.
//! - [`end`] closes: last words, and a server that a vanished client has left behind.

mod called;
mod end;
mod frames;
mod hearing;
mod inbox;
mod lend;
mod lost;
mod outbox;
mod overdue;
mod quota;
mod scratch;
mod signals;
mod splice;
#[cfg(test)]
mod tests;
mod turn;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pool::{CheckoutError, Closed};
use session::{Doing, Overdue, Session, Violation};
use telemetry::{Limit, PoolMetrics};
use tokio::io::{AsyncRead, AsyncWrite};
use wire::{ErrorMessage, HEADER_LEN, Header, SqlState};

use crate::cancel::Slot;
use called::Leaving;
use frames::Rest;
use hearing::{Ears, Hearing};
pub(crate) use lend::{Hear, Leased, Lend, Lender, Waiting};
pub(crate) use overdue::Timer;
pub(crate) use quota::Quota;

/// One client and, while it has one, its server.
pub(crate) struct Relay<C, P: Lend> {
    client: Client<C>,
    session: Session,
    lender: P,
    link: Link<P>,
    slot: Arc<Slot>,
    metrics: Arc<PoolMetrics>,
    /// If any limit in time is on.
    timer: Option<Box<Timer>>,
    /// If its transactions are limited.
    quota: Option<Box<Quota>>,
    /// If something listens for it.
    ears: Option<Box<Ears<P::Hub>>>,
}

/// What limits a client, if anything does.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// How long it may go on with something.
    pub(crate) timer: Option<Box<Timer>>,
    /// How many transactions it may begin.
    pub(crate) quota: Option<Box<Quota>>,
}

/// The client's side.
struct Client<C> {
    stream: C,
    /// Read and not dealt with.
    unread: Vec<u8>,
    /// How long `unread` must be before another look at it is worth while.
    needed: usize,
    /// It has nothing more to be read, as of this poll.
    dry: bool,
    /// To be written.
    unsent: Vec<u8>,
    /// The frame of the client's that has arrived in part.
    rest: Rest,
    /// Bytes that a message of its may have.
    message_max: u32,
    leaving: Leaving,
}

/// The client's way to a server.
enum Link<P: Lend> {
    None,
    Waiting { wait: P::Wait, since: Instant },
    Leased(Active<P::Leased>),
}

/// A server that is lent to this client.
struct Active<L> {
    lease: L,
    needed: usize,
    /// It has nothing more to be read, as of this poll.
    dry: bool,
    rest: Rest,
    since: Instant,
    /// Whether this task is woken when the server is called back.
    registered: bool,
    /// When the statement that is under way was sent.
    query_since: Option<Instant>,
    /// The server has said its last word.
    fatal: bool,
    traffic: Traffic,
}

/// Bytes of one lease.
#[derive(Default)]
struct Traffic {
    client_received: u64,
    client_sent: u64,
    server_received: u64,
    server_sent: u64,
}

/// Why a relay ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said goodbye.
    Goodbye,
    /// The client has gone without a word.
    ClientLost,
    /// The server has gone while the client had it, and the client cannot go on: half of a
    /// message has reached it, or the server's last word.
    ServerLost,
    /// The server has gone with state that no other has.
    StateLost(Box<ErrorMessage>),
    /// Somebody has ended it, another session of its user's or an operator.
    Terminated,
    /// It was between two transactions when pgmesh was to end.
    Departed,
    /// Something took longer than it may.
    TimedOut(Overdue),
    /// Somebody broke the protocol.
    Violation(Violation),
}

/// A relay as a future that resolves to why it ended. Dropped, it closes the client's
/// connection and that of a leased server.
///
/// Written by hand: an `async` block keeps what it was made from beside what it works on,
/// which would cost each idle client twice the size of a relay.
#[expect(clippy::large_enum_variant, reason = "nearly all of them relay; a box would add to each")]
pub(crate) enum Run<C, P: Lend> {
    /// Moves bytes.
    Relaying(Relay<C, P>),
    /// Closes; rare, and larger than a relay.
    Ending(Pin<Box<dyn Future<Output = End> + Send>>),
    /// Has resolved.
    Ended,
}

impl<C, P> Future for Run<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    P: Lend<Leased: Send + Unpin, Wait: Send> + Unpin + Send + 'static,
{
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            match &mut *self {
                Self::Relaying(relay) => {
                    let end = ready!(relay.poll_turns(cx));
                    if let Self::Relaying(relay) = std::mem::replace(&mut *self, Self::Ended) {
                        *self = Self::Ending(Box::pin(relay.finish(end)));
                    }
                }
                Self::Ending(ending) => {
                    let end = ready!(ending.as_mut().poll(cx));
                    *self = Self::Ended;
                    return Poll::Ready(end);
                }
                Self::Ended => return Poll::Pending,
            }
        }
    }
}

/// Whether a turn moved anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    Yes,
    No,
}

/// A client over this many unread bytes is not read from while it waits for a server.
const WAITING_UNREAD_MAX: usize = 64 * 1024;

impl<C, P> Relay<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: Lend,
{
    /// A client that has logged in; `unread` came behind its login.
    pub(crate) fn new(
        stream: C,
        unread: Vec<u8>,
        session: Session,
        lender: P,
        slot: Arc<Slot>,
        metrics: Arc<PoolMetrics>,
        bounds: Bounds,
    ) -> Self {
        let Bounds { timer, quota } = bounds;
        let client = Client {
            stream,
            unread,
            needed: 0,
            dry: false,
            unsent: Vec::new(),
            rest: Rest::NONE,
            message_max: lender.max_packet_size(),
            leaving: Leaving::No,
        };
        Self { client, session, lender, link: Link::None, slot, metrics, timer, quota, ears: None }
    }

    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.client.dry = false;
        if let Link::Leased(active) = &mut self.link {
            active.dry = false;
        }
        loop {
            let moved = match self.turn(cx) {
                Err(End::ServerLost) => self.lose_server(),
                moved => moved,
            };
            match moved {
                Ok(Moved::Yes) => {}
                Ok(Moved::No) => {
                    if let Some(end) = self.called(cx.waker()) {
                        return Poll::Ready(end);
                    }
                    if let Err(end) = ready!(self.poll_overdue(cx.waker())) {
                        return Poll::Ready(end);
                    }
                }
                Err(end) => return Poll::Ready(end),
            }
        }
    }

    /// One step in every direction that is open.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<Moved, End> {
        let client_open = match self.client.flush(cx) {
            Poll::Ready(result) => result.map(|()| true).map_err(|_| End::ClientLost)?,
            Poll::Pending => false,
        };
        let (mut moved, hearing) = self.hearing_turn(cx, client_open)?;
        match &mut self.link {
            Link::Waiting { .. } => return self.waiting_turn(cx),
            Link::None => {}
            Link::Leased(active) => {
                active.check_recall(cx)?;
                if active.lease.is_wanted()
                    && let Some(disposition) = self.session.pause(active.lease.parts().state)
                {
                    self.release(disposition);
                    return Ok(Moved::Yes);
                }
                let parts = active.lease.parts();
                let flushed = outbox::flush(parts.stream, cx, parts.unsent);
                let server_open = match flushed {
                    Poll::Ready(result) => result.map(|()| true).map_err(|_| End::ServerLost)?,
                    Poll::Pending => false,
                };
                if client_open && self.server_turn(cx)? == Moved::Yes {
                    moved = Moved::Yes;
                }
                if !server_open || self.server_is_busy() {
                    return Ok(moved);
                }
            }
        }
        if client_open && hearing == Hearing::Settled && self.client_turn(cx)? == Moved::Yes {
            moved = Moved::Yes;
        }
        Ok(moved)
    }

    /// Whether the leased server cannot take the client's next frame now.
    fn server_is_busy(&mut self) -> bool {
        match &mut self.link {
            Link::Leased(active) => {
                let parts = active.lease.parts();
                !parts.unsent.is_empty() || parts.state.is_preparing()
            }
            Link::None | Link::Waiting { .. } => false,
        }
    }

    /// Waits for a server, and notices a client that cancels or goes meanwhile.
    fn waiting_turn(&mut self, cx: &mut Context<'_>) -> Result<Moved, End> {
        let Link::Waiting { wait, since } = &mut self.link else { return Ok(Moved::Yes) };
        if self.slot.waiting(cx.waker(), *since) {
            self.refuse(&ErrorMessage::error(
                SqlState::QUERY_CANCELED,
                "canceling statement due to user request",
            ));
            return Ok(Moved::Yes);
        }
        match Pin::new(&mut *wait).poll(cx) {
            Poll::Ready(Ok(lease)) => {
                let since = *since;
                self.lease(lease, since, Instant::now());
                return Ok(Moved::Yes);
            }
            Poll::Ready(Err(error)) => {
                if error == CheckoutError::ShuttingDown {
                    return Err(End::ServerLost);
                }
                if let CheckoutError::Timeout { .. } = &error {
                    self.metrics.limits.inc(Limit::QueryWaitTimeout);
                }
                self.refuse(&error.statement_error());
                return Ok(Moved::Yes);
            }
            Poll::Pending => {}
        }
        let ahead = self.client.unread.len();
        if !wait.may_buffer(ahead) || ahead >= WAITING_UNREAD_MAX {
            return Ok(Moved::No);
        }
        match self.client.read_more(cx) {
            Poll::Pending => Ok(Moved::No),
            // Only a read that is pending wakes this task when more comes, or the end.
            Poll::Ready(Ok(1..)) => Ok(Moved::Yes),
            Poll::Ready(_) => Err(End::ClientLost),
        }
    }

    /// Begins a lease. `asked` is when the client first needed it.
    fn lease(&mut self, lease: P::Leased, asked: Instant, now: Instant) {
        let waited = now.saturating_duration_since(asked);
        self.metrics.wait.observe(waited);
        if now != asked {
            self.metrics.checkout.observe(waited);
        }
        self.slot.leased(lease.id(), lease.cancels(), asked);
        self.client.needed = 0;
        self.link = Link::Leased(Active {
            lease,
            needed: 0,
            dry: false,
            rest: Rest::NONE,
            since: now,
            registered: false,
            query_since: Some(now),
            fatal: false,
            traffic: Traffic::default(),
        });
        self.mark(Doing::Statement, now);
    }

    /// Fails the statement at the front of what the client has sent, for want of a server.
    fn refuse(&mut self, error: &ErrorMessage) {
        self.link = Link::None;
        self.slot.idle();
        if self.timer.is_some() {
            self.mark(Doing::Idle, Instant::now());
        }
        if let Some(tag) = self.client.drop_frame() {
            self.session.refuse(tag, error, &mut self.client.unsent);
        }
    }

    /// Sees to the databases that the client needs empty.
    #[inline]
    fn vacate(&mut self) {
        if let Link::Leased(active) = &mut self.link
            && let Some(emptying) = active.lease.parts().state.take_emptying()
        {
            self.lender.vacate(&mut active.lease, emptying);
        }
    }

    /// Ends the lease.
    fn release(&mut self, disposition: session::Disposition) {
        let Link::Leased(mut active) = std::mem::replace(&mut self.link, Link::None) else {
            return;
        };
        // Before the server can be another's: see `cancel`.
        self.slot.idle();
        let now = Instant::now();
        active.end_query(&self.metrics, now);
        active.record(&self.metrics, now);
        let time = now.saturating_duration_since(active.since);
        if self.metrics.is_slow(time) {
            self.slot.facts().log_slow(active.lease.id(), time);
        }
        active.lease.release(disposition, now);
        self.settle_hub();
        self.mark(Doing::Idle, now);
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Client<C> {
    #[inline]
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        outbox::flush(&mut self.stream, cx, &mut self.unsent)
    }

    /// Reads behind what is unread. The bytes read; 0 at the end.
    fn read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        inbox::read_behind(&mut self.stream, cx, &mut self.unread, self.needed)
    }

    /// Takes the frame at the front of `unread` away, of which at least the header is
    /// there, with what is still to come of it. Its tag.
    fn drop_frame(&mut self) -> Option<u8> {
        let header = Header::peek(&self.unread).ok().flatten()?;
        let here = header.frame_len().min(self.unread.len());
        let body = self.unread.get(HEADER_LEN..here).unwrap_or_default();
        let frame = session::Frame { header, body };
        self.rest = Rest::of(&frame, session::Pass::Swallow);
        self.unread.drain(..here);
        self.needed = 0;
        Some(header.tag)
    }
}

impl<L> Active<L> {
    /// Whether the server was called back; from now on this task is told.
    #[inline]
    fn check_recall(&mut self, cx: &Context<'_>) -> Result<(), End>
    where
        L: Leased,
    {
        if !self.registered {
            self.lease.watch_recall(cx.waker());
            self.registered = true;
        }
        if self.lease.is_recalled() { Err(End::ServerLost) } else { Ok(()) }
    }

    /// Why the server is closed that this client has lost.
    fn loss(&self) -> Closed
    where
        L: Leased,
    {
        if self.lease.is_recalled() { Closed::Epoch } else { Closed::ServerClosed }
    }

    fn end_query(&mut self, metrics: &PoolMetrics, now: Instant) {
        if let Some(since) = self.query_since.take() {
            metrics.query.observe(now.saturating_duration_since(since));
        }
    }

    /// Hands the lease's counts over.
    fn record(&mut self, metrics: &PoolMetrics, now: Instant)
    where
        L: Leased,
    {
        metrics.transaction.observe(now.saturating_duration_since(self.since));
        metrics.client_received.add(self.traffic.client_received);
        metrics.client_sent.add(self.traffic.client_sent);
        metrics.server_received.add(self.traffic.server_received);
        metrics.server_sent.add(self.traffic.server_sent);
        let counters = self.lease.parts().state.take_counters();
        if counters != session::Counters::default() {
            metrics.client_parses.add(counters.client_parses.into());
            metrics.prepared_hits.add(counters.statement_hits.into());
            metrics.prepared_misses.add(counters.statement_misses.into());
            metrics.sequences_forgotten.add(counters.sequences_forgotten.into());
            for _ in 0..counters.plan_retries {
                metrics.retries.inc(telemetry::Retry::PlanChanged);
            }
            for _ in 0..counters.lost_retries {
                metrics.retries.inc(telemetry::Retry::StatementMissing);
            }
            for _ in 0..counters.state_refusals {
                metrics.limits.inc(Limit::SessionState);
            }
            if counters.read_only_refusals > 0 {
                self.lease.suspect();
            }
        }
    }
}
