//! What proxy.toml says, as the components' own configurations. Nothing in here needs checking
//! again; files are read when a component is built.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use auth::hba::{Maps, Rules, TokenIssuer};
use auth::oauth::Issuer;
use auth::{Login, Password, Secret};
use session::{Feature, Mode, StateRules, Timeouts, Treatment};
use topology::RoutePolicy;

use crate::sections::unless_zero;
use crate::{Console, Peers, Values, Warning};

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[proxy]`: listeners, login and TLS towards clients.
    pub frontend: frontend::Config,
    /// `[proxy]`: clients at one time; one more gets 53300.
    pub max_client_connections: u32,
    /// `[proxy]`: where a process asks that takes this one's place.
    pub takeover_socket: Option<PathBuf>,
    /// `[proxy]`: whether the process may leave its memory behind.
    pub core_dumps: CoreDumps,
    /// `[proxy]`: further limits of clients.
    pub limits: Limits,
    /// The other proxies beside this one.
    pub peers: Peers,
    /// `[cluster]`: how the servers are found.
    pub discovery: discovery::Config,
    /// `[server]`: connections to servers.
    pub backend: backend::Config,
    /// `[pool]`: what holds where neither a user nor a database says otherwise. A pool is made
    /// of [`Settings::pool_for`], not of this.
    pub pool: Pool,
    /// `[failover]`, but for what each pool has of it.
    pub failover: Failover,
    /// `[notifications]`: clients that LISTEN.
    pub notifications: notify::Config,
    /// `[cluster]`: which replicas serve reads.
    pub routes: RoutePolicy,
    /// Secrets that are in files of their own, and how they are changed there.
    pub rotation: Rotation,
    /// `[[users]]`: who may log in, by name. Empty only where `auth_query` or rules say who else.
    pub users: BTreeMap<String, User>,
    /// `[auth]`: how roles that are not in `[[users]]` are looked up.
    pub auth_query: Option<control::auth_query::Config>,
    /// `[auth]`: how LDAP servers are asked.
    pub ldap: control::ldap::Config,
    /// `[[databases]]`: databases with settings of their own, by name.
    pub databases: BTreeMap<String, Database>,
    /// How clients prove who they are.
    pub access: Access,
    /// `[admin]`: the console, if anybody may use it.
    pub console: Option<Console>,
    /// `[metrics]`.
    pub admin: admin::Config,
    /// `[log]`.
    pub log: telemetry::log::Config,
    /// `[shutdown]`.
    pub shutdown: Shutdown,
    /// What the operator should know, to be logged at start.
    pub warnings: Vec<Warning>,
    /// What each key says.
    pub values: Values,
}

/// Limits of clients, over all pools. A rate of zero is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Clients of a user that has no limit of its own.
    pub max_user_client_connections: Option<u32>,
    /// Clients of a database that has no limit of its own.
    pub max_db_client_connections: Option<u32>,
    /// Bytes that a client's message may have, header included; as the protocol has it when
    /// absent.
    pub max_packet_size: Option<u32>,
    /// Bytes of memory above which no new clients are taken.
    pub max_memory: Option<u64>,
    /// Logins that are tried from one address, be they successful or not.
    pub logins_per_second_per_address: u32,
    /// Successful logins of one user.
    pub logins_per_second_per_user: u32,
    /// Transactions of all clients of one address.
    pub transactions_per_second_per_address: u32,
    /// Transactions of all clients of one user.
    pub transactions_per_second_per_user: u32,
    /// TLS handshakes with clients in all.
    pub tls_handshakes_per_second: u32,
    /// The most that a login has to wait because others from its address have failed; zero is
    /// no wait.
    pub failed_login_delay: Duration,
}

/// Secrets in files, which may change there; those of users are in [`User`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    /// For how long a secret still counts after it was changed.
    pub window: Duration,
    /// `auth.query_password`.
    pub query_password: Option<PathBuf>,
    /// `cluster.password`.
    pub cluster_password: Option<PathBuf>,
}

/// Whether the process may leave its memory behind when it crashes, or show it to a debugger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CoreDumps {
    /// Everybody's credentials are in it.
    #[default]
    Forbidden,
    /// As the process was started.
    Allowed,
}

/// How the process ends when it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// How long open transactions may go on; then all clients are ended.
    pub drain_timeout: Duration,
    /// Sessions that are ended in a second; zero ends all at once.
    pub drain_rate: u32,
}

/// How clients prove who they are. What is here has been read; what is in files has not.
#[derive(Debug, Clone)]
pub struct Access {
    /// `[[hba]]` or `auth.hba_file`; a password from everybody where neither is there.
    pub rules: Written<Rules>,
    /// `[[ident]]` or `auth.ident_file`.
    pub maps: Written<Maps>,
    /// `proxy.tls.client_map`: the map between the names in client certificates and roles, where
    /// TLS verifies them in full. Without one they must be the same.
    pub client_map: Option<String>,
    /// `[auth.oauth]`: whose bearer tokens are taken.
    pub oauth: Option<Oauth>,
    /// `auth.allow_cleartext_without_tls`.
    pub cleartext: Cleartext,
}

/// Whose bearer tokens are taken, and what they must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oauth {
    /// The issuer, where a rule names none.
    pub issuer: Option<Issuer>,
    /// For whom tokens are, one of these; never empty.
    pub audience: Vec<String>,
    /// What they must allow, separated by blanks, where a rule does not say; may be empty.
    pub scope: String,
    /// The claim that says who somebody is.
    pub claim: String,
    /// How far the issuer's clock may be off.
    pub clock_skew: Duration,
    /// Where the issuer's keys come from.
    pub keys: control::jwks::Config,
}

impl Oauth {
    /// The default of `claim`.
    pub const CLAIM: &str = "sub";

    /// The default of `clock_skew`.
    pub const CLOCK_SKEW: Duration = Duration::from_secs(30);
}

impl Access {
    /// What rules by bearer tokens may count on.
    pub fn token_issuer(&self) -> TokenIssuer {
        match &self.oauth {
            None => TokenIssuer::Unknown,
            Some(Oauth { issuer: None, .. }) => TokenIssuer::Unnamed,
            Some(Oauth { issuer: Some(_), .. }) => TokenIssuer::Named,
        }
    }
}

/// Where a client may be asked to show its password, for a method that has somebody else check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleartext {
    /// Inside TLS and on Unix sockets.
    Protected,
    /// Everywhere.
    Anywhere,
}

/// Something that is written in the configuration itself or in a file of its own.
#[derive(Debug, Clone)]
pub enum Written<T> {
    /// In the configuration.
    Here(T),
    /// In this file.
    File(PathBuf),
}

/// `[failover]`, but for what each pool has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failover {
    /// How long a requested switchover may keep transactions from beginning.
    pub drain_timeout: Duration,
    /// What may wait at one time.
    pub hold: pool::HoldLimits,
}

/// What holds for one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// When a server is given back.
    pub mode: Mode,
    /// What becomes of session state in transaction mode.
    pub state: StateRules,
    /// Limits and times. A limit that is switched off is at [`UNLIMITED`] or [`UNENDING`].
    pub config: pool::Config,
    /// How long clients may go on with what they do.
    pub timeouts: Timeouts,
}

/// A limit in numbers that is switched off: more than one process can have sockets. Small
/// enough that sums of it do not overflow.
pub const UNLIMITED: usize = 1_000_000;

/// A limit in time that is switched off: a year. Small enough to be added to a clock.
pub const UNENDING: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One of `[[users]]`. What is `None` is as for the database, else as in `[pool]`.
#[derive(Debug, Clone)]
pub struct User {
    /// What clients are checked against.
    pub password: Password,
    /// Where `password` is from, if it is from a file.
    pub password_file: Option<PathBuf>,
    /// What servers are logged in to with, where it is not `password`.
    pub server_password: Option<Secret>,
    /// Where `server_password` is from, if it is from a file.
    pub server_password_file: Option<PathBuf>,
    /// When a server is given back.
    pub pool_mode: Option<Mode>,
    /// Servers per pool of this user.
    pub pool_size: Option<usize>,
    /// Clients of this user at one time.
    pub max_connections: Option<u32>,
    /// Servers of all pools of this user.
    pub max_user_connections: Option<usize>,
    /// What becomes of session state.
    pub state: Vec<(Feature, Treatment)>,
    /// See [`Timeouts`].
    pub timeouts: TimeoutOverrides,
}

/// One of `[[databases]]`. What is `None` is as in `[pool]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    /// When a server is given back.
    pub pool_mode: Option<Mode>,
    /// Servers per pool.
    pub pool_size: Option<usize>,
    /// See [`pool::Config`].
    pub min_size: Option<usize>,
    /// See [`pool::Config`].
    pub reserve_size: Option<usize>,
    /// See [`pool::Config`].
    pub reserve_timeout: Option<Duration>,
    /// See [`pool::Config`].
    pub max_db_connections: Option<usize>,
    /// See [`pool::Config`].
    pub query_wait_timeout: Option<Duration>,
    /// Clients of this database at one time.
    pub max_db_client_connections: Option<u32>,
    /// What becomes of session state.
    pub state: Vec<(Feature, Treatment)>,
    /// See [`Timeouts`].
    pub timeouts: TimeoutOverrides,
}

