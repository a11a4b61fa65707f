//! A database that a client needs to itself, to drop, rename, move or copy it, is left by all
//! servers that only wait there for clients.
//!
//! Not at once: whoever may not do that, or names a database that is not there, is told so before,
//! and must not cost others their servers. And again and again, since servers come back from
//! their clients meanwhile, and those who look for sessions in the database look as often.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::pool::Closed;
use crate::{Pool, Pools};

/// Before it is left. Less than from one look of Postgres' to the next.
const PATIENCE: Duration = Duration::from_millis(30);

/// From one time to the next; as long as Postgres waits before it looks again.
const AGAIN: Duration = Duration::from_millis(100);

/// So often at the most, which is twice as long as Postgres waits. If it has gone on by then it has a
/// lock, and nobody gets in.
const ROUNDS: u32 = 100;

/// Databases are being left; dropped, they may be entered again.
#[derive(Debug)]
pub struct Vacancy {
    _task: JoinSet<()>,
}

impl Vacancy {
    /// Calls `leave` as often as has to be, soon and not now. Must be called on a tokio runtime.
    pub fn begin(leave: impl Fn() + Send + 'static) -> Self {
        let mut task = JoinSet::new();
        task.spawn(async move {
            sleep(PATIENCE).await;
            for _ in 0..ROUNDS {
                leave();
                sleep(AGAIN).await;
            }
        });
        Self { _task: task }
    }
}

impl Pools {
    /// Closes the servers in a database that nobody uses, on all nodes, and keeps none ready there
    /// until a client asks again.
    pub fn leave_database(&self, database: &str) {
        let pools = self.all();
        pools.iter().filter(|pool| &*pool.key().database == database).for_each(|pool| pool.leave());
    }
}

impl Pool {
    fn leave(&self) {
        let mut kept = self.core.lock();
        kept.resting.want_all();
        let idle = kept.leave();
        drop(kept);
        let warm = self.warm.lock().leave();
        let closed = idle.len() + warm.len();
        if closed > 0 {
            (0..closed).for_each(|_| self.observer().closed(Closed::Vacated));
            tracing::info!(event = "database_vacated", pool = %self.key, closed, "leaving a database that a client needs empty");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_database_is_left_again_and_again_but_not_for_what_is_refused_at_once() {
        let times = Arc::new(AtomicUsize::new(0));
        let begin = || {
            let times = Arc::clone(&times);
            Vacancy::begin(move || {
                times.fetch_add(1, Relaxed);
            })
        };
        let refused = begin();
        sleep(Duration::from_millis(10)).await;
        drop(refused);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(times.load(Relaxed), 0);
        let runs = begin();
        sleep(Duration::from_secs(5)).await;
        let so_far = times.load(Relaxed);
        assert!(so_far > 40, "as long as Postgres waits: {so_far}");
        drop(runs);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(times.load(Relaxed), so_far);
    }
}
