//! Channels of a client that the hub listens on for it.
//!
//! A LISTEN waits until the hub listens, and then goes to a server as anything does. What the hub
//! hears is told between two transactions, as Postgres does. When the hub has been away, the client's
//! next transaction waits on its server until its channels are listened on again, though not for
//! ever: where servers can be had, the hub soon is there.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use notify::Event;
use session::Frame;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::{End, Hear, Leased, Lend, Link, Moved, Relay};

/// The client's place at the hub.
pub(super) struct Ears<H> {
    hub: H,
    /// Channels for which its next frame waits.
    wanted: Vec<Box<str>>,
    link: Ear,
}

/// What is known of the hub's own connection.
enum Ear {
    Hears,
    /// It is away. Once a transaction waits for it, until when.
    Deaf(Option<Pin<Box<Sleep>>>),
    /// It has been waited for long enough.
    GivenUp,
}

/// How long a transaction that has a server waits for the hub.
const DEAF_MAX: Duration = Duration::from_secs(5);

/// Whether the client's frames wait for the hub.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    Settled,
    Awaited,
}

/// Notifications are put together up to so many bytes.
const UNSENT_MAX: usize = 16 * 1024;

impl<C, P> Relay<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: Lend,
{
    /// Asks the hub for what `frame` listens on. Whether it must wait for that.
    pub(super) fn ask_hub(&mut self, frame: &Frame<'_>) -> Hearing {
        let wanted = self.session.unheard(frame);
        if wanted.is_empty() {
            let is_deaf = self.ears.as_ref().is_some_and(|ears| matches!(ears.link, Ear::Deaf(_)));
            return if is_deaf && self.begins() { Hearing::Awaited } else { Hearing::Settled };
        }
        if self.ears.is_none() {
            let encoding = self.session.parameters().get("client_encoding").unwrap_or("UTF8");
            let hub = self.lender.hub(encoding);
            self.ears = hub.map(|hub| Box::new(Ears { hub, wanted: Vec::new(), link: Ear::Hears }));
        }
        let Some(ears) = &mut self.ears else {
            self.session.hears_by_itself();
            return Hearing::Settled;
        };
        if wanted.iter().try_for_each(|channel| ears.hub.listen(channel.as_bytes())).is_err() {
            self.session.hears_by_itself();
            return Hearing::Settled;
        }
        ears.wanted = wanted;
        Hearing::Awaited
    }

    /// What the hub has to say, of which something is told if the client's socket is `open`.
    #[inline]
    pub(super) fn hearing_turn(
        &mut self,
        cx: &mut Context<'_>,
        open: bool,
    ) -> Result<(Moved, Hearing), End> {
        match self.ears {
            None => Ok((Moved::No, Hearing::Settled)),
            Some(_) => self.hear(cx, open),
        }
    }

    fn hear(&mut self, cx: &mut Context<'_>, open: bool) -> Result<(Moved, Hearing), End> {
        let begins = self.begins();
        let Some(ears) = &mut self.ears else { return Ok((Moved::No, Hearing::Settled)) };
        let hearing = match ears.hub.poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                ears.link = Ear::Hears;
                self.session.hears(std::mem::take(&mut ears.wanted));
                Hearing::Settled
            }
            // Then it listens on a server of its own.
            Poll::Ready(Err(error)) => {
                tracing::warn!(event = "listen_not_shared", %error, "a client's LISTEN is not shared");
                ears.wanted.clear();
                self.session.hears_by_itself();
                Hearing::Settled
            }
            Poll::Pending if !ears.wanted.is_empty() => Hearing::Awaited,
            Poll::Pending => ears.link.wait(cx, begins),
        };
        let is_between = begins || matches!(self.link, Link::None);
        let moved = if open && is_between { self.tell(cx)? } else { Moved::No };
        Ok((moved, hearing))
    }

    /// Whether the client has a server, and has begun nothing on it.
    fn begins(&mut self) -> bool {
        match &mut self.link {
            Link::Leased(active) => active.lease.parts().state.is_between_transactions(),
            Link::None | Link::Waiting { .. } => false,
        }
    }

    fn tell(&mut self, cx: &mut Context<'_>) -> Result<Moved, End> {
        let Some(ears) = &mut self.ears else { return Ok(Moved::No) };
        let unsent = &mut self.client.unsent;
        let mut moved = Moved::No;
        while unsent.len() < UNSENT_MAX {
            match ears.hub.poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(Event::Notification(heard)) => {
                    self.session.on_heard(heard.pid(), heard.channel(), heard.frame(), unsent);
                }
                Poll::Ready(Event::Resumed) => {
                    self.session.has_missed();
                    notify::resumed_warning().put(unsent);
                }
                Poll::Ready(Event::Lagged) => {
                    return Err(End::StateLost(Box::new(notify::lagged_error())));
                }
            }
            moved = Moved::Yes;
        }
        Ok(moved)
    }

    /// Between two transactions: the hub need not listen on what the client does not.
    pub(super) fn settle_hub(&mut self) {
        let Some(ears) = &mut self.ears else { return };
        let Some(channels) = self.session.channels() else { return };
        if channels.is_empty() {
            self.ears = None;
            return;
        }
        let channels: Vec<&[u8]> = channels.iter().map(|channel| channel.as_bytes()).collect();
        // All of them are listened on already.
        let _ = ears.hub.set(&channels);
    }
}

impl Ear {
    /// The hub is away. Whether a transaction waits for it, if one `begins`.
    fn wait(&mut self, cx: &mut Context<'_>, begins: bool) -> Hearing {
        if let Self::Hears = self {
            *self = Self::Deaf(None);
        }
        let Self::Deaf(until) = self else { return Hearing::Settled };
        if !begins {
            return Hearing::Settled;
        }
        let until = until.get_or_insert_with(|| Box::pin(sleep(DEAF_MAX)));
        if until.as_mut().poll(cx).is_pending() {
            return Hearing::Awaited;
        }
        *self = Self::GivenUp;
        Hearing::Settled
    }
}
