//! `cargo xtask suites`: the test suites of other people's drivers and frameworks, without pgmesh
//! and through it in transaction mode, and which of their tests differ.

mod outcome;
mod stage;
mod suite;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use testbed::{Bed, Interrupt, packages};

use crate::expected::Expected;
use crate::step;
use outcome::{End, Outcome, known_as};
use stage::{Stage, Way};
use suite::{Ready, Suite, Which};

/// The tests that cannot be as without a proxy, from the root of the workspace.
const LIST: &str = "tests/suites/expected.txt";

/// For a whole suite, in which a test has a limit of its own.
const SUITE: Duration = Duration::from_secs(3600);

/// More tests than this that differ are no chance.
const AGAIN: usize = 100;

const USAGE: &str = "\
usage: cargo xtask suites [NAME…] [OPTION…]
  names: psycopg psycopg2 asyncpg sqlalchemy django; without any, all whose tests are published
  --source DIR         a checkout of psycopg 3 in a version that PyPI has: its tests are not published
  --only WORD          tests with this in their names
  --direct, --pgmesh   the ways to go; without any of them, both
";

/// Words for the usage text of xtask.
pub(crate) fn usage() -> &'static str {
    USAGE
}

/// What the command line asks for.
#[derive(Debug, Default)]
struct Asked {
    suites: Vec<Suite>,
    source: Option<PathBuf>,
    only: Option<String>,
    direct: bool,
    pgmesh: bool,
}

impl Asked {
    fn parse(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut asked = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next().copied();
                value.with_context(|| format!("{argument} needs a value\n{USAGE}"))
            };
            match *argument {
                "--source" => asked.source = Some(value()?.into()),
                "--only" => asked.only = Some(value()?.to_owned()),
                "--direct" => asked.direct = true,
                "--pgmesh" => asked.pgmesh = true,
                name => {
                    let suite = Suite::named(name);
                    asked
                        .suites
                        .push(suite.with_context(|| format!("not understood: {name}\n{USAGE}"))?);
                }
            }
        }
        if asked.suites.is_empty() {
            let has_tests = |suite: &Suite| *suite != Suite::Psycopg || asked.source.is_some();
            asked.suites = Suite::ALL.into_iter().filter(has_tests).collect();
        }
        if !asked.direct && !asked.pgmesh {
            (asked.direct, asked.pgmesh) = (true, true);
        }
        Ok(asked)
    }
}

/// Runs suites and prints which of their tests differ.
///
/// # Errors
/// What is not understood, what cannot be set up, or a test that differs through pgmesh and is
/// not in the list of those that must.
pub(crate) fn run(arguments: &[&str], interrupt: &Interrupt) -> anyhow::Result<()> {
    let asked = Asked::parse(arguments)?;
    let expected = Expected::load(LIST, Suite::named)?;
    packages::ensure(&[packages::POSTGRESQL])?;
    let pgmesh = if asked.pgmesh { Some(step::pgmesh(interrupt)?) } else { None };
    let mut unknown = 0;
    for &suite in &asked.suites {
        let name = suite.name();
        let ready = suite
            .prepare(asked.source.as_deref(), interrupt)
            .with_context(|| format!("prepare {name}"))?;
        println!("\n{name} {}", ready.version);
        let on = |way: Way| -> anyhow::Result<Outcome> {
            let which = asked.only.as_deref().map_or(Which::All, Which::Word);
            let outcome = run_one(suite, &ready, &way, which, interrupt)
                .with_context(|| format!("{name}, {way}"))?;
            println!("{}", line(&way, &outcome));
            Ok(outcome)
        };
        let direct = if asked.direct { Some(on(Way::Direct)?) } else { None };
        if let Some(binary) = &pgmesh {
            let way = Way::Pgmesh(binary.clone());
            let outcome = on(way.clone())?;
            let worse: Vec<String> =
                outcome.worse_than(direct.as_ref()).map(str::to_owned).collect();
            let again = run_again(suite, &ready, &way, &worse, &expected, interrupt)
                .with_context(|| format!("{name}, again"))?;
            let (text, worse) = differences(suite, &worse, &again, &expected);
            print!("{text}");
            unknown += worse;
        }
    }
    if unknown > 0 {
        bail!("{unknown} tests differ through pgmesh");
    }
    Ok(())
}

