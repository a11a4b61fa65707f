//! What pgmesh must reach when the leader is lost, and whether it did.

use std::fmt;

use super::crowd::Crowd;
use super::fault::Fault;
use super::figures::{Figures, Round, median, millis, sum};
use super::stage::Peer;

/// From the new leader's first write to the proxy's, in milliseconds.
const FIRST_P50_MAX: f64 = 25.0;
const FIRST_MAX: f64 = 100.0;

/// From the new leader's first write to the last answer of a crowd, in milliseconds.
const CROWD_MAX: f64 = 3000.0;

/// A bar, and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) limit: Limit,
    pub(crate) unit: &'static str,
}

/// How high a bar is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    AtMost(f64),
    Below(f64),
}

impl Verdict {
    pub(crate) fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) => self.measured <= limit,
            Limit::Below(limit) => self.measured < limit,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, measured, limit, unit } = self;
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        let (word, limit) = match limit {
            Limit::AtMost(limit) => ("at most", limit),
            Limit::Below(limit) => ("below", limit),
        };
        write!(f, "{verdict:6}  {measured:8.1} {unit}, {word} {limit}: {what}")
    }
}

/// Every bar for which there is a measurement.
pub(crate) fn verdicts(rounds: &[Round], crowd: Option<&Crowd>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for fault in Fault::ALL {
        if let Some(figures) = sum(rounds, fault, Peer::Pgmesh) {
            of_clients(fault, &figures, &mut verdicts);
            of_times(fault, &figures, &mut verdicts);
            of_writes(fault, &figures, &mut verdicts);
        }
    }
    if let Some(crowd) = crowd {
        let clients = crowd.clients;
        verdicts.push(none(&format!("disconnects of {clients} idle clients"), crowd.disconnects));
        let unserved = clients.saturating_sub(crowd.served);
        verdicts.push(none(&format!("of {clients} idle clients that were not served"), unserved));
        let what = format!("until the last of {clients} idle clients was served");
        verdicts.push(time(what, millis(crowd.last), Limit::AtMost(CROWD_MAX)));
    }
    verdicts
}

fn of_clients(fault: Fault, figures: &Figures, verdicts: &mut Vec<Verdict>) {
    let mut add = |what: &str, count: u32| {
        verdicts.push(none(&format!("{}: {what}", fault.as_str()), count));
    };
    add("disconnects of idle clients", figures.idle);
    add("disconnects of writers between two writes", figures.writers_between);
    add("disconnects of writers within a write", figures.writers_during);
    add("attempts to connect that failed", figures.failed_logins);
    add("statements without an answer", figures.silences);
    if fault == Fault::Switchover {
        add("errors of writers and idle clients", figures.errors_all());
        add("held transactions that end otherwise than in 40001", figures.held_otherwise());
    } else {
        add("errors but 40001, 08007 and 25P02", figures.errors_of_other_kinds());
        add("disconnects of clients in a transaction", figures.held);
    }
}

fn of_times(fault: Fault, figures: &Figures, verdicts: &mut Vec<Verdict>) {
    let (Some(middle), Some(most)) = (median(&figures.first), figures.first.iter().max()) else {
        return;
    };
    let what = |which| format!("{}: from writable to first success, {which}", fault.as_str());
    verdicts.push(time(what("p50"), millis(middle), Limit::Below(FIRST_P50_MAX)));
    verdicts.push(time(what("max"), millis(*most), Limit::Below(FIRST_MAX)));
    let what = format!("{}: rounds in which a writer was not served again", fault.as_str());
    verdicts.push(none(&what, figures.unserved));
}

fn of_writes(fault: Fault, figures: &Figures, verdicts: &mut Vec<Verdict>) {
    let audit = &figures.audit;
    for (what, count) in [
        ("acknowledged writes lost", audit.lost),
        ("writes applied twice", audit.twice),
        ("writes refused with 40001 and applied", audit.rolled_back_yet_done),
        ("writes refused otherwise and applied", audit.refused_yet_done),
        ("two-node writes", audit.two_node),
    ] {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        verdicts.push(none(&format!("{}: {what}", fault.as_str()), count));
    }
}

fn none(what: &str, count: u32) -> Verdict {
    let limit = Limit::AtMost(0.0);
    Verdict { what: what.to_owned(), measured: count.into(), limit, unit: "" }
}

fn time(what: String, measured: f64, limit: Limit) -> Verdict {
    Verdict { what, measured, limit, unit: "ms" }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::failover::figures::tests::round;

    fn missed(fault: Fault, figures: Figures) -> Vec<String> {
        let verdicts = verdicts(&[round(fault, figures)], None);
        assert!(verdicts.len() > 5);
        verdicts.into_iter().filter(|it| !it.is_met()).map(|it| it.what).collect()
    }

    #[test]
    fn an_error_misses_at_a_switchover_only() {
        let errors = [("40001".to_owned(), 1)].into();
        let figures = Figures { errors, ..Figures::default() };
        assert_eq!(
            missed(Fault::Switchover, figures.clone()),
            ["switchover: errors of writers and idle clients"]
        );
        assert!(missed(Fault::Node, figures).is_empty());
        let errors = [("57P03".to_owned(), 1)].into();
        let figures = Figures { errors, ..Figures::default() };
        assert_eq!(missed(Fault::Node, figures), ["node: errors but 40001, 08007 and 25P02"]);
    }

    #[test]
    fn held_transactions_are_rolled_back_and_stay() {
        let held_ends = [("40001".to_owned(), 19), ("disconnected".to_owned(), 1)].into();
        let figures = Figures { held_ends, ..Figures::default() };
        assert_eq!(missed(Fault::Switchover, figures.clone()).len(), 1);
        assert!(missed(Fault::Hang, figures).is_empty(), "counted as a disconnect there");
    }

    #[test]
    fn times_are_below_their_bars() {
        let first = |ms: &[u64]| {
            let first = ms.iter().copied().map(Duration::from_millis).collect();
            missed(Fault::Node, Figures { first, ..Figures::default() })
        };
        assert!(first(&[1, 24, 99]).is_empty());
        assert_eq!(first(&[1, 25, 99]), ["node: from writable to first success, p50"]);
        assert_eq!(first(&[1, 2, 100]), ["node: from writable to first success, max"]);
    }

    #[test]
    fn a_crowd_has_three_seconds() {
        let crowd = Crowd { clients: 10, served: 10, ..Crowd::default() };
        let met = |crowd: &Crowd| verdicts(&[], Some(crowd)).iter().all(Verdict::is_met);
        assert!(met(&crowd));
        assert!(!met(&Crowd { served: 9, ..crowd.clone() }));
        assert!(!met(&Crowd { last: Duration::from_millis(3001), ..crowd.clone() }));
        assert!(!met(&Crowd { disconnects: 1, ..crowd }));
    }
}
