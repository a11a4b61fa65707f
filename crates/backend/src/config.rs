//! Where to connect to, as whom, and with which limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use auth::{BindingPolicy, Secret};

/// Limits and options for connections to servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// For the name and the TCP connection, over all addresses together.
    pub connect_timeout: Duration,
    /// For TLS and login, from the TCP connection to the first ReadyForQuery. The modes `allow`
    /// and `prefer` may try twice.
    pub login_timeout: Duration,
    /// Socket options.
    pub tcp: transport::Config,
    /// How much TLS is asked for, and its files.
    pub tls: transport::ClientTls,
    /// Whether logins are bound to TLS.
    pub channel_binding: BindingPolicy,
}

/// A server as configured or discovered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// A DNS name or an address; an IPv6 address without brackets.
    pub host: Arc<str>,
    /// The TCP port.
    pub port: u16,
}

/// As whom to log in.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The role.
    pub user: String,
    /// What proves it; `None` logs in only where the server asks for nothing.
    pub login: Option<auth::Login>,
}

/// What the startup packet says besides the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    database: String,
    application_name: String,
    extra: Vec<(String, String)>,
}

/// A parameter that a startup packet of ours never carries on behalf of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be given as an extra startup parameter")]
pub struct ReservedParameter(pub String);

/// Everything that one login needs.
#[derive(Clone, Debug)]
pub struct Login {
    /// As whom.
    pub credentials: Credentials,
    /// The startup packet.
    pub startup: Startup,
    /// Which role the server must prove.
    pub role: RequiredRole,
}

/// What a server must be for the login to succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RequiredRole {
    /// Either.
    #[default]
    Any,
    /// Out of recovery, proven by `in_hot_standby` or by asking.
    Primary,
    /// In recovery, proven likewise.
    Standby,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            login_timeout: LOGIN_TIMEOUT,
            tcp: transport::Config::default(),
            tls: transport::ClientTls::default(),
            channel_binding: BindingPolicy::default(),
        }
    }
}

/// A SYN is sent again after 1 and 3 seconds: two losses are survived.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A busy server forks and authenticates in well under a second; PAM or LDAP take longer.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

// === impl Target ===

impl Target {
    /// A server at a name or address and a port.
    pub fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

// === impl Credentials ===

impl Credentials {
    /// A role without a password, for servers that trust this host.
    pub fn trusted(user: impl Into<String>) -> Self {
        Self { user: user.into(), login: None }
    }

    /// A role with its password in plain text.
    pub fn password(user: impl Into<String>, password: Secret) -> Self {
        Self { user: user.into(), login: Some(auth::Login::Password { password, cached: None }) }
    }
}

impl Credentials {
    /// Whether both prove the same of the same role, whatever was derived from a password.
    pub fn prove_the_same(&self, other: &Self) -> bool {
        use auth::Login::{Keys, Password};
        self.user == other.user
            && match (&self.login, &other.login) {
                (Some(Password { password: one, .. }), Some(Password { password: two, .. })) => {
                    one == two
                }
                (Some(Keys(one)), Some(Keys(two))) => one == two,
                (None, None) => true,
                _ => false,
            }
    }
}

// === impl Login ===

impl Login {
    /// Keeps what a login as `used` has derived from its password, if that is still the one, so
    /// that the next login, as long as salt and iterations are the same, need not derive it again.
    pub fn remember(&mut self, keys: Option<auth::ScramKeys>, used: &Self) {
        if let Some(auth::Login::Password { password, cached }) = &mut self.credentials.login
            && let Some(auth::Login::Password { password: used, .. }) = &used.credentials.login
            && keys.is_some()
            && password == used
        {
            *cached = keys;
        }
    }
}

// === impl Startup ===

impl Startup {
    /// A startup packet for a database, with `application_name` set to `pgmesh`.
    pub fn new(database: impl Into<String>) -> Self {
        Self { database: database.into(), application_name: "pgmesh".to_owned(), extra: Vec::new() }
    }

    /// Sets the `application_name` of the new session.
    #[must_use]
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// Adds a setting, sent after the others and in the order added.
    ///
    /// # Errors
    /// The name is one that decides who the session is or how it speaks: `user`, `database`,
    /// `replication`, anything that begins with `_pq_.`, or nothing.
    pub fn parameter(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, ReservedParameter> {
        let name = name.into();
        let reserved = ["", "user", "database", "replication"].contains(&name.as_str());
        if reserved || name.starts_with("_pq_.") {
            return Err(ReservedParameter(name));
        }
        self.extra.push((name, value.into()));
        Ok(self)
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }

    pub(crate) fn pairs<'a>(
        &'a self,
        user: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let ours = [
            ("user", user),
            ("database", self.database.as_str()),
            ("application_name", self.application_name.as_str()),
        ];
        ours.into_iter().chain(self.extra.iter().map(|(name, value)| (&**name, &**value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_prints_as_an_address() {
        assert_eq!(Target::new("db.example", 5432).to_string(), "db.example:5432");
        assert_eq!(Target::new("::1", 5432).to_string(), "[::1]:5432");
    }

    #[test]
    fn a_startup_packet_cannot_be_made_somebody_elses() {
        for name in ["user", "database", "replication", "_pq_.x", ""] {
            assert!(Startup::new("db").parameter(name, "x").is_err(), "{name}");
        }
        let startup = Startup::new("db").parameter("search_path", "a").unwrap();
        let pairs: Vec<_> = startup.pairs("me").collect();
        assert_eq!(
            pairs,
            [
                ("user", "me"),
                ("database", "db"),
                ("application_name", "pgmesh"),
                ("search_path", "a")
            ]
        );
    }
}
