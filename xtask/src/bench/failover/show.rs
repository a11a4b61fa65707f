//! One switchover under load, for the demo.

use anyhow::Context;
use testbed::{Cluster, Interrupt, Pgmesh};

use super::fault::Fault;
use super::figures::millis;
use super::options::{Crew, Extent};
use super::report::counts;
use super::round;
use super::stage::Stage;

/// Enough to see something, on any machine.
const CREW: Crew = Crew { writers: 20, idle: 20, held: 5 };

/// Switches a synchronous cluster over while clients write through pgmesh, and prints what they saw.
/// Gives back what it was given.
///
/// # Errors
/// The switchover could not be done, or an acknowledged write is missing.
pub(crate) fn show(
    cluster: Cluster,
    pgmesh: Pgmesh,
    interrupt: &Interrupt,
) -> anyhow::Result<(Cluster, Pgmesh)> {
    let Crew { writers, idle, held } = CREW;
    println!(
        "\nswitching over under {writers} clients that write, {idle} that are idle and {held} with an \
         open transaction"
    );
    let mut stage = Stage::before(cluster, pgmesh, interrupt)?;
    let before = stage.cluster.leader()?.name().to_owned();
    let round = round::run(&mut stage, Fault::Switchover, 0, CREW, Extent::Quick)?;
    let after = stage.cluster.leader()?.name().to_owned();
    let (_, figures) = round.peers.first().context("nobody was there")?;
    let away = round.handover.map(millis).unwrap_or_default();
    let pause = figures.pauses.first().copied().map(millis).unwrap_or_default();
    println!("from {before} to {after}, which took its first write {away:.0} ms after the request");
    println!("the longest pause that a client saw: {pause:.0} ms");
    println!(
        "disconnects: {} of writers, {} of idle clients; errors: {}",
        figures.writers_between + figures.writers_during,
        figures.idle,
        counts("", &figures.errors)
    );
    println!("open transactions ended in: {}", counts("", &figures.held_ends));
    let audit = &figures.audit;
    println!(
        "writes: {} acknowledged, {} of them lost, {} applied twice",
        audit.acknowledged, audit.lost, audit.twice
    );
    anyhow::ensure!(audit.lost + audit.twice + audit.two_node == 0, "writes were lost or doubled");
    stage.into_parts().context("pgmesh is gone")
}
