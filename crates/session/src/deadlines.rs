//! How long a client may go on with what it does. The time comes in, counted from any fixed
//! moment, and what comes out is when to look again.

use std::time::Duration;

/// Limits in time of one client; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Between two transactions.
    pub client_idle: Option<Duration>,
    /// Between two statements of a transaction.
    pub idle_transaction: Option<Duration>,
    /// For a statement; then it is cancelled.
    pub query: Option<Duration>,
    /// For a transaction, one that is a single statement included.
    pub transaction: Option<Duration>,
    /// Waiting for a server; then the client is told that it does.
    pub wait_notify: Option<Duration>,
    /// For a cancelled statement to end.
    pub cancel_wait: Duration,
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Nothing: no transaction is open and no statement is under way.
    Idle,
    /// It waits for a server.
    Waiting,
    /// A statement is under way.
    Statement,
    /// Its statement was told to end.
    Cancelled,
    /// Nothing, with a transaction open.
    IdleInTransaction,
}

/// What has gone on for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// [`Timeouts::client_idle`].
    ClientIdle,
    /// [`Timeouts::idle_transaction`].
    IdleTransaction,
    /// [`Timeouts::query`].
    Query,
    /// [`Timeouts::cancel_wait`].
    Cancel,
    /// [`Timeouts::transaction`].
    Transaction,
    /// [`Timeouts::wait_notify`].
    Wait,
}

/// The next deadline of one client; none before the first [`Deadlines::mark`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Deadlines {
    /// Since when it does what it does.
    since: Duration,
    /// When its transaction began.
    began: Option<Duration>,
    /// What is overdue when the deadline has passed.
    next: Option<Overdue>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            client_idle: None,
            idle_transaction: None,
            query: None,
            transaction: None,
            wait_notify: None,
            cancel_wait: Duration::from_secs(10),
        }
    }
}

impl Timeouts {
    /// The shortest limit that is on; `None` if nothing need ever be looked at.
    pub fn shortest(&self) -> Option<Duration> {
        let cancel_wait = self.query.map(|_| self.cancel_wait);
        [
            self.client_idle,
            self.idle_transaction,
            self.query,
            self.transaction,
            self.wait_notify,
            cancel_wait,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Deadlines {
    /// Notes what the client does from now on. Returns the next deadline, which takes the place
    /// of the one before.
    #[inline]
    pub fn mark(&mut self, doing: Doing, limits: &Timeouts, now: Duration) -> Option<Duration> {
        self.since = now;
        match doing {
            Doing::Idle | Doing::Waiting => self.began = None,
            Doing::Statement | Doing::Cancelled | Doing::IdleInTransaction => {
                self.began.get_or_insert(now);
            }
        }
        let (overdue, limit) = match doing {
            Doing::Idle => (Overdue::ClientIdle, limits.client_idle),
            Doing::Waiting => (Overdue::Wait, limits.wait_notify),
            Doing::Statement => (Overdue::Query, limits.query),
            Doing::Cancelled => (Overdue::Cancel, Some(limits.cancel_wait)),
            Doing::IdleInTransaction => (Overdue::IdleTransaction, limits.idle_transaction),
        };
        let own = limit.map(|limit| now + limit);
        let transaction = self.began.zip(limits.transaction).map(|(began, limit)| began + limit);
        let (next, at) = match (own, transaction) {
            (Some(own), Some(transaction)) if transaction <= own => {
                (Some(Overdue::Transaction), Some(transaction))
            }
            (Some(own), _) => (Some(overdue), Some(own)),
            (None, Some(transaction)) => (Some(Overdue::Transaction), Some(transaction)),
            (None, None) => (None, None),
        };
        self.next = next;
        at
    }

    /// What is overdue, once: the last deadline has passed.
    pub fn take(&mut self) -> Option<Overdue> {
        self.next.take()
    }

    /// Since when the client does what it does.
    pub fn since(&self) -> Duration {
        self.since
    }
}