/// Limits in time of one user or database. Zero switches a limit off; what is `None` is as
/// elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeoutOverrides {
    /// See [`Timeouts`].
    pub client_idle: Option<Duration>,
    /// See [`Timeouts`].
    pub idle_transaction: Option<Duration>,
    /// See [`Timeouts`].
    pub query: Option<Duration>,
    /// See [`Timeouts`].
    pub transaction: Option<Duration>,
}

impl User {
    /// With what servers are logged in to. `None` for a user with a verifier and no
    /// `server_password`: the keys then come from the client's own login.
    pub fn server_login(&self) -> Option<Login> {
        let password = match (&self.server_password, &self.password) {
            (Some(password), _) | (None, Password::Plain(password)) => password.clone(),
            (None, Password::Verifier(_)) => return None,
        };
        Some(Login::Password { password, cached: None })
    }

    /// Where that is from, if it is from a file.
    pub fn server_login_file(&self) -> Option<&PathBuf> {
        match self.server_password {
            Some(_) => self.server_password_file.as_ref(),
            None => self.password_file.as_ref(),
        }
    }
}

impl Settings {
    /// What holds for the pools of one database and user: the user's override, else the
    /// database's, else `[pool]`'s. A reserve without a timeout to wait for is off.
    pub fn pool_for(&self, database: &str, user: &str) -> Pool {
        let Pool { mut mode, mut state, mut config, mut timeouts } = self.pool.clone();
        if let Some(database) = self.databases.get(database) {
            mode = database.pool_mode.unwrap_or(mode);
            set(&mut config.size, database.pool_size);
            set(&mut config.min_size, database.min_size);
            set(&mut config.reserve_size, database.reserve_size);
            set(&mut config.reserve_timeout, database.reserve_timeout);
            set(&mut config.max_db_connections, database.max_db_connections);
            set(&mut config.query_wait_timeout, database.query_wait_timeout);
            state = with(state, &database.state);
            database.timeouts.apply(&mut timeouts);
        }
        if let Some(user) = self.users.get(user) {
            mode = user.pool_mode.unwrap_or(mode);
            set(&mut config.size, user.pool_size);
            set(&mut config.max_user_connections, user.max_user_connections.map(Some));
            state = with(state, &user.state);
            user.timeouts.apply(&mut timeouts);
        }
        // An override of the size alone may fall below a minimum set elsewhere.
        config.min_size = config.min_size.min(config.size);
        if config.reserve_timeout.is_zero() {
            config.reserve_size = 0;
        }
        Pool { mode, state, config, timeouts }
    }

