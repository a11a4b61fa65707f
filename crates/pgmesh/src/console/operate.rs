//! Carries out what is ordered on the console: each verb by whom it concerns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use admin::{CarryingOut, Command, Done, Operate, Operator, Outcome, Shutdown, Target};
use parking_lot::Mutex;
use pool::Pool;
use tokio::runtime::Handle;
use tokio::task::JoinError;
use tokio::time::sleep;
use topology::{NodeName, OrderError};
use wire::{ErrorMessage, SqlState};

use super::Reach;
use crate::app::App;
use crate::clients::{Activity, Call};
use crate::departure::How;
use crate::order_desk::Undone;

/// How often it is looked whether servers have gone: an order is not in such a hurry that
/// transactions would have to tell.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Verbs with their outcomes, and how often there was each.
type Counts = BTreeMap<(&'static str, &'static str), u64>;

type Result<T> = std::result::Result<T, ErrorMessage>;

/// Carries orders out, and counts them.
pub(super) struct Operations {
    hands: Hands,
    counts: Mutex<Counts>,
}

/// What orders are carried out with.
#[derive(Clone)]
struct Hands {
    app: Arc<App>,
    reach: Reach,
    /// That of the clients: what an order starts must not end up on the console's.
    runtime: Handle,
}

impl Operations {
    /// Must be called on the runtime of the clients.
    pub(super) fn new(app: &Arc<App>, reach: Reach) -> Self {
        let outcomes = |verb| Outcome::ALL.map(move |outcome| ((verb, outcome.as_str()), 0));
        let counts = Command::VERBS.into_iter().flat_map(outcomes).collect();
        let hands = Hands { app: Arc::clone(app), reach, runtime: Handle::current() };
        Self { hands, counts: Mutex::new(counts) }
    }

    /// Every verb and outcome, with how often there was that.
    pub(super) fn counted(&self) -> Vec<(&'static str, &'static str, u64)> {
        let counts = self.counts.lock();
        counts.iter().map(|(&(verb, outcome), &count)| (verb, outcome, count)).collect()
    }
}

impl Operate for Operations {
    fn carry_out(&self, command: Command, _: &Operator) -> CarryingOut {
        let hands = self.hands.clone();
        Box::pin(async move { hands.carry_out(command).await })
    }

    fn ended(&self, verb: &'static str, outcome: Outcome) {
        *self.counts.lock().entry((verb, outcome.as_str())).or_default() += 1;
    }
}

impl Hands {
    async fn carry_out(self, command: Command) -> Result<Done> {
        use topology::Command as Order;
        match command {
            Command::Disable(name) => self.give(Order::Disable(name.into())).await,
            Command::Enable(name) => self.give(Order::Enable(name.into())).await,
            Command::Drain(node) => self.give(Order::Drain(name_of_node(&node)?)).await,
            Command::Undrain(node) => self.give(Order::Undrain(name_of_node(&node)?)).await,
            Command::Reconnect(target) => self.give(Order::Reconnect(ours(&target))).await,
            Command::Resume(target) => self.give(Order::Resume(ours(&target))).await,
            Command::Pause(target) => {
                let done = self.give(Order::Pause(ours(&target))).await?;
                self.until_all(&target, is_empty).await;
                Ok(done)
            }
            Command::Kill(target) => {
                let done = self.give(Order::Kill(ours(&target))).await?;
                self.end_clients(&target);
                Ok(done)
            }
            Command::KillClient(id) => self.kill_client(id),
            Command::WaitClose(target) => {
                self.until_all(&target, |pool| !closes_any(pool)).await;
                Ok(Done::default())
            }
            Command::Shutdown(how) => self.shut_down(how),
            Command::LogLevel(filter) => match self.reach.reloader.log_by(&filter) {
                Ok(()) => Ok(Done::default()),
                Err(error) => Err(invalid(error.to_string())),
            },
            Command::Reload => self.reload().await,
            Command::Set { key, value } => self.set(key, value).await,
        }
    }

    /// Gives an order; when this returns, no pool acts as before.
    async fn give(&self, order: topology::Command) -> Result<Done> {
        let name = match &order {
            topology::Command::Disable(name)
            | topology::Command::Kill(topology::Target::Database(name))
            | topology::Command::Pause(topology::Target::Database(name)) => Some(Arc::clone(name)),
            topology::Command::Drain(_)
            | topology::Command::Enable(_)
            | topology::Command::Kill(topology::Target::All)
            | topology::Command::Pause(topology::Target::All)
            | topology::Command::Reconnect(_)
            | topology::Command::Resume(_)
            | topology::Command::Undrain(_) => None,
        };
        self.app.orders.give(order).await.map_err(undone)?;
        let mut done = Done::default();
        // Any name may be a database: which there are, only Postgres knows.
        if let Some(name) = name.filter(|name| !self.is_known(name)) {
            let notice =
                format!("database \"{name}\" is not in use now; the order stands for later");
            done.notices.push(notice);
        }
        Ok(done)
    }

    fn is_known(&self, database: &str) -> bool {
        self.app.pools.all().iter().any(|pool| *pool.key().database == *database)
            || self.reach.reloader.settings().databases.contains_key(database)
    }

