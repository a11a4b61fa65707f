//! One chunk in one direction.

use std::ops::ControlFlow;
use std::task::{Context, Poll};
use std::time::Instant;

use session::{Disposition, Doing, Frame, Pass, Then, ToServer, Unleased, Violation};
use telemetry::Limit;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::tag::backend;
use wire::{ErrorFields, ErrorMessage, FrameError, HEADER_LEN, SqlState};

use super::called::Leaving;
use super::frames::{self, Next, Rest};
use super::inbox::{read, rest_of};
use super::outbox::{self, Gone};
use super::scratch::{self, Scratch};
use super::splice::Splice;
use super::{Active, End, Hearing, Leased, Lend, Link, Moved, Relay, quota};

/// What became of a chunk.
pub(super) struct Taken<'a> {
    /// Bytes of it that were dealt with.
    pub(super) consumed: usize,
    /// What goes on.
    out: &'a [u8],
    /// What follows the last frame.
    pub(super) then: Then,
    /// What was wrong with the frame that was not taken. Those before it count.
    pub(super) fault: Option<Violation>,
    /// Whether a ReadyForQuery was among the frames.
    readied: bool,
}

impl<C, P> Relay<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: Lend,
{
    /// Reads from the client, and passes on what its frames are allowed to.
    pub(super) fn client_turn(&mut self, cx: &mut Context<'_>) -> Result<Moved, End> {
        scratch::with(|scratch| {
            let client = &mut self.client;
            let source = read(
                &mut client.stream,
                cx,
                &mut client.unread,
                client.needed,
                &mut client.dry,
                scratch,
            );
            let source = match source {
                Poll::Pending => return Ok(Moved::No),
                Poll::Ready(Err(_) | Ok(None)) => return Err(End::ClientLost),
                Poll::Ready(Ok(Some(source))) => source,
            };
            let Scratch { input, along, back, inserted } = scratch;
            let chunk = source.bytes(input);
            let begins = self.begins_exchange();
            let taken = self.take_client(chunk, along, back, inserted);
            self.client.unread = rest_of(chunk, taken.consumed);
            self.vacate();
            let done = self.send_to_server(cx, taken.out);
            if done == Err(Gone::Untouched) && begins && back.is_empty() {
                self.take_back(chunk);
            }
            self.send_to_client(cx, back)?;
            done.map_err(|_| End::ServerLost)?;
            taken.fault.map_or(Ok(()), |fault| Err(End::Violation(fault)))?;
            self.end_frame()?;
            Ok(Moved::Yes)
        })
    }

