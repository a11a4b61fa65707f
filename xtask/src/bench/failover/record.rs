//! What one client has seen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// SQLSTATE of a statement or COMMIT of which nobody knows whether it was done.
pub(crate) const UNKNOWN_OUTCOME: &str = "08007";

/// SQLSTATE of a transaction that was rolled back by a failover.
pub(crate) const ROLLED_BACK: &str = "40001";

/// One life of one server as primary. Later ones are greater: a promotion raises the timeline, a
/// restart in place the time of start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tenure {
    pub(crate) timeline: u32,
    /// Milliseconds since 1970.
    pub(crate) started: i64,
}

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) seq: i32,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// The server's that took it.
    pub(crate) tenure: Tenure,
}

/// A write that certainly was not done.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) seq: i32,
    pub(crate) state: String,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Idle,
    Held,
}

/// When something happened to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It was waiting for nothing and had no transaction open.
    Between,
    /// A statement or a transaction was open.
    During,
}

/// Why a statement was not answered as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// An ERROR; the connection stays.
    Refused(String),
    /// The connection ended, with a FATAL if the peer said why.
    Lost(Option<String>),
    /// No answer within the limit.
    Silent,
}

/// How a transaction that was open over the event ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum HeldEnd {
    /// It has not ended yet.
    #[default]
    Open,
    /// It went on and was committed.
    Committed,
    /// This SQLSTATE; ROLLBACK and another statement worked on the same connection.
    Kept(String),
    /// The connection ended.
    Disconnected,
}

/// Everything about one client in one round.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) role: Role,
    /// Its number in the table.
    pub(crate) client: i32,
    pub(crate) acks: Vec<Ack>,
    pub(crate) refusals: Vec<Refusal>,
    /// By SQLSTATE, those that ended the connection included.
    pub(crate) errors: BTreeMap<String, u32>,
    pub(crate) lost_between: u32,
    pub(crate) lost_during: u32,
    pub(crate) silences: u32,
    /// Attempts to connect that failed, be it at the first statement.
    pub(crate) failed_logins: u32,
    /// The longest time from wanting an answer to having one, whatever failed meanwhile.
    pub(crate) pause: Duration,
    pub(crate) held: HeldEnd,
}

impl Record {
    pub(crate) fn new(role: Role, client: i32) -> Self {
        Self {
            role,
            client,
            acks: Vec::new(),
            refusals: Vec::new(),
            errors: BTreeMap::new(),
            lost_between: 0,
            lost_during: 0,
            silences: 0,
            failed_logins: 0,
            pause: Duration::ZERO,
            held: HeldEnd::default(),
        }
    }

    /// Counts a failure.
    pub(crate) fn note(&mut self, failure: &Failure, moment: Moment) {
        match failure {
            Failure::Refused(state) => *self.errors.entry(state.clone()).or_default() += 1,
            Failure::Lost(told) => {
                if let Some(state) = told {
                    *self.errors.entry(format!("{state} FATAL")).or_default() += 1;
                }
                match moment {
                    Moment::Between => self.lost_between += 1,
                    Moment::During => self.lost_during += 1,
                }
            }
            Failure::Silent => self.silences += 1,
        }
    }

    /// Connections that ended under it.
    pub(crate) fn disconnects(&self) -> u32 {
        self.lost_between + self.lost_during
    }
}

impl Failure {
    /// What a driver's error means for the connection.
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        let Some(told) = error.as_db_error() else { return Self::Lost(None) };
        let state = told.code().code().to_owned();
        match told.severity() {
            "FATAL" | "PANIC" => Self::Lost(Some(state)),
            _ => Self::Refused(state),
        }
    }

    /// Whether a statement that failed so, and would have been final, certainly was not done.
    pub(crate) fn is_certain(&self) -> bool {
        matches!(self, Self::Refused(state) if state != UNKNOWN_OUTCOME)
    }

    /// Whether the connection is of no use any more.
    pub(crate) fn ends_connection(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// The SQLSTATE, or what there was instead.
    pub(crate) fn state(&self) -> String {
        match self {
            Self::Refused(state) => state.clone(),
            Self::Lost(Some(state)) => format!("{state} FATAL"),
            Self::Lost(None) => "disconnect".to_owned(),
            Self::Silent => "silence".to_owned(),
        }
    }
}

impl Tenure {
    /// From `timeline started`, the timeline in hexadecimal digits as in names of WAL files.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (timeline, started) = text.split_once(' ')?;
        let timeline = u32::from_str_radix(timeline, 16).ok()?;
        Some(Self { timeline, started: started.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenures_follow_each_other() {
        let tenure = |text| Tenure::parse(text).unwrap();
        assert_eq!(tenure("0000000A 17"), Tenure { timeline: 10, started: 17 });
        assert!(tenure("00000002 1") > tenure("00000001 9"), "a promotion");
        assert!(tenure("00000001 9") > tenure("00000001 1"), "a restart in place");
        assert_eq!(Tenure::parse("00000001"), None);
    }

    #[test]
    fn failures_are_counted_by_what_they_do() {
        let mut record = Record::new(Role::Writer, 1);
        record.note(&Failure::Refused("40001".to_owned()), Moment::During);
        record.note(&Failure::Lost(Some("57P01".to_owned())), Moment::Between);
        record.note(&Failure::Lost(None), Moment::During);
        record.note(&Failure::Silent, Moment::During);
        assert_eq!((record.lost_between, record.lost_during, record.silences), (1, 1, 1));
        assert_eq!(record.disconnects(), 2);
        let errors: Vec<_> = record.errors.keys().map(String::as_str).collect();
        assert_eq!(errors, ["40001", "57P01 FATAL"]);
    }

    #[test]
    fn only_an_error_that_says_so_is_certain() {
        let refused = |state: &str| Failure::Refused(state.to_owned());
        assert!(refused("40001").is_certain() && refused("57P03").is_certain());
        assert!(!refused("08007").is_certain());
        assert!(!Failure::Lost(Some("57P01".to_owned())).is_certain());
        assert!(!Failure::Silent.is_certain());
    }
}
