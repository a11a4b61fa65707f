//! `pgmesh`: the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use config::{Process, Settings};
use pgmesh::{ImportFiles, Undumpable};

/// A proxy in front of highly available Postgres: watches the leader in etcd, pools servers
/// in transaction mode, terminates TLS.
#[derive(Debug, Parser)]
#[command(name = "pgmesh", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve clients; the default.
    Run(Source),
    /// Read the configuration, report everything that is wrong with it, and end.
    Check(Source),
    /// Turn files of PgBouncer and HAProxy into a proxy.toml on standard output, and say what
    /// became of each line.
    Import(ImportFiles),
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

impl Source {
    fn load(&self) -> Result<Settings, config::Errors> {
        match &self.upstream {
            Some(address) => Settings::for_single_node(address, &Process),
            None => config::load(&self.config, &Process),
        }
    }
}

fn main() -> ExitCode {
    let CommandLine { verb, source } = CommandLine::parse();
    let (source, only_check) = match verb {
        None => (source, false),
        Some(Verb::Run(source)) => (source, false),
        Some(Verb::Check(source)) => (source, true),
        Some(Verb::Import(files)) => return import(&files),
    };
    let undumpable = Undumpable::new();
    let settings = match source.load() {
        Ok(settings) => settings,
        Err(errors) => return fail(&errors),
    };
    let filter = std::env::var(telemetry::log::FILTER_VARIABLE).ok();
    if let Err(error) = telemetry::log::init(settings.log, filter.as_deref()) {
        return fail(&error);
    }
    for warning in &settings.warnings {
        tracing::warn!(event = "config_warning", "{warning}");
    }
    undumpable.settle(settings.core_dumps);
    let result = if only_check { pgmesh::check(&settings) } else { pgmesh::run(settings) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
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
