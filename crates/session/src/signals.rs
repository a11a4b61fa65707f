//! `pg_cancel_backend` and `pg_terminate_backend` of a process id that a client was told at its
//! login. No server has it, and the one that is asked says so, with a warning: the signal is for
//! us to deliver. One that a client sends to the server that it has ends its own session, which
//! must not go on elsewhere.

use wire::{ErrorFields, ErrorMessage, SqlState};

use crate::frame::Frame;
use crate::server::ServerState;

/// What is done to the session of a process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Its statement is cancelled.
    Cancel,
    /// It ends.
    Terminate,
}

/// More in one transaction go unheard.
const SENT_MAX: usize = 64;

/// Signals of one lease.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// What the texts of the transaction may send. Of a text that may send both it is the one that
    /// does less.
    pub(crate) meant: Option<Signal>,
    /// Those that no server of Postgres' has got.
    unheard: Vec<(Signal, i32)>,
    /// The server's own process has been ended by its client.
    has_ended_itself: bool,
}

impl Signals {
    /// A text may send this.
    pub(crate) fn mean(&mut self, signal: Signal) {
        self.meant = match self.meant {
            Some(Signal::Cancel) => Some(Signal::Cancel),
            Some(Signal::Terminate) | None => Some(signal),
        };
    }
}

impl ServerState {
    /// Whether there are signals to be delivered.
    #[inline]
    pub fn has_signals(&self) -> bool {
        !self.signals.unheard.is_empty()
    }

    /// Takes them, each with the process id that it is for.
    pub fn take_signals(&mut self) -> Vec<(Signal, i32)> {
        std::mem::take(&mut self.signals.unheard)
    }

    /// The server warns of something.
    #[inline]
    pub(crate) fn on_warning(&mut self, frame: &Frame<'_>) {
        if let Some(signal) = self.signals.meant {
            self.note_unheard(signal, frame);
        }
    }

    #[cold]
    fn note_unheard(&mut self, signal: Signal, frame: &Frame<'_>) {
        let Ok(fields) = ErrorFields::parse(frame.body) else { return };
        if fields.routine != "pg_signal_backend" || self.signals.unheard.len() >= SENT_MAX {
            return;
        }
        // The words are in the server's language; the number is in all of them.
        let digits = fields.message.split(|c: char| !c.is_ascii_digit()).find(|it| !it.is_empty());
        if let Some(pid) = digits.and_then(|digits| digits.parse().ok()) {
            self.signals.unheard.push((signal, pid));
        }
    }

    /// The server ends the connection with this, while it owes an answer.
    pub(crate) fn on_last_word(&mut self, frame: &Frame<'_>) {
        let is_told =
            ErrorFields::parse(frame.body).is_ok_and(|fields| fields.is(SqlState::ADMIN_SHUTDOWN));
        self.signals.has_ended_itself |=
            is_told && self.signals.meant == Some(Signal::Terminate) && !self.is_quiet();
    }

    /// What the client is told whose own doing that was.
    pub(crate) fn own_end(&self) -> Option<ErrorMessage> {
        self.signals.has_ended_itself.then(terminated)
    }
}

/// As Postgres says it (`ProcessInterrupts`).
pub fn terminated() -> ErrorMessage {
    ErrorMessage::fatal(
        SqlState::ADMIN_SHUTDOWN,
        "terminating connection due to administrator command",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_signals_the_one_that_does_less_is_meant() {
        let mut signals = Signals::default();
        for (signal, meant) in [
            (Signal::Terminate, Signal::Terminate),
            (Signal::Cancel, Signal::Cancel),
            (Signal::Terminate, Signal::Cancel),
        ] {
            signals.mean(signal);
            assert_eq!(signals.meant, Some(meant));
        }
    }
}
