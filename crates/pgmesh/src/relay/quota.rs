//! Transactions per second: what one client may begin.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::{ErrorMessage, SqlState};

use crate::gate::Gate;
use crate::rates::{Bucket, Rate};

/// What a client's transactions are taken from, which it shares with others of its user or
/// address.
#[derive(Debug)]
pub(crate) struct Quota {
    gate: Arc<Gate>,
    buckets: Box<[(Rate, Arc<Bucket>)]>,
    /// The last one was refused.
    is_used_up: bool,
    /// The client's number, for the log.
    client: u64,
}

impl Quota {
    pub(crate) fn new(gate: Arc<Gate>, buckets: Box<[(Rate, Arc<Bucket>)]>, client: u64) -> Self {
        Self { gate, buckets, is_used_up: false, client }
    }

    /// Whether a transaction may begin, and then it is counted.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let now = self.gate.time(now);
        let mut buckets = self.buckets.iter();
        let may = buckets.all(|(rate, bucket)| rate.take(bucket, now, Duration::ZERO).is_some());
        // One line for each time that it is used up, not for each statement.
        if !may && !self.is_used_up {
            tracing::info!(
                event = "transactions_refused",
                client = self.client,
                "transactions are refused: too many per second"
            );
        }
        self.is_used_up = !may;
        may
    }
}

/// What a statement is told that would have begun one transaction too many.
pub(super) fn refusal() -> ErrorMessage {
    ErrorMessage::error(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        "too many transactions per second for this role or address",
    )
    .with_hint("The statement was not sent to any server. Try again later.")
}
