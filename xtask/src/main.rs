//! Developer verbs: `cargo xtask demo | test | bench | drivers | suites | regress | fuzz | tidy`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints")]

mod bench;
mod demo;
mod drivers;
mod expected;
mod fuzz;
mod regress;
mod step;
mod suite;
mod suites;
mod tidy;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use testbed::Interrupt;

const USAGE: &str = "\
Usage: cargo xtask <verb>

  demo [--once]   a three-node Patroni cluster with pgmesh in front, until Ctrl-C;
                  with --once it ends by itself
  test [--long]   everything a change must pass; with --long, what is random takes ten minutes
  bench [--quick] processor time, latency and memory beside PgBouncer, HAProxy and a bare relay;
                  bench --help has more
  bench failover  what clients see of switchovers, crashes and partitions, beside HAProxy with
                  PgBouncer; bench failover --help has more
  drivers [NAME…] programs of other people's drivers against pgmesh, and docs/compatibility.md;
                  drivers --help has the names
  suites [NAME…]  other people's test suites, without pgmesh and through it, and which of their
                  tests differ; suites --help has more
  regress [OPTION…]
                  PostgreSQL's own tests, without pgmesh and through it, and which of them differ;
                  regress --help has more
  fuzz [TARGET…] [--seconds N]
                  hostile input for every parser, under libFuzzer; fuzz --help has the targets
  tidy            the rules of the house that a machine can check
";

/// What a shell reports for a program that was interrupted.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match interrupt().and_then(|interrupt| run(&arguments, &interrupt)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if matches!(error.downcast_ref(), Some(testbed::Error::Interrupted)) => {
            eprintln!("xtask: interrupted");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str], interrupt: &Interrupt) -> anyhow::Result<()> {
    match arguments {
        ["demo"] => demo::run(demo::Stay::UntilInterrupted, interrupt),
        ["demo", "--once"] => demo::run(demo::Stay::Once, interrupt),
        ["test"] => suite::run(suite::Length::Usual, interrupt),
        ["test", "--long"] => suite::run(suite::Length::Long, interrupt),
        ["tidy"] => tidy::run(),
        ["bench", "--help" | "-h"] => {
            println!("{}", bench::usage());
            Ok(())
        }
        ["bench", arguments @ ..] => bench::run(arguments, interrupt),
        ["drivers", "--help" | "-h"] => {
            println!("{}", drivers::usage());
            Ok(())
        }
        ["drivers", arguments @ ..] => drivers::run(arguments, interrupt),
        ["suites", "--help" | "-h"] => {
            print!("{}", suites::usage());
            Ok(())
        }
        ["suites", arguments @ ..] => suites::run(arguments, interrupt),
        ["regress", "--help" | "-h"] => {
            print!("{}", regress::usage());
            Ok(())
        }
        ["regress", arguments @ ..] => regress::run(arguments, interrupt),
        ["fuzz", "--help" | "-h"] => {
            println!("{}", fuzz::usage());
            Ok(())
        }
        ["fuzz", arguments @ ..] => fuzz::run(arguments, interrupt),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown arguments: {}\n{USAGE}", arguments.join(" ")),
    }
}

/// An interrupt raised by the first Ctrl-C, SIGTERM or hang-up; a second one ends the process, and
/// the beds' janitors clean up.
fn interrupt() -> anyhow::Result<Interrupt> {
    let raised = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&raised))
            .and_then(|_| flag::register(signal, Arc::clone(&raised)))
            .context("register a signal handler")?;
    }
    Ok(Interrupt::on(raised))
}
