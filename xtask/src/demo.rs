//! `cargo xtask demo`: pgmesh in front of a real Patroni cluster, on this machine.

use std::time::{Duration, Instant};

use anyhow::Context;
use testbed::{
    Cluster, ClusterOptions, Error, Interrupt, Login, Pgmesh, PgmeshOptions, packages, until,
};

use crate::bench::failover;
use crate::step;

/// Whether the demo ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    Once,
    UntilInterrupted,
}

/// Clients of the benchmark, threads that drive them, and its length in seconds.
const BENCHMARK: [&str; 6] =
    ["--client=8", "--jobs=2", "--time=5", "--select-only", "--no-vacuum", "--protocol=prepared"];

/// Installs, builds, starts, measures and prints; what was started ends with the returned result.
pub(crate) fn run(stay: Stay, interrupt: &Interrupt) -> anyhow::Result<()> {
    let wanted = [&packages::CLUSTER[..], &packages::BUILD].concat();
    packages::ensure(&wanted)?;

    println!("building pgmesh (release)");
    step::run(&mut step::cargo(&["build", "--release", "--package", "pgmesh"]), interrupt)?;
    let binary = step::target_directory()?.join("release/pgmesh");

    println!("starting one etcd and three Patroni nodes");
    let started = Instant::now();
    let cluster = Cluster::start(ClusterOptions {
        scope: "demo".to_owned(),
        failsafe: true,
        synchronous: true,
        interrupt: interrupt.clone(),
        ..ClusterOptions::default()
    })
    .context("start the cluster")?;
    println!("cluster ready after {:.1} s", started.elapsed().as_secs_f64());

    let options = PgmeshOptions { interrupt: interrupt.clone(), ..PgmeshOptions::new(binary) };
    let pgmesh = Pgmesh::start_with(&options, |ports| ports.toml_for_cluster(&cluster))
        .context("start pgmesh")?;
    if let Err(error) = benchmark(&pgmesh.app(), interrupt) {
        if !interrupt.raised() {
            eprintln!("{}\npgmesh logged:\n{}", cluster.tails(), pgmesh.log());
        }
        return Err(error);
    }
    pgmesh.metrics().context("read the metrics")?;
    describe(&cluster, &pgmesh)?;
    let (_cluster, mut pgmesh) = failover::show(cluster, pgmesh, interrupt)?;
    match stay {
        Stay::Once => Ok(()),
        Stay::UntilInterrupted => wait(&mut pgmesh, interrupt),
    }
}

/// pgbench's own tables, then its read-only script, both through pgmesh.
fn benchmark(app: &Login, interrupt: &Interrupt) -> anyhow::Result<()> {
    println!("\npgbench through pgmesh");
    step::run(app.command("pgbench")?.args(["--initialize", "--quiet"]), interrupt)?;
    step::run(app.command("pgbench")?.args(BENCHMARK), interrupt)
}

fn describe(cluster: &Cluster, pgmesh: &Pgmesh) -> anyhow::Result<()> {
    let Login { port, user, password, database, .. } = pgmesh.app();
    let leader = cluster.leader()?;
    let patroni = cluster.bed().path().join(leader.name()).join("patroni.yml");
    println!("\nleader    {} on port {}", leader.name(), leader.port());
    println!("pgmesh    PGPASSWORD={password} psql -h 127.0.0.1 -p {port} -U {user} {database}");
    println!("metrics   {}", pgmesh.metrics_url());
    println!("patroni   patronictl -c {} list", patroni.display());
    Ok(())
}

/// Until Ctrl-C, which is the good end; pgmesh ending by itself is the bad one.
fn wait(pgmesh: &mut Pgmesh, interrupt: &Interrupt) -> anyhow::Result<()> {
    println!("\nCtrl-C ends it and removes everything");
    match until("end of pgmesh", Duration::MAX, interrupt, || pgmesh.exited()) {
        Err(Error::Interrupted) => {
            println!("\nstopping");
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(status) => Err(anyhow::anyhow!("pgmesh ended ({status})\n{}", pgmesh.log())),
    }
}
