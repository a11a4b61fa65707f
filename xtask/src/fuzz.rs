//! `cargo xtask fuzz`: the targets of fuzz/ under libFuzzer.
//!
//! The toolchain is the usual one: the flags that put coverage counters into the code are stable,
//! and a sanitizer would look for what `forbid(unsafe_code)` rules out. libFuzzer itself is C++
//! and compiled on the way; where that cannot be done, the suite says so and goes on, for the
//! corpora are replayed by the tests of pgmesh on any machine.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, bail};
use testbed::{Interrupt, until};

use crate::step;

/// In the suite, of each target.
const SUITE_SECONDS: u64 = 20;

/// By hand, of each target.
const SECONDS: u64 = 60;

/// What an input may cost. Nothing here is read that needs more.
const LIMITS: [&str; 2] = ["-rss_limit_mb=1024", "-timeout=10"];

/// Counters for every edge, and the operands of comparisons, so that what is compared with can be
/// guessed.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Words for the usage text of xtask.
pub(crate) fn usage() -> String {
    let targets = targets().unwrap_or_default().join(" ");
    format!("usage: cargo xtask fuzz [TARGET…] [--seconds N]\n  targets: {targets}")
}

/// Runs the targets that are named, or all.
///
/// # Errors
/// What is not understood, a harness that cannot be built, or an input that broke something.
pub(crate) fn run(arguments: &[&str], interrupt: &Interrupt) -> anyhow::Result<()> {
    let known = targets()?;
    let (mut chosen, mut seconds) = (Vec::new(), SECONDS);
    let mut arguments = arguments.iter();
    while let Some(&argument) = arguments.next() {
        if argument == "--seconds" {
            let value = arguments.next().context("--seconds wants a number")?;
            seconds = value.parse().with_context(|| format!("--seconds {value}"))?;
        } else if known.iter().any(|target| target == argument) {
            chosen.push(argument.to_owned());
        } else {
            bail!("no target '{argument}'\n{}", usage());
        }
    }
    let fuzz = Fuzz::new()?;
    fuzz.build_harness(interrupt)?;
    fuzz.build(interrupt)?;
    fuzz.run(if chosen.is_empty() { &known } else { &chosen }, seconds, interrupt)
}

/// Runs every target for a short time, where libFuzzer can be built.
///
/// # Errors
/// A target that does not compile, or an input that broke something.
pub(crate) fn run_briefly(interrupt: &Interrupt) -> anyhow::Result<()> {
    let fuzz = Fuzz::new()?;
    if let Err(error) = fuzz.build_harness(interrupt) {
        if interrupt.raised() {
            return Err(error);
        }
        println!("libFuzzer cannot be built here, so nothing is fuzzed: {error:#}");
        println!("the corpora in fuzz/corpus are replayed by the tests all the same");
        return Ok(());
    }
    fuzz.build(interrupt)?;
    fuzz.run(&targets()?, SUITE_SECONDS, interrupt)
}

/// Every target, by its file.
fn targets() -> anyhow::Result<Vec<String>> {
    let directory = step::root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&directory).context("list fuzz/fuzz_targets")?;
    let mut targets = Vec::new();
    for entry in entries {
        let path = entry.context("list fuzz/fuzz_targets")?.path();
        targets.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    targets.sort();
    Ok(targets)
}

/// Where things are.
struct Fuzz {
    /// Of this machine, by name: with a target that is named, cargo leaves build scripts and
    /// procedural macros without counters.
    host: String,
    /// Apart from that of the workspace: everything is compiled with other flags.
    target_directory: PathBuf,
}

impl Fuzz {
    fn new() -> anyhow::Result<Self> {
        let version = Command::new("rustc").arg("-vV").output().context("run rustc -vV")?;
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        Ok(Self {
            host: host.context("rustc -vV names no host")?.to_owned(),
            target_directory: step::target_directory()?.join("fuzz"),
        })
    }

    /// libFuzzer alone, which may fail for reasons that are not ours.
    fn build_harness(&self, interrupt: &Interrupt) -> anyhow::Result<()> {
        step::run(&mut self.cargo(&["--package", "libfuzzer-sys"]), interrupt)
    }

    fn build(&self, interrupt: &Interrupt) -> anyhow::Result<()> {
        step::run(&mut self.cargo(&["--bins"]), interrupt)
    }

    fn cargo(&self, what: &[&str]) -> Command {
        let mut cargo = step::cargo(&["build", "--manifest-path", "fuzz/Cargo.toml"]);
        cargo.args(what).args(["--target", &self.host, "--target-dir"]);
        cargo.arg(&self.target_directory).env("RUSTFLAGS", FLAGS.join(" "));
        cargo
    }

