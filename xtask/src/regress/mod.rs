//! `cargo xtask regress`: PostgreSQL's own tests, without a proxy and through one, and which of
//! them differ.
//!
//! They are the judge of transaction mode: each test is one session of hundreds of statements that
//! rely on what the statements before have left.

mod entries;
mod outcome;
mod report;
mod sources;
mod stage;
mod suite;
mod tester;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use testbed::Interrupt;

use crate::expected::Expected;
use crate::step;
use report::Run;
use stage::Way;
use suite::{Lending, Plan, Schedule, Sequences, Suite};

/// The tests that cannot be as without a proxy, from the root of the workspace.
const LIST: &str = "tests/regress/expected.txt";

/// More of them, if a test does not keep its server for its sequences.
const FORGOTTEN_LIST: &str = "tests/regress/expected-forget.txt";

/// For one test: many times what the longest takes without a proxy.
const LIMIT: Duration = Duration::from_secs(300);

const USAGE: &str = "\
usage: cargo xtask regress [regress | isolation] [OPTION…]
  --schedule parallel | serial   up to 20 tests at a time (the default), or one
  --shuffle                      one at a time, through a pgmesh that lends another of 8 servers
                                 for every transaction
  --forget-sequences             pgmesh with state.sequences = forget: a test does not keep a
                                 server from its first INSERT on, so more of them change theirs
  --only TEST,…                  these, after the one that every test relies on
  --direct, --pgmesh             the ways to go; without any of them, both
  --pgbouncer PATH               this PgBouncer in transaction mode, too
  --limit SECONDS                for one test, 300 without it: then it is killed
";

/// Words for the usage text of xtask.
pub(crate) fn usage() -> &'static str {
    USAGE
}

/// What the command line asks for.
#[derive(Debug)]
struct Asked {
    plan: Plan,
    direct: bool,
    pgmesh: bool,
    pgbouncer: Option<PathBuf>,
}

impl Asked {
    fn parse(arguments: &[&str]) -> anyhow::Result<Self> {
        let plan = Plan {
            suite: Suite::Regress,
            schedule: Schedule::Parallel,
            lending: Lending::Usual,
            sequences: Sequences::Kept,
            only: Vec::new(),
            limit: LIMIT,
        };
        let mut asked = Self { plan, direct: false, pgmesh: false, pgbouncer: None };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next().copied();
                value.with_context(|| format!("{argument} needs a value\n{USAGE}"))
            };
            match *argument {
                "--schedule" => {
                    asked.plan.schedule = match value()? {
                        "parallel" => Schedule::Parallel,
                        "serial" => Schedule::Serial,
                        other => bail!("no schedule '{other}'\n{USAGE}"),
                    }
                }
                "--shuffle" => {
                    asked.plan.schedule = Schedule::Serial;
                    asked.plan.lending = Lending::Shuffled;
                }
                "--forget-sequences" => asked.plan.sequences = Sequences::Forgotten,
                "--only" => asked.plan.only.extend(value()?.split(',').map(str::to_owned)),
                "--direct" => asked.direct = true,
                "--pgmesh" => asked.pgmesh = true,
                "--pgbouncer" => asked.pgbouncer = Some(value()?.into()),
                "--limit" => {
                    let seconds = value()?.parse().context("--limit takes seconds")?;
                    asked.plan.limit = Duration::from_secs(seconds);
                }
                name => {
                    let suite = Suite::named(name);
                    asked.plan.suite =
                        suite.with_context(|| format!("not understood: {name}\n{USAGE}"))?;
                }
            }
        }
        if !asked.direct && !asked.pgmesh && asked.pgbouncer.is_none() {
            (asked.direct, asked.pgmesh) = (true, true);
        }
        Ok(asked)
    }

    /// What is known to differ.
    fn expected(&self) -> anyhow::Result<Expected<Suite>> {
        let always = Expected::load(LIST, Suite::named)?;
        Ok(match self.plan.sequences {
            Sequences::Forgotten => always.and(Expected::load(FORGOTTEN_LIST, Suite::named)?),
            Sequences::Kept => always,
        })
    }

    /// Without a proxy first: the others are measured by that.
    fn ways(&self, interrupt: &Interrupt) -> anyhow::Result<Vec<Way>> {
        let mut ways = Vec::new();
        if self.direct {
            ways.push(Way::Direct);
        }
        if self.pgmesh {
            ways.push(Way::Pgmesh(step::pgmesh(interrupt)?));
        }
        ways.extend(self.pgbouncer.clone().map(Way::PgBouncer));
        Ok(ways)
    }
}

