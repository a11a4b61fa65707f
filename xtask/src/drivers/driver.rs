//! The drivers: what each needs and how its program is run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use testbed::packages::{self, Package};
use testbed::{Interrupt, programs};

use crate::step;

/// Where the programs are, from the root of the workspace.
const PROGRAMS: &str = "tests/drivers";

/// For installing or compiling what one program needs; sqlx alone is 150 crates.
const PREPARATION: Duration = Duration::from_secs(1200);

/// As PyPI has it, with libpq compiled in.
const PSYCOPG: &str = "psycopg[binary]==3.3.9";

/// As PyPI has it.
const ASYNCPG: &str = "asyncpg==0.32.0";

/// A driver with a program of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    Psql,
    Psycopg,
    /// From PyPI, with a newer libpq inside.
    PsycopgNewer,
    Asyncpg,
    /// From PyPI.
    AsyncpgNewer,
    Jdbc,
    NodePostgres,
    Pgx,
    Npgsql,
    TokioPostgres,
    Sqlx,
}

/// Why there is no program to run.
#[derive(Debug)]
pub(super) enum Unready {
    /// What it needs cannot be had here.
    Missing(anyhow::Error),
    /// It can be had, but nothing came of it.
    Broken(anyhow::Error),
}

/// A program that can be run, as often as wanted.
pub(super) struct Program {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Program {
    fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    fn argument(mut self, argument: &Path) -> Self {
        self.arguments.push(argument.display().to_string());
        self
    }

    fn environment(mut self, name: &'static str, value: PathBuf) -> Self {
        self.environment.push((name, value));
        self
    }

    /// A command that runs it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Driver {
    /// In the order of the table.
    pub(super) const ALL: [Self; 11] = [
        Self::Psql,
        Self::Psycopg,
        Self::PsycopgNewer,
        Self::Asyncpg,
        Self::AsyncpgNewer,
        Self::Jdbc,
        Self::NodePostgres,
        Self::Pgx,
        Self::Npgsql,
        Self::TokioPostgres,
        Self::Sqlx,
    ];

    /// Those that need nothing but small packages.
    pub(super) const BRIEF: [Self; 3] = [Self::Psql, Self::Psycopg, Self::Asyncpg];

    /// For the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Psql => "psql",
            Self::Psycopg => "psycopg",
            Self::PsycopgNewer => "psycopg-newer",
            Self::Asyncpg => "asyncpg",
            Self::AsyncpgNewer => "asyncpg-newer",
            Self::Jdbc => "jdbc",
            Self::NodePostgres => "node-postgres",
            Self::Pgx => "pgx",
            Self::Npgsql => "npgsql",
            Self::TokioPostgres => "tokio-postgres",
            Self::Sqlx => "sqlx",
        }
    }

    /// For the table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Psql => "psql, pgbench (libpq)",
            Self::Psycopg => "psycopg 3",
            Self::PsycopgNewer => "psycopg 3, newer",
            Self::AsyncpgNewer => "asyncpg, newer",
            Self::Jdbc => "PostgreSQL JDBC",
            Self::Npgsql => "Npgsql",
            Self::Asyncpg | Self::NodePostgres | Self::Pgx | Self::TokioPostgres | Self::Sqlx => {
                self.name()
            }
        }
    }

    fn packages(self) -> &'static [Package] {
        match self {
            Self::Psql => &[packages::POSTGRESQL],
            Self::Psycopg => &[packages::PSYCOPG],
            Self::Asyncpg => &[packages::ASYNCPG],
            Self::Jdbc => &[packages::JDK, packages::JDBC],
            Self::NodePostgres => &[packages::NODE, packages::NPM],
            Self::Pgx => &[packages::GO, packages::PGX],
            Self::PsycopgNewer
            | Self::AsyncpgNewer
            | Self::Npgsql
            | Self::TokioPostgres
            | Self::Sqlx => &[],
        }
    }

    /// Installs and compiles what the program needs.
    ///
    /// # Errors
    /// Whether it cannot be had here, or does not compile.
    pub(super) fn prepare(self, interrupt: &Interrupt) -> Result<Program, Unready> {
        packages::ensure(self.packages()).map_err(missing)?;
        let sources = step::root().join(PROGRAMS);
        let python = |script: &str| {
            Ok(Program::new(programs::SYSTEM_PYTHON).argument(&sources.join("python").join(script)))
        };
        match self {
            Self::Psql => Ok(Program::new("/bin/bash")
                .argument(&sources.join("psql/drive.sh"))
                .environment("PSQL", programs::find_postgres("psql").map_err(missing)?)
                .environment("PGBENCH", programs::find_postgres("pgbench").map_err(missing)?)),
            Self::Psycopg => python("drive_psycopg.py"),
            Self::PsycopgNewer => newer(&sources, "drive_psycopg.py", PSYCOPG, interrupt),
            Self::Asyncpg => python("drive_asyncpg.py"),
            Self::AsyncpgNewer => newer(&sources, "drive_asyncpg.py", ASYNCPG, interrupt),
            Self::Jdbc => jdbc(&sources, interrupt),
            Self::NodePostgres => node_postgres(&sources, interrupt),
            Self::Pgx => pgx(&sources, interrupt),
            Self::Npgsql => Err(Unready::Missing(anyhow::anyhow!(
                "it is published on NuGet alone, and the run uses no more than Debian, crates.io, \
                 PyPI and npm"
            ))),
            Self::TokioPostgres => rust(&sources, "tokio_postgres", interrupt),
            Self::Sqlx => rust(&sources, "sqlx", interrupt),
        }
    }
}

