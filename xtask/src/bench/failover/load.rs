//! The clients of all peers in one round.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use testbed::{Interrupt, Login, until};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{Phase, Seat};
use super::options::Crew;
use super::record::Record;
use super::roles;
use super::stage::Peer;

/// For all clients to log in and be answered once.
const READY: Duration = Duration::from_secs(60);

/// For the last statements of a round.
const END: Duration = Duration::from_secs(30);

/// Numbers of clients: a peer's begin at a multiple of this, its idle and held ones further on.
const PEER_STEP: i32 = 3000;
const IDLE_FROM: i32 = 1000;
const HELD_FROM: i32 = 2000;

/// The running clients of all peers.
pub(crate) struct Load {
    phase: watch::Sender<Phase>,
    crews: Vec<Running>,
}

/// The running clients of a peer.
struct Running {
    peer: Peer,
    crew: Crew,
    seat: Seat,
    tasks: JoinSet<Record>,
}

impl Load {
    /// Starts the clients of each peer and waits until each was answered once.
    ///
    /// # Errors
    /// Some of them were not.
    pub(crate) fn start(
        runtime: &Runtime,
        peers: &[(Peer, Login)],
        crew: Crew,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let (phase, _) = watch::channel(Phase::Steady);
        let crews = peers.iter().zip((0..).step_by(PEER_STEP as usize)).map(|(peer, base)| {
            let (peer, login) = peer;
            let seat = Seat {
                login: login.clone(),
                phase: phase.subscribe(),
                ready: Arc::new(AtomicUsize::new(0)),
                served: Arc::new(AtomicUsize::new(0)),
            };
            let tasks = spawn(runtime, &seat, crew, base);
            Running { peer: *peer, crew, seat, tasks }
        });
        let load = Self { crews: crews.collect(), phase };
        for running in &load.crews {
            let all = (crew.writers + crew.idle + crew.held) as usize;
            let what = format!("answers to all clients of {}", running.peer.as_str());
            let ready = || Ok((running.seat.ready.load(Ordering::Relaxed) >= all).then_some(()));
            until(&what, READY, interrupt, ready).with_context(|| {
                let answered = running.seat.ready.load(Ordering::Relaxed);
                format!("{answered} of {all} clients were answered")
            })?;
        }
        Ok(load)
    }

    /// Tells all clients where the round is.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until every writer of every peer has written since all is settled. Those that have not
    /// in time show in their records.
    ///
    /// # Errors
    /// Interrupted.
    pub(crate) fn wait_served(
        &self,
        within: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<()> {
        let served = || {
            let mut crews = self.crews.iter();
            let all = crews.all(|running| {
                running.seat.served.load(Ordering::Relaxed) >= running.crew.writers as usize
            });
            Ok(all.then_some(()))
        };
        match until("all writers served", within, interrupt, served) {
            Err(testbed::Error::Interrupted) => Err(testbed::Error::Interrupted.into()),
            _ => Ok(()),
        }
    }

    /// Ends all clients and returns what they have seen.
    ///
    /// # Errors
    /// A client that does not end, or panicked.
    pub(crate) fn stop(self, runtime: &Runtime) -> anyhow::Result<Vec<(Peer, Vec<Record>)>> {
        self.enter(Phase::Over);
        runtime.block_on(async {
            let mut all = Vec::new();
            for mut running in self.crews {
                let mut records = Vec::new();
                let join = async {
                    while let Some(record) = running.tasks.join_next().await {
                        records.push(record.context("a client panicked")?);
                    }
                    anyhow::Ok(())
                };
                timeout(END, join).await.context("clients do not end")??;
                all.push((running.peer, records));
            }
            Ok(all)
        })
    }
}

fn spawn(runtime: &Runtime, seat: &Seat, crew: Crew, base: i32) -> JoinSet<Record> {
    let mut tasks = JoinSet::new();
    let handle = runtime.handle();
    for number in (base..).take(crew.writers as usize) {
        tasks.spawn_on(roles::write(seat.clone(), number), handle);
    }
    for number in (base + IDLE_FROM..).take(crew.idle as usize) {
        tasks.spawn_on(roles::idle(seat.clone(), number), handle);
    }
    for number in (base + HELD_FROM..).take(crew.held as usize) {
        tasks.spawn_on(roles::hold(seat.clone(), number), handle);
    }
    tasks
}
