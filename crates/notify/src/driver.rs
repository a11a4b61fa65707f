//! The task of a hub: keeps a session as long as anybody wants a channel, and does there what
//! the core says.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use pool::{Apart, ApartError, RETRY_MAX, Retry, Tenure, retry_pause};
use tokio::io::{AsyncRead, AsyncWrite};
use topology::Fence;
use wire::message::TransactionStatus;
use wire::tag::backend as tag;
use wire::{ErrorFields, ErrorMessage, HEADER_LEN, Malformed, SqlState};

use crate::connection::{Connection, FrameFault, Message};
use crate::core::Core;
use crate::hub::Hub;
use crate::stats::add;
use crate::{HubError, Hubs, Notification};

/// What the session of a hub calls itself in `pg_stat_activity`.
const APPLICATION_NAME: &str = "pgmesh listen";

/// For the answer to a request. Ten thousand channels at once take a third of a second.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A session that has been silent for so long is asked something: it may be dead, or about to
/// be ended for being idle.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// How often those are looked at who wait while no server listens.
const EXPIRE_EVERY: Duration = Duration::from_millis(250);

/// Runs until the hub is removed from `hubs`, or those have gone.
pub(crate) async fn run(hub: Arc<Hub>, hubs: Weak<Hubs>) {
    let mut failures = 0;
    while wanted(&hub, &hubs).await {
        let opened = tokio::select! {
            biased;
            opened = open(&hub, pause(failures, rand::random())) => opened,
            () = expire(&hub) => continue,
        };
        let Some(Apart { stream, tenure }) = opened else {
            failures += 1;
            continue;
        };
        let began = Instant::now();
        let node = tenure.address().clone();
        tracing::debug!(event = "hub_opened", pool = %hub.pool.key(), %node, "listening");
        let (ended, connection) = Session::begin(&hub, Connection::new(stream)).run(tenure).await;
        hub.with(Core::lost);
        // A session that has lived for so long was a good one.
        failures = if began.elapsed() < RETRY_MAX { failures + 1 } else { 0 };
        if matches!(ended, Ended::Unused) {
            connection.close().await;
        } else {
            tracing::info!(event = "hub_closed", pool = %hub.pool.key(), %node, why = %ended, "listens no more");
        }
    }
}

/// Waits until somebody wants a channel. `false` if nobody ever will.
async fn wanted(hub: &Hub, hubs: &Weak<Hubs>) -> bool {
    loop {
        if hub.with(|core| core.is_wanted()) {
            return true;
        }
        if hubs.upgrade().is_none_or(|hubs| hubs.remove_unused(hub)) {
            return false;
        }
        hub.demand.notified().await;
    }
}

/// After so many failures in a row; `jitter` is that of [`retry_pause`].
fn pause(failures: u32, jitter: f64) -> Duration {
    if failures == 1 { Duration::ZERO } else { retry_pause(failures, jitter) }
}

/// Logs in, if the cluster lets. Those who wait are told if that is in vain.
///
/// # Cancel safety
/// Dropping the future closes the connection.
async fn open(hub: &Hub, pause: Duration) -> Option<Apart> {
    tokio::time::sleep(pause).await;
    match hub.pool.open_apart(APPLICATION_NAME, &hub.encoding).await {
        Ok(apart) => Some(apart),
        Err(ApartError::Outdated) => None,
        Err(ApartError::Login { error, retry }) => {
            add(&hub.counters.connect_failures, 1);
            if retry == Retry::InVain {
                hub.expire(Duration::ZERO, &HubError::Login(error));
            }
            None
        }
    }
}

/// Fails those who have waited for too long, until nobody wants any channel.
///
/// # Cancel safety
/// Cancel safe.
async fn expire(hub: &Hub) {
    while hub.with(|core| core.is_wanted()) {
        tokio::time::sleep(EXPIRE_EVERY).await;
        hub.expire(hub.pool.settings().config.hold_timeout, &HubError::Timeout);
    }
}

/// One session.
struct Session<'a, S> {
    hub: &'a Hub,
    connection: Connection<S>,
    owed: Owed,
    /// When the answer is overdue, or else when the next check is due.
    due: Instant,
}

