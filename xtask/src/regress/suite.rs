//! PostgreSQL's suites, and running one of them once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use testbed::{Bed, Interrupt, SUPERUSER, Signal, programs, until};

use super::outcome::Outcome;
use super::sources::Sources;
use super::stage::{Stage, Way};

/// For a whole suite, in which each test has a limit of its own.
const SUITE: Duration = Duration::from_secs(4 * 3600);

/// To copy the files of a suite.
const COPY: Duration = Duration::from_secs(120);

/// A step of the isolation tester that waits for what never comes. Its own default is longer than
/// our limit for a whole test.
const ISOLATION_STEP: &str = "20";

/// What every test relies on; the schedule begins with it.
const FIRST: &str = "test_setup";

/// A test suite of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    /// `src/test/regress`.
    Regress,
    /// `src/test/isolation`.
    Isolation,
}

/// In which order a suite's tests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// Up to 20 at a time.
    Parallel,
    /// One at a time.
    Serial,
}

/// Which of its servers pgmesh lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lending {
    /// The one that was used last.
    Usual,
    /// The one that has been idle for longest, of several that are there from the first on.
    Shuffled,
}

/// What of a session's sequences pgmesh keeps behind a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequences {
    /// All, with the server, its default: nearly every test has one of its own from its first
    /// INSERT on.
    Kept,
    /// Nothing.
    Forgotten,
}

/// What is run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) suite: Suite,
    pub(super) schedule: Schedule,
    pub(super) lending: Lending,
    pub(super) sequences: Sequences,
    /// Nothing but these, if there are any.
    pub(super) only: Vec<String>,
    /// For one test, which is killed then.
    pub(super) limit: Duration,
}

impl Suite {
    /// The suite of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Regress, Self::Isolation].into_iter().find(|suite| suite.name() == name)
    }

    /// Its directory in `src/test`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Regress => "regress",
            Self::Isolation => "isolation",
        }
    }

    /// The database that it is run in.
    pub(super) fn database(self) -> &'static str {
        match self {
            Self::Regress => "regression",
            Self::Isolation => "isolation_regression",
        }
    }

    fn driver(self) -> &'static str {
        match self {
            Self::Regress => "pg_regress",
            Self::Isolation => "pg_isolation_regress",
        }
    }

    fn schedule(self) -> &'static str {
        match self {
            Self::Regress => "parallel_schedule",
            Self::Isolation => "isolation_schedule",
        }
    }
}

impl Sequences {
    /// For the names of directories.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Kept => "",
            Self::Forgotten => "-forgotten",
        }
    }
}

impl Plan {
    /// For the names of directories: how the suite gets into the servers' way.
    pub(super) fn order(&self) -> &'static str {
        match (self.lending, self.schedule) {
            (Lending::Shuffled, _) => "shuffled",
            (Lending::Usual, Schedule::Parallel) => "parallel",
            (Lending::Usual, Schedule::Serial) => "serial",
        }
    }
}

