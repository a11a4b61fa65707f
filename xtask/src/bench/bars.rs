//! What pgmesh must reach, and whether it did.

use std::fmt;

use super::cell::{CLIENTS_OF_BARS, Cell, Link, Protocol, Stay};
use super::peer::Peer;
use super::results::{Metric, Results};

/// KiB per idle client.
const IDLE_PLAIN_MAX: f64 = 2.0;
const IDLE_TLS_MAX: f64 = 12.0;

/// Of PgBouncer's logins per second.
const LOGINS_PLAIN_MIN: f64 = 1.2;
const LOGINS_TLS_MIN: f64 = 2.0;

/// A bar and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// What is measured, where.
    pub(crate) what: String,
    /// The median over the rounds.
    pub(crate) measured: f64,
    pub(crate) limit: Limit,
    /// What both are multiples of.
    pub(crate) unit: &'static str,
}

/// What a figure must not go beyond.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// A bar of one load: a figure as a part of another peer's.
struct Bar {
    what: &'static str,
    metric: Metric,
    to: Peer,
    limit: f64,
}

impl Verdict {
    pub(crate) fn passes(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) => self.measured <= limit,
            Limit::AtLeast(limit) => self.measured >= limit,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, measured, limit, unit } = self;
        let verdict = if self.passes() { "pass" } else { "FALLS SHORT" };
        write!(f, "{verdict:11}  {measured:5.2} {unit}, {limit}: {what}")
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "at most {limit:.2}"),
            Self::AtLeast(limit) => write!(f, "at least {limit:.2}"),
        }
    }
}

/// Every bar for which there is a measurement.
pub(crate) fn verdicts(results: &Results) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for cell in results.cells() {
        for Bar { what, metric, to, limit } in bars(&cell) {
            let Some(ratio) = results.ratio(&cell, Peer::Pgmesh, to, metric) else { continue };
            let unit = if to == Peer::Relay { "of the bare relay's" } else { "of PgBouncer's" };
            let what = format!("{what}, {cell}");
            let limit = Limit::AtMost(limit);
            verdicts.push(Verdict { what, measured: ratio.median, limit, unit });
        }
    }
    for (link, limit) in [(Link::Plain, IDLE_PLAIN_MAX), (Link::Tls, IDLE_TLS_MAX)] {
        let Some(idle) = results.idle(link, Peer::Pgmesh) else { continue };
        let Ok(measured) = idle.memory else { continue };
        let what = format!("memory per idle client, {} clients, {}", idle.clients, link.as_str());
        verdicts.push(Verdict { what, measured, limit: Limit::AtMost(limit), unit: "KiB" });
    }
    for (link, limit) in [(Link::Plain, LOGINS_PLAIN_MIN), (Link::Tls, LOGINS_TLS_MIN)] {
        let ratio = results.logins_ratio(link, Peer::Pgmesh, Peer::PgBouncer);
        let Some(ratio) = ratio else { continue };
        let what = format!("logins per second, {}", link.as_str());
        let limit = Limit::AtLeast(limit);
        let unit = "of PgBouncer's";
        verdicts.push(Verdict { what, measured: ratio.median, limit, unit });
    }
    verdicts
}

fn bars(cell: &Cell) -> Vec<Bar> {
    let mut bars = Vec::new();
    if cell.stay == Stay::Transaction {
        return bars;
    }
    if cell.clients == CLIENTS_OF_BARS {
        let (to, limit) = match (cell.link, cell.protocol) {
            (Link::Plain, Protocol::Simple | Protocol::Extended) => (Peer::Relay, 1.20),
            (Link::Plain, Protocol::Prepared) => (Peer::Relay, 1.25),
            (Link::Tls, _) => (Peer::PgBouncer, 1.00),
        };
        bars.push(Bar { what: "processor time", metric: Metric::Cpu, to, limit });
    }
    let to = Peer::PgBouncer;
    if matches!(cell.clients, CLIENTS_OF_BARS | 200) {
        bars.push(Bar { what: "p99", metric: Metric::P99, to, limit: 1.00 });
    }
    if cell.clients == 1 {
        bars.push(Bar { what: "p50", metric: Metric::P50, to, limit: 1.05 });
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::{CELL, load};
    use crate::bench::results::{Idle, Load, LoginFigures, Logins};

    fn verdict_of(loads: Vec<Load>, idle: Vec<Idle>) -> Vec<(String, bool)> {
        let verdicts = verdicts(&Results { loads, idle, ..Results::default() });
        verdicts.into_iter().map(|it| (it.what.clone(), it.passes())).collect()
    }

    #[test]
    fn processor_time_is_held_against_the_relay() {
        let what = "processor time, SELECT :aid, simple, 32 clients, plain".to_owned();
        let cheap = vec![load(0, Peer::Pgmesh, 11.9), load(0, Peer::Relay, 10.0)];
        assert_eq!(verdict_of(cheap, vec![]), [(what.clone(), true)]);
        let dear = vec![load(0, Peer::Pgmesh, 12.1), load(0, Peer::Relay, 10.0)];
        assert_eq!(verdict_of(dear, vec![]), [(what, false)]);
    }

    #[test]
    fn latency_is_held_against_pgbouncer() {
        let what = |cell: &Cell| bars(cell).iter().map(|bar| bar.what).collect::<Vec<_>>();
        assert_eq!(what(&CELL), ["processor time", "p99"]);
        assert_eq!(what(&Cell { clients: 1, ..CELL }), ["p50"]);
        assert_eq!(what(&Cell { clients: 200, ..CELL }), ["p99"]);
        assert!(what(&Cell { stay: Stay::Transaction, ..CELL }).is_empty());
    }

    #[test]
    fn logins_are_held_against_pgbouncer_s_of_the_same_round() {
        let logins = |round, peer, per_second| Logins {
            round,
            link: Link::Tls,
            peer,
            outcome: Ok(LoginFigures { per_second, cpu: 1.0 }),
        };
        let (ours, theirs) = (Peer::Pgmesh, Peer::PgBouncer);
        let rounds = |last| {
            let logins = vec![
                logins(0, theirs, 100.0),
                logins(0, ours, 210.0),
                logins(1, ours, last),
                logins(1, theirs, 200.0),
            ];
            verdicts(&Results { logins, ..Results::default() }).remove(0)
        };
        assert!(rounds(400.0).passes());
        assert!(!rounds(370.0).passes(), "{}", rounds(370.0));
    }

    #[test]
    fn nothing_measured_is_no_verdict() {
        assert!(verdict_of(vec![load(0, Peer::Pgmesh, 1.0)], vec![]).is_empty());
        let idle = |memory| Idle { link: Link::Tls, peer: Peer::Pgmesh, clients: 9, memory };
        assert!(verdict_of(vec![], vec![idle(Err(String::new()))]).is_empty());
        let (_, passes) = verdict_of(vec![], vec![idle(Ok(12.5))]).remove(0);
        assert!(!passes);
    }
}