    /// Waits until `is_done` with all pools of the target, those included that come meanwhile.
    async fn until_all(&self, target: &Target, is_done: impl Fn(&Pool) -> bool) {
        loop {
            let pools = self.app.pools.all();
            if pools
                .iter()
                .filter(|pool| concerns(target, &pool.key().database))
                .all(|it| is_done(it))
            {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn end_clients(&self, target: &Target) {
        let clients = self.app.cancel_keys.all();
        let clients = clients.iter().filter(|client| {
            concerns(target, &client.facts().key.database)
                && client.view().activity != Activity::Console
        });
        clients.for_each(|client| client.call(Call::End));
    }

    fn kill_client(&self, id: u64) -> Result<Done> {
        let clients = self.app.cancel_keys.all();
        let client = clients.iter().find(|client| client.facts().id == id);
        let Some(client) = client else {
            return Err(ErrorMessage::error(SqlState::UNDEFINED_OBJECT, "client not found")
                .with_hint("SHOW CLIENTS has them, in the column id."));
        };
        if client.view().activity == Activity::Console {
            let state = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
            return Err(ErrorMessage::error(state, "a client of the console is not killed"));
        }
        client.call(Call::End);
        Ok(Done::default())
    }

    async fn reload(&self) -> Result<Done> {
        let reloader = Arc::clone(&self.reach.reloader);
        let read = self.runtime.spawn(async move { reloader.reload().await });
        match read.await {
            Ok(Ok(done)) => Ok(Done { notices: done.notices() }),
            Ok(Err(refused)) => {
                let message = "the configuration cannot be used; nothing has changed";
                Err(ErrorMessage::error(SqlState::CONFIG_FILE_ERROR, message)
                    .with_detail(refused.to_string()))
            }
            Err(error) => Err(internal(&error)),
        }
    }

    async fn set(&self, key: String, value: String) -> Result<Done> {
        let reloader = Arc::clone(&self.reach.reloader);
        let set = self.runtime.spawn(async move { reloader.set(&key, &value).await });
        match set.await {
            Ok(Ok(done)) => Ok(Done { notices: done.notices() }),
            Ok(Err(refused)) => Err(invalid(refused.to_string())),
            Err(error) => Err(internal(&error)),
        }
    }

    /// Begins the end; it is not waited for, for it takes the console with it.
    fn shut_down(&self, how: Shutdown) -> Result<Done> {
        self.reach.departure.depart(match how {
            Shutdown::Immediate => How::Now,
            Shutdown::WaitForClients => How::WaitForClients,
            Shutdown::WaitForServers => How::WaitForServers,
        });
        Ok(Done::default())
    }
}

fn invalid(message: String) -> ErrorMessage {
    ErrorMessage::error(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// The runtime of the clients ends, or a defect.
fn internal(error: &JoinError) -> ErrorMessage {
    ErrorMessage::error(SqlState::INTERNAL_ERROR, error.to_string())
}

/// No server, and none on its way.
fn is_empty(pool: &Pool) -> bool {
    let counts = pool.counts();
    counts.idle + counts.active + counts.kept + counts.connecting == 0
}

/// Whether a server of it is closed as soon as its transaction ends.
fn closes_any(pool: &Pool) -> bool {
    pool.server_views().iter().any(|view| view.outcome == pool::Outcome::Closes)
}

fn concerns(target: &Target, database: &str) -> bool {
    match target {
        Target::All => true,
        Target::Database(name) => name == database,
    }
}

fn ours(target: &Target) -> topology::Target {
    match target {
        Target::All => topology::Target::All,
        Target::Database(name) => topology::Target::Database(name.as_str().into()),
    }
}

fn name_of_node(name: &str) -> Result<NodeName> {
    let error =
        |_| ErrorMessage::error(SqlState::UNDEFINED_OBJECT, format!("no such node: {name}"));
    NodeName::new(name).map_err(error)
}

fn undone(undone: Undone) -> ErrorMessage {
    let state = match &undone {
        Undone::Refused(OrderError::NoNode(_)) => SqlState::UNDEFINED_OBJECT,
        Undone::Refused(OrderError::TooMany) => SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        Undone::Refused(
            OrderError::AlreadyPaused
            | OrderError::DatabaseNotPaused(_)
            | OrderError::IsPrimary(_)
            | OrderError::NotDrained(_)
            | OrderError::NotPaused,
        ) => SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        Undone::Unheard => SqlState::CANNOT_CONNECT_NOW,
    };
    let hint = match &undone {
        Undone::Refused(OrderError::IsPrimary(_)) => {
            Some("Ask Patroni for a switchover, or PAUSE the database.")
        }
        Undone::Refused(OrderError::NoNode(_)) => Some("SHOW CLUSTER has them."),
        Undone::Refused(
            OrderError::AlreadyPaused
            | OrderError::DatabaseNotPaused(_)
            | OrderError::NotDrained(_)
            | OrderError::NotPaused
            | OrderError::TooMany,
        )
        | Undone::Unheard => None,
    };
    let message = ErrorMessage::error(state, undone.to_string());
    hint.into_iter().fold(message, ErrorMessage::with_hint)
}
