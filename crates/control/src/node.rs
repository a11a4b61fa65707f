//! Asking one node.

use std::error::Error as _;
use std::io;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row, Statement};
use tokio_util::task::AbortOnDropHandle;
use topology::{Address, Lsn, Outcome, Timeline};
use transport::HandshakeError;

use crate::Config;
use crate::login::{Identity, Login};

/// Shown in `pg_stat_activity`.
const APPLICATION_NAME: &str = "pgmesh-probe";

/// One row: in recovery, current log file (primary), timeline replayed (standby), position.
///
/// The log file's name starts with the timeline and is right from the moment of the promotion;
/// the control file's timeline follows at the next checkpoint, which is good enough for a standby
/// whose role may not see the receiver. The subquery is evaluated first and once.
const PROBE: &str = "\
    SELECT state.in_recovery, \
      CASE WHEN NOT state.in_recovery \
        THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) END, \
      CASE WHEN state.in_recovery THEN COALESCE( \
        (SELECT received_tli FROM pg_catalog.pg_stat_get_wal_receiver()), \
        (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())) END, \
      pg_catalog.pg_wal_lsn_diff(CASE WHEN state.in_recovery \
        THEN pg_catalog.pg_last_wal_replay_lsn() \
        ELSE pg_catalog.pg_current_wal_lsn() END, '0/0')::pg_catalog.int8 \
    FROM (SELECT pg_catalog.pg_is_in_recovery() AS in_recovery OFFSET 0) AS state";

/// Why a probe got no answer. The server's own words are in the source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no connection")]
    Connect(#[source] Error),
    #[error("the probe failed")]
    Query(#[source] Error),
    #[error("no answer in time")]
    Timeout,
}

/// A node, and the one connection to it; made again when it is lost.
#[derive(Debug)]
pub(crate) struct Node {
    login: Login,
    session: Option<Session>,
}

/// A connection that is ready to be asked, in one round trip.
#[derive(Debug)]
struct Session {
    client: Client,
    probe: Statement,
    /// Closes the connection when dropped, also one that still owes an answer.
    connection: AbortOnDropHandle<()>,
}

impl Node {
    pub(crate) fn new(config: &Config, address: &Address) -> Self {
        // Milliseconds; the server gives up when we have.
        let limit = config.timeout.as_millis().clamp(1, 60_000);
        let identity = Identity {
            user: &config.user,
            password: config.password.as_ref(),
            database: &config.database,
            application: APPLICATION_NAME,
            options: format!("-c search_path=pg_catalog,pg_temp -c statement_timeout={limit}"),
            timeout: config.timeout,
        };
        Self { login: Login::new(&identity, &config.tls, address), session: None }
    }

    /// Asks once; a connection that was lost since the last time is made again first. The caller
    /// bounds the time.
    ///
    /// # Cancel safety
    /// Cancel safe: a connection that still owes an answer is closed with the question.
    pub(crate) async fn ask(&mut self) -> Result<Outcome, Failure> {
        if let Some(session) = self.session.take() {
            match session.ask().await {
                Ok(outcome) => {
                    self.session = Some(session);
                    return Ok(outcome);
                }
                Err(error) if error.is_closed() => {}
                Err(error) => return Err(Failure::Query(error)),
            }
        }
        let session = self.connect().await.map_err(Failure::Connect)?;
        let outcome = session.ask().await.map_err(Failure::Query)?;
        self.session = Some(session);
        Ok(outcome)
    }

    /// Waits until the connection is lost; for ever if there is none.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn lost(&mut self) {
        match &mut self.session {
            Some(session) => drop((&mut session.connection).await),
            None => std::future::pending().await,
        }
        self.session = None;
    }

    async fn connect(&self) -> Result<Session, Error> {
        let (client, connection) = self.login.connect().await?;
        // How it ends is told by the client's next question.
        let task = tokio::spawn(async move { drop(connection.await) });
        let connection = AbortOnDropHandle::new(task);
        let probe = client.prepare(PROBE).await?;
        Ok(Session { client, probe, connection })
    }
}

