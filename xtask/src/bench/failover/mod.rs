//! `cargo xtask bench failover`: what clients see when the leader is lost, through pgmesh and through
//! what it replaces.
//!
//! All peers stand in front of the same cluster and see the same faults at the same time. The cluster
//! replicates synchronously, so that Patroni itself loses no acknowledged write. benches/README.md says
//! how to read the table.

mod audit;
mod bars;
mod client;
mod crowd;
mod fault;
mod figures;
mod load;
mod options;
mod prober;
mod record;
mod report;
mod roles;
mod round;
mod show;
mod stage;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use testbed::{Interrupt, Network, packages};

use self::fault::Fault;
use self::options::Options;
use self::report::Results;
use self::stage::{Peer, Stage};
use super::machine::Machine;
use crate::step;

pub(crate) use self::options::usage;
pub(crate) use self::show::show;

/// Installs, builds, starts, breaks, prints and writes.
pub(crate) fn run(arguments: &[&str], interrupt: &Interrupt) -> anyhow::Result<()> {
    let options = options::parse(arguments)?;
    let mut machine = Machine::look();
    let binary = prepare(&options, interrupt)?;
    testbed::raise_descriptor_limit();
    let mut stage = Stage::set_up(&options, &binary, interrupt)?;
    for running in &stage.running {
        println!("{}: {}", running.peer.as_str(), running.peer.way());
        if let Some(version) = running.version() {
            machine.versions.push(("pgbouncer".to_owned(), version.to_owned()));
        }
    }
    let mut results = Results::default();
    let ended = measure(&mut stage, &options, &binary, &mut results);
    let directory = step::target_directory()?.join("bench");
    fs::create_dir_all(&directory).context("make a directory for results")?;
    stage.keep_logs(&directory.join("failover-logs"))?;
    // What was measured until something ended it is worth printing.
    if !results.is_empty() {
        conclude(&options, &results, &machine, &directory)?;
    }
    if ended.is_err() && !interrupt.raised() {
        eprintln!("{}", stage.cluster.tails());
    }
    ended
}

fn prepare(options: &Options, interrupt: &Interrupt) -> anyhow::Result<PathBuf> {
    let mut wanted = packages::CLUSTER.to_vec();
    if options.faults.contains(&Fault::Partition) {
        wanted.push(packages::IPROUTE);
    }
    if options.peers.iter().any(|peer| *peer != Peer::Pgmesh) {
        wanted.extend([packages::PGBOUNCER, packages::HAPROXY]);
    }
    let builds = options.peers.contains(&Peer::Pgmesh) && options.pgmesh.is_none();
    if builds {
        wanted.extend(packages::BUILD);
    }
    packages::ensure(&wanted)?;
    if let Some(binary) = &options.pgmesh {
        return Ok(binary.clone());
    }
    if builds {
        println!("building pgmesh (release)");
        step::run(&mut step::cargo(&["build", "--release", "--package", "pgmesh"]), interrupt)?;
    }
    Ok(step::target_directory()?.join("release/pgmesh"))
}

/// All rounds of all faults, then the crowd.
fn measure(
    stage: &mut Stage,
    options: &Options,
    binary: &Path,
    results: &mut Results,
) -> anyhow::Result<()> {
    for number in 0..options.rounds {
        for &fault in &options.faults {
            if fault == Fault::Partition && stage.cluster.options().network != Network::Namespaces {
                if number == 0 {
                    let reason = "no network that can be cut".to_owned();
                    results.failures.push((fault, number, reason));
                }
                continue;
            }
            match round::run(stage, fault, number, options.crew, options.extent) {
                Ok(round) => {
                    println!("{}", report::line(&round));
                    results.rounds.push(round);
                }
                Err(error) if stage.interrupt.raised() => return Err(error),
                Err(error) => {
                    println!("{} {} failed: {error:#}", fault.as_str(), number + 1);
                    results.failures.push((fault, number, first_line(&error)));
                    stage.restart_peers(options, binary)?;
                    // A cluster that is broken for good ends the bench.
                    stage.wait_whole().context("the cluster does not come back")?;
                }
            }
        }
    }
    if let Some(clients) = options.crowd {
        println!("connecting {clients} idle clients");
        results.crowd = Some(crowd::run(stage, clients).context("the crowd")?);
    }
    Ok(())
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

fn conclude(
    options: &Options,
    results: &Results,
    machine: &Machine,
    directory: &Path,
) -> anyhow::Result<()> {
    print!("{}", report::table(results, &options.peers));
    let verdicts = bars::verdicts(&results.rounds, results.crowd.as_ref());
    println!("\nbars of pgmesh");
    for verdict in &verdicts {
        println!("  {verdict}");
    }
    let missed = verdicts.iter().filter(|verdict| !verdict.is_met()).count();
    println!("  {missed} of {} missed", verdicts.len());
    println!("Patroni's synchronous mode: what was acknowledged is on the next leader, too");
    if let Some(warning) = machine.warning() {
        println!("warning: {warning}");
    }
    let path = directory.join("failover.json");
    let report = report::json(results, &options.peers, &verdicts, machine);
    fs::write(&path, format!("{report:#}\n"))
        .with_context(|| format!("write {}", path.display()))?;
    println!("written to {}, what everybody logged beside it", path.display());
    Ok(())
}
