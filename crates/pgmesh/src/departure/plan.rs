//! How the process ends, as a value: what is next, given the time and who is still there.

use std::time::{Duration, Instant};

use config::Shutdown;

/// For whom the end waits. A later one waits for fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    /// For every client to leave by itself, however long that takes.
    WaitForClients,
    /// For the transactions that are open: sessions are ended between two, at the configured
    /// pace, and all that are left at the deadline. What a signal means.
    WaitForServers,
    /// For nobody.
    Now,
}

/// Whether another process takes the clients that come from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Successor {
    /// Nobody takes new clients here.
    None,
    /// It does. So there is no hurry to send away who is about to do what it came for.
    Present,
}

/// Where the end stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody is told anything.
    Waiting,
    /// Sessions are called, one after the other; so many were.
    Leaving { since: Instant, called: u64 },
    /// All sessions are to be ended at once.
    Condemned,
    /// They have been told.
    Ending { since: Instant },
    /// There is nothing left to wait for.
    Over,
}

/// What is to be done now. What follows is asked [`TICK`] later, or when a signal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// End up to so many more sessions, each when its transaction is over.
    Call(u64),
    /// End all sessions.
    EndAll,
    /// End the process.
    Leave,
}

/// How often it is looked whether clients have gone.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// For the last words to clients, and for their servers to be told.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long who came last is left alone where another process takes the next ones.
const SETTLING: Duration = Duration::from_secs(2);

impl Stage {
    /// The first stage of an end of this kind.
    pub(crate) fn first(how: How, now: Instant) -> Self {
        match how {
            How::WaitForClients => Self::Waiting,
            How::WaitForServers => Self::Leaving { since: now, called: 0 },
            How::Now => Self::Condemned,
        }
    }

    /// After an end of this kind was asked for, too: it never goes back.
    pub(crate) fn asked(self, how: How, now: Instant) -> Self {
        match (self, how) {
            (Self::Waiting, How::WaitForServers | How::Now) | (Self::Leaving { .. }, How::Now) => {
                Self::first(how, now)
            }
            _ => self,
        }
    }

    /// After another signal: the next stage at once.
    pub(crate) fn hurried(self, now: Instant) -> Self {
        match self {
            Self::Waiting => Self::first(How::WaitForServers, now),
            Self::Leaving { .. } => Self::Condemned,
            Self::Condemned | Self::Ending { .. } | Self::Over => Self::Over,
        }
    }

    /// So many sessions have been called.
    pub(crate) fn called(&mut self, count: u64) {
        if let Self::Leaving { called, .. } = self {
            *called = called.saturating_add(count);
        }
    }

    /// What is to be done while so many clients are connected.
    pub(crate) fn step(
        &mut self,
        config: Shutdown,
        successor: Successor,
        clients: u64,
        now: Instant,
    ) -> Step {
        if clients == 0 {
            *self = Self::Over;
        }
        match *self {
            Self::Waiting => Step::Call(0),
            Self::Leaving { since, called } if now < since + config.drain_timeout => {
                let spent = now.saturating_duration_since(since);
                Step::Call(due(config.drain_rate, successor, spent).saturating_sub(called))
            }
            Self::Leaving { .. } | Self::Condemned => {
                *self = Self::Ending { since: now };
                Step::EndAll
            }
            Self::Ending { since } if now < since + LAST_WORDS => Step::Call(0),
            Self::Ending { .. } | Self::Over => {
                *self = Self::Over;
                Step::Leave
            }
        }
    }
}

