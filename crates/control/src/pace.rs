//! How fast a node is asked. Pure.

use std::time::Duration;

use topology::{Address, NodeName, Outcome, Snapshot, Standing};

use crate::Config;

/// While an answer is waited for, the questions take so much of the time that was waited already:
/// who has waited for a minute does not notice 60 ms, and the node does notice the questions.
const SHARE: u32 = 1000;

/// How fast a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Nobody waits.
    Leisurely,
    /// Everybody waits for what this node says, or soon will.
    Urgent,
}

impl Pace {
    /// What a snapshot asks of a node: the primary that has something to prove is urgent, and so
    /// is whoever is the likeliest to follow one that goes.
    pub(crate) fn of(snapshot: &Snapshot, name: &NodeName, address: &Address) -> Self {
        let awaited = match snapshot.standing() {
            Standing::OldTimeline
            | Standing::Promoting
            | Standing::Recovering
            | Standing::Suspect
            | Standing::Unproven => snapshot.primary(),
            Standing::LeaderGone | Standing::SwitchingOver => snapshot.candidates().first(),
            Standing::Named
            | Standing::NoAddress
            | Standing::Proven
            | Standing::StandbyLeader
            | Standing::Unknown => None,
        };
        match awaited {
            Some(node) if node.name == *name && node.address == *address => Self::Urgent,
            Some(_) | None => Self::Leisurely,
        }
    }

    /// From one urgent question to the next.
    pub(crate) fn urgent_interval(waited: Duration, last: Outcome) -> Duration {
        let shortest = match last {
            Outcome::Answered { .. } => Config::URGENT_INTERVAL,
            Outcome::Gone | Outcome::Refused | Outcome::Unreachable => Config::URGENT_RECONNECT,
        };
        shortest.max(waited / SHARE)
    }
}
