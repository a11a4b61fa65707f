//! A crowd of idle clients through a switchover: all stay, and all that ask at once are answered soon.

use std::time::{Duration, Instant};

use anyhow::Context;
use testbed::{Login, raise_descriptor_limit};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{Connection, Phase};
use super::fault::Fault;
use super::figures::Counts;
use super::prober::Prober;
use super::record::Failure;
use super::stage::{Peer, Stage};

/// Logins under way at one time: enough to keep two processors busy.
const CONCURRENCY: usize = 32;

/// For all of them to log in.
const LOGINS: Duration = Duration::from_secs(300);

/// From the switchover to a new leader.
const LEADER: Duration = Duration::from_secs(60);

/// For the answers.
const ANSWERS: Duration = Duration::from_secs(60);

/// What became of a crowd.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd {
    pub(crate) clients: u32,
    pub(crate) disconnects: u32,
    /// Of those that asked, by SQLSTATE.
    pub(crate) errors: Counts,
    pub(crate) served: u32,
    /// From the new leader's first write to the last answer.
    pub(crate) last: Duration,
}

/// What became of one of them.
enum Fate {
    Served(Instant),
    Failed(Failure),
}

/// Connects them to pgmesh, switches over, and lets all of them ask at the moment when the new leader
/// accepts writes.
///
/// # Errors
/// They cannot all be connected, or there is no new leader.
pub(crate) fn run(stage: &mut Stage, clients: u32) -> anyhow::Result<Crowd> {
    raise_descriptor_limit();
    stage.wait_whole()?;
    let mut logins = stage.logins().into_iter();
    let (_, login) = logins.find(|(peer, _)| *peer == Peer::Pgmesh).context("no pgmesh")?;
    let (phase, watched) = watch::channel(Phase::Steady);
    let connections = stage.runtime.block_on(async {
        let connecting = connect(&login, clients, &watched);
        timeout(LOGINS, connecting).await.context("logins take too long")?
    })?;
    let leader = stage.cluster.leader()?.name().to_owned();
    let prober = Prober::start(&stage.cluster, &leader)?;
    let mut asking = JoinSet::new();
    for connection in connections {
        asking.spawn_on(ask(connection, watched.clone()), stage.runtime.handle());
    }
    phase.send_replace(Phase::Struck);
    let under_way = Fault::Switchover.strike(&mut stage.cluster, &leader, 0)?;
    let handover = prober.wait(LEADER, &stage.interrupt)?.context("no new leader")?;
    drop(prober);
    phase.send_replace(Phase::Settled);
    let mut crowd = Crowd { clients, ..Crowd::default() };
    let answers = async {
        while let Some(fate) = asking.join_next().await {
            match fate.context("a client panicked")? {
                Fate::Served(moment) => {
                    let after = moment.saturating_duration_since(handover.writable);
                    crowd.last = crowd.last.max(after);
                    crowd.served += 1;
                }
                Fate::Failed(failure) => {
                    crowd.disconnects += u32::from(!matches!(failure, Failure::Refused(_)));
                    *crowd.errors.entry(failure.state()).or_default() += 1;
                }
            }
        }
        anyhow::Ok(())
    };
    stage.runtime.block_on(async { timeout(ANSWERS, answers).await.context("no answers")? })?;
    under_way.conclude()?;
    stage.wait_whole()?;
    Ok(crowd)
}

async fn connect(
    login: &Login,
    clients: u32,
    phase: &watch::Receiver<Phase>,
) -> anyhow::Result<Vec<Connection>> {
    let (mut opening, mut missing) = (JoinSet::new(), clients);
    let mut connections = Vec::new();
    loop {
        while missing > 0 && opening.len() < CONCURRENCY {
            let (login, phase) = (login.clone(), phase.clone());
            opening.spawn(async move {
                let connection = Connection::open(&login, &phase).await?;
                connection.simple("SELECT 1").await?;
                Ok::<_, Failure>(connection)
            });
            missing -= 1;
        }
        let Some(opened) = opening.join_next().await else { return Ok(connections) };
        let opened = opened.context("a login panicked")?;
        let failed = |failure: Failure| {
            anyhow::anyhow!("login {} of {clients}: {}", connections.len() + 1, failure.state())
        };
        let connection = opened.map_err(failed)?;
        connections.push(connection);
    }
}

async fn ask(mut connection: Connection, mut phase: watch::Receiver<Phase>) -> Fate {
    let settled = async {
        let _ = phase.wait_for(|phase| *phase >= Phase::Settled).await;
    };
    tokio::select! {
        biased;
        () = connection.ended() => return Fate::Failed(Failure::Lost(None)),
        () = settled => {}
    }
    match connection.simple("SELECT 1").await {
        Ok(_) => Fate::Served(Instant::now()),
        Err(failure) => Fate::Failed(failure),
    }
}
