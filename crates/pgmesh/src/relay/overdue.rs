//! Limits in time: what becomes of a client that goes on with something for too long.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use session::{Deadlines, Doing, Overdue, Timeouts};
use telemetry::Limit;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::{ErrorMessage, Severity, SqlState};

use super::{End, Lend, Link, Relay};
use crate::alarms::{Alarm, Alarms};

/// The deadlines of one client, where there are any.
#[derive(Debug)]
pub(crate) struct Timer {
    alarms: Arc<Alarms>,
    alarm: Arc<Alarm>,
    deadlines: Deadlines,
    /// The client's number, for the log.
    client: u64,
}

impl Timer {
    /// For a client that has just logged in and does nothing yet.
    pub(crate) fn new(alarms: &Arc<Alarms>, limits: &Timeouts, client: u64, now: Instant) -> Self {
        let (alarm, alarms) = (alarms.add(), Arc::clone(alarms));
        let mut timer = Self { alarms, alarm, deadlines: Deadlines::default(), client };
        timer.mark(Doing::Idle, limits, now);
        timer
    }

    /// Notes what the client does from now on.
    #[inline]
    pub(super) fn mark(&mut self, doing: Doing, limits: &Timeouts, now: Instant) {
        let at = self.deadlines.mark(doing, limits, self.alarms.time(now));
        self.alarm.set(at);
    }

    /// What is overdue. From now on this task is woken when something is.
    #[inline]
    fn overdue(&mut self, waker: &Waker) -> Option<Overdue> {
        if !self.alarm.rings(waker) {
            return None;
        }
        self.alarm.set(None);
        self.deadlines.take()
    }
}

impl<C, P> Relay<C, P>
where
    C: AsyncRead + AsyncWrite + Unpin,
    P: Lend,
{
    /// Notes what the client does from now on.
    #[inline]
    pub(super) fn mark(&mut self, doing: Doing, now: Instant) {
        if let Some(timer) = &mut self.timer {
            timer.mark(doing, self.lender.timeouts(), now);
        }
    }

    /// The server has come to the end of a statement, and others are behind it.
    pub(super) fn mark_next(&mut self) {
        let Link::Leased(active) = &mut self.link else { return };
        if self.timer.is_none() {
            return;
        }
        let in_transaction = super::Leased::parts(&mut active.lease).state.in_transaction();
        let now = Instant::now();
        if !in_transaction {
            self.mark(Doing::Idle, now);
        }
        self.mark(Doing::Statement, now);
    }

    /// Nothing moves: looks whether that, or what is under way, lasts too long. Ready when there
    /// is something to be done.
    ///
    /// # Errors
    /// The client's connection ends.
    #[inline]
    pub(super) fn poll_overdue(&mut self, waker: &Waker) -> Poll<Result<(), End>> {
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        match timer.overdue(waker) {
            None => Poll::Pending,
            Some(overdue) => Poll::Ready(self.end_overdue(overdue)),
        }
    }

    fn end_overdue(&mut self, overdue: Overdue) -> Result<(), End> {
        match overdue {
            Overdue::Wait => self.notify_wait(),
            Overdue::Query => self.cancel_overdue(),
            Overdue::ClientIdle
            | Overdue::IdleTransaction
            | Overdue::Cancel
            | Overdue::Transaction => return Err(End::TimedOut(overdue)),
        }
        Ok(())
    }

    fn notify_wait(&mut self) {
        self.metrics.limits.inc(Limit::QueryWaitNotify);
        self.log("query_wait_notify", "client is told that it waits for a server");
        let mut notice = ErrorMessage::error(
            SqlState::SUCCESSFUL_COMPLETION,
            "no server is available yet, and the statement waits for one",
        )
        .with_detail("This is told once, after query_wait_notify.");
        notice.severity = Severity::Notice;
        notice.put(&mut self.client.unsent);
    }

    /// Cancels the statement, unless it may have waited for a worker without a primary: then it
    /// has its time once more.
    fn cancel_overdue(&mut self) {
        let now = Instant::now();
        let Some(timer) = &self.timer else { return };
        if timer.alarms.was_disturbed_since(timer.deadlines.since()) {
            return self.mark(Doing::Statement, now);
        }
        self.metrics.limits.inc(Limit::QueryTimeout);
        self.log("query_timeout", "statement is cancelled");
        self.lender.cancel(&self.slot);
        self.mark(Doing::Cancelled, now);
    }

    /// The connection ends for this: counts it, and sees to it that what the client has under
    /// way ends, too.
    pub(super) fn count_overdue(&self, overdue: Overdue) {
        if let Some(limit) = limit(overdue) {
            self.metrics.limits.inc(limit);
        }
        if let (Overdue::Transaction, Link::Leased(active)) = (overdue, &self.link)
            && active.query_since.is_some()
        {
            self.lender.cancel(&self.slot);
        }
    }

    fn log(&self, limit: &'static str, what: &'static str) {
        let client = self.timer.as_ref().map_or(0, |timer| timer.client);
        tracing::info!(event = "client_timeout", client, limit, "{what}");
    }
}

/// What a client is told whose connection ends for this.
pub(super) fn last_words(overdue: Overdue) -> ErrorMessage {
    let (state, text) = match overdue {
        Overdue::ClientIdle => {
            (SqlState::IDLE_SESSION_TIMEOUT, "terminating connection due to client_idle_timeout")
        }
        Overdue::IdleTransaction => (
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            "terminating connection due to idle_transaction_timeout",
        ),
        Overdue::Transaction => {
            (SqlState::TRANSACTION_TIMEOUT, "terminating connection due to transaction_timeout")
        }
        Overdue::Cancel | Overdue::Query | Overdue::Wait => (
            SqlState::QUERY_CANCELED,
            "terminating connection due to query_timeout: the cancelled statement did not end \
             within cancel_wait_timeout",
        ),
    };
    ErrorMessage::fatal(state, text)
}

/// What a connection that ends for this counts as; `None` if it was counted before.
fn limit(overdue: Overdue) -> Option<Limit> {
    match overdue {
        Overdue::ClientIdle => Some(Limit::ClientIdleTimeout),
        Overdue::IdleTransaction => Some(Limit::IdleTransactionTimeout),
        Overdue::Transaction => Some(Limit::TransactionTimeout),
        Overdue::Cancel | Overdue::Query | Overdue::Wait => None,
    }
}
