//! `auth_query`: what the cluster knows of the roles that want to log in.
//!
//! Asked on connections of its own, of which nothing is ever forwarded: a client's `search_path`
//! or role cannot reach them, and neither can what the owner of a database has set. The name is a
//! parameter, never part of the SQL. Answers are kept for a while (`cache`), look-ups of one role
//! at one time are one question (`lookups`), and while nobody can be asked an older answer does.

mod cache;
mod error;
mod lookups;
mod role;
mod source;

use std::sync::{Arc, Weak};
use std::time::Duration;

use auth::{Rotating, Secret};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use topology::Snapshot;
use tracing::warn;
use transport::Connector;

pub use cache::CacheConfig;
pub use error::LookupError;
pub use lookups::Stats;
pub use role::{Found, Role, RolePassword};

use crate::error::chain;
use lookups::{End, Lookups, Number, Step, Want};
use role::Answer;
use source::{Source, is_led};

/// Postgres' NAMEDATALEN less its terminator, in bytes: no role has a longer name.
const NAME_BYTES_MAX: usize = 63;

/// A look-up that has waited for so long takes a stale answer: the primary may hang.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who looks roles up, how, and how long the answers are kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// A role that may run the query. Not a superuser: see docs/configuration.md.
    pub user: String,
    /// Its password.
    pub password: Option<Rotating>,
    /// The database to ask in.
    pub database: String,
    /// See [`Config::QUERY`].
    pub query: String,
    /// Whether the roles' groups are asked for.
    pub groups: Groups,
    /// Longest wait for an answer, with the connection if there is none.
    pub timeout: Duration,
    /// How long answers are kept, and how many.
    pub cache: CacheConfig,
}

/// Whether to ask for the groups that a role is a member of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Groups {
    /// Nobody needs to know.
    #[default]
    Skip,
    /// Rules name groups.
    Fetch,
}

impl Config {
    /// A query that takes the role's name as `$1` and returns a row with the name and the
    /// SCRAM-SHA-256 verifier (or NULL), and in a third column, if there is one, the end of the
    /// password's validity; or no row if there is no such role. Every name in it says which
    /// schema it is from.
    pub const QUERY: &str = "\
        SELECT rolname, \
          CASE WHEN rolvaliduntil OPERATOR(pg_catalog.<) pg_catalog.now() \
            THEN NULL ELSE rolpassword END, \
          rolvaliduntil \
        FROM pg_catalog.pg_authid \
        WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin";

    /// The default of [`Config::database`]: it is in every cluster.
    pub const DATABASE: &str = "postgres";

    /// The default of [`Config::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// Everything at its default, and no groups.
    pub fn new(user: impl Into<String>, password: Option<Secret>) -> Self {
        Self {
            user: user.into(),
            password: password.map(Rotating::new),
            database: Self::DATABASE.into(),
            query: Self::QUERY.into(),
            groups: Groups::Skip,
            timeout: Self::TIMEOUT,
            cache: CacheConfig::default(),
        }
    }
}

/// Looks roles up. Cheap to clone; all clones have one cache and one set of connections.
#[derive(Clone, Debug)]
pub struct AuthQuery(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<Source>,
    lookups: Mutex<Lookups<Flight>>,
    /// What the cache counts its time from.
    origin: Instant,
}

/// A question that is under way. When the last look-up goes, so does the process's interest, but
/// not the question: its answer is kept for who comes next.
#[derive(Clone, Debug)]
struct Flight {
    answer: watch::Receiver<Option<Result<Found, LookupError>>>,
    _task: Arc<AbortOnDropHandle<()>>,
}

/// Ends a question without an answer if its task does not get to the end.
struct Landing {
    inner: Weak<Inner>,
    user: Arc<str>,
    number: Number,
    answer: watch::Sender<Option<Result<Found, LookupError>>>,
}

impl AuthQuery {
    /// Nothing is connected to before the first look-up. `tls` is the servers' as the prober has
    /// it; `snapshots` says where the primary is. Must be used inside a tokio runtime.
    pub fn new(config: Config, tls: Connector, snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        let lookups = Mutex::new(Lookups::new(config.cache.clone()));
        let source = Arc::new(Source::new(config, tls, snapshots));
        Self(Arc::new(Inner { source, lookups, origin: Instant::now() }))
    }