    /// Shows the frames of a chunk to the session.
    fn take_client<'a>(
        &mut self,
        chunk: &'a [u8],
        along: &'a mut Vec<u8>,
        back: &mut Vec<u8>,
        inserted: &mut Vec<u8>,
    ) -> Taken<'a> {
        let mut splice = Splice::new(chunk, along);
        let mut consumed = 0;
        self.client.needed = 0;
        let fault = loop {
            match self.take_client_frame(chunk, &mut consumed, &mut splice, back, inserted) {
                Ok(Moved::Yes) => {}
                Ok(Moved::No) => break None,
                Err(fault) => break Some(fault),
            }
        };
        Taken { consumed, out: splice.finish(), then: Then::Continue, fault, readied: false }
    }

    /// The frame of `chunk` that begins at `at`. Whether to go on with the next one.
    #[inline]
    fn take_client_frame(
        &mut self,
        chunk: &[u8],
        at: &mut usize,
        splice: &mut Splice<'_>,
        back: &mut Vec<u8>,
        inserted: &mut Vec<u8>,
    ) -> Result<Moved, Violation> {
        *at = pass_rest(&mut self.client.rest, chunk, *at, splice);
        let Some(front) = chunk.get(*at..).filter(|front| !front.is_empty()) else {
            return Ok(Moved::No);
        };
        let frame = match frames::next(front, session::client_need).map_err(bad_length)? {
            Next::Frame(frame) => {
                self.check_size(frame.header.frame_len())?;
                frame
            }
            Next::Short(needed) => {
                self.check_size(needed)?;
                self.client.needed = needed;
                return Ok(Moved::No);
            }
        };
        if self.ask_hub(&frame) == Hearing::Awaited {
            return Ok(Moved::No);
        }
        let pass = match &mut self.link {
            Link::Waiting { .. } => return Ok(Moved::No),
            Link::None => match self.take_unleased(&frame, back)? {
                ControlFlow::Continue(pass) => pass,
                ControlFlow::Break(moved) => return Ok(moved),
            },
            Link::Leased(active) => {
                if self.session.may_pause(active.lease.parts().state)
                    && !(!self.slot.is_called()
                        && active.lease.resume()
                        && self.lender.may_begin(&active.lease))
                    && let Some(disposition) = self.session.pause(active.lease.parts().state)
                {
                    self.release(disposition);
                    return Ok(Moved::Yes);
                }
                let state = active.lease.parts().state;
                let verdict = self.session.on_client(&frame, state, inserted, back)?;
                splice.insert(inserted);
                match verdict {
                    ToServer::Pass(pass) => pass,
                    ToServer::Prepare => return Ok(Moved::No),
                    ToServer::Goodbye => return Ok(self.client.leave(Leaving::Goodbye)),
                }
            }
        };
        let shown = HEADER_LEN + frame.body.len();
        if pass == Pass::Forward {
            splice.pass(*at, *at + shown);
        }
        self.client.rest = Rest::of(&frame, pass);
        *at += shown;
        Ok(Moved::Yes)
    }

    /// A frame of a client that has no server: what becomes of it, or whether to look at it again.
    #[inline]
    fn take_unleased(
        &mut self,
        frame: &Frame<'_>,
        back: &mut Vec<u8>,
    ) -> Result<ControlFlow<Moved, Pass>, Violation> {
        let pass = match self.session.on_client_unleased(frame, back)? {
            Unleased::Swallow => Pass::Swallow,
            Unleased::Refused => self.count_refused(),
            // It begins no other transaction.
            Unleased::NeedServer if self.slot.is_called() => {
                return Ok(ControlFlow::Break(self.client.leave(Leaving::Called)));
            }
            Unleased::NeedServer => match self.refusal(frame) {
                None => {
                    self.need_server();
                    return Ok(ControlFlow::Break(Moved::Yes));
                }
                Some(refusal) => {
                    self.session.refuse(frame.header.tag, &refusal, back);
                    Pass::Swallow
                }
            },
            Unleased::Goodbye => {
                return Ok(ControlFlow::Break(self.client.leave(Leaving::Goodbye)));
            }
        };
        Ok(ControlFlow::Continue(pass))
    }

    /// Why the client may have no server for what it begins with `frame`.
    #[inline]
    fn refusal(&mut self, frame: &Frame<'_>) -> Option<ErrorMessage> {
        if !self.is_within_quota() {
            return Some(quota::refusal());
        }
        if self.lender.may_pin() || !self.session.may_pin(frame) {
            return None;
        }
        self.metrics.limits.inc(Limit::MaxPinned);
        Some(too_many_pinned())
    }

    /// Whether a message of so many bytes may be taken from the client.
    #[inline]
    fn check_size(&self, bytes: usize) -> Result<(), Violation> {
        let max = self.client.message_max;
        if bytes <= max as usize {
            return Ok(());
        }
        self.metrics.limits.inc(Limit::MaxPacketSize);
        Err(too_large(bytes, max))
    }

    /// Whether the client may begin a transaction now, and then it is counted.
    #[inline]
    fn is_within_quota(&mut self) -> bool {
        let Some(quota) = &mut self.quota else { return true };
        let may = quota.take(Instant::now());
        if !may {
            self.metrics.limits.inc(Limit::TransactionRate);
        }
        may
    }

    /// A rule for session state has refused a statement that needed no server for that.
    #[cold]
    fn count_refused(&self) -> Pass {
        self.metrics.limits.inc(Limit::SessionState);
        Pass::Swallow
    }

    /// A server at once, or a place in the queue.
    fn need_server(&mut self) {
        let now = Instant::now();
        match self.lender.try_lend() {
            Some(lease) => self.lease(lease, now, now),
            None => {
                self.link = Link::Waiting { wait: self.lender.wait(), since: now };
                self.mark(Doing::Waiting, now);
            }
        }
    }

    fn send_to_server(&mut self, cx: &mut Context<'_>, out: &[u8]) -> Result<(), Gone> {
        if let Link::Leased(active) = &mut self.link
            && !out.is_empty()
        {
            active.traffic.client_received += out.len() as u64;
            active.traffic.server_sent += out.len() as u64;
            if active.query_since.is_none() {
                let now = Instant::now();
                active.query_since = Some(now);
                if let Some(timer) = &mut self.timer {
                    timer.mark(Doing::Statement, self.lender.timeouts(), now);
                }
            }
            let parts = active.lease.parts();
            let written = outbox::write(parts.stream, cx, out, parts.unsent);
            // A write that fails in TLS may have sent some of its records before.
            return written.map_err(|gone| if active.lease.is_tls() { Gone::Partly } else { gone });
        }
        Ok(())
    }

    fn send_to_client(&mut self, cx: &mut Context<'_>, out: &[u8]) -> Result<(), End> {
        if out.is_empty() {
            return Ok(());
        }
        if !self.client.unsent.is_empty() {
            self.client.unsent.extend_from_slice(out);
            return Ok(());
        }
        outbox::write(&mut self.client.stream, cx, out, &mut self.client.unsent)
            .map_err(|_| End::ClientLost)
    }

    /// After a chunk of the client's: tells the server's state whether a frame is half way,
    /// and makes up for a release that had to wait for its end.
    fn end_frame(&mut self) -> Result<(), End> {
        match self.client.leaving {
            Leaving::No => {}
            Leaving::Goodbye => return Err(End::Goodbye),
            Leaving::Called => return Err(End::Departed),
        }
        let Link::Leased(active) = &mut self.link else { return Ok(()) };
        let parts = active.lease.parts();
        let mid_frame = self.client.rest.is_passing();
        if parts.state.set_client_mid_frame(mid_frame)
            && !mid_frame
            && let Some(disposition) = self.session.release_if_quiet(parts.state, parts.unsent)
        {
            self.release(disposition);
        }
        // What begins no transaction has no answer that would end it.
        self.rest();
        Ok(())
    }

    /// Reads from the server, and passes on what its frames are allowed to.
    pub(super) fn server_turn(&mut self, cx: &mut Context<'_>) -> Result<Moved, End> {
        scratch::with(|scratch| {
            let Link::Leased(active) = &mut self.link else { return Ok(Moved::No) };
            let needed = active.needed;
            let parts = active.lease.parts();
            let dry = &mut active.dry;
            let source = match read(parts.stream, cx, parts.unread, needed, dry, scratch) {
                Poll::Pending => return Ok(Moved::No),
                Poll::Ready(Err(_) | Ok(None)) => return Err(End::ServerLost),
                Poll::Ready(Ok(Some(source))) => source,
            };
            let Scratch { input, along, back, inserted } = scratch;
            let chunk = source.bytes(input);
            active.traffic.server_received += chunk.len() as u64;
            let taken = take_server(&mut self.session, active, chunk, along, back, inserted);
            active.traffic.client_sent += taken.out.len() as u64;
            *active.lease.parts().unread = rest_of(chunk, taken.consumed);
            self.vacate();
            self.deliver_signals()?;
            match taken.then {
                Then::Quiet => self.end_query(),
                Then::Continue if taken.readied => self.mark_next(),
                Then::Continue | Then::Release(_) | Then::ServerLost => {}
            }
            let sent = self.send_to_server(cx, back);
            if let Then::Release(disposition) = taken.then {
                self.release(disposition);
            }
            // Before the loss of the server: the client's answer must not have a gap.
            self.send_to_client(cx, taken.out)?;
            sent.map_err(|_| End::ServerLost)?;
            if taken.then == Then::ServerLost {
                return Err(End::ServerLost);
            }
            taken.fault.map_or(Ok(()), |fault| Err(End::Violation(fault)))?;
            self.check_preparation();
            Ok(Moved::Yes)
        })
    }

    /// The server owes nothing, and is kept.
    fn end_query(&mut self) {
        let Link::Leased(active) = &mut self.link else { return };
        let now = Instant::now();
        active.lease.note_pins();
        active.end_query(&self.metrics, now);
        let is_between = active.lease.parts().state.is_between_transactions();
        let doing = match active.lease.parts().state.in_transaction() {
            true => Doing::IdleInTransaction,
            false => Doing::Idle,
        };
        if is_between {
            self.settle_hub();
        }
        self.mark(doing, now);
        self.rest();
    }

    /// The client has no need of the server now: one that it keeps only for want of others that do
    /// goes back if any does.
    fn rest(&mut self) {
        if let Link::Leased(active) = &mut self.link
            && active.lease.parts().state.is_spare()
            && active.lease.parts().state.is_between_transactions()
            && !active.lease.rest()
            && let Some(disposition) = self.session.pause(active.lease.parts().state)
        {
            self.release(disposition);
        }
    }

    /// The statement fails if its server could not be brought to the client's settings.
    fn check_preparation(&mut self) {
        let Link::Leased(active) = &mut self.link else { return };
        let state = active.lease.parts().state;
        if !state.is_preparing() || !state.is_quiet() {
            return;
        }
        let tag = self.client.drop_frame().unwrap_or_default();
        let unsent = &mut self.client.unsent;
        let failed = self.session.take_preparation_failure(tag, state, unsent);
        self.release(failed.unwrap_or(Disposition::Discard));
    }
}

