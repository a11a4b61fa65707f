//! One round: clients at work, a fault, a new leader, and the account.

use std::time::{Duration, Instant};

use anyhow::Context;
use testbed::{Interrupt, until};

use super::audit;
use super::client::Phase;
use super::fault::Fault;
use super::figures::{Figures, Round};
use super::load::Load;
use super::options::{Crew, Extent};
use super::prober::{Handover, Prober};
use super::stage::Stage;
use super::table;

/// Undisturbed, before the fault.
const STEADY: Duration = Duration::from_secs(2);

/// From a fault to a new leader: the ttl of the leader key, and then some.
const LEADER: Duration = Duration::from_secs(120);

/// From a new leader to the last writer that writes again: PgBouncer waits 15 s after a failed
/// login to a server.
const SERVED: Duration = Duration::from_secs(60);

/// At the end, in which a leader that woke up or is heard again might do harm.
const TAIL: Duration = Duration::from_secs(5);

/// Runs one round on a cluster that is whole.
///
/// # Errors
/// The round could not be run to its end; what the clients saw is no error.
pub(crate) fn run(
    stage: &mut Stage,
    fault: Fault,
    number: usize,
    crew: Crew,
    extent: Extent,
) -> anyhow::Result<Round> {
    stage.wait_whole()?;
    table::empty(&stage.cluster)?;
    let leader = stage.cluster.leader()?.name().to_owned();
    let load = Load::start(&stage.runtime, &stage.logins(), crew, &stage.interrupt)?;
    let event = event(stage, &load, fault, &leader, number, extent);
    let records = load.stop(&stage.runtime);
    // Whatever went wrong, the next round wants a cluster that can become whole.
    let repaired = fault.repair(&mut stage.cluster, &leader);
    let (struck, handover) = event.with_context(|| fault.as_str())?;
    repaired?;
    let records = records?;
    stage.wait_leader()?;
    check_timeline(stage, handover.as_ref())?;
    stage.wait_cluster()?;
    check_timeline(stage, handover.as_ref())?;
    stage.wait_peers()?;
    let rows = table::read(&stage.cluster)?;
    let peers = records.iter().map(|(peer, records)| {
        let audit = audit::audit(records, &rows, handover.as_ref());
        (*peer, Figures::of(records, handover.as_ref(), audit))
    });
    let delay = handover.map(|handover| handover.writable.saturating_duration_since(struck));
    Ok(Round { fault, number, handover: delay, peers: peers.collect() })
}

/// Fails if the cluster has gone back to an older timeline than the one that took writes. Asked
/// before the cluster is made whole, too: that may take a promotion, and hide it.
fn check_timeline(stage: &Stage, handover: Option<&Handover>) -> anyhow::Result<()> {
    let after = table::tenure(&stage.cluster)?.timeline;
    match handover.map(|handover| handover.tenure.timeline) {
        // Seen with Patroni 3.0.2: a leader that wakes up between looking at the key and renewing
        // it writes it unconditionally, and its successor is thrown away with all that it took.
        Some(taken) if after < taken => anyhow::bail!(
            "Patroni went back from timeline {taken} to {after} and threw away what was written \
             meanwhile"
        ),
        _ => Ok(()),
    }
}

/// The fault and what follows, until the clients may end.
fn event(
    stage: &mut Stage,
    load: &Load,
    fault: Fault,
    leader: &str,
    number: usize,
    extent: Extent,
) -> anyhow::Result<(Instant, Option<Handover>)> {
    let interrupt = stage.interrupt.clone();
    pause(STEADY, &interrupt)?;
    let prober = Prober::start(&stage.cluster, leader)?;
    let struck = Instant::now();
    load.enter(Phase::Struck);
    let under_way = fault.strike(&mut stage.cluster, leader, number)?;
    let outage = fault.outage(extent);
    let restored = outage.map_or(Ok(()), |outage| {
        let waited = pause(outage, &interrupt);
        waited.and_then(|()| Ok(stage.cluster.etcd_mut().restart()?))
    });
    let within = if fault.interrupts() { LEADER } else { Duration::ZERO };
    let handover = restored.and_then(|()| prober.wait(within, &interrupt));
    drop(prober);
    load.enter(Phase::Settled);
    let served = load.wait_served(SERVED, &interrupt);
    fault.relent(&mut stage.cluster, leader)?;
    let handover = handover?;
    served?;
    under_way.conclude()?;
    if fault.interrupts() && handover.is_none() {
        anyhow::bail!("no new leader within {LEADER:?}");
    }
    pause(TAIL, &interrupt)?;
    Ok((struck, handover))
}

/// Lets time pass.
///
/// # Errors
/// Interrupted.
pub(crate) fn pause(time: Duration, interrupt: &Interrupt) -> anyhow::Result<()> {
    match until::<()>("time to pass", time, interrupt, || Ok(None)) {
        Err(testbed::Error::Interrupted) => Err(testbed::Error::Interrupted.into()),
        _ => Ok(()),
    }
}
