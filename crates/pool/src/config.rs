//! Limits and times of one pool, in PgBouncer's words.

use std::time::Duration;

/// Limits and times of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Servers at the most, `reserve_size` not counted.
    pub size: usize,
    /// Servers kept open once the pool has been used.
    pub min_size: usize,
    /// Further servers, opened when a client has waited for `reserve_timeout`.
    pub reserve_size: usize,
    /// See `reserve_size`.
    pub reserve_timeout: Duration,
    /// Servers of all pools of one database and access together.
    pub max_db_connections: usize,
    /// Servers of all pools of one user together; `None` is no limit.
    pub max_user_connections: Option<usize>,
    /// How long a client waits for a server.
    pub query_wait_timeout: Duration,
    /// A server older than this is closed when it comes back, give or take a tenth.
    pub server_lifetime: Duration,
    /// A server idle for longer than this is closed, give or take a tenth.
    pub server_idle_timeout: Duration,
    /// Logins under way at the same time.
    pub login_concurrency: usize,
    /// Named prepared statements that a server keeps.
    pub prepared_statements: usize,
    /// For `ROLLBACK` and `DISCARD ALL` on a server that comes back with something left.
    pub reset_timeout: Duration,
    /// For cancel requests in flight when their server comes back.
    pub cancel_timeout: Duration,
    /// How long a client waits while no server can be had: for the next primary.
    pub hold_timeout: Duration,
    /// Servers kept logged in to the likeliest next primaries.
    pub warm_standby_size: usize,
    /// Clients that may keep their servers between two transactions; `None` is all servers but
    /// one. What is not seen to come goes beyond it.
    pub max_pinned: Option<usize>,
    /// Which of several idle servers is lent.
    pub lending: Lending,
}

/// Which of several idle servers is lent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lending {
    /// The one that was used last, so that the surplus grows old and is closed.
    #[default]
    LastUsed,
    /// The one that has been idle for longest: two transactions in a row seldom get the same, and
    /// what one has left on its server shows. For tests.
    LeastRecentlyUsed,
}

impl Config {
    /// See the field of the same name.
    pub fn max_pinned(&self) -> usize {
        self.max_pinned.unwrap_or_else(|| self.size.saturating_sub(1))
    }
}

/// How much may wait at one time, over all pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// Clients that wait while no server can be had; one more is refused.
    pub clients: usize,
    /// Bytes that waiting clients have sent ahead; over it, no more is read from them.
    pub bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            size: 25,
            min_size: 0,
            reserve_size: 5,
            reserve_timeout: Duration::from_secs(3),
            max_db_connections: 100,
            max_user_connections: None,
            query_wait_timeout: Duration::from_secs(120),
            server_lifetime: Duration::from_secs(3600),
            server_idle_timeout: Duration::from_secs(600),
            // Postgres forks and runs SCRAM for each: more at once make all of them slower.
            login_concurrency: 4,
            prepared_statements: 200,
            reset_timeout: Duration::from_secs(5),
            cancel_timeout: Duration::from_secs(5),
            // A Patroni cluster with a ttl of 20 s has a new primary in that time.
            hold_timeout: Duration::from_secs(30),
            warm_standby_size: 2,
            max_pinned: None,
            lending: Lending::LastUsed,
        }
    }
}

impl Default for HoldLimits {
    fn default() -> Self {
        // As many as may connect; and a statement of some kilobytes from each.
        Self { clients: 10_000, bytes: 64 * 1024 * 1024 }
    }
}
