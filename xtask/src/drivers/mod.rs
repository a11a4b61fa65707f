//! `cargo xtask drivers`: the programs of tests/drivers against pgmesh, in a table for
//! docs/compatibility.md.
//!
//! One Postgres and one pgmesh, both with TLS, in transaction mode and with fewer servers than a
//! program has connections. Each program is run without pgmesh, too: what fails there as well is
//! not pgmesh's doing, and what fails only there is a check that shows nothing.

mod checks;
mod driver;
mod gaps;
mod stage;
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, bail};
use testbed::{Interrupt, packages};

use crate::step;
use checks::{Report, Verdict};
use driver::{Driver, Unready};
use stage::{Stage, Way};
use table::Row;

/// Where the table goes, from the root of the workspace.
const TABLE: &str = "docs/compatibility.md";

/// For all checks of one program; each waits for far less by itself.
const PROGRAM: Duration = Duration::from_secs(300);

/// When a program is run without pgmesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Always,
    /// Only one that failed.
    Failures,
}

/// What became of all programs.
struct Round {
    /// The version of the server.
    server: String,
    rows: Vec<Row>,
}

/// Words for the usage text of xtask.
pub(crate) fn usage() -> String {
    let names: Vec<&str> = Driver::ALL.map(Driver::name).to_vec();
    format!("usage: cargo xtask drivers [NAME…]\n  names: {}", names.join(" "))
}

/// Runs the drivers that are named; or all, and writes the table.
///
/// # Errors
/// What is not understood, what cannot be set up, or a check that failed and is no known gap. A
/// driver that cannot be had here is not an error.
pub(crate) fn run(arguments: &[&str], interrupt: &Interrupt) -> anyhow::Result<()> {
    let mut chosen = Vec::new();
    for name in arguments {
        let driver = Driver::ALL.into_iter().find(|driver| driver.name() == *name);
        chosen.push(driver.with_context(|| format!("no driver '{name}'\n{}", usage()))?);
    }
    packages::ensure(&packages::BUILD)?;
    if env::var_os("PGMESH_BIN").is_none() {
        step::run(&mut step::cargo(&["build", "--package", "pgmesh"]), interrupt)?;
    }
    let all = chosen.is_empty();
    let drivers = if all { &Driver::ALL[..] } else { &chosen };
    let round = run_some(drivers, Compare::Always, interrupt)?;
    if all {
        let path = step::root().join(TABLE);
        fs::write(&path, table::render(&round.server, &round.rows))
            .with_context(|| format!("write {TABLE}"))?;
        println!("\n{TABLE} is written");
    }
    judge(&round.rows)
}

/// Runs the drivers that need no other toolchain, with the pgmesh that is built already.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_briefly(interrupt: &Interrupt) -> anyhow::Result<()> {
    judge(&run_some(&Driver::BRIEF, Compare::Failures, interrupt)?.rows)
}

fn run_some(drivers: &[Driver], compare: Compare, interrupt: &Interrupt) -> anyhow::Result<Round> {
    let binary = match env::var_os("PGMESH_BIN") {
        Some(binary) => PathBuf::from(binary),
        None => step::target_directory()?.join("debug/pgmesh"),
    };
    packages::ensure(&[packages::POSTGRESQL, packages::OPENSSL])?;
    let stage = Stage::new(binary, interrupt)?;
    let mut rows = Vec::new();
    for &driver in drivers {
        println!("\n{}", driver.title());
        let row = run_one(driver, compare, &stage, interrupt)?;
        print!("{}", table::lines(&row));
        rows.push(row);
    }
    Ok(Round { server: stage.server_version()?, rows })
}

fn run_one(
    driver: Driver,
    compare: Compare,
    stage: &Stage,
    interrupt: &Interrupt,
) -> anyhow::Result<Row> {
    let program = match driver.prepare(interrupt) {
        Ok(program) => program,
        Err(_) if interrupt.raised() => return Err(testbed::Error::Interrupted.into()),
        Err(Unready::Missing(reason)) => {
            return Ok(Row { driver, outcome: Err(format!("{reason:#}")) });
        }
        Err(Unready::Broken(error)) => return Err(error.context(driver.name())),
    };
    let report = |way| -> anyhow::Result<Report> {
        let mut command = program.command();
        stage.environment(&mut command, way);
        let started = Instant::now();
        let ended = testbed::run(&mut command, "", PROGRAM, interrupt);
        if matches!(ended, Err(testbed::Error::Interrupted)) {
            return Err(testbed::Error::Interrupted.into());
        }
        println!("  {:.1} s {way}", started.elapsed().as_secs_f64());
        Ok(Report::read(ended))
    };
    let mut found = report(Way::Pgmesh)?;
    gaps::mark(driver, &mut found);
    if compare == Compare::Always || found.failures().next().is_some() {
        found.compare(&report(Way::Direct)?);
    }
    Ok(Row { driver, outcome: Ok(found) })
}

/// Whether what was found is what is known.
fn judge(rows: &[Row]) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    let mut missing = Vec::new();
    let mut passed = 0;
    for row in rows {
        let Ok(report) = &row.outcome else {
            missing.push(row.driver.name());
            continue;
        };
        for (check, reason) in report.failures() {
            wrong.push(format!("{}: {check}: {reason}", row.driver.name()));
        }
        wrong.extend(gaps::closed(row.driver, report));
        passed += report.count(&Verdict::Passed);
    }
    if !wrong.is_empty() {
        bail!("not as it should be:\n  {}", wrong.join("\n  "));
    }
    println!("\n{passed} checks of {} drivers passed", rows.len() - missing.len());
    if !missing.is_empty() {
        println!("not run: {}", missing.join(", "));
    }
    Ok(())
}
