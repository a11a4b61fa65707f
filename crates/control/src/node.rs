//! Asking one node.

use std::time::Duration;

use deadpool_postgres::{Client, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{NoTls, Row};
use topology::{Address, Lsn, Outcome, Timeline};

use crate::Config;

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
    Connect(#[source] PoolError),
    #[error("the probe failed")]
    Query(#[source] tokio_postgres::Error),
    #[error("no answer in time")]
    Timeout,
}

/// The one connection to a node; made again when it is lost.
#[derive(Debug)]
pub(crate) struct Node {
    pool: Pool,
    limit: Duration,
}

impl Node {
    /// # Errors
    /// The pool refuses its settings.
    pub(crate) fn new(
        config: &Config,
        address: &Address,
    ) -> Result<Self, deadpool_postgres::BuildError> {
        let mut login = tokio_postgres::Config::new();
        // Milliseconds; the server gives up when we have.
        let limit = config.timeout.as_millis().clamp(1, 60_000);
        login
            .host(address.host())
            .port(address.port())
            .user(&config.user)
            .dbname(&config.database)
            .application_name(APPLICATION_NAME)
            .options(format!("-c search_path=pg_catalog,pg_temp -c statement_timeout={limit}"))
            .ssl_mode(SslMode::Disable)
            .connect_timeout(config.timeout)
            .tcp_user_timeout(config.timeout);
        if let Some(password) = &config.password {
            login.password(password.expose());
        }
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(login, NoTls, recycling);
        Ok(Self { pool: Pool::builder(manager).max_size(1).build()?, limit: config.timeout })
    }

    /// Asks once, within the configured time for the connection and again for the answer.
    ///
    /// # Cancel safety
    /// Not cancel safe: drop the node too, for its connection may still owe an answer.
    pub(crate) async fn ask(&self) -> Result<Outcome, Failure> {
        let client = timeout(self.limit, self.pool.get()).await.map_err(|_| Failure::Timeout)?;
        let client: Client = client.map_err(Failure::Connect)?;
        let row = match timeout(self.limit, client.query_one(PROBE, &[])).await {
            Ok(Ok(row)) => row,
            Ok(Err(error)) => {
                drop(Object::take(client));
                return Err(Failure::Query(error));
            }
            // Its answer may still come: it must not be the next probe's.
            Err(_) => {
                drop(Object::take(client));
                return Err(Failure::Timeout);
            }
        };
        outcome(&row).map_err(Failure::Query)
    }
}

fn outcome(row: &Row) -> Result<Outcome, tokio_postgres::Error> {
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
    fn timelines_of_log_files() {
        assert_eq!(file_timeline("000000020000000000000003"), Some(Timeline(2)));
        assert_eq!(file_timeline("0000001F0000000000000003"), Some(Timeline(31)));
        for bad in ["", "0000000", "00000000xyz", "zzzzzzzz0", "ééééé"] {
            assert_eq!(file_timeline(bad), None, "{bad}");
        }
    }
}
