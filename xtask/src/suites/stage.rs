//! What a suite is run against: a Postgres that trusts everybody, with pgmesh in front of it or
//! not.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use testbed::{Interrupt, Login, Pgmesh, PgmeshOptions, Postgres, PostgresOptions, SUPERUSER};

/// The one that a suite is run in.
pub(super) const DATABASE: &str = "suites";

/// Suites make roles, databases and extensions.
pub(super) const USER: &str = SUPERUSER.user;

/// More than a suite has connections at a time.
const POOL_SIZE: u32 = 25;

/// How a suite gets to the server.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Direct,
    /// Through this binary.
    Pgmesh(PathBuf),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "direct",
            Self::Pgmesh(_) => "pgmesh",
        })
    }
}

pub(super) struct Stage {
    // Before what it stands on: fields are dropped in order.
    pgmesh: Option<Pgmesh>,
    postgres: Postgres,
}

impl Stage {
    /// Starts everything, and runs `sql` in the suite's database.
    pub(super) fn new(way: &Way, sql: &str, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let settings = [("max_prepared_transactions", "10"), ("wal_level", "logical")];
        let postgres = Postgres::start(PostgresOptions {
            hba: vec!["host all all 127.0.0.1/32 trust".to_owned()],
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            interrupt: interrupt.clone(),
            ..PostgresOptions::default()
        })
        .context("start Postgres")?;
        postgres.psql(&format!("CREATE DATABASE {DATABASE}")).context("create a database")?;
        let login = Login::new(postgres.port(), SUPERUSER, DATABASE);
        login.psql(sql).context("prepare the database")?;
        let pgmesh = match way {
            Way::Direct => None,
            Way::Pgmesh(binary) => {
                let options =
                    PgmeshOptions { interrupt: interrupt.clone(), ..PgmeshOptions::new(binary) };
                let pgmesh = Pgmesh::start_with(&options, |ports| {
                    ports.toml_for_postgres(&postgres) + &sections()
                });
                Some(pgmesh.context("start pgmesh")?)
            }
        };
        Ok(Self { pgmesh, postgres })
    }

    /// Where clients connect.
    pub(super) fn port(&self) -> u16 {
        self.pgmesh.as_ref().map_or_else(|| self.postgres.port(), Pgmesh::port)
    }

    /// Keeps from a program what libpq would read.
    pub(super) fn forget_environment(command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
    }

    /// Tells a program that reads what libpq does where to connect.
    pub(super) fn environment(&self, command: &mut Command) {
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port().to_string())
            .env("PGUSER", USER)
            .env("PGDATABASE", DATABASE);
    }

    /// Leaves what was logged in a directory.
    pub(super) fn keep_logs(&self, out: &Path) -> anyhow::Result<()> {
        let pgmesh = self.pgmesh.as_ref().map(Pgmesh::log).unwrap_or_default();
        for (name, log) in [("postgres.log", self.postgres.log()), ("pgmesh.log", pgmesh)] {
            fs::write(out.join(name), log).with_context(|| format!("write {name}"))?;
        }
        Ok(())
    }
}

/// What of proxy.toml is special here.
fn sections() -> String {
    format!(
        "\n[[hba]]\ntype = \"host\"\nmethod = \"trust\"\n\
         \n[pool]\nmode = \"transaction\"\nsize = {POOL_SIZE}\nmax_db_connections = 60\n"
    )
}
