//! When to fetch. Pure: the time is an argument, counted from any moment.

use std::time::Duration;

use super::DEMAND_INTERVAL;

/// What somebody does whose key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Wakes the fetcher, and waits.
    Begin,
    /// Waits for what is under way.
    Join,
    /// Does with what there is: it is new enough.
    Nothing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// Somebody has woken the fetcher.
    Wanted,
    Fetching,
}

/// Whether a fetch is under way, and when the last began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    phase: Phase,
    begun: Option<Duration>,
}

impl Pace {
    /// A key is missing.
    pub(super) fn want(&mut self, now: Duration) -> Want {
        let is_new = self.begun.is_some_and(|begun| now < begun.saturating_add(DEMAND_INTERVAL));
        match self.phase {
            Phase::Wanted | Phase::Fetching => Want::Join,
            Phase::Idle if is_new => Want::Nothing,
            Phase::Idle => {
                self.phase = Phase::Wanted;
                Want::Begin
            }
        }
    }

    /// The fetcher is awake, be it that a fetch `is_due` or that somebody woke it; whether it
    /// fetches. It does not when a fetch that was due has answered those who woke it.
    pub(super) fn begin(&mut self, now: Duration, is_due: bool) -> bool {
        if self.phase == Phase::Idle && !is_due {
            return false;
        }
        self.phase = Phase::Fetching;
        self.begun = Some(now);
        true
    }

    /// The fetch has ended.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Idle;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn those_who_come_together_wait_for_one_fetch() {
        let mut pace = Pace::default();
        assert_eq!(pace.want(secs(100)), Want::Begin);
        assert_eq!(pace.want(secs(100)), Want::Join);
        assert!(pace.begin(secs(100), false));
        assert_eq!(pace.want(secs(101)), Want::Join);
        pace.end();
        assert_eq!(pace.want(secs(109)), Want::Nothing);
        assert_eq!(pace.want(secs(110)), Want::Begin);
    }

    #[test]
    fn who_is_answered_by_a_fetch_that_was_due_wakes_nobody() {
        let mut pace = Pace::default();
        assert_eq!(pace.want(secs(1)), Want::Begin);
        assert!(pace.begin(secs(1), true));
        pace.end();
        assert!(!pace.begin(secs(1), false));
        assert!(pace.begin(secs(2), true));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whoever asks and however often.
        #[test]
        fn demand_begins_no_two_fetches_at_once(steps in prop::collection::vec((0u64..4000, 0u8..3), 0..300)) {
            let (mut pace, mut now, mut last) = (Pace::default(), Duration::ZERO, None::<Duration>);
            for (millis, step) in steps {
                now += Duration::from_millis(millis);
                match step {
                    0 if pace.want(now) == Want::Begin => {
                        prop_assert!(last.is_none_or(|last| now >= last + DEMAND_INTERVAL));
                    }
                    1 if pace.begin(now, false) => last = Some(now),
                    2 => pace.end(),
                    _ => {}
                }
            }
        }
    }
}