/// What the server owes.
enum Owed {
    Nothing,
    /// The completion of a request.
    Completion,
    /// Further completions, or ReadyForQuery.
    Ready,
    /// ReadyForQuery, after this error.
    ReadyAfter(Arc<ErrorMessage>),
}

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the epoch of its server is over")]
    Epoch,
    #[error(transparent)]
    Frame(#[from] FrameFault),
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    #[error("malformed message of type {tag:#04x}")]
    Malformed { tag: u8 },
    #[error("{0}")]
    Refused(Arc<ErrorMessage>),
    #[error("no answer in time")]
    Timeout,
    #[error("unexpected message of type {tag:#04x}")]
    Unexpected { tag: u8 },
    #[error("nobody listens")]
    Unused,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    /// Asks an idle session for all that the one before has had.
    fn begin(hub: &'a Hub, connection: Connection<S>) -> Self {
        let due = Instant::now() + CHECK_EVERY;
        let mut session = Self { hub, connection, owed: Owed::Nothing, due };
        if let Some(text) = hub.with(|core| core.connected()) {
            add(&hub.counters.resumed, 1);
            session.ask(&text);
        }
        session
    }

    /// Goes on until it has to end, and says why.
    async fn run(mut self, mut tenure: Tenure) -> (Ended, Connection<S>) {
        loop {
            if let Err(ended) = self.turn(&mut tenure).await {
                if matches!(&ended, Ended::Refused(error) if is_read_only(error)) {
                    self.hub.pool.suspect(tenure.epoch());
                }
                return (ended, self.connection);
            }
        }
    }

    async fn turn(&mut self, tenure: &mut Tenure) -> Result<(), Ended> {
        let now = Instant::now();
        let fence = tenure.fence();
        match fence {
            Fence::Close | Fence::Retire => return Err(Ended::Epoch),
            Fence::Open => self.ask_what_is_wanted(now),
            Fence::Held => {
                let limit = self.hub.pool.settings().config.hold_timeout;
                self.hub.expire(limit, &HubError::Timeout);
            }
        }
        let wake_at = self.wake_at(now, fence);
        tokio::select! {
            biased;
            () = tenure.changed() => {}
            read = self.connection.read() => {
                read?;
                self.take()?;
            }
            () = self.hub.demand.notified() => {}
            () = tokio::time::sleep_until(wake_at.into()) => self.look_at_clock(Instant::now())?,
        }
        Ok(())
    }

    fn ask_what_is_wanted(&mut self, now: Instant) {
        if matches!(self.owed, Owed::Nothing)
            && let Some(text) = self.hub.with(|core| core.request(now))
        {
            self.ask(&text);
        }
    }

    fn ask(&mut self, text: &[u8]) {
        self.connection.send(text);
        self.owed = Owed::Completion;
        self.due = Instant::now() + REQUEST_TIMEOUT;
    }

    /// When to look again, whatever happens.
    fn wake_at(&self, now: Instant, fence: Fence) -> Instant {
        let (unlisten, idle, is_waiting) =
            self.hub.with(|core| (core.unlisten_at(), core.idle_until(), core.is_waiting()));
        let is_quiet = matches!(self.owed, Owed::Nothing);
        let unlisten = unlisten.filter(|_| is_quiet && fence == Fence::Open);
        let idle = idle.filter(|_| is_quiet);
        let held = (is_waiting && fence == Fence::Held).then(|| now + EXPIRE_EVERY);
        [unlisten, idle, held].into_iter().flatten().fold(self.due, Instant::min)
    }

    fn look_at_clock(&mut self, now: Instant) -> Result<(), Ended> {
        if !matches!(self.owed, Owed::Nothing) {
            return if self.due <= now { Err(Ended::Timeout) } else { Ok(()) };
        }
        if self.hub.with(|core| core.idle_until()).is_some_and(|until| until <= now) {
            return Err(Ended::Unused);
        }
        if self.due <= now {
            self.ask(b"");
        }
        Ok(())
    }

    /// Deals with all that was read.
    fn take(&mut self) -> Result<(), Ended> {
        loop {
            let Some(message) = self.connection.next()? else { return Ok(()) };
            if message.tag == tag::NOTIFICATION_RESPONSE {
                let read = Notification::read(message.frame);
                let read = read.map_err(|_| Ended::Malformed { tag: message.tag })?;
                self.hub.notified(&read);
                continue;
            }
            let owed = std::mem::replace(&mut self.owed, Owed::Nothing);
            self.owed = owed.after(&message, self.hub)?;
            if message.tag == tag::READY_FOR_QUERY {
                self.due = Instant::now() + CHECK_EVERY;
            }
        }
    }
}

impl Owed {
    /// What is owed after a message.
    fn after(self, message: &Message<'_>, hub: &Hub) -> Result<Self, Ended> {
        let body = message.frame.get(HEADER_LEN..).unwrap_or_default();
        let malformed = |_: Malformed| Ended::Malformed { tag: message.tag };
        match (message.tag, self) {
            (tag::NOTICE_RESPONSE | tag::PARAMETER_STATUS, owed) => Ok(owed),
            (tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE, Self::Completion | Self::Ready) => {
                Ok(Self::Ready)
            }
            (tag::ERROR_RESPONSE, owed) => {
                let fields = ErrorFields::parse(body).map_err(malformed)?;
                let error = Arc::new(told(&fields));
                match owed {
                    Self::Completion | Self::Ready if !fields.is_fatal() => {
                        Ok(Self::ReadyAfter(error))
                    }
                    _ => Err(Ended::Refused(error)),
                }
            }
            (tag::READY_FOR_QUERY, owed) => {
                if TransactionStatus::parse(body).map_err(malformed)? != TransactionStatus::Idle {
                    return Err(Ended::Unexpected { tag: message.tag });
                }
                match owed {
                    Self::Ready => hub.answered(),
                    Self::ReadyAfter(error) if is_read_only(&error) || !hub.refused(&error) => {
                        return Err(Ended::Refused(error));
                    }
                    Self::ReadyAfter(_) => {}
                    Self::Nothing | Self::Completion => {
                        return Err(Ended::Unexpected { tag: message.tag });
                    }
                }
                Ok(Self::Nothing)
            }
            (tag, _) => Err(Ended::Unexpected { tag }),
        }
    }
}

/// The server's words, for those who asked.
fn told(fields: &ErrorFields<'_>) -> ErrorMessage {
    let state = SqlState::parse(fields.code).unwrap_or(SqlState::INTERNAL_ERROR);
    ErrorMessage::error(state, fields.message.to_owned())
}

fn is_read_only(error: &ErrorMessage) -> bool {
    error.state == SqlState::READ_ONLY_SQL_TRANSACTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_login_that_fails_is_tried_again_at_once_and_no_pause_is_long() {
        assert_eq!(pause(1, 1.0), Duration::ZERO);
        assert_eq!(pause(2, 1.0), Duration::from_millis(100));
        assert_eq!(pause(u32::MAX, 1.0), RETRY_MAX);
        assert_eq!(pause(u32::MAX, 0.0), RETRY_MAX / 2);
    }
}