/// Runs the modules again in which tests differ and are not known to: what then passes has differed by
/// chance. A test by itself would not do: it may rely on what another has left.
fn run_again(
    suite: Suite,
    ready: &Ready,
    way: &Way,
    worse: &[String],
    expected: &Expected<Suite>,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let is_unknown = |test: &&String| expected.reason(suite, &known_as(test)).is_none();
    let unknown: Vec<&String> = worse.iter().filter(is_unknown).collect();
    if unknown.is_empty() || unknown.len() > AGAIN {
        return Ok(Outcome::default());
    }
    let modules: BTreeSet<String> = unknown.iter().map(|test| suite.module_of(test)).collect();
    let modules: Vec<String> = modules.into_iter().collect();
    run_one(suite, ready, way, Which::Modules(&modules), interrupt)
}

/// Runs tests of a suite once, on a server of its own, and keeps what was printed and logged.
fn run_one(
    suite: Suite,
    ready: &Ready,
    way: &Way,
    which: Which<'_>,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let again = if matches!(which, Which::Modules(_)) { "-again" } else { "" };
    let out = step::target_directory()?.join("suites/out");
    let out = out.join(format!("{}-{way}{again}", suite.name()));
    if out.exists() {
        fs::remove_dir_all(&out).context("remove the results of an earlier run")?;
    }
    fs::create_dir_all(&out).context("make a directory for the results")?;
    let stage = Stage::new(way, suite.sql(), interrupt)?;
    let bed = Bed::new(interrupt.clone())?;
    let report = out.join("report.txt");
    let mut command = suite.command(ready, &stage, which, bed.path())?;
    command.env("SUITES_REPORT", &report);
    let started = Instant::now();
    let ended = testbed::run(&mut command, "", SUITE, interrupt);
    let took = started.elapsed();
    let printed = match ended {
        Ok(output) | Err(testbed::Error::Command { output, .. }) => output,
        Err(testbed::Error::Timeout { log, .. }) => log,
        Err(error) => return Err(error.into()),
    };
    fs::write(out.join("printed.txt"), &printed).context("keep what was printed")?;
    stage.keep_logs(&out)?;
    let outcome = Outcome::read(&fs::read_to_string(report).unwrap_or_default(), took);
    if outcome.ends.is_empty() && !matches!(which, Which::Modules(_)) {
        bail!("no test was run; the suite printed:\n{printed}");
    }
    Ok(outcome)
}

fn line(way: &Way, outcome: &Outcome) -> String {
    let count = |end| outcome.count(end);
    format!(
        "  {way:7} {:5} passed {:4} failed {:4} skipped {:6.1} s",
        count(End::Passed),
        count(End::Failed),
        count(End::Skipped),
        outcome.took.as_secs_f64(),
    )
}

/// The tests that differ with what is known of each, and how many are not known. `again` has
/// what was run once more.
fn differences(
    suite: Suite,
    worse: &[String],
    again: &Outcome,
    expected: &Expected<Suite>,
) -> (String, usize) {
    let mut text = String::new();
    let mut unknown = 0;
    for test in worse {
        let reason = match expected.reason(suite, &known_as(test)) {
            Some(reason) => reason,
            None if again.ends.get(test) == Some(&End::Passed) => "passes when run again",
            None => {
                unknown += 1;
                "NOT KNOWN"
            }
        };
        let _ = writeln!(text, "    {test}: {reason}");
    }
    (text, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_read() {
        Expected::load(LIST, Suite::named).unwrap();
    }

    #[test]
    fn what_is_published_is_run_if_nothing_is_named() {
        let asked = Asked::parse(&[]).unwrap();
        assert!(!asked.suites.contains(&Suite::Psycopg) && asked.suites.len() == 4);
        assert!(asked.direct && asked.pgmesh);
        let asked = Asked::parse(&["--source", "/x", "--pgmesh", "--only", "notify"]).unwrap();
        assert_eq!(asked.suites.len(), 5);
        assert!(!asked.direct && asked.only.as_deref() == Some("notify"));
        let asked = Asked::parse(&["django"]).unwrap();
        assert_eq!(asked.suites, [Suite::Django]);
        for wrong in [&["--only"][..], &["other"], &["--quick"]] {
            assert!(Asked::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_difference_that_is_not_known_is_counted_unless_it_was_by_chance() {
        let worse = ["a", "b"].map(str::to_owned);
        let again = Outcome::read("passed a\nfailed b\n", Duration::ZERO);
        let (text, unknown) = differences(Suite::Django, &worse, &again, &Expected::default());
        assert_eq!(unknown, 1);
        assert_eq!(text, "    a: passes when run again\n    b: NOT KNOWN\n");
    }
}
