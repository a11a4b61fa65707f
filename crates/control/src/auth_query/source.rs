//! Asking the cluster about one role, on connections that nothing else uses.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth::Secret;
use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod,
};
use futures_util::TryStreamExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_postgres::types::{Timestamp, Type};
use tokio_postgres::{Client, Error, Row, Statement};
use topology::{Access, Address, Epoch, NodeName, Snapshot};
use transport::Connector;

use super::role::{Answer, Validity};
use super::{Config, Groups, LookupError};
use crate::login::{Identity, Login};

/// Shown in `pg_stat_activity`.
const APPLICATION_NAME: &str = "pgmesh-auth";

/// Look-ups of different roles at one time; each takes a millisecond or two, and answers are
/// kept. Every proxy has so many connections to the primary.
const CONNECTIONS: usize = 4;

/// From a question without an answer to its repetition, unless the cluster changes before.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// More roles than these would be cut off, and a rule that rejects a group could be among them.
const GROUPS_MAX: usize = 10_000;

/// The server's clock alone.
const CLOCK: &str = "SELECT pg_catalog.now()";

/// The server's clock, and the roles that a role is or is a member of. Superusers are of no group
/// that they were not put into, as in pg_hba.conf.
const CLOCK_AND_GROUPS: &str = "\
    WITH RECURSIVE held(oid) AS ( \
        SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) $1 \
      UNION \
        SELECT m.roleid FROM pg_catalog.pg_auth_members AS m, held \
        WHERE m.member OPERATOR(pg_catalog.=) held.oid) \
    SELECT pg_catalog.now(), ARRAY( \
        SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles AS r, held \
        WHERE r.oid OPERATOR(pg_catalog.=) held.oid LIMIT 10001)";

/// The current primary, or whoever can be asked while there is none.
#[derive(Debug)]
pub(super) struct Source {
    config: Config,
    tls: Connector,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    connections: Mutex<Option<Connections>>,
}

/// To one node, in one epoch.
#[derive(Clone, Debug)]
struct Connections {
    target: Target,
    pool: Pool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    epoch: Epoch,
    address: Address,
}

/// How deadpool makes a connection.
struct Dial(Login);

/// A connection that is closed when dropped, also one that still owes an answer. deadpool itself
/// would lend it again.
struct Lent(Option<Object>);

/// Whether the cluster has a primary that takes writes now.
pub(super) fn is_led(snapshot: &Snapshot) -> bool {
    snapshot.route(Access::ReadWrite).is_ok()
}

impl Source {
    pub(super) fn new(
        config: Config,
        tls: Connector,
        snapshots: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        Self { config, tls, snapshots, connections: Mutex::new(None) }
    }

    pub(super) fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Leaves the node of an epoch that has ended.
    pub(super) fn follow(&self, snapshot: &Snapshot) {
        let mut connections = self.connections.lock();
        if connections.as_ref().is_some_and(|it| it.target.epoch != snapshot.epoch()) {
            *connections = None;
        }
    }

