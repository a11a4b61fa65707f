//! The machine and the watch that it feeds.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use topology::{Authority, Config, Event, Machine, Node, Now, Probe, Snapshot};
use tracing::{info, warn};

/// Applies events, publishes snapshots and logs what changed.
#[derive(Debug)]
pub(crate) struct Publisher {
    machine: Machine,
    snapshots: watch::Sender<Arc<Snapshot>>,
    probes: Option<mpsc::Receiver<Probe>>,
}

impl Publisher {
    pub(crate) fn new(
        authority: Authority,
        probes: Option<mpsc::Receiver<Probe>>,
    ) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let machine = Machine::new(Config::new(authority));
        let (snapshots, receiver) = watch::channel(Arc::clone(machine.snapshot()));
        (Self { machine, snapshots, probes }, receiver)
    }

    /// Takes an event; whether it changed anything.
    pub(crate) fn apply(&mut self, event: Event) -> bool {
        let before = Arc::clone(self.machine.snapshot());
        let Some(after) = self.machine.apply(event, now()) else { return false };
        log(&before, &after);
        self.snapshots.send_replace(after);
        true
    }

    /// Applies probes until `work` is done. Every wait of a source goes through here, so that
    /// probes count also while the source is away.
    ///
    /// # Cancel safety
    /// As cancel safe as `work`: a probe is applied as soon as it is taken.
    pub(crate) async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let probe = async {
                match &mut self.probes {
                    Some(probes) => probes.recv().await,
                    None => std::future::pending().await,
                }
            };
            let probe = tokio::select! {
                biased;
                done = &mut work => return done,
                probe = probe => probe,
            };
            match probe {
                Some(probe) => {
                    self.apply(Event::Probe(probe));
                }
                None => self.probes = None,
            }
        }
    }

    /// The current snapshot.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.machine.snapshot()
    }
}

fn now() -> Now {
    Now { monotonic: Instant::now(), wall: SystemTime::now() }
}

fn log(before: &Snapshot, after: &Snapshot) {
    let name = |snapshot: &Snapshot| {
        snapshot.primary().map_or_else(|| "-".to_owned(), |node| node.name.to_string())
    };
    if after.epoch() != before.epoch() {
        info!(
            epoch = after.epoch().get(),
            from = name(before),
            to = name(after),
            address = after.primary().map(|n| n.address.to_string()),
            timeline = after.timeline().map(|t| t.0),
            "new epoch"
        );
    }
    if before.leader().is_some() && after.leader().is_none() {
        warn!(primary = name(after), "no leader is named; the last one stays the primary");
    }
    match after.standing().refusal() {
        Some(reason) if before.standing() != after.standing() => {
            warn!(epoch = after.epoch().get(), primary = name(after), %reason, "writes are refused");
        }
        None if before.standing() != after.standing() => {
            info!(epoch = after.epoch().get(), primary = name(after), "writes are allowed");
        }
        Some(_) | None => {}
    }
    if before.paused() != after.paused() {
        info!(paused = after.paused(), "maintenance mode");
    }
    if before.switchover() != after.switchover() {
        match after.switchover() {
            Some(request) => info!(
                from = request.from.as_ref().map(ToString::to_string),
                to = request.to.as_ref().map(ToString::to_string),
                scheduled_at = request.scheduled_at.as_deref(),
                "switchover requested"
            ),
            None => info!("switchover request gone"),
        }
    }
    log_nodes(before.nodes(), after.nodes());
}

fn log_nodes(before: &[Arc<Node>], after: &[Arc<Node>]) {
    let find = |nodes: &[Arc<Node>], node: &Node| {
        nodes.iter().find(|other| other.name == node.name).cloned()
    };
    for node in after {
        let old = find(before, node);
        let same = |o: &Arc<Node>| {
            (o.role, o.state, &o.address, o.timeline)
                == (node.role, node.state, &node.address, node.timeline)
        };
        if !old.as_ref().is_some_and(same) {
            info!(
                node = %node.name,
                address = %node.address,
                role = ?node.role,
                state = ?node.state,
                timeline = node.timeline.map(|t| t.0),
                "node"
            );
        }
    }
    for node in before {
        if find(after, node).is_none() {
            info!(node = %node.name, "node is gone");
        }
    }
}