/// How many sessions may have been called after this time, at so many a second.
fn due(rate: u32, successor: Successor, spent: Duration) -> u64 {
    let spent = match successor {
        Successor::None => spent,
        Successor::Present if spent < SETTLING => return 0,
        Successor::Present => spent - SETTLING,
    };
    if rate == 0 {
        return u64::MAX;
    }
    // The first one does not wait.
    let whole = spent.as_millis().saturating_mul(rate.into()) / 1000;
    u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: Shutdown = Shutdown { drain_timeout: Duration::from_secs(30), drain_rate: 100 };

    const HOWS: [How; 3] = [How::WaitForClients, How::WaitForServers, How::Now];

    fn rank(stage: Stage) -> u8 {
        match stage {
            Stage::Waiting => 0,
            Stage::Leaving { .. } => 1,
            Stage::Condemned => 2,
            Stage::Ending { .. } => 3,
            Stage::Over => 4,
        }
    }

    #[test]
    fn sessions_are_called_at_the_pace_and_ended_at_the_deadline() {
        let start = Instant::now();
        let mut stage = Stage::first(How::WaitForServers, start);
        let mut at = |millis| stage.step(CONFIG, Successor::None, 5000, start + millis);
        assert_eq!(at(Duration::ZERO), Step::Call(1));
        assert_eq!(at(Duration::from_millis(500)), Step::Call(51));
        assert_eq!(at(Duration::from_millis(29_999)), Step::Call(3000));
        assert_eq!(at(Duration::from_secs(30)), Step::EndAll);
        assert_eq!(at(Duration::from_secs(31)), Step::Call(0));
        assert_eq!(at(Duration::from_secs(32)), Step::Leave);
    }

    #[test]
    fn without_a_rate_all_are_called_at_once_and_so_are_later_ones() {
        let config = Shutdown { drain_rate: 0, ..CONFIG };
        let start = Instant::now();
        let mut stage = Stage::first(How::WaitForServers, start);
        for _ in 0..2 {
            let Step::Call(count) = stage.step(config, Successor::None, 7, start) else {
                panic!("{stage:?}")
            };
            assert!(count > 1_000_000);
            stage.called(7);
        }
        assert_eq!(stage.step(config, Successor::None, 0, start), Step::Leave);
    }

    #[test]
    fn where_another_process_takes_over_the_first_is_called_later() {
        let start = Instant::now();
        let mut stage = Stage::first(How::WaitForServers, start);
        assert_eq!(stage.step(CONFIG, Successor::Present, 5, start), Step::Call(0));
        assert_eq!(stage.step(CONFIG, Successor::Present, 5, start + SETTLING), Step::Call(1));
    }

    #[test]
    fn each_signal_waits_for_fewer() {
        let now = Instant::now();
        let mut stage = Stage::first(How::WaitForClients, now);
        assert_eq!(
            stage.step(CONFIG, Successor::None, 1, now + CONFIG.drain_timeout),
            Step::Call(0)
        );
        stage = stage.hurried(now);
        assert_eq!(stage, Stage::Leaving { since: now, called: 0 });
        stage = stage.hurried(now);
        assert_eq!(stage.step(CONFIG, Successor::None, 1, now), Step::EndAll);
        assert_eq!(stage.step(CONFIG, Successor::None, 1, now), Step::Call(0));
        stage = stage.hurried(now);
        assert_eq!(stage.step(CONFIG, Successor::None, 1, now), Step::Leave);
    }

    proptest! {
        #[test]
        fn it_never_goes_back_and_comes_to_an_end_once_it_has_a_deadline(
            first in 0..3_usize,
            rate in 0..2000_u32,
            millis in 0..100_000_u64,
            events in prop::collection::vec((0..6_usize, 0..40_000_u64), 0..20),
        ) {
            let config = Shutdown {
                drain_timeout: Duration::from_millis(millis),
                drain_rate: rate,
            };
            let start = Instant::now();
            let mut now = start;
            let mut stage = Stage::first(HOWS[first], now);
            for (event, later) in events {
                let before = stage;
                now += Duration::from_millis(later);
                stage = match event {
                    0..3 => stage.asked(HOWS[event], now),
                    3 => stage.hurried(now),
                    _ => stage,
                };
                if let Step::Call(count) = stage.step(config, Successor::None, 10, now) {
                    let allowed = due(rate, Successor::None, now - start);
                    prop_assert!(count <= allowed);
                    stage.called(count);
                }
                prop_assert!(rank(stage) >= rank(before), "{before:?} {stage:?}");
            }
            stage = stage.asked(How::WaitForServers, now);
            for _ in 0..3 {
                now += Duration::from_millis(millis) + LAST_WORDS;
                stage.step(config, Successor::None, 10, now);
            }
            prop_assert_eq!(stage, Stage::Over);
        }
    }
}
