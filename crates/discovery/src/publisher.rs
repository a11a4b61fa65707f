//! The machine and the watch that it feeds.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use topology::{
    Authority, Config, Event, Group, Machine, Node, Now, Snapshot, SourceState, Standing,
};
use tracing::{info, warn};

use crate::fallback::Fallback;

/// Applies events, publishes snapshots and logs what changed.
#[derive(Debug)]
pub(crate) struct Publisher {
    machine: Machine,
    /// From when the machine's clock is counted.
    origin: Instant,
    snapshots: watch::Sender<Arc<Snapshot>>,
    events: Option<mpsc::Receiver<Event>>,
    fallback: Option<Fallback>,
}

/// What came while a source waited.
enum Arrival {
    Event(Option<Event>),
    SecondHand(SourceState),
    Tick,
}

impl Publisher {
    pub(crate) fn new(
        authority: Authority,
        config: Config,
        events: Option<mpsc::Receiver<Event>>,
    ) -> Self {
        let machine = Machine::new(authority, config);
        let (snapshots, _) = watch::channel(Arc::clone(machine.snapshot()));
        Self { machine, origin: Instant::now(), snapshots, events, fallback: None }
    }

    /// What is published, from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.subscribe()
    }

    /// Takes the fallback's word whenever the source is not heard of.
    pub(crate) fn fall_back_on(&mut self, fallback: Fallback) {
        self.fallback = Some(fallback);
    }

    /// The source was heard of.
    pub(crate) fn heard(&self) {
        if let Some(fallback) = &self.fallback {
            fallback.heard();
        }
    }

    /// Takes an event; whether it changed anything.
    pub(crate) fn apply(&mut self, event: Event) -> bool {
        let now = Now { monotonic: self.origin.elapsed(), wall: SystemTime::now() };
        let before = Arc::clone(self.machine.snapshot());
        let Some(after) = self.machine.apply(event, now) else { return false };
        log(&before, &after);
        self.snapshots.send_replace(after);
        true
    }

    /// Applies what the nodes say, and lets time pass, until `work` is done. Every wait of a source
    /// goes through here, so that both count also while the source is away.
    ///
    /// # Cancel safety
    /// As cancel safe as `work`: an event is applied as soon as it is taken.
    pub(crate) async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let wake_at = self.machine.wake_at().map(|at| self.origin + at);
            let arrival = tokio::select! {
                biased;
                done = &mut work => return done,
                arrival = arrival(&mut self.events, &mut self.fallback, wake_at) => {
                    arrival
                }
            };
            match arrival {
                Arrival::Event(Some(event)) => {
                    self.apply(event);
                }
                Arrival::Event(None) => self.events = None,
                Arrival::SecondHand(state) => {
                    self.apply(Event::SecondHand(state));
                }
                Arrival::Tick => {
                    self.apply(Event::Tick);
                }
            }
        }
    }
}

/// # Cancel safety
/// Cancel safe: nothing that has come is lost.
async fn arrival(
    events: &mut Option<mpsc::Receiver<Event>>,
    fallback: &mut Option<Fallback>,
    wake_at: Option<Instant>,
) -> Arrival {
    let event = async {
        match events {
            Some(events) => events.recv().await,
            None => std::future::pending().await,
        }
    };
    let second_hand = async {
        match fallback {
            Some(fallback) => fallback.next().await,
            None => std::future::pending().await,
        }
    };
    let tick = async {
        match wake_at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        event = event => Arrival::Event(event),
        state = second_hand => Arrival::SecondHand(state),
        () = tick => Arrival::Tick,
    }
}

fn log(before: &Snapshot, after: &Snapshot) {
    let name = |snapshot: &Snapshot| {
        snapshot.primary().map_or_else(|| "-".to_owned(), |node| node.name.to_string())
    };
    if after.epoch() != before.epoch() {
        info!(
            event = "epoch_began",
            epoch = after.epoch().get(),
            from = name(before),
            to = name(after),
            address = after.primary().map(|n| n.address.to_string()),
            timeline = after.timeline().map(|t| t.0),
            "new epoch"
        );
    }
    log_standing(before, after, &name(after));
    if before.paused() != after.paused() {
        info!(event = "maintenance_changed", paused = after.paused(), "maintenance mode");
    }
    if before.switchover() != after.switchover() {
        match after.switchover() {
            Some(request) => info!(
                event = "switchover_requested",
                from = request.from.as_ref().map(ToString::to_string),
                to = request.to.as_ref().map(ToString::to_string),
                scheduled_at = request.scheduled_at.as_deref(),
                "switchover requested"
            ),
            None => info!(event = "switchover_ended", "switchover request gone"),
        }
    }
    log_nodes(before.nodes(), after.nodes());
    log_groups(before.groups(), after.groups());
}

fn log_standing(before: &Snapshot, after: &Snapshot, primary: &str) {
    if before.leader().is_some() && after.leader().is_none() && after.paused() {
        warn!(
            event = "maintenance_without_leader",
            primary, "no leader is named; in maintenance the last one stays the primary"
        );
    }
    let standing = after.standing();
    if before.standing() == standing && before.epoch() == after.epoch() {
        return;
    }
    let epoch = after.epoch().get();
    match (standing.refusal(), standing) {
        (None, _) => info!(
            event = "writes_allowed",
            epoch,
            primary,
            standing = standing.as_str(),
            "writes are allowed"
        ),
        // What every failover and every start go through.
        (
            Some(reason),
            Standing::Promoting | Standing::SwitchingOver | Standing::Unknown | Standing::Unproven,
        ) => info!(event = "writes_held", epoch, primary, %reason, "writes wait"),
        (Some(reason), _) => {
            warn!(event = "writes_refused", epoch, primary, %reason, "writes are refused")
        }
    }
}

/// Other groups are only shown; who leads them is worth a line.
fn log_groups(before: &[Group], after: &[Group]) {
    for group in after {
        let old = before.iter().find(|old| old.id == group.id);
        if old.is_none_or(|old| old.leader != group.leader) {
            let leader = group.leader.as_ref().map(ToString::to_string);
            info!(
                event = "group_leader_changed",
                group = group.id,
                leader,
                nodes = group.nodes.len(),
                "leader of another group"
            );
        }
    }
    for group in before {
        if !after.iter().any(|new| new.id == group.id) {
            info!(event = "group_gone", group = group.id, "group is gone");
        }
    }
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
            info!(event = "node_changed",
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
            info!(event = "node_gone", node = %node.name, "node is gone");
        }
    }
}
