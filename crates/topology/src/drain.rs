//! A switchover request: when it takes effect, and how long it may hold everybody.

use std::time::Duration;

use crate::time::{self, Now};
use crate::{NodeName, Switchover};

/// A scheduled switchover is taken as begun this much early, for Patroni looks at its own clock.
const EARLY: Duration = Duration::from_millis(200);

/// A scheduled time is looked at again at least this often: the wall clock may be set.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The one request that there may be.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    timeout: Duration,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// It did not come about in time; it holds nobody until it is another one.
    GivenUp(Asked),
    /// New transactions wait.
    Holding(Asked, Duration),
    /// Nothing is asked for, or not of this leader.
    Idle,
    /// It is for later; to be looked at then.
    Scheduled(Duration),
}

/// A request, and who led when it took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    request: Switchover,
    leader: NodeName,
}

impl Drain {
    pub(crate) const fn new(timeout: Duration) -> Self {
        Self { timeout, phase: Phase::Idle }
    }

    /// Takes what is asked for now, of whom, at what time.
    pub(crate) fn observe(
        &mut self,
        request: Option<&Switchover>,
        leader: Option<&NodeName>,
        now: Now,
    ) {
        let asked = request.zip(leader).filter(|(request, leader)| concerns(request, leader));
        let asked = asked
            .map(|(request, leader)| Asked { request: request.clone(), leader: leader.clone() });
        let before = std::mem::replace(&mut self.phase, Phase::Idle);
        let Some(asked) = asked else { return };
        self.phase = match before {
            Phase::Holding(same, ends) if same == asked => {
                if now.monotonic < ends {
                    Phase::Holding(same, ends)
                } else {
                    Phase::GivenUp(same)
                }
            }
            Phase::GivenUp(same) if same == asked => Phase::GivenUp(same),
            Phase::GivenUp(_) | Phase::Holding(..) | Phase::Idle | Phase::Scheduled(_) => {
                match wait(&asked.request, now) {
                    Some(Duration::ZERO) => Phase::Holding(asked, now.monotonic + self.timeout),
                    Some(wait) => Phase::Scheduled(now.monotonic + wait.min(LOOK_EVERY)),
                    None => Phase::Idle,
                }
            }
        };
    }

    /// Whether new transactions wait for it.
    pub(crate) const fn holds(&self) -> bool {
        matches!(self.phase, Phase::Holding(..))
    }

    /// When it is to be looked at again.
    pub(crate) const fn wake_at(&self) -> Option<Duration> {
        match self.phase {
            Phase::Holding(_, at) | Phase::Scheduled(at) => Some(at),
            Phase::GivenUp(_) | Phase::Idle => None,
        }
    }
}

/// Whether the request, once in effect, makes `leader` step down.
fn concerns(request: &Switchover, leader: &NodeName) -> bool {
    let from = request.from.as_ref().is_none_or(|from| from == leader);
    let to = request.to.as_ref().is_none_or(|to| to != leader);
    from && to && (request.from.is_some() || request.to.is_some())
}

/// How long until the request takes effect; never if its time cannot be read, for Patroni will
/// not carry it out either.
fn wait(request: &Switchover, now: Now) -> Option<Duration> {
    let Some(text) = &request.scheduled_at else { return Some(Duration::ZERO) };
    let at = time::parse(text)?;
    let until = at.duration_since(now.wall).unwrap_or_default();
    Some(until.saturating_sub(EARLY))
}
