//! `cargo xtask test`: everything a change must pass, in one command.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use testbed::{Interrupt, packages};

use crate::{drivers, fuzz, step, tidy};

type Check<'a> = Box<dyn Fn() -> anyhow::Result<()> + 'a>;

/// For how long what is random is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// As long as anybody would wait for.
    Usual,
    /// Ten minutes.
    Long,
}

/// Runs every step in order and stops at the first that fails.
pub(crate) fn run(length: Length, interrupt: &Interrupt) -> anyhow::Result<()> {
    let mut taken: Vec<(&str, Duration)> = Vec::new();
    for (name, check) in steps(length, interrupt) {
        println!("\n== {name}");
        let started = Instant::now();
        check().with_context(|| format!("step '{name}' failed"))?;
        taken.push((name, started.elapsed()));
    }
    println!("\nall steps passed:");
    for (name, time) in &taken {
        println!("{:>7.1}s  {name}", time.as_secs_f64());
    }
    let total: Duration = taken.iter().map(|(_, time)| *time).sum();
    println!("{:>7.1}s  in all", total.as_secs_f64());
    Ok(())
}

/// What needs no compiler comes first; the test runner comes last, so that its closing lines are
/// just above the summary. Only the dev profile is built, once; fuzzing compiles everything again,
/// with counters in it, on the first run.
fn steps<'a>(length: Length, interrupt: &'a Interrupt) -> Vec<(&'static str, Check<'a>)> {
    let cargo = move |arguments: &'static [&'static str]| -> Check<'a> {
        Box::new(move || step::run(&mut step::cargo(arguments), interrupt))
    };
    vec![
        ("packages", Box::new(install)),
        ("fmt", cargo(&["fmt", "--all", "--check"])),
        ("tidy", Box::new(tidy::run)),
        (
            "clippy",
            cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
        ),
        ("build", cargo(&["build", "--workspace", "--bins", "--tests"])),
        ("doc tests", cargo(&["test", "--workspace", "--doc", "--quiet"])),
        ("drivers", Box::new(move || drivers::run_briefly(interrupt))),
        ("fuzz", Box::new(move || fuzz::run_briefly(interrupt))),
        ("tests", Box::new(move || run_tests(length, interrupt))),
    ]
}

fn install() -> anyhow::Result<()> {
    let wanted = [
        &packages::CLUSTER[..],
        &packages::BUILD,
        &[packages::PSYCOPG, packages::SLAPD, packages::PROMETHEUS, packages::POSTGRES_EXPORTER],
        &packages::CONSOLE,
    ]
    .concat();
    let mut installed = packages::ensure(&wanted)?;
    // Ubuntu has none: the tests say then what they have not looked at.
    match packages::ensure(&[packages::CHROMIUM, packages::FONTS]) {
        Ok(names) => installed.extend(names),
        Err(error) => println!("no browser: {error}"),
    }
    match installed.as_slice() {
        [] => println!("nothing to install"),
        names => println!("installed {}", names.join(" ")),
    }
    Ok(())
}

fn run_tests(length: Length, interrupt: &Interrupt) -> anyhow::Result<()> {
    let mut tests = if has_nextest() {
        step::cargo(&["nextest", "run", "--workspace"])
    } else {
        println!("cargo-nextest is not installed; using cargo test");
        step::cargo(&["test", "--workspace", "--lib", "--bins", "--tests"])
    };
    if length == Length::Long {
        // The hunt for leaks reads it.
        tests.env("PGMESH_LONG", "1");
    }
    // For tests outside the binary's own package, which cargo does not tell where it is.
    let binary = step::target_directory()?.join("debug/pgmesh");
    step::run(tests.env("PGMESH_BIN", binary), interrupt)
}

fn has_nextest() -> bool {
    let mut version: Command = step::cargo(&["nextest", "--version"]);
    let version = version.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}
