//! Logging in to a node as a role of our own, as libpq would go about TLS.

use std::time::Duration;

use auth::{Rotating, Secret};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Connection, Error, Socket};
use topology::Address;
use transport::Connector;

use crate::node::lacks_tls;
use crate::tls::{Stream, Tls, ssl_modes, ssl_negotiation};

/// Who logs in, and what its sessions are like.
#[derive(Debug)]
pub(crate) struct Identity<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: Option<&'a Rotating>,
    pub(crate) database: &'a str,
    /// Shown in `pg_stat_activity`.
    pub(crate) application: &'static str,
    /// The startup packet's `options`: what neither a role's nor a database's settings change.
    pub(crate) options: String,
    /// The kernel gives an unacknowledged connection up after so long.
    pub(crate) timeout: Duration,
}

/// A login to one address.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    first: tokio_postgres::Config,
    /// If the server wants the other kind of connection, plain or with TLS.
    second: Option<tokio_postgres::Config>,
    /// In neither of them.
    password: Option<Rotating>,
    tls: Tls,
}

/// A client and what drives its connection.
pub(crate) type LoggedIn = (Client, Connection<Socket, Stream<Socket>>);

impl Login {
    pub(crate) fn new(identity: &Identity<'_>, tls: &Connector, address: &Address) -> Self {
        let (mode, second) = ssl_modes(tls.mode());
        let mut first = tokio_postgres::Config::new();
        first
            .host(address.host())
            .port(address.port())
            .user(identity.user)
            .dbname(identity.database)
            .application_name(identity.application)
            .options(identity.options.as_str())
            .ssl_mode(mode)
            .ssl_negotiation(ssl_negotiation(tls.negotiation()))
            .tcp_user_timeout(identity.timeout);
        let second = second.map(|mode| first.clone().ssl_mode(mode).clone());
        let password = identity.password.cloned();
        Self { first, second, password, tls: Tls(tls.clone()) }
    }

    /// What the first attempt is made with, but for the password.
    pub(crate) const fn config(&self) -> &tokio_postgres::Config {
        &self.first
    }

    /// With the password that there is now; while it is changed, with the one before if that is
    /// refused. The caller bounds the time.
    ///
    /// # Cancel safety
    /// Cancel safe: what was begun is closed.
    pub(crate) async fn connect(&self) -> Result<LoggedIn, Error> {
        let candidates = self.password.as_ref().map(Rotating::candidates).unwrap_or_default();
        let Some((newest, others)) = candidates.split_first() else {
            return self.connect_with(None).await;
        };
        let mut outcome = self.connect_with(Some(newest)).await;
        for other in others {
            match &outcome {
                Err(refused) if refused.code() == Some(&SqlState::INVALID_PASSWORD) => {
                    outcome = self.connect_with(Some(other)).await;
                }
                Ok(_) | Err(_) => break,
            }
        }
        outcome
    }

    /// Once, or once more as the other kind of connection.
    async fn connect_with(&self, password: Option<&Secret>) -> Result<LoggedIn, Error> {
        let with = |config: &tokio_postgres::Config| {
            let mut config = config.clone();
            if let Some(password) = password {
                config.password(password.expose());
            }
            config
        };
        let first = with(&self.first).connect(self.tls.clone()).await;
        let refused = match (first, &self.second) {
            (Err(refused), Some(second)) if wants_the_other_kind(&refused) => {
                match with(second).connect(self.tls.clone()).await {
                    Err(error) if lacks_tls(&error) => refused,
                    answer => return answer,
                }
            }
            (answer, _) => return answer,
        };
        // The first answer is the one that says what is wrong.
        Err(refused)
    }
}

/// Whether the refusal may be `pg_hba.conf`'s: no line for this host, user, database and
/// encryption.
fn wants_the_other_kind(error: &Error) -> bool {
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}
