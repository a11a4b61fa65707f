//! Bounds how often one place in the code logs, so that a flood of refusals is not a flood of
//! writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::{Event, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// The time that `log.rate` is for.
const WINDOW: Duration = Duration::from_secs(1);

/// Lets so many events of one place through in a second, and counts the others.
#[derive(Debug)]
pub(super) struct Limit {
    rate: u32,
    windows: Mutex<HashMap<Identifier, Window>>,
    suppressed: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    since: Instant,
    events: u32,
}

impl Limit {
    /// `rate` events of a place per second; 0 is no limit.
    pub(super) fn new(rate: u32, suppressed: Arc<AtomicU64>) -> Self {
        Self { rate, windows: Mutex::default(), suppressed }
    }

    fn admits(&self, place: Identifier, now: Instant) -> bool {
        if self.rate == 0 {
            return true;
        }
        let mut windows = self.windows.lock();
        let window = windows.entry(place).or_insert(Window { since: now, events: 0 });
        if now.saturating_duration_since(window.since) >= WINDOW {
            *window = Window { since: now, events: 0 };
        }
        window.events = window.events.saturating_add(1);
        let admits = window.events <= self.rate;
        drop(windows);
        if !admits {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        admits
    }
}

impl<S> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.admits(event.metadata().callsite(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_logs_no_more_often_than_it_may() {
        // Two places: the identifiers are those of real ones.
        fn identifier(second: bool) -> Identifier {
            let span = if second { tracing::info_span!("b") } else { tracing::info_span!("a") };
            span.metadata().map(Metadata::callsite).unwrap()
        }
        let subscriber = tracing_subscriber::registry();
        let (a, b) =
            tracing::subscriber::with_default(subscriber, || (identifier(false), identifier(true)));
        let suppressed = Arc::new(AtomicU64::new(0));
        let limit = Limit::new(2, Arc::clone(&suppressed));
        let now = Instant::now();
        let admitted = [0, 1, 2, 3].map(|_| limit.admits(a.clone(), now));
        assert_eq!(admitted, [true, true, false, false]);
        assert!(limit.admits(b, now), "each place has its own");
        assert_eq!(suppressed.load(Ordering::Relaxed), 2);
        assert!(limit.admits(a.clone(), now + WINDOW));
        let unlimited = Limit::new(0, suppressed);
        assert!((0..1000).all(|_| unlimited.admits(a.clone(), now)));
    }
}
