//! `pgmesh`: the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use config::{Overrides, Settings};
use pgmesh::{Beginning, Findings, ImportFiles, Origin, Start, Undumpable};

/// A proxy in front of highly available Postgres: watches the leader in etcd, pools servers
/// in transaction mode, terminates TLS.
#[derive(Debug, Parser)]
#[command(name = "pgmesh", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve clients; the default.
    Run(Run),
    /// Read the configuration, report everything that is wrong with it, and end.
    Check(Check),
    /// Turn files of PgBouncer and HAProxy into a proxy.toml on standard output, and say what
    /// became of each line.
    Import(ImportFiles),
}

/// How to serve clients.
#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    source: Source,
    /// Take the place of the process that serves proxy.takeover_socket: its listeners at once,
    /// while its clients leave in their time. Without one, start alone.
    #[arg(long, conflicts_with = "upstream")]
    takeover: bool,
}

/// What to check.
#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    source: Source,
    /// Ask the cluster, too: is there a primary, and can every user log in to it?
    #[arg(long)]
    connect: bool,
}

/// What to do with the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    Check,
    CheckCluster,
    Run(Beginning),
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct Source {
    /// The configuration file.
    #[arg(long, short, default_value = "proxy.toml")]
    config: PathBuf,
    /// Serve this one server without a file; PGUSER and PGPASSWORD are its credentials.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "config")]
    upstream: Option<String>,
}

impl From<Source> for Origin {
    fn from(source: Source) -> Self {
        match source.upstream {
            Some(address) => Self::Upstream(address),
            None => Self::File(source.config),
        }
    }
}

fn main() -> ExitCode {
    let CommandLine { verb, run } = CommandLine::parse();
    let (source, aim) = match verb.unwrap_or(Verb::Run(run)) {
        Verb::Run(Run { source, takeover: false }) => (source, Aim::Run(Beginning::Alone)),
        Verb::Run(Run { source, takeover: true }) => (source, Aim::Run(Beginning::TakeOver)),
        Verb::Check(Check { source, connect: false }) => (source, Aim::Check),
        Verb::Check(Check { source, connect: true }) => (source, Aim::CheckCluster),
        Verb::Import(files) => return import(&files),
    };
    let undumpable = Undumpable::new();
    let origin = Origin::from(source);
    let settings = match origin.read(&Overrides::default()) {
        Ok(settings) => settings,
        Err(errors) => return fail(&errors),
    };
    let filter = std::env::var(telemetry::log::FILTER_VARIABLE).ok();
    let log = match telemetry::log::init(settings.log, filter.as_deref()) {
        Ok(log) => log,
        Err(error) => return fail(&error),
    };
    for warning in &settings.warnings {
        tracing::warn!(event = "config_warning", "{warning}");
    }
    undumpable.settle(settings.core_dumps);
    let result = match aim {
        Aim::Check => pgmesh::check(&settings),
        Aim::CheckCluster => check_cluster(&settings),
        Aim::Run(beginning) => pgmesh::run(Start { settings, origin, log, beginning }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn check_cluster(settings: &Settings) -> anyhow::Result<()> {
    pgmesh::check(settings)?;
    let Findings { bad, .. } = pgmesh::check_connections(settings, &mut std::io::stdout().lock())?;
    anyhow::ensure!(bad == 0, "{bad} of what was tried did not work");
    Ok(())
}

fn import(files: &ImportFiles) -> ExitCode {
    // There are passwords in what is read.
    Undumpable::new().settle(config::CoreDumps::Forbidden);
    match pgmesh::import(files, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

#[expect(clippy::print_stderr, reason = "what stops the start is said on the terminal")]
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("pgmesh: {error}");
    ExitCode::FAILURE
}