    /// The shortest limit in time that any client has; `None` if none is on.
    pub fn shortest_timeout(&self) -> Option<Duration> {
        let users = self.users.values().map(|user| user.timeouts);
        let databases = self.databases.values().map(|database| database.timeouts);
        let overrides = users.chain(databases).map(|timeouts| {
            let mut limits = self.pool.timeouts;
            timeouts.apply(&mut limits);
            limits
        });
        overrides.chain([self.pool.timeouts]).filter_map(|limits| limits.shortest()).min()
    }

    /// The users and what their clients are checked against, as [`auth::Users::new`] takes them.
    pub fn passwords(&self) -> impl Iterator<Item = (String, Password)> {
        self.users.iter().map(|(name, user)| (name.clone(), user.password.clone()))
    }
}

impl TimeoutOverrides {
    fn apply(&self, limits: &mut Timeouts) {
        for (limit, over) in [
            (&mut limits.client_idle, self.client_idle),
            (&mut limits.idle_transaction, self.idle_transaction),
            (&mut limits.query, self.query),
            (&mut limits.transaction, self.transaction),
        ] {
            set(limit, over.map(unless_zero));
        }
    }
}

fn with(rules: StateRules, over: &[(Feature, Treatment)]) -> StateRules {
    over.iter().fold(rules, |rules, &(feature, treatment)| rules.with(feature, treatment))
}

fn set<T>(value: &mut T, over: Option<T>) {
    if let Some(over) = over {
        *value = over;
    }
}
