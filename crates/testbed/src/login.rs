//! Who logs in where, and running psql and its like as that user.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::Duration;

use crate::{Error, Interrupt, command, programs};

/// The database that clients use.
pub const APP_DATABASE: &str = "app";

/// The role that clients use; it owns [`APP_DATABASE`].
pub const APP_USER: Credentials = Credentials { user: "app_user", password: "app_password" };

/// The role that standbys stream as.
pub const REPLICATOR: Credentials =
    Credentials { user: "replicator", password: "replicator_password" };

/// The superuser of every Postgres started here.
pub const SUPERUSER: Credentials = Credentials { user: "postgres", password: "postgres_password" };

/// A statement that takes longer than this in a test hangs.
const STATEMENT: Duration = Duration::from_secs(60);

/// A role and its password. These protect databases on loopback that live for a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The role.
    pub user: &'static str,
    /// Its password, in clear.
    pub password: &'static str,
}

/// Everything needed to log in to something on this machine.
#[derive(Clone, Debug)]
pub struct Login {
    /// The address of a Postgres or of a proxy: 127.0.0.1, but for nodes with a network of their own.
    pub host: Ipv4Addr,
    /// The port of a Postgres or of a proxy.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password, in clear.
    pub password: String,
    /// The database.
    pub database: String,
}

impl Login {
    /// A login on 127.0.0.1 as one of the roles of the testbed.
    pub fn new(port: u16, credentials: Credentials, database: &str) -> Self {
        Self::at(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), credentials, database)
    }

    /// A login at any address as one of the roles of the testbed.
    pub fn at(address: SocketAddrV4, credentials: Credentials, database: &str) -> Self {
        Self {
            host: *address.ip(),
            port: address.port(),
            user: credentials.user.to_owned(),
            password: credentials.password.to_owned(),
            database: database.to_owned(),
        }
    }

    /// A URI for drivers. The testbed's own names and passwords need no escaping.
    pub fn uri(&self) -> String {
        let Self { host, port, user, password, database } = self;
        format!("postgresql://{user}:{password}@{host}:{port}/{database}")
    }

    /// A command of the newest Postgres installed (`psql`, `pgbench`, `pg_dump`, …) whose environment
    /// says where to connect and as whom. Nothing else of the caller's environment reaches it.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not installed.
    pub fn command(&self, program: &str) -> Result<Command, Error> {
        let mut command = Command::new(programs::find_postgres(program)?);
        command
            .env_clear()
            .env("PATH", programs::daemon_path(None))
            .env("LC_ALL", "C.UTF-8")
            .env("PGCONNECT_TIMEOUT", "10")
            .env("PGHOST", self.host.to_string())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGPASSWORD", &self.password)
            .env("PGDATABASE", &self.database);
        Ok(command)
    }

    /// Runs SQL statements one by one with psql and returns the rows: columns separated by `|`, no
    /// header, no trailing newline.
    ///
    /// # Errors
    /// [`Error::Command`] with psql's message at the first statement that fails.
    pub fn psql(&self, sql: &str) -> Result<String, Error> {
        let mut psql = self.command("psql")?;
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        let rows = command::run(&mut psql, sql, STATEMENT, &Interrupt::default())?;
        Ok(rows.trim_end().to_owned())
    }
}

/// Quotes a string as an SQL literal.
pub(crate) fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// Quotes a name as an SQL identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn a_uri_names_everything() {
        let uri = Login::new(5432, APP_USER, APP_DATABASE).uri();
        assert_eq!(uri, "postgresql://app_user:app_password@127.0.0.1:5432/app");
    }
}