/// Runs a suite in every way that is asked for, and prints which tests differ.
///
/// # Errors
/// What is not understood, what cannot be set up, or a test that differs through pgmesh and is
/// not in the list of those that must.
pub(crate) fn run(arguments: &[&str], interrupt: &Interrupt) -> anyhow::Result<()> {
    let asked = Asked::parse(arguments)?;
    let expected = asked.expected()?;
    let ways = asked.ways(interrupt)?;
    let sources = sources::prepare(interrupt)?;
    let (suite, order) = (asked.plan.suite.name(), asked.plan.order());
    println!("the suite {suite} of {}, {order}", sources.version);
    let out = step::target_directory()?.join("regress/out");
    let mut runs: Vec<Run> = Vec::new();
    for way in ways {
        let kept = out.join(format!("{suite}-{way}-{order}{}", asked.plan.sequences.suffix()));
        println!("{way}: running; results will be in {}", kept.display());
        let outcome = suite::run(&asked.plan, &way, &sources, &kept, interrupt)
            .with_context(|| way.to_string())?;
        runs.push(Run { way, outcome });
    }
    print!("\n{}", report::render(asked.plan.suite, &runs, &expected));
    judge(&asked, &runs, &expected)
}

/// Whether no other test differs through pgmesh than is known.
fn judge(asked: &Asked, runs: &[Run], expected: &Expected<Suite>) -> anyhow::Result<()> {
    let suite = asked.plan.suite;
    let direct = report::direct(runs);
    let Some(pgmesh) = runs.iter().find(|run| matches!(run.way, Way::Pgmesh(_))) else {
        return Ok(());
    };
    let unknown = |(name, _): &(&str, _)| {
        expected.reason_of(suite, name, pgmesh.outcome.parts(name)).is_none()
    };
    let worse = pgmesh.outcome.worse_than(direct).filter(unknown).count();
    if worse > 0 {
        bail!("{worse} tests differ through pgmesh");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_can_be_read() {
        let of = |arguments: &[&str]| {
            let expected = Asked::parse(arguments).unwrap().expected().unwrap();
            expected.of(Suite::Regress).contains(&"sequence")
        };
        assert!(!of(&[]) && of(&["--forget-sequences"]));
    }

    #[test]
    fn both_ways_are_gone_unless_one_is_named() {
        let asked = Asked::parse(&[]).unwrap();
        assert!(asked.direct && asked.pgmesh && asked.pgbouncer.is_none());
        let asked = Asked::parse(&["--pgmesh"]).unwrap();
        assert!(!asked.direct && asked.pgmesh);
        let asked = Asked::parse(&["--pgbouncer", "/p"]).unwrap();
        assert!(!asked.direct && !asked.pgmesh && asked.pgbouncer.is_some());
    }

    #[test]
    fn a_plan_is_read() {
        let arguments = ["isolation", "--schedule", "serial", "--only", "a,b", "--limit", "7"];
        let plan = Asked::parse(&arguments).unwrap().plan;
        assert_eq!((plan.suite, plan.schedule), (Suite::Isolation, Schedule::Serial));
        assert_eq!((plan.only, plan.limit.as_secs()), (vec!["a".to_owned(), "b".to_owned()], 7));
        let shuffled = Asked::parse(&["--shuffle"]).unwrap().plan;
        assert_eq!((shuffled.schedule, shuffled.order()), (Schedule::Serial, "shuffled"));
        for wrong in [&["--schedule"][..], &["--schedule", "x"], &["--shuffled"], &["--limit", "x"]]
        {
            assert!(Asked::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
