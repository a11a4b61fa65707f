//! What a suite is run against: a Postgres that trusts everybody, and a proxy in front of it that
//! does so too.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use testbed::{
    Clients, Interrupt, PgBouncer, PgBouncerOptions, Pgmesh, PgmeshOptions, Postgres,
    PostgresOptions,
};

use super::suite::{Lending, Plan, Sequences};

/// 20 tests at a time, some of which open further connections; and room for pools of roles that
/// come and go.
const MAX_CONNECTIONS: &str = "250";

/// As many as a suite's tests have connections at a time, and then some.
const POOL_SIZE: u32 = 25;

/// Servers of a pool that are there from its first client on.
const SHUFFLED: u32 = 8;

/// How a suite gets to the server.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Direct,
    /// Through this binary.
    Pgmesh(PathBuf),
    /// Through this binary.
    PgBouncer(PathBuf),
}

impl Way {
    /// For tables and the names of directories.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Pgmesh(_) => "pgmesh",
            Self::PgBouncer(_) => "pgbouncer",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

enum Proxy {
    None,
    Pgmesh(Pgmesh),
    PgBouncer(PgBouncer),
}

pub(super) struct Stage {
    // Before what it stands on: fields are dropped in order.
    proxy: Proxy,
    postgres: Postgres,
}

impl Stage {
    /// Starts everything, with the suite's database empty.
    pub(super) fn new(way: &Way, plan: &Plan, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let setting = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let postgres = Postgres::start(PostgresOptions {
            hba: vec!["host all all 127.0.0.1/32 trust".to_owned()],
            // What pg_regress gives a server of its own, and the memory that plans assume.
            settings: [
                ("max_connections", MAX_CONNECTIONS),
                ("max_prepared_transactions", "2"),
                ("shared_buffers", "128MB"),
            ]
            .map(setting)
            .to_vec(),
            interrupt: interrupt.clone(),
            ..PostgresOptions::default()
        })
        .context("start Postgres")?;
        postgres.psql(&create(plan.suite.database())).context("create the suite's database")?;
        let proxy = match way {
            Way::Direct => Proxy::None,
            Way::Pgmesh(binary) => {
                let options =
                    PgmeshOptions { interrupt: interrupt.clone(), ..PgmeshOptions::new(binary) };
                let pgmesh = Pgmesh::start_with(&options, |ports| {
                    ports.toml_for_postgres(&postgres) + &sections(plan)
                });
                Proxy::Pgmesh(pgmesh.context("start pgmesh")?)
            }
            Way::PgBouncer(binary) => {
                let options = PgBouncerOptions {
                    binary: binary.clone(),
                    clients: Clients::Anybody,
                    pool_size: POOL_SIZE,
                    max_clients: 1000,
                    tls: None,
                    verifier: None,
                    interrupt: interrupt.clone(),
                };
                let pgbouncer = PgBouncer::start(&postgres, &options);
                Proxy::PgBouncer(pgbouncer.context("start PgBouncer")?)
            }
        };
        Ok(Self { proxy, postgres })
    }

    /// Where clients connect.
    pub(super) fn port(&self) -> u16 {
        match &self.proxy {
            Proxy::None => self.postgres.port(),
            Proxy::Pgmesh(pgmesh) => pgmesh.port(),
            Proxy::PgBouncer(pgbouncer) => pgbouncer.port(),
        }
    }

    /// Leaves what was logged in a directory.
    pub(super) fn keep_logs(&self, out: &Path) -> anyhow::Result<()> {
        let proxy = match &self.proxy {
            Proxy::None => String::new(),
            Proxy::Pgmesh(pgmesh) => pgmesh.log(),
            Proxy::PgBouncer(pgbouncer) => pgbouncer.log(),
        };
        for (name, log) in [("postgres.log", self.postgres.log()), ("proxy.log", proxy)] {
            fs::write(out.join(name), log).with_context(|| format!("write {name}"))?;
        }
        Ok(())
    }
}

/// The suite's database, as pg_regress makes it: through a proxy it could not do so in one go.
fn create(database: &str) -> String {
    let settings = [
        ("lc_messages", "C"),
        ("lc_monetary", "C"),
        ("lc_numeric", "C"),
        ("lc_time", "C"),
        ("bytea_output", "hex"),
        ("timezone_abbreviations", "Default"),
    ]
    .map(|(name, value)| format!("ALTER DATABASE {database} SET {name} TO '{value}';\n"));
    format!(
        "CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' \
         LC_CTYPE 'C';\n{}",
        settings.concat(),
    )
}

/// What of proxy.toml is special here.
fn sections(plan: &Plan) -> String {
    let sequences = match plan.sequences {
        Sequences::Kept => "",
        Sequences::Forgotten => "state.sequences = \"forget\"\n",
    };
    let shuffle = match plan.lending {
        Lending::Usual => String::new(),
        Lending::Shuffled => format!(
            "debug_shuffle = true\nmin_size = {SHUFFLED}\nserver_login_concurrency = {SHUFFLED}\n"
        ),
    };
    format!(
        "\n[[hba]]\ntype = \"host\"\nmethod = \"trust\"\n\
         \n[pool]\nmode = \"transaction\"\nsize = {POOL_SIZE}\nmax_db_connections = 200\n\
         {sequences}{shuffle}"
    )
}
