//! The console: a virtual database over pgwire's server API, for `psql`, drivers and tools that
//! know PgBouncer's (docs/console.md).
//!
//! A client comes here logged in. Each is served by a task of its own on the admin runtime, with
//! one message and one answer kept at a time; who owns the facts and carries orders out is behind
//! [`Facts`] and [`Operate`]. What may be said is in `parse`, who may say it in `command`, what is
//! answered in `tables` and `answers`, all of them pure.

mod answers;
mod command;
mod dialogue;
mod extended;
mod foreign;
mod frame;
mod help;
mod lexer;
mod names;
mod parse;
mod reply;
mod serve;
mod tables;
#[cfg(test)]
mod tests;
mod value;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::averages::Averages;
use crate::facts::{Facts, Operate, Operator, Right};
use crate::rows::ClientRow;
use dialogue::Dialogue;
use foreign::Who;

/// How the console is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// The name of its database.
    pub database: String,
    /// Clients at one time.
    pub connections_max: usize,
    /// What averages are over.
    pub stats_period: Duration,
    /// pgmesh's version.
    pub version: &'static str,
}

/// PgBouncer's period; as many clients as a team has, with its monitoring.
impl Default for ConsoleConfig {
    fn default() -> Self {
        Self {
            database: "pgmesh".to_owned(),
            connections_max: 16,
            stats_period: Duration::from_secs(60),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// What all clients of the console share.
struct Desk {
    config: ConsoleConfig,
    facts: Arc<dyn Facts>,
    operate: Arc<dyn Operate>,
    averages: Mutex<Averages>,
    /// The console's own clients, by their numbers.
    clients: Mutex<BTreeMap<u64, ClientRow>>,
    /// Cancelled when the admin thread is to end.
    stop: CancellationToken,
}

/// The console, ready for clients. Cheap to clone.
#[derive(Clone)]
pub struct Consoles {
    desk: Arc<Desk>,
    seats: Arc<Semaphore>,
    runtime: Handle,
    tasks: TaskTracker,
}

/// A place for one client. It is free again when this is dropped, or when the client that is
/// served has gone.
pub struct Seat {
    consoles: Consoles,
    permit: OwnedSemaphorePermit,
}

/// A client that has proven who it is, and has been told ReadyForQuery.
#[derive(Debug)]
pub struct Line<S> {
    /// Its connection.
    pub stream: S,
    /// What was read from it already.
    pub unread: Vec<u8>,
    /// How it is shown; `user` is who it has proven to be, `database` the name it asked for.
    pub client: ClientRow,
    /// What it may do.
    pub right: Right,
    /// To be notified when a cancel request for it arrives.
    pub cancelled: Arc<Notify>,
    /// Dropped when the client has gone.
    pub guard: Box<dyn Any + Send>,
}

impl std::fmt::Debug for Consoles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consoles").field("config", &self.desk.config).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}

impl Consoles {
    /// Opens the console: clients run on `runtime`, and are told to go when `stop` is cancelled;
    /// `tasks` has each of them.
    pub(crate) fn open(
        config: ConsoleConfig,
        facts: Arc<dyn Facts>,
        operate: Arc<dyn Operate>,
        (runtime, stop, tasks): (Handle, CancellationToken, TaskTracker),
    ) -> Self {
        let seats = Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS)));
        let averages = Mutex::new(Averages::new(Duration::ZERO));
        let clients = Mutex::new(BTreeMap::new());
        let desk = Arc::new(Desk { config, facts, operate, averages, clients, stop });
        tasks.spawn_on(sample(Arc::clone(&desk)), &runtime);
        Self { desk, seats, runtime, tasks }
    }

    /// A place for a client, to be asked for before it is told that it is logged in; `None` if
    /// there is none left: 53300.
    pub fn seat(&self) -> Option<Seat> {
        let permit = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        Some(Seat { consoles: self.clone(), permit })
    }

    /// How many clients the console has.
    pub fn clients(&self) -> usize {
        self.desk.clients.lock().len()
    }
}

impl Seat {
    /// The parameter statuses that a client is told at login.
    pub fn statuses(&self, client: &ClientRow, right: Right) -> Vec<(&'static str, String)> {
        foreign::statuses(&self.consoles.desk.who(client, right))
    }

    /// Serves the client on the admin runtime until it goes. Returns at once.
    pub fn serve<S>(self, line: Line<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
    {
        let Self { consoles: Consoles { desk, runtime, tasks, .. }, permit } = self;
        tasks.spawn_on(serve(desk, line, permit), &runtime);
    }
}

impl Desk {
    fn who(&self, client: &ClientRow, right: Right) -> Who {
        Who {
            user: client.user.clone(),
            database: client.database.clone(),
            application_name: client.application_name.clone(),
            id: client.id,
            right,
            version: self.config.version,
        }
    }
}

/// Lists a client while it is there.
struct Listed<'a> {
    desk: &'a Desk,
    id: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.desk.clients.lock().remove(&self.id);
    }
}

async fn serve<S>(desk: Arc<Desk>, line: Line<S>, permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    let Line { stream, unread, client, right, cancelled, guard } = line;
    let id = client.id;
    let operator = Operator {
        user: client.user.clone(),
        client: id,
        peer: format!("{}:{}", client.peer.address, client.peer.port),
    };
    let who = desk.who(&client, right);
    let dialogue = Arc::new(Dialogue {
        desk: Arc::clone(&desk),
        who,
        operator,
        right,
        cancelled,
        gone: CancellationToken::new(),
        names: Mutex::default(),
    });
    desk.clients.lock().insert(id, client);
    let listed = Listed { desk: &desk, id };
    if let Err(error) = serve::serve(stream, BytesMut::from(&*unread), dialogue).await {
        tracing::debug!(event = "console_lost", client = id, %error, "connection of a console broke");
    }
    drop((listed, permit, guard));
}

/// Samples totals once per period until the console is told to stop.
async fn sample(desk: Arc<Desk>) {
    let start = Instant::now();
    let period = desk.config.stats_period.max(Duration::from_millis(1));
    let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = desk.stop.cancelled() => return,
            _ = ticks.tick() => {
                let totals = desk.facts.totals();
                desk.averages.lock().sample(start.elapsed(), totals);
            }
        }
    }
}
