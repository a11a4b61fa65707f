//! How the process ends: nobody new is taken, sessions are ended between their transactions at a
//! set pace, all that are left at the deadline, and every further signal hurries.
//!
//! `/metrics`, `/live` and `/ready` are served until the last client has gone.

mod plan;

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use config::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

pub(crate) use self::plan::{How, Successor};
use self::plan::{Stage, Step, TICK};
use crate::app::App;
use crate::cancel::Slot;
use crate::clients::{Activity, Call};

/// Asks for the end, and tells whether it was asked for. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Departure(watch::Sender<Option<Asked>>);

/// The end that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    how: How,
    successor: Successor,
}

/// The signals that ask for the end, taken from the default action as long as this lives.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Departure {
    /// Nobody has asked for anything yet.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Asks for the end. What was asked for before holds if it waits for fewer. Returns at once;
    /// the process goes on for as long as there is somebody to wait for.
    pub(crate) fn depart(&self, how: How) {
        self.ask(how, Successor::None);
    }

    /// Asks for the end, for another process serves the listeners now.
    pub(crate) fn make_room(&self) {
        self.ask(How::WaitForServers, Successor::Present);
    }

    fn ask(&self, how: How, successor: Successor) {
        self.0.send_modify(|asked| {
            *asked = Some(match *asked {
                Some(before) => Asked { how: before.how.max(how), ..before },
                None => Asked { how, successor },
            });
        });
    }

    /// Whether the end has begun.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits until the end is asked for, by a signal or otherwise.
    pub(crate) async fn begins(&self, signals: &mut Signals) -> Successor {
        let mut asked = self.0.subscribe();
        tokio::select! {
            signal = signals.next() => {
                self.depart(How::WaitForServers);
                // Not in the macro, which evaluates nothing that is not logged.
                tracing::info!(event = "stopping", signal, "stopping");
            }
            // The sender is here: it cannot be gone.
            _ = asked.wait_for(Option::is_some) => tracing::info!(event = "stopping", "stopping"),
        }
        let asked = *self.0.borrow();
        asked.map_or(Successor::None, |asked| asked.successor)
    }

    /// Ends the sessions, each in its turn. Returns when the process may end.
    pub(crate) async fn carry_out(&self, app: &App, config: Shutdown, signals: &mut Signals) {
        let mut changes = self.0.subscribe();
        let Some(Asked { how, successor }) = *changes.borrow_and_update() else { return };
        let mut stage = Stage::first(how, Instant::now());
        loop {
            let sessions = Sessions::of(app);
            match stage.step(config, successor, sessions.count, Instant::now()) {
                Step::Call(most) => stage.called(sessions.call(Call::Leave, most)),
                Step::EndAll => {
                    let count = sessions.call(Call::End, u64::MAX);
                    tracing::info!(
                        event = "drain_deadline",
                        count,
                        "ending the sessions that are left"
                    );
                }
                Step::Leave => return,
            }
            drop(sessions);
            tokio::select! {
                signal = signals.next() => {
                    tracing::info!(event = "drain_hurried", signal, "hurrying");
                    stage = stage.hurried(Instant::now());
                }
                Ok(()) = changes.changed() => {
                    if let Some(Asked { how, .. }) = *changes.borrow_and_update() {
                        stage = stage.asked(how, Instant::now());
                    }
                }
                () = sleep(TICK) => {}
            }
        }
    }
}

/// Everybody who is connected at one moment, but for clients of the console.
struct Sessions {
    slots: Vec<Arc<Slot>>,
    /// Logins under way included, which cannot be called yet.
    count: u64,
}

impl Sessions {
    fn of(app: &App) -> Self {
        // First: who logs in meanwhile is counted twice rather than not at all.
        let logging_in = app.metrics.clients().logging_in();
        let mut slots = app.cancel_keys.all();
        slots.retain(|slot| slot.view().activity != Activity::Console);
        let count = logging_in + slots.len() as u64;
        Self { slots, count }
    }

    /// Calls up to so many that were not called before, or all of them again to be ended at
    /// once. How many it were.
    fn call(&self, how: Call, most: u64) -> u64 {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let is_new = |slot: &&Arc<Slot>| how == Call::End || !slot.is_called();
        let called = self.slots.iter().filter(is_new).take(most);
        called.map(|slot| slot.call(how)).count() as u64
    }
}

impl Signals {
    /// Takes SIGTERM and SIGINT. Must be called inside a runtime.
    ///
    /// # Errors
    /// The operating system says no.
    pub(crate) fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt })
    }

    /// The name of the next one.
    ///
    /// # Cancel safety
    /// No signal is lost when the future is dropped; several of one kind that come at one time
    /// are one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "SIGINT",
            else => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_asked_for_first_is_not_taken_back() {
        let departure = Departure::new();
        assert!(!departure.is_asked_for());
        departure.clone().depart(How::WaitForServers);
        assert!(departure.is_asked_for());
        departure.depart(How::WaitForClients);
        departure.make_room();
        let mut signals = Signals::new().unwrap();
        assert_eq!(departure.begins(&mut signals).await, Successor::None);
        let asked = Asked { how: How::WaitForServers, successor: Successor::None };
        assert_eq!(*departure.0.borrow(), Some(asked));
    }
}