fn missing(error: testbed::Error) -> Unready {
    Unready::Missing(error.into())
}

/// A directory for what is made of a program.
fn made(name: &str) -> Result<PathBuf, Unready> {
    let create = || {
        let directory = step::target_directory()?.join("drivers").join(name);
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("create {}", directory.display()))?;
        Ok(directory)
    };
    create().map_err(Unready::Broken)
}

/// Fetches something of `registry`, and prints only when that fails.
fn fetch(registry: &str, command: &mut Command, interrupt: &Interrupt) -> Result<(), Unready> {
    testbed::run(command, "", PREPARATION, interrupt)
        .with_context(|| format!("fetch from {registry}"))
        .map_err(Unready::Missing)?;
    Ok(())
}

/// Compiles a program, and prints only when that fails.
fn compile(command: &mut Command, interrupt: &Interrupt) -> Result<(), Unready> {
    testbed::run(command, "", PREPARATION, interrupt)
        .context("compile the program")
        .map_err(Unready::Broken)?;
    Ok(())
}

/// With what PyPI has, for the Python that is first on PATH.
fn newer(
    sources: &Path,
    script: &str,
    requirement: &str,
    interrupt: &Interrupt,
) -> Result<Program, Unready> {
    let directory = made("python")?;
    let python = programs::find("python3").map_err(missing)?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--only-binary=:all:", "--target"]);
    fetch("PyPI", pip.arg(&directory).arg(requirement), interrupt)?;
    Ok(Program::new(python)
        .argument(&sources.join("python").join(script))
        .environment("PYTHONPATH", directory))
}

fn jdbc(sources: &Path, interrupt: &Interrupt) -> Result<Program, Unready> {
    let directory = made("jdbc")?;
    let mut javac = Command::new(programs::find("javac").map_err(missing)?);
    javac.arg("-d").arg(&directory).args(["-cp", packages::JDBC_ARCHIVE]);
    compile(javac.arg(sources.join("jdbc/Drive.java")), interrupt)?;
    let classes = format!("{}:{}", packages::JDBC_ARCHIVE, directory.display());
    Ok(Program::new(programs::find("java").map_err(missing)?)
        .argument(Path::new("-cp"))
        .argument(Path::new(&classes))
        .argument(Path::new("Drive")))
}

fn node_postgres(sources: &Path, interrupt: &Interrupt) -> Result<Program, Unready> {
    let directory = made("node")?;
    // Modules are looked for beside the program.
    for file in ["package.json", "drive.js"] {
        std::fs::copy(sources.join("node").join(file), directory.join(file))
            .with_context(|| format!("copy {file}"))
            .map_err(Unready::Broken)?;
    }
    let mut npm = Command::new(programs::find("npm").map_err(missing)?);
    npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]);
    fetch("npm's registry", npm.current_dir(&directory), interrupt)?;
    let node = programs::find("node").map_err(missing)?;
    Ok(Program::new(node).argument(&directory.join("drive.js")))
}

fn pgx(sources: &Path, interrupt: &Interrupt) -> Result<Program, Unready> {
    let directory = made("pgx")?;
    let program = directory.join("drive");
    let mut go = Command::new(programs::find("go").map_err(missing)?);
    // Debian's libraries are no modules.
    go.env("GO111MODULE", "off")
        .env("GOPATH", packages::GO_LIBRARIES)
        .env("GOCACHE", directory.join("cache"))
        .env("GOFLAGS", "")
        .args(["build", "-o"])
        .arg(&program)
        .arg(sources.join("pgx/drive.go"));
    compile(&mut go, interrupt)?;
    // The library does not know its own version.
    let mut query = Command::new(programs::find("dpkg-query").map_err(missing)?);
    query.args(["--show", "--showformat=${Version}", packages::PGX.name()]);
    let version = testbed::run(&mut query, "", PREPARATION, interrupt).map_err(missing)?;
    Ok(Program::new(program).argument(Path::new(&version)))
}

fn rust(sources: &Path, name: &str, interrupt: &Interrupt) -> Result<Program, Unready> {
    let directory = made("rust")?;
    let manifest = sources.join("rust/Cargo.toml");
    let mut cargo = step::cargo(&["fetch", "--quiet", "--locked", "--manifest-path"]);
    fetch("crates.io", cargo.arg(&manifest), interrupt)?;
    let mut cargo = step::cargo(&["build", "--quiet", "--offline", "--locked", "--bin", name]);
    cargo.arg("--target-dir").arg(&directory).arg("--manifest-path").arg(manifest);
    compile(&mut cargo, interrupt)?;
    Ok(Program::new(directory.join("debug").join(name)))
}