/// Runs a suite once, on a server of its own, and leaves what was printed and logged in `out`.
///
/// # Errors
/// Nothing could be started, or the suite did not come to run its tests.
pub(super) fn run(
    plan: &Plan,
    way: &Way,
    sources: &Sources,
    out: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let stage = Stage::new(way, plan, interrupt)?;
    let bed = Bed::new(interrupt.clone())?;
    let results = bed.private_directory("output")?;
    let mut driver = driver(plan, sources, &bed, &results, stage.port(), interrupt)?;
    let started = Instant::now();
    let mut running = bed.spawn("regress", &mut driver, Signal::KILL)?;
    let ended = until("the end of the suite", SUITE, interrupt, || running.exited());
    let took = started.elapsed();
    if ended.is_err() {
        running.kill();
    }
    let printed = running.log();
    keep(&results, out, interrupt)?;
    fs::write(out.join("printed.txt"), &printed).context("keep what was printed")?;
    stage.keep_logs(out)?;
    match ended {
        Ok(_) | Err(testbed::Error::Timeout { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let diffs = fs::read(out.join("regression.diffs")).unwrap_or_default();
    let outcome = Outcome::read(&printed, &String::from_utf8_lossy(&diffs), took);
    if outcome.ends.is_empty() {
        bail!("no test was run; pg_regress printed:\n{printed}");
    }
    Ok(outcome)
}

/// A command that runs the suite, with copies of all that it reads: what it runs as need not be
/// able to read anything of ours.
fn driver(
    plan: &Plan,
    sources: &Sources,
    bed: &Bed,
    results: &Path,
    port: u16,
    interrupt: &Interrupt,
) -> anyhow::Result<Command> {
    let suite = plan.suite;
    copy(&sources.suite(suite.name()), &bed.path().join("suite"), interrupt)?;
    copy(&sources.libraries(), &bed.path().join("lib"), interrupt)?;
    // Each looks for the tester beside itself.
    let program = bed.path().join(suite.driver());
    copy(&installed_driver(suite)?, &program, interrupt)?;
    copy(&sources.tester(), &bed.path().join("isolationtester"), interrupt)?;

    let psql = programs::find_postgres("psql")?;
    let binaries = psql.parent().context("psql is in no directory")?;
    let inputs = bed.path().join("suite");
    let mut driver = Command::new(program);
    driver
        .env_clear()
        .env("PATH", std::env::join_paths([binaries, Path::new("/usr/bin"), Path::new("/bin")])?)
        .env("HOME", "/nonexistent")
        .env("PGISOLATIONTIMEOUT", ISOLATION_STEP)
        .arg(format!("--bindir={}", binaries.display()))
        .arg(format!("--inputdir={}", inputs.display()))
        .arg(format!("--outputdir={}", results.display()))
        .arg(format!("--dlpath={}", bed.path().join("lib").display()))
        .arg("--host=127.0.0.1")
        .arg(format!("--port={port}"))
        .arg(format!("--user={}", SUPERUSER.user))
        .arg("--use-existing")
        .arg("--max-concurrent-tests=20")
        .arg(format!(
            "--launcher=timeout --foreground --kill-after=10 {}",
            plan.limit.as_secs().max(1)
        ))
        .current_dir(bed.path());
    if plan.schedule == Schedule::Serial {
        driver.arg("--max-connections=1");
    }
    if plan.only.is_empty() {
        driver.arg(format!("--schedule={}", inputs.join(suite.schedule()).display()));
    } else if suite == Suite::Regress {
        driver.arg(FIRST);
    }
    driver.args(plan.only.iter().filter(|test| *test != FIRST));
    bed.demote(&mut driver);
    Ok(driver)
}

/// Debian has the drivers in the package of the client programs.
fn installed_driver(suite: Suite) -> anyhow::Result<PathBuf> {
    let psql = programs::find_postgres("psql")?;
    let package = psql.parent().and_then(Path::parent).context("psql is in no directory")?;
    let tests = package.join("lib/pgxs/src/test");
    let driver = tests.join(suite.name()).join(suite.driver());
    if !driver.is_file() {
        bail!("no such program {}: Debian's postgresql-client has it", driver.display());
    }
    Ok(driver)
}

fn copy(from: &Path, to: &Path, interrupt: &Interrupt) -> anyhow::Result<()> {
    let mut copy = Command::new("cp");
    copy.args(["--recursive", "--no-target-directory"]).args([from, to]);
    testbed::run(&mut copy, "", COPY, interrupt)
        .with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}

/// Puts what was written where it stays, in the place of an earlier run's.
fn keep(results: &Path, out: &Path, interrupt: &Interrupt) -> anyhow::Result<()> {
    if out.exists() {
        fs::remove_dir_all(out).context("remove the results of an earlier run")?;
    }
    fs::create_dir_all(out).context("make a directory for the results")?;
    copy(results, out, interrupt)
}
