//! `cargo xtask bench`: pgmesh beside what it replaces and beside the bare relay, in front of one
//! Postgres.
//!
//! Rounds alternate between the peers, and ratios are taken within a round, because whatever else the
//! machine does changes from minute to minute and hits neighbours alike. benches/README.md says how
//! to read the table.

mod bars;
mod cell;
pub(crate) mod failover;
mod idle;
mod load;
mod logins;
mod machine;
mod options;
mod peer;
mod process;
mod report;
mod results;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use testbed::{APP_USER, Bed, Interrupt, Postgres, PostgresOptions, ServerTls, packages};

use self::cell::{Cell, Link};
use self::machine::Machine;
use self::options::Options;
use self::peer::{Backstage, POOL_SIZE, Peer, RELAY_CLIENTS_MAX, Running};
use self::results::{Idle, Load, Outcome, Results};
use crate::step;

/// More than idle clients take: HAProxy needs two for each, on either side of it PgBouncer and the
/// driver one.
const DESCRIPTORS_PER_CLIENT: u64 = 2;

/// Pools of PgBouncer in both modes, in front of which HAProxy may stand or not, and of two builds
/// of pgmesh.
const POOLS: u32 = 6;

/// For pgbench's own connections and ours.
const SPARE_SERVERS: u32 = 30;

/// For pgbench to fill its tables.
const TABLES: Duration = Duration::from_secs(120);

/// Words for the usage text of xtask.
pub(crate) fn usage() -> String {
    format!("{}\n\n{}", options::usage(), failover::usage())
}

/// Installs, builds, starts, measures, prints and writes.
pub(crate) fn run(arguments: &[&str], interrupt: &Interrupt) -> anyhow::Result<()> {
    match arguments {
        ["failover", "--help" | "-h"] => {
            println!("{}", failover::usage());
            return Ok(());
        }
        ["failover", arguments @ ..] => return failover::run(arguments, interrupt),
        _ => {}
    }
    let options = options::parse(arguments)?;
    let mut machine = Machine::look();
    let release = prepare(&options, interrupt)?;
    let descriptors = testbed::raise_descriptor_limit();
    let wanted = u64::from(options.idle_clients) * DESCRIPTORS_PER_CLIENT + 1000;
    if descriptors < wanted {
        println!("warning: {descriptors} descriptors are allowed, {wanted} may be needed");
    }
    let backstage = set_up(&options, release, descriptors, interrupt)?;
    let running = start(&options, &backstage, &mut machine)?;
    if let Some(warning) = machine.warning() {
        println!("warning: {warning}");
    }
    let mut results = Results::default();
    let cells = cell::cells(options.extent, &options.filter);
    for round in 0..options.rounds {
        for (index, cell) in cells.iter().enumerate() {
            for turn in 0..running.len() {
                let running = &running[(turn + round + index) % running.len()];
                let outcome = one(cell, running, &options, &backstage)?;
                describe(round, cell, running, &outcome);
                results.loads.push(Load { round, cell: *cell, peer: running.peer, outcome });
            }
        }
        logins::round(round, &running, &options, &backstage, &mut results)?;
    }
    // Idle clients are measured in fresh processes.
    drop(running);
    idle_clients(&options, &backstage, &mut results)?;
    conclude(&options, &results, &machine)
}

fn prepare(options: &Options, interrupt: &Interrupt) -> anyhow::Result<PathBuf> {
    let mut wanted = vec![packages::POSTGRESQL];
    let mut builds = vec![["build", "--release", "--package", "benches"]];
    for peer in &options.peers {
        match peer {
            Peer::Pgmesh => {
                wanted.extend(packages::BUILD);
                builds.push(["build", "--release", "--package", "pgmesh"]);
            }
            Peer::PgBouncer => wanted.push(packages::PGBOUNCER),
            Peer::HaProxy => wanted.extend([packages::PGBOUNCER, packages::HAPROXY]),
            Peer::Other | Peer::Relay => {}
        }
    }
    packages::ensure(&wanted)?;
    println!("building (release)");
    // One by one: together they would share features, and another pgmesh would be measured than the
    // one that is shipped.
    for build in builds {
        step::run(&mut step::cargo(&build), interrupt)?;
    }
    Ok(step::target_directory()?.join("release"))
}

fn set_up(
    options: &Options,
    release: PathBuf,
    descriptors: u64,
    interrupt: &Interrupt,
) -> anyhow::Result<Backstage> {
    let bed = Bed::new(interrupt.clone())?;
    let mut certificate = Command::new(release.join("certificate"));
    step::run(certificate.arg(bed.path()), interrupt)?;
    let read = |file: &str| fs::read_to_string(bed.path().join(file)).context("read a certificate");
    let tls =
        ServerTls { certificate: read("server.crt")?, key: read("server.key")?, client_ca: None };
    let servers = RELAY_CLIENTS_MAX + POOL_SIZE * POOLS + SPARE_SERVERS;
    let settings = vec![("max_connections".to_owned(), servers.to_string())];
    let (interrupt, other) = (interrupt.clone(), options.other.clone());
    let postgres = Postgres::start(PostgresOptions {
        settings,
        interrupt: interrupt.clone(),
        ..PostgresOptions::default()
    })
    .context("start Postgres")?;
    let mut tables = postgres.app().command("pgbench")?;
    tables.args(["--initialize", "--quiet"]);
    testbed::run(&mut tables, "", TABLES, &interrupt)?;
    let pgbouncer = options.pgbouncer.clone();
    let user = APP_USER.user;
    let verifier =
        postgres.psql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'"))?;
    let verifier = verifier.trim().to_owned();
    Ok(Backstage {
        postgres,
        release,
        other,
        pgbouncer,
        tls,
        verifier,
        bed,
        descriptors,
        interrupt,
    })
}