    /// Asks until there is an answer or a refusal, for `query_timeout` at most.
    ///
    /// # Cancel safety
    /// Cancel safe: a connection that still owes an answer is closed.
    pub(super) async fn ask(&self, user: &str) -> Result<Answer, LookupError> {
        let deadline = Instant::now() + self.config.timeout;
        let mut snapshots = self.snapshots.clone();
        let mut attempt = 0;
        loop {
            let target = target(&snapshots.borrow_and_update(), attempt);
            // A connection may be dead without anybody having said so: then there is time for
            // another.
            let limit = deadline.min(Instant::now() + self.config.timeout / 2);
            let failure = match target {
                None => LookupError::NoNode,
                Some(target) => match timeout_at(limit, self.ask_node(target, user)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(failure)) if failure.is_passing() => failure,
                    Ok(Err(failure)) => return Err(failure),
                    Err(_) => LookupError::Timeout,
                },
            };
            attempt += 1;
            let again = Instant::now() + RETRY_INTERVAL;
            if again >= deadline {
                return Err(failure);
            }
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return Err(failure) },
                () = sleep_until(again) => {}
            }
        }
    }

    async fn ask_node(&self, target: Target, user: &str) -> Result<Answer, LookupError> {
        let client = self.connections(target)?.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => LookupError::Timeout,
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                LookupError::Interrupted
            }
        })?;
        let lent = Lent(Some(client));
        let Some(client) = &lent.0 else { return Err(LookupError::Interrupted) };
        let facts = match self.config.groups {
            Groups::Skip => CLOCK,
            Groups::Fetch => CLOCK_AND_GROUPS,
        };
        let (query, facts) = tokio::try_join!(
            client.prepare_cached(&self.config.query),
            client.prepare_cached(facts)
        )?;
        fits(&query)?;
        let with_name: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&user];
        let parameters = if facts.params().is_empty() { &[][..] } else { &with_name[..] };
        // Both go out together.
        let (row, facts) = tokio::try_join!(one_row(client, &query, user), async {
            client.query_one(&facts, parameters).await.map_err(LookupError::from)
        })?;
        let answer = match row {
            None => Answer::ABSENT,
            Some(row) => self.answer(user, &row, &facts)?,
        };
        lent.give_back();
        Ok(answer)
    }

    /// The connections to a node; those to another one, or of another epoch, are closed.
    fn connections(&self, target: Target) -> Result<Pool, LookupError> {
        let mut connections = self.connections.lock();
        if let Some(connections) = connections.as_ref().filter(|it| it.target == target) {
            return Ok(connections.pool.clone());
        }
        let login = self.login(&target.address);
        let config = login.config().clone();
        let rules = ManagerConfig { recycling_method: RecyclingMethod::Clean };
        let manager = Manager::from_connect(config, Dial(login), rules);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build();
        // It lacks a runtime for timeouts of its own, and has none.
        let pool = pool.map_err(|_| LookupError::Interrupted)?;
        *connections = Some(Connections { target, pool: pool.clone() });
        Ok(pool)
    }

    /// What is given in the startup packet goes before what the owner of the database, or the
    /// role itself, has set, and is what `RESET ALL` goes back to.
    fn login(&self, address: &Address) -> Login {
        let Config { user, password, database, timeout, .. } = &self.config;
        // Milliseconds; the server gives up when we have.
        let limit = timeout.as_millis().clamp(1, 600_000);
        let options = format!(
            "-c search_path=pg_catalog,pg_temp -c role=none -c row_security=on \
             -c statement_timeout={limit} -c lock_timeout={limit} \
             -c idle_in_transaction_session_timeout={limit} -c standard_conforming_strings=on"
        );
        let identity = Identity {
            user,
            password: password.as_ref(),
            database,
            application: APPLICATION_NAME,
            options,
            timeout: *timeout,
        };
        Login::new(&identity, &self.tls, address)
    }

    fn answer(&self, user: &str, row: &Row, facts: &Row) -> Result<Answer, LookupError> {
        const NAME: LookupError = LookupError::Misfit("the first column is not a name");
        const PASSWORD: LookupError = LookupError::Misfit("the second column is not a text");
        const VALIDITY: LookupError =
            LookupError::Misfit("the third column is not a timestamp with time zone");
        let name: &str = row.try_get(0).map_err(|_| NAME)?;
        if name != user {
            return Err(LookupError::Misfit("it has returned another role than the one asked for"));
        }
        let password: Option<&str> = row.try_get(1).map_err(|_| PASSWORD)?;
        let validity = match row.len() {
            0..=2 => Validity::Unlimited,
            _ => match row.try_get(2).map_err(|_| VALIDITY)? {
                None | Some(Timestamp::PosInfinity) => Validity::Unlimited,
                Some(Timestamp::NegInfinity) => Validity::Never,
                Some(Timestamp::Value(end)) => Validity::Until(end),
            },
        };
        let now: SystemTime = facts.try_get(0)?;
        let groups: Vec<String> = match self.config.groups {
            Groups::Skip => Vec::new(),
            Groups::Fetch => facts.try_get(1)?,
        };
        if groups.len() > GROUPS_MAX {
            return Err(LookupError::Misfit("the role is a member of more than 10,000 roles"));
        }
        Ok(Answer::role(password.map(Secret::new), validity, now, groups))
    }
}

/// Whether it is a query that an answer can be taken from.
fn fits(query: &Statement) -> Result<(), LookupError> {
    if query.params().len() != 1 {
        return Err(LookupError::Misfit("it must have one parameter, $1"));
    }
    match query.columns() {
        [_, _] => Ok(()),
        [_, _, third, ..] if *third.type_() == Type::TIMESTAMPTZ => Ok(()),
        [_, _, ..] => {
            Err(LookupError::Misfit("the third column is not a timestamp with time zone"))
        }
        [] | [_] => Err(LookupError::Misfit("it must return the role's name and its verifier")),
    }
}

/// The only row; no more than two are ever held.
async fn one_row(
    client: &Client,
    query: &Statement,
    user: &str,
) -> Result<Option<Row>, LookupError> {
    let mut rows = pin!(client.query_raw(query, [user]).await?);
    let first = rows.try_next().await?;
    if first.is_some() && rows.try_next().await?.is_some() {
        return Err(LookupError::Misfit("it has returned more than one row"));
    }
    Ok(first)
}

/// Whom to ask: the primary while it takes writes, else whoever runs, those first who are
/// likeliest to be there and to follow it. The next one at each attempt.
fn target(snapshot: &Snapshot, attempt: usize) -> Option<Target> {
    let epoch = snapshot.epoch();
    let node = match (snapshot.route(Access::ReadWrite), snapshot.route(Access::Any)) {
        (Ok(route), _) => route.nodes.first()?,
        (Err(_), Ok(route)) => {
            let candidates = snapshot.candidates();
            let is_candidate = |name: &NodeName| candidates.iter().any(|node| node.name == *name);
            let others = route.nodes.iter().filter(|node| !is_candidate(&node.name));
            let count = candidates.len() + others.clone().count();
            candidates.iter().chain(others).nth(attempt % count.max(1))?
        }
        (Err(_), Err(_)) => return None,
    };
    Some(Target { epoch, address: node.address.clone() })
}

// === Connections ===

impl Connect for Dial {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(async {
            let (client, connection) = self.0.connect().await?;
            // How it ends is told by the client's next question; the client aborts it.
            let task = tokio::spawn(async move { drop(connection.await) });
            Ok((client, task))
        })
    }
}

impl Lent {
    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}