    /// As many at a time as there are processors; every one to its end, so that each failure is
    /// seen.
    fn run(&self, targets: &[String], seconds: u64, interrupt: &Interrupt) -> anyhow::Result<()> {
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let mut failed = Vec::new();
        for targets in targets.chunks(at_once) {
            let mut running = Vec::new();
            for target in targets {
                running.push((target, self.start(target, seconds)?));
            }
            for (target, mut child) in running {
                let ended = until(target, Duration::MAX, interrupt, || {
                    // An error here would mean that somebody else has waited for our child.
                    Ok(child.try_wait().ok().flatten())
                });
                if ended.is_err() {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                if !ended?.success() {
                    failed.push(target.as_str());
                }
                self.report(target)?;
            }
        }
        if !failed.is_empty() {
            bail!("fuzz/artifacts has an input that breaks {}", failed.join(", "));
        }
        Ok(())
    }

    fn start(&self, target: &str, seconds: u64) -> anyhow::Result<Child> {
        let found = self.target_directory.join("corpus").join(target);
        let root = step::root();
        let (corpus, artifacts) = (root.join("fuzz/corpus"), root.join("fuzz/artifacts"));
        for directory in [&found, &artifacts] {
            let created = fs::create_dir_all(directory);
            created.with_context(|| format!("create {}", directory.display()))?;
        }
        let log = File::create(self.log(target)).context("create the log of a target")?;
        let binary = self.target_directory.join(&self.host).join("debug").join(target);
        Command::new(binary)
            .args(LIMITS)
            .arg("-print_final_stats=1")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/{target}-", artifacts.display()))
            .args([found, corpus.join(target)])
            .stdout(log.try_clone().context("share the log of a target")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {target}"))
    }

    fn log(&self, target: &str) -> PathBuf {
        self.target_directory.join(format!("{target}.log"))
    }

    fn report(&self, target: &str) -> anyhow::Result<()> {
        let path = self.log(target);
        let log = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let log = String::from_utf8_lossy(&log);
        let figures = Figures::read(&log);
        println!(
            "{target:>14}: {:>9} executions, {:>7} a second, {:>5} edges",
            figures.executions, figures.per_second, figures.edges,
        );
        if let Some(fault) = fault(&log) {
            println!("{fault}\n(more in {})", path.display());
        }
        Ok(())
    }
}

/// What libFuzzer says at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    executions: u64,
    per_second: u64,
    edges: u64,
}

impl Figures {
    fn read(log: &str) -> Self {
        let stat = |name: &str| {
            let value = log.lines().rev().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse().ok()
        };
        // As in `#358125 DONE   cov: 2904 ft: 9222 corp: …`.
        let edges = log.lines().rev().find_map(|line| {
            let mut words = line.split_whitespace().skip_while(|word| *word != "cov:").skip(1);
            words.next()?.parse().ok()
        });
        Self {
            executions: stat("stat::number_of_executed_units:").unwrap_or_default(),
            per_second: stat("stat::average_exec_per_sec:").unwrap_or_default(),
            edges: edges.unwrap_or_default(),
        }
    }
}

/// What went wrong, if something did: the panic, or libFuzzer's own complaint.
fn fault(log: &str) -> Option<String> {
    let is_fault = |line: &&str| line.contains("panicked at") || line.contains("ERROR: libFuzzer");
    let at = log.lines().position(|line| is_fault(&line))?;
    Some(log.lines().skip(at).take(2).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_end() {
        let log = "#2\tINITED cov: 10 ft: 11\n#9\tDONE   cov: 29 ft: 92 corp: 9/16Kb\n\
                   stat::number_of_executed_units: 358125\nstat::average_exec_per_sec:     32556\n";
        let figures = Figures { executions: 358_125, per_second: 32_556, edges: 29 };
        assert_eq!(Figures::read(log), figures);
        assert_eq!(fault(log), None);
        assert_eq!(Figures::read(""), Figures::default());
    }

    #[test]
    fn a_panic_is_told_with_its_place() {
        let log = "#1\nthread 'main' panicked at src/a.rs:1:1:\nwhy\n==1== ERROR: libFuzzer: x\n";
        let told = "thread 'main' panicked at src/a.rs:1:1:\nwhy";
        assert_eq!(fault(log).as_deref(), Some(told));
    }

    #[test]
    fn every_target_has_a_corpus() {
        let root = step::root();
        for target in targets().unwrap() {
            assert!(root.join("fuzz/corpus").join(&target).is_dir(), "{target}");
        }
    }
}