fn start(
    options: &Options,
    backstage: &Backstage,
    machine: &mut Machine,
) -> anyhow::Result<Vec<Running>> {
    let mut all = Vec::new();
    for &peer in &options.peers {
        let running = backstage.start(peer)?;
        if let Some(version) = running.version() {
            machine.versions.push((peer.as_str().to_owned(), version.to_owned()));
        }
        idle::warm(backstage, &running).with_context(|| running.log())?;
        all.push(running);
    }
    Ok(all)
}

/// One load; only an interrupt ends the bench.
fn one(
    cell: &Cell,
    running: &Running,
    options: &Options,
    backstage: &Backstage,
) -> anyhow::Result<Outcome> {
    let access = match running.access(cell) {
        Ok(access) => access,
        Err(reason) => return Ok(Outcome::Unfit(reason)),
    };
    let measured = load::measure(
        cell,
        &access.login,
        &running.processes,
        options.seconds,
        backstage.bed.path(),
        &backstage.interrupt,
    );
    match measured {
        Ok(figures) => Ok(Outcome::Measured { figures, note: access.note }),
        Err(_) if backstage.interrupt.raised() => Err(testbed::Error::Interrupted.into()),
        Err(error) => Ok(Outcome::Failed(format!("{error:#}"))),
    }
}

fn describe(round: usize, cell: &Cell, running: &Running, outcome: &Outcome) {
    let what = format!("{} {cell}: {}", round + 1, running.peer.as_str());
    match outcome {
        Outcome::Unfit(_) => {}
        Outcome::Failed(reason) => {
            println!("{what}: failed: {reason}\n{}", last_lines(&running.log()));
        }
        Outcome::Measured { figures, .. } => println!(
            "{what}: {:.0} tps, p50 {:.3} ms, p99 {:.3} ms, {:.1} µs",
            figures.tps,
            figures.p50 / 1e3,
            figures.p99 / 1e3,
            figures.cpu
        ),
    }
}

/// Enough to see why.
fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
}

fn idle_clients(
    options: &Options,
    backstage: &Backstage,
    results: &mut Results,
) -> anyhow::Result<()> {
    let clients = options.idle_clients;
    for link in [Link::Plain, Link::Tls] {
        if !options.filter.takes_idle(link) {
            continue;
        }
        for &peer in options.peers.iter().filter(|peer| peer.is_pooler()) {
            let memory = match idle::measure(backstage, peer, link, clients) {
                Err(_) if backstage.interrupt.raised() => {
                    return Err(testbed::Error::Interrupted.into());
                }
                result => result.map_err(|error| format!("{error:#}")),
            };
            let what = format!("{clients} idle clients, {}: {}", link.as_str(), peer.as_str());
            match &memory {
                Ok(memory) => println!("{what}: {memory:.2} KiB each"),
                Err(reason) => println!("{what}: failed: {reason}"),
            }
            results.idle.push(Idle { link, peer, clients, memory });
        }
    }
    Ok(())
}

fn conclude(options: &Options, results: &Results, machine: &Machine) -> anyhow::Result<()> {
    println!(
        "\n{}, {} processors, Linux {}",
        machine.processor, machine.processors, machine.kernel
    );
    for (name, version) in &machine.versions {
        println!("{name} {version}");
    }
    print!("{}", report::table(results, &options.peers));
    let comparison = report::comparison(results);
    if !comparison.is_empty() {
        print!("\nthe other build as a part of this one, extremes in parentheses\n{comparison}");
    }
    let verdicts = bars::verdicts(results);
    println!("\nbars");
    for verdict in &verdicts {
        println!("  {verdict}");
    }
    let short = verdicts.iter().filter(|verdict| !verdict.passes()).count();
    println!("  {} of {} fall short", short, verdicts.len());
    if let Some(noise) = results.noise(Peer::Relay) {
        println!("noise: the relay's own processor time varies by {:.0} %", noise * 100.0);
    }
    if let Some(warning) = machine.warning() {
        println!("warning: {warning}");
    }
    let directory = step::target_directory()?.join("bench");
    write(&directory, &report::json(results, &verdicts, machine))
}

fn write(directory: &Path, report: &serde_json::Value) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let path = directory.join(format!("{now}.json"));
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, format!("{report:#}\n")))
        .with_context(|| format!("write {}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}
