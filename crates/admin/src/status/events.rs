//! `/events`: the state of the moment, sent again whenever it changes, to a few readers.
//!
//! One task looks, however many read. A reader that falls behind is ended and may come again; so
//! is everybody after a while, for a browser comes back by itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use hyper::body::Frame;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::history::{History, PERIOD};
use super::{Look, json};
use crate::Ready;

/// Readers at one time.
const READERS_MAX: usize = 16;

/// Events that a reader may have yet to take.
const BEHIND_MAX: usize = 4;

/// After which a reader is ended.
pub(crate) const READING_MAX: Duration = Duration::from_secs(600);

/// How often is looked.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Looks without news, after which a comment shows who is still there.
const QUIET_LOOKS: u32 = 10;

/// The one who looks, and those who read.
pub(crate) struct Hub {
    pub(crate) look: Arc<dyn Look>,
    pub(crate) ready: Arc<dyn Ready>,
    history: Mutex<History>,
    events: broadcast::Sender<Bytes>,
    seats: Arc<Semaphore>,
    stop: CancellationToken,
}

/// A place among the readers. What they are sent is [`Seat::events`].
#[derive(Debug)]
pub(crate) struct Seat {
    first: Option<Bytes>,
    events: broadcast::Receiver<Bytes>,
    until: Instant,
    stop: CancellationToken,
    _seat: OwnedSemaphorePermit,
}

impl Hub {
    /// Its readers are ended by `stop`.
    pub(crate) fn new(look: Arc<dyn Look>, ready: Arc<dyn Ready>, stop: CancellationToken) -> Self {
        Self {
            look,
            ready,
            history: Mutex::default(),
            events: broadcast::Sender::new(BEHIND_MAX),
            seats: Arc::new(Semaphore::new(READERS_MAX)),
            stop,
        }
    }

    /// A place for one more reader, if there is one.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let seat = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        // Before it looks: what comes in between is sent twice, and nothing is missed.
        let events = self.events.subscribe();
        let history = event("history", &self.history.lock().all());
        let state = event("state", &json::at(SystemTime::now(), self.state()));
        let first = [Bytes::from_static(b"retry: 2000\n\n"), history, state].concat();
        Some(Seat {
            first: Some(first.into()),
            events,
            until: Instant::now() + READING_MAX,
            stop: self.stop.clone(),
            _seat: seat,
        })
    }

    /// Looks, until it is told to stop.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn run(&self) {
        let mut ticks = interval(LOOK_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sampled, mut shown, mut quiet) = (Instant::now(), Value::Null, 0);
        self.history.lock().add(self.look.work(), SystemTime::now(), PERIOD);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // Ticks are never early, and may be late.
            let elapsed = sampled.elapsed();
            if elapsed + LOOK_PERIOD / 2 > PERIOD {
                sampled = Instant::now();
                self.sample(elapsed);
            }
            if self.events.receiver_count() > 0 {
                self.tell(&mut shown, &mut quiet);
            }
        }
    }

    fn sample(&self, elapsed: Duration) {
        let work = self.look.work();
        let mut history = self.history.lock();
        history.add(work, SystemTime::now(), elapsed);
        // Without readers there is nobody to tell, and that is well.
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(event("sample", &history.last()));
        }
    }

    fn tell(&self, shown: &mut Value, quiet: &mut u32) {
        let state = self.state();
        if state != *shown {
            shown.clone_from(&state);
            *quiet = 0;
            let _ = self.events.send(event("state", &json::at(SystemTime::now(), state)));
        } else if *quiet >= QUIET_LOOKS {
            *quiet = 0;
            let _ = self.events.send(Bytes::from_static(b": still here\n\n"));
        } else {
            *quiet += 1;
        }
    }

    fn state(&self) -> Value {
        json!({
            "cluster": json::cluster(&self.look.cluster(), &self.ready.readiness()),
            "pools": json::pools(&self.look.pools()),
        })
    }
}

impl Seat {
    /// What the reader is sent, as frames of a body.
    pub(crate) fn events(self) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
        unfold(self, |mut seat| async {
            let bytes = match seat.first.take() {
                Some(first) => first,
                None => seat.next().await?,
            };
            Some((Ok(Frame::data(bytes)), seat))
        })
    }

    /// The next event; `None` is the end.
    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            () = sleep_until(self.until) => None,
            event = self.events.recv() => match event {
                Ok(event) => Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    tracing::debug!(event = "page_reader_slow", "a reader of events is too slow");
                    None
                }
                Err(broadcast::error::RecvError::Closed) => None,
            },
        }
    }
}

/// JSON is one line: it has no line break that is not escaped.
fn event(name: &str, data: &Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