/// Shows the frames of a chunk to the session, up to the one that ends the lease.
pub(super) fn take_server<'a, L: Leased>(
    session: &mut session::Session,
    active: &mut Active<L>,
    chunk: &'a [u8],
    along: &'a mut Vec<u8>,
    back: &mut Vec<u8>,
    inserted: &mut Vec<u8>,
) -> Taken<'a> {
    let mut splice = Splice::new(chunk, along);
    let (mut consumed, mut then, mut readied) = (0, Then::Continue, false);
    active.needed = 0;
    let fault = loop {
        consumed = pass_rest(&mut active.rest, chunk, consumed, &mut splice);
        let Some(front) = chunk.get(consumed..).filter(|front| !front.is_empty()) else {
            break None;
        };
        let state = active.lease.parts().state;
        let frame = match frames::next(front, |header| state.need(header)) {
            Ok(Next::Frame(frame)) => frame,
            Ok(Next::Short(needed)) => {
                active.needed = needed;
                break None;
            }
            Err(_) => break Some(Violation::Server("an invalid message length")),
        };
        let verdict = match session.on_server(&frame, state, inserted, back) {
            Ok(verdict) => verdict,
            Err(fault) => break Some(fault),
        };
        splice.insert(inserted);
        let shown = HEADER_LEN + frame.body.len();
        if verdict.pass == Pass::Forward {
            splice.pass(consumed, consumed + shown);
        }
        readied |= frame.header.tag == backend::READY_FOR_QUERY;
        if frame.header.tag == backend::ERROR_RESPONSE {
            active.fatal |= verdict.pass == Pass::Forward
                && ErrorFields::parse(frame.body).is_ok_and(|fields| fields.is_fatal());
        }
        active.rest = Rest::of(&frame, verdict.pass);
        consumed += shown;
        then = verdict.then;
        if matches!(then, Then::Release(_) | Then::ServerLost) {
            break None;
        }
    };
    Taken { consumed, out: splice.finish(), then, fault, readied }
}