impl Session {
    async fn ask(&self) -> Result<Outcome, Error> {
        outcome(&self.client.query_one(&self.probe, &[]).await?)
    }
}

impl Failure {
    /// Whether nothing is there, or something that only will not have this question.
    pub(crate) fn outcome(&self) -> Outcome {
        let error = match self {
            Self::Connect(error) | Self::Query(error) => error,
            Self::Timeout => return Outcome::Unreachable,
        };
        let refused = match error.code() {
            Some(code) => is_refusal(code),
            None => is_misfit(error),
        };
        if refused {
            Outcome::Refused
        } else if nothing_listens(error) {
            Outcome::Gone
        } else {
            Outcome::Unreachable
        }
    }
}

/// Not: a server that starts, stops, has crashed or takes too long (57), or that is itself in
/// trouble (53, 58, XX). One that is merely full runs, and what is logged in there proves it.
pub(crate) fn is_refusal(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    let full = *code == SqlState::TOO_MANY_CONNECTIONS;
    full || !matches!(class, "08" | "53" | "57" | "58" | "XX")
}

/// The port is closed. The postmaster has it open for as long as it lives, and its servers do not
/// outlive it.
fn nothing_listens(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::ConnectionRefused)
}

/// TLS was asked for, and the server has none; not that the handshake failed.
pub(crate) fn lacks_tls(error: &Error) -> bool {
    let handshake = error.source().is_some_and(|source| source.is::<HandshakeError>());
    error.code().is_none() && is_misfit(error) && !handshake
}

/// A login that cannot be made with what is configured: a password that is missing, a
/// certificate that does not fit.
pub(crate) fn is_misfit(error: &Error) -> bool {
    let Some(source) = error.source() else { return false };
    match source.downcast_ref::<HandshakeError>() {
        Some(HandshakeError::Io(_)) => false,
        Some(HandshakeError::Name(_) | HandshakeError::Tls(_)) => true,
        None => !source.is::<io::Error>(),
    }
}

fn outcome(row: &Row) -> Result<Outcome, Error> {
    let in_recovery: bool = row.try_get(0)?;
    let file: Option<&str> = row.try_get(1)?;
    let replayed: Option<i32> = row.try_get(2)?;
    let position: Option<i64> = row.try_get(3)?;
    let timeline = match file {
        Some(file) => file_timeline(file),
        // The server's timeline is unsigned; its SQL type is not.
        None => replayed.map(i32::cast_unsigned).filter(|n| *n > 0).map(Timeline),
    };
    let position = position.and_then(|n| u64::try_from(n).ok()).map(Lsn);
    Ok(Outcome::Answered { in_recovery, timeline, position })
}

/// The timeline that a log file's name starts with, in eight hexadecimal digits.
fn file_timeline(file: &str) -> Option<Timeline> {
    let digits = file.get(..8)?;
    u32::from_str_radix(digits, 16).ok().filter(|n| *n > 0).map(Timeline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_cannot_take_logins_has_refused_nobody() {
        for code in ["28P01", "28000", "3D000", "42501", "53300", "0A000"] {
            assert!(is_refusal(&SqlState::from_code(code)), "{code}");
        }
        for code in ["57P01", "57P02", "57P03", "57014", "53200", "58000", "XX000", "08006"] {
            assert!(!is_refusal(&SqlState::from_code(code)), "{code}");
        }
    }

    #[test]
    fn timelines_of_log_files() {
        assert_eq!(file_timeline("000000020000000000000003"), Some(Timeline(2)));
        assert_eq!(file_timeline("0000001F0000000000000003"), Some(Timeline(31)));
        for bad in ["", "0000000", "00000000xyz", "zzzzzzzz0", "ééééé"] {
            assert_eq!(file_timeline(bad), None, "{bad}");
        }
    }
}
