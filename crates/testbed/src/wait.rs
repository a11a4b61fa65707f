//! Waiting for a condition: always with a deadline, always interruptible.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;

/// Between two looks at a condition: short beside what is waited for, long beside what a look costs.
const STEP: Duration = Duration::from_millis(20);

/// A flag that ends every wait early, for instance on Ctrl-C. The default is never raised.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Option<Arc<AtomicBool>>);

impl Interrupt {
    /// An interrupt that is raised by setting `flag`.
    pub fn on(flag: Arc<AtomicBool>) -> Self {
        Self(Some(flag))
    }

    /// Whether the flag is set.
    pub fn raised(&self) -> bool {
        self.0.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// Asks `ready` until it answers with a value.
///
/// # Errors
/// Whatever `ready` fails with, [`Error::Interrupted`], or [`Error::Timeout`] naming `what` once
/// `within` has passed; `ready` is asked at least once.
pub fn until<T>(
    what: &str,
    within: Duration,
    interrupt: &Interrupt,
    mut ready: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let started = Instant::now();
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if interrupt.raised() {
            return Err(Error::Interrupted);
        }
        if started.elapsed() >= within {
            return Err(Error::Timeout { what: what.to_owned(), within, log: String::new() });
        }
        thread::sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_the_wait() {
        let mut asked = 0;
        let value = until("three", Duration::from_secs(5), &Interrupt::default(), || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn a_deadline_names_what_was_waited_for() {
        let never = until::<()>("rain", Duration::ZERO, &Interrupt::default(), || Ok(None));
        assert!(never.unwrap_err().to_string().starts_with("rain: not within"));
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let flag = Arc::new(AtomicBool::new(true));
        let wait = until::<()>("rain", Duration::MAX, &Interrupt::on(flag), || Ok(None));
        assert!(matches!(wait, Err(Error::Interrupted)));
    }
}