    /// What is known of `user`: from the cache, or else from the cluster, which takes
    /// [`Config::timeout`] at most. While the cluster has no primary, or does not answer within a
    /// second, a stale answer does if there is one.
    ///
    /// # Errors
    /// Nobody could be asked or the server refuses, and there is no stale answer. This says
    /// nothing about the role.
    ///
    /// # Cancel safety
    /// Cancel safe: the question goes on, and its answer is kept.
    pub async fn lookup(&self, user: &str) -> Result<Found, LookupError> {
        if user.is_empty() || user.len() > NAME_BYTES_MAX {
            return Ok(Found::Absent);
        }
        let mut snapshots = self.0.source.snapshots();
        let want = self.want(&snapshots.borrow_and_update());
        let mut flight = match self.begin(user, want) {
            Step::Answer(found) => return Ok(found),
            Step::Wait(flight) => flight,
            Step::Full => return Err(LookupError::Busy),
        };
        let patience = Instant::now() + PATIENCE;
        let mut waiting = Waiting::Patiently;
        loop {
            tokio::select! {
                biased;
                answer = flight.answer.wait_for(Option::is_some) => {
                    let answer = answer.ok().and_then(|answer| answer.clone());
                    return answer.unwrap_or(Err(LookupError::Interrupted));
                }
                () = sleep_until(patience), if waiting != Waiting::Resigned => {
                    waiting = Waiting::Resigned;
                }
                changed = snapshots.changed(), if waiting == Waiting::Patiently => match changed {
                    Ok(()) if self.want(&snapshots.borrow_and_update()) == Want::Fresh => continue,
                    Ok(()) => {}
                    Err(_) => waiting = Waiting::Alone,
                },
            }
            if let Some(found) = self.0.lookups.lock().stale(user, self.0.now()) {
                return Ok(found);
            }
        }
    }

    /// To be told when a login that was checked against `found` has failed, or a server has
    /// refused keys made with it: the role may have been created, or its password changed, a
    /// moment ago. The next look-up then asks again, but no role is asked about more than once a
    /// second for this.
    pub fn doubt(&self, user: &str, found: &Found) {
        self.0.lookups.lock().doubt(user, found, self.0.now());
    }

    /// What look-ups came to since the start.
    pub fn stats(&self) -> Stats {
        self.0.lookups.lock().stats()
    }

    fn want(&self, snapshot: &Snapshot) -> Want {
        self.0.source.follow(snapshot);
        if is_led(snapshot) { Want::Fresh } else { Want::Any }
    }

    fn begin(&self, user: &str, want: Want) -> Step<Flight> {
        self.0.lookups.lock().step(user, self.0.now(), want, |user, number| {
            let (sender, answer) = watch::channel(None);
            let inner = Arc::downgrade(&self.0);
            let landing = Landing { inner, user, number, answer: sender };
            let task = tokio::spawn(fly(Arc::clone(&self.0.source), landing));
            Flight { answer, _task: Arc::new(AbortOnDropHandle::new(task)) }
        })
    }
}

/// How a look-up waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Until its patience ends, or the primary goes.
    Patiently,
    /// Nobody tells any longer who the primary is.
    Alone,
    /// There is no stale answer; for as long as the question takes.
    Resigned,
}

impl Inner {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

async fn fly(source: Arc<Source>, landing: Landing) {
    let answer = source.ask(&landing.user).await;
    landing.report(&answer);
    match &answer {
        Ok(answer) => landing.end(&End::Answered(answer), LookupError::Interrupted),
        Err(error) if error.is_passing() => landing.end(&End::Unanswered, error.clone()),
        Err(error) => landing.end(&End::Refused, error.clone()),
    }
}

impl Landing {
    /// Says what an operator has to mend. Once per question, not per login.
    fn report(&self, answer: &Result<Answer, LookupError>) {
        // A client chose it.
        let user = self.user.escape_debug();
        let role = match answer {
            Ok(Answer { found: Found::Role(role), .. }) => role,
            Ok(Answer { found: Found::Absent, .. }) => return,
            Err(error) => {
                return warn!(event = "auth_query_failed", %user, error = chain(error), "auth_query has no answer");
            }
        };
        match role.password {
            RolePassword::Md5 => warn!(
                event = "auth_query_unusable",
                %user,
                "the role's password is stored as an md5 hash, which pgmesh cannot check: set it \
                 again with password_encryption = scram-sha-256"
            ),
            RolePassword::Unusable(problem) => {
                warn!(event = "auth_query_unusable", %user, problem, "auth_query has returned no SCRAM-SHA-256 verifier");
            }
            RolePassword::Verifier(_) | RolePassword::Missing | RolePassword::Expired => {}
        }
    }

    /// Those who wait get what was found, or else the error.
    fn end(&self, end: &End<'_>, error: LookupError) {
        let Some(inner) = self.inner.upgrade() else { return };
        let (found, flight) = inner.lookups.lock().end(&self.user, self.number, inner.now(), end);
        if flight.is_some() {
            self.answer.send_replace(Some(found.ok_or(error)));
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Nothing, if it has ended before.
        self.end(&End::Unanswered, LookupError::Interrupted);
    }
}
