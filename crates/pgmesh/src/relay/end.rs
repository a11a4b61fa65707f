//! How a relay ends: last words for the client, and a clean end for the server it had.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pool::Closed;
use session::{Abandoned, Disposition, Overdue, Then, Violation};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use wire::{ErrorMessage, SqlState};

use super::{Active, Client, End, Leased, Lend, Link, Relay, outbox, overdue, turn};

/// For the last words to a client.
const FAREWELL: Duration = Duration::from_secs(2);

/// For a server to end what a vanished client began; then it is closed.
const DRAIN: Duration = Duration::from_secs(5);

/// What a server may send meanwhile.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;

impl<C, P> Relay<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: Lend,
{
    /// Tells the client why, and gives the server back or closes it.
    pub(super) async fn finish(mut self, end: End) -> End {
        let mut is_mute = false;
        if let End::TimedOut(overdue) = end {
            self.count_overdue(overdue);
        }
        if let End::Terminated = end {
            self.lender.cancel(&self.slot);
        }
        if let Link::Leased(active) = std::mem::replace(&mut self.link, Link::None) {
            self.slot.idle();
            // Behind a last word there is none, and within a message it would be part of that.
            is_mute = active.fatal || active.rest.is_passing();
            match &end {
                // It has not heard a cancel, and will not hear anything else.
                End::TimedOut(Overdue::Cancel) => active.lease.close(Closed::Reset),
                End::Goodbye
                | End::ClientLost
                | End::Terminated
                | End::Departed
                | End::TimedOut(_)
                | End::Violation(Violation::Client(_)) => {
                    let mid_frame = self.client.rest.is_passing();
                    abandon(&mut self.session, active, mid_frame, &self.metrics).await;
                }
                End::ServerLost | End::StateLost(_) => {
                    let why = active.loss();
                    active.lease.close(why);
                }
                End::Violation(Violation::Server(_)) => active.lease.close(Closed::Protocol),
            }
        }
        let words = match &end {
            _ if is_mute => None,
            End::Goodbye | End::ClientLost => None,
            End::ServerLost => Some(ErrorMessage::fatal(
                SqlState::CONNECTION_FAILURE,
                "server closed the connection unexpectedly",
            )),
            End::Terminated | End::Departed => Some(session::terminated()),
            End::TimedOut(overdue) => Some(overdue::last_words(*overdue)),
            End::StateLost(error) | End::Violation(Violation::Client(error)) => {
                Some(ErrorMessage::clone(error))
            }
            End::Violation(Violation::Server(what)) => {
                tracing::warn!(event = "server_violation", what, "server violated the protocol");
                Some(ErrorMessage::fatal(
                    SqlState::PROTOCOL_VIOLATION,
                    "server violated the protocol",
                ))
            }
        };
        if words.is_none() && matches!(end, End::Goodbye) && self.client.unsent.is_empty() {
            // It has said its last word and hears no more: dropping the stream closes it.
            return end;
        }
        // The client may have gone: nobody is left to tell.
        let _ = timeout(FAREWELL, self.client.farewell(words)).await;
        end
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Client<C> {
    async fn farewell(&mut self, words: Option<ErrorMessage>) -> io::Result<()> {
        if let Some(words) = words {
            words.put(&mut self.unsent);
        }
        self.stream.write_all(&self.unsent).await?;
        self.stream.flush().await?;
        self.stream.shutdown().await
    }
}

/// Ends what the client began on its server, reads the answers that are still owed, and
/// gives the server back; closes it if that takes too long, or if it is called back meanwhile.
async fn abandon<L: Leased>(
    session: &mut session::Session,
    mut active: Active<L>,
    mid_frame: bool,
    metrics: &telemetry::PoolMetrics,
) {
    // An asynchronous message that is cut off: its rest would reach the next client.
    let server_mid_frame = active.rest.is_unfinished();
    let parts = active.lease.parts();
    let server_mid_frame = server_mid_frame || !parts.unread.is_empty();
    let disposition = match session.abandon(parts.state, mid_frame, parts.unsent) {
        Abandoned::Now(_) if server_mid_frame => Disposition::Discard,
        Abandoned::Now(disposition) => disposition,
        Abandoned::Drain => {
            let mut budget = DRAIN_BYTES;
            let drained =
                std::future::poll_fn(|cx| poll_drain(session, &mut active, &mut budget, cx));
            timeout(DRAIN, drained).await.unwrap_or(Disposition::Discard)
        }
    };
    let now = Instant::now();
    active.record(metrics, now);
    match disposition {
        _ if active.lease.is_recalled() => active.lease.close(Closed::Epoch),
        Disposition::Discard => active.lease.close(Closed::ClientGone),
        Disposition::Clean | Disposition::NeedsReset => active.lease.release(disposition, now),
    }
}

/// Reads until the session says that the lease may end, or something is wrong.
fn poll_drain<L: Leased>(
    session: &mut session::Session,
    active: &mut Active<L>,
    budget: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<Disposition> {
    let mut chunk = [0; 4096];
    loop {
        if active.check_recall(cx).is_err() {
            return Poll::Ready(Disposition::Discard);
        }
        let parts = active.lease.parts();
        if let Poll::Ready(Err(_)) = outbox::flush(parts.stream, cx, parts.unsent) {
            return Poll::Ready(Disposition::Discard);
        }
        let mut buf = ReadBuf::new(&mut chunk);
        match Pin::new(parts.stream).poll_read(cx, &mut buf) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
            Poll::Ready(_) => return Poll::Ready(Disposition::Discard),
        }
        let read = buf.filled();
        let Some(left) = budget.checked_sub(read.len()) else {
            return Poll::Ready(Disposition::Discard);
        };
        *budget = left;
        parts.unread.extend_from_slice(read);
        match drain_frames(session, active) {
            Ok(Then::Release(disposition)) => return Poll::Ready(disposition),
            // A transaction is open, and is rolled back by the reset.
            Ok(Then::Quiet) => return Poll::Ready(Disposition::NeedsReset),
            Ok(Then::Continue) => {}
            Ok(Then::ServerLost) | Err(_) => return Poll::Ready(Disposition::Discard),
        }
    }
}

fn drain_frames<L: Leased>(
    session: &mut session::Session,
    active: &mut Active<L>,
) -> Result<Then, Violation> {
    let bytes = std::mem::take(active.lease.parts().unread);
    let [mut along, mut back, mut inserted] = [const { Vec::new() }; 3];
    let taken = turn::take_server(session, active, &bytes, &mut along, &mut back, &mut inserted);
    let turn::Taken { consumed, then, fault, .. } = taken;
    let parts = active.lease.parts();
    parts.unread.extend_from_slice(bytes.get(consumed..).unwrap_or_default());
    parts.unsent.extend_from_slice(&back);
    fault.map_or(Ok(then), Err)
}