/// Takes what `chunk` has, from `at` on, of a frame that was shown before. Where it ends.
#[inline]
fn pass_rest(rest: &mut Rest, chunk: &[u8], at: usize, splice: &mut Splice<'_>) -> usize {
    let (taken, passes) = rest.take(chunk.len() - at);
    if passes {
        splice.pass(at, at + taken);
    }
    at + taken
}

#[cold]
fn too_many_pinned() -> ErrorMessage {
    let message = "too many clients keep a server between their transactions";
    ErrorMessage::error(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message)
        .with_detail("pool.max_pinned is reached, and this statement would need a server for good.")
        .with_hint("Use what ends with a transaction, or raise pool.max_pinned and pool.size.")
}

#[cold]
fn too_large(bytes: usize, max: u32) -> Violation {
    let text = format!("message of {bytes} bytes is larger than max_packet_size ({max} bytes)");
    Violation::Client(Box::new(ErrorMessage::fatal(SqlState::PROGRAM_LIMIT_EXCEEDED, text)))
}

fn bad_length(error: FrameError) -> Violation {
    let FrameError { tag, len } = error;
    tracing::debug!(event = "client_violation", tag, len, "client sent an invalid message length");
    Violation::Client(Box::new(ErrorMessage::fatal(
        SqlState::PROTOCOL_VIOLATION,
        "invalid message length",
    )))
}
