//! What is printed at the end, and the JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::bars::{Limit, Verdict};
use super::crowd::Crowd;
use super::fault::Fault;
use super::figures::{Counts, Figures, Round, median, millis, sum};
use super::stage::Peer;
use crate::bench::machine::Machine;

/// Everything that came out of a run.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) rounds: Vec<Round>,
    /// Rounds that could not be run to their end, and why.
    pub(crate) failures: Vec<(Fault, usize, String)>,
    pub(crate) crowd: Option<Crowd>,
}

impl Results {
    /// Whether nothing was even tried.
    pub(crate) fn is_empty(&self) -> bool {
        self.rounds.is_empty() && self.failures.is_empty() && self.crowd.is_none()
    }
}

/// One line for a round that has just ended.
pub(crate) fn line(round: &Round) -> String {
    let mut text = format!("{} {}", round.fault.as_str(), round.number + 1);
    if let Some(handover) = round.handover {
        let _ = write!(text, ", writable again after {:.0} ms", millis(handover));
    }
    for (peer, figures) in &round.peers {
        let _ = write!(
            text,
            "; {}: {} disconnects, {} errors, pause {} ms, first {} ms",
            peer.as_str(),
            disconnects(figures),
            figures.errors_all(),
            show(figures.pauses.iter().max()),
            show(figures.first.iter().max()),
        );
        let audit = &figures.audit;
        if audit.lost + audit.twice + audit.two_node > 0 {
            let _ = write!(
                text,
                ", {} LOST, {} TWICE, {} TWO-NODE",
                audit.lost, audit.twice, audit.two_node
            );
        }
    }
    text
}

/// A block for each fault, a line for each peer.
pub(crate) fn table(results: &Results, peers: &[Peer]) -> String {
    let mut text = String::new();
    for fault in Fault::ALL {
        let rounds: Vec<&Round> =
            results.rounds.iter().filter(|round| round.fault == fault).collect();
        if rounds.is_empty() {
            continue;
        }
        let handovers: Vec<Duration> = rounds.iter().filter_map(|round| round.handover).collect();
        let leader = match median(&handovers) {
            Some(middle) => format!("writable again after {:.0} ms (median)", millis(middle)),
            None => "writable all the time".to_owned(),
        };
        let _ = writeln!(text, "\n{}: {} rounds, {leader}", fault.as_str(), rounds.len());
        let _ = writeln!(
            text,
            "  {:9} {:>22} {:>15} {:>17} {:>17} {:>6} {:>26}  errors; held",
            "",
            "disconnects w/idle/held",
            "pause p50/max",
            "first p50/max ms",
            "last p50/max ms",
            "acked",
            "lost/twice/undone/two-node",
        );
        for &peer in peers {
            if let Some(figures) = sum(&results.rounds, fault, peer) {
                let _ = writeln!(text, "  {:9} {}", peer.as_str(), row(&figures));
            }
        }
    }
    for (fault, round, reason) in &results.failures {
        let _ = writeln!(text, "\n{} {}: not measured: {reason}", fault.as_str(), round + 1);
    }
    if let Some(crowd) = &results.crowd {
        let _ = writeln!(
            text,
            "\n{} idle clients through a switchover: {} disconnects, {} served, the last {:.0} ms after the new leader's first write{}",
            crowd.clients,
            crowd.disconnects,
            crowd.served,
            millis(crowd.last),
            counts(", ", &crowd.errors),
        );
    }
    text
}

fn row(figures: &Figures) -> String {
    let pair = |values: &[Duration]| {
        let middle = median(values);
        format!("{}/{}", show(middle.as_ref()), show(values.iter().max()))
    };
    let audit = &figures.audit;
    format!(
        "{:>22} {:>15} {:>17} {:>17} {:>6} {:>26} {}; {}{}",
        format!(
            "{}+{}/{}/{}",
            figures.writers_between, figures.writers_during, figures.idle, figures.held
        ),
        pair(&figures.pauses),
        pair(&figures.first),
        pair(&figures.last),
        audit.acknowledged,
        format!(
            "{}/{}/{}/{}",
            audit.lost,
            audit.twice,
            audit.rolled_back_yet_done + audit.refused_yet_done,
            audit.two_node
        ),
        counts(" ", &figures.errors),
        counts("", &figures.held_ends),
        match (figures.failed_logins, figures.silences) {
            (0, 0) => String::new(),
            (attempts, 0) => format!("; {attempts} attempts to connect failed"),
            (attempts, silences) => format!(
                "; {attempts} attempts to connect failed, {silences} statements without an answer"
            ),
        },
    )
}

fn disconnects(figures: &Figures) -> u32 {
    figures.writers_between + figures.writers_during + figures.idle + figures.held
}

/// Whole milliseconds, or a dash.
fn show(time: Option<&Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.0}", millis(*time)))
}

/// Each with its number, or a dash.
pub(crate) fn counts(before: &str, counts: &Counts) -> String {
    if counts.is_empty() {
        return format!("{before}-");
    }
    let words = counts.iter().map(|(name, count)| format!("{name}×{count}"));
    before.to_owned() + &words.collect::<Vec<_>>().join(" ")
}

/// Everything, single rounds included.
pub(crate) fn json(
    results: &Results,
    peers: &[Peer],
    bars: &[Verdict],
    machine: &Machine,
) -> Value {
    let rounds = results.rounds.iter().flat_map(|round| {
        round.peers.iter().map(|(peer, figures)| {
            let mut entry = of_figures(figures);
            entry["fault"] = json!(round.fault.as_str());
            entry["round"] = json!(round.number);
            entry["peer"] = json!(peer.as_str());
            entry["writable_again_ms"] = json!(round.handover.map(millis));
            entry
        })
    });
    let sums = Fault::ALL.into_iter().flat_map(|fault| {
        peers.iter().filter_map(move |&peer| {
            let mut entry = of_figures(&sum(&results.rounds, fault, peer)?);
            entry["fault"] = json!(fault.as_str());
            entry["peer"] = json!(peer.as_str());
            Some(entry)
        })
    });
    let failures = results.failures.iter().map(
        |(fault, round, reason)| json!({"fault": fault.as_str(), "round": round, "reason": reason}),
    );
    let crowd = results.crowd.as_ref().map(|crowd| {
        json!({
            "clients": crowd.clients,
            "disconnects": crowd.disconnects,
            "served": crowd.served,
            "errors": crowd.errors,
            "last_served_ms": millis(crowd.last),
        })
    });
    let bars = bars.iter().map(|bar| {
        let (Limit::AtMost(limit) | Limit::Below(limit)) = bar.limit;
        json!({
            "what": bar.what,
            "measured": bar.measured,
            "limit": limit,
            "unit": bar.unit,
            "met": bar.is_met(),
        })
    });
    json!({
        "machine": machine.json(),
        "ways": peers.iter().map(|peer| (peer.as_str(), peer.way())).collect::<Vec<_>>(),
        "faults": sums.collect::<Vec<_>>(),
        "rounds": rounds.collect::<Vec<_>>(),
        "failures": failures.collect::<Vec<_>>(),
        "crowd": crowd,
        "bars": bars.collect::<Vec<_>>(),
    })
}

fn of_figures(figures: &Figures) -> Value {
    let times = |values: &[Duration]| {
        json!({
            "p50": median(values).map(millis),
            "max": values.iter().max().copied().map(millis),
        })
    };
    let audit = &figures.audit;
    json!({
        "disconnects": {
            "writers_between": figures.writers_between,
            "writers_during": figures.writers_during,
            "idle": figures.idle,
            "held": figures.held,
        },
        "errors": figures.errors,
        "held_ends": figures.held_ends,
        "statements_without_answer": figures.silences,
        "failed_logins": figures.failed_logins,
        "longest_pause_ms": times(&figures.pauses),
        "writable_to_first_success_ms": times(&figures.first),
        "writable_to_last_writer_ms": times(&figures.last),
        "rounds_with_unserved_writers": figures.unserved,
        "acknowledged": audit.acknowledged,
        "lost": audit.lost,
        "twice": audit.twice,
        "rolled_back_yet_applied": audit.rolled_back_yet_done,
        "refused_yet_applied": audit.refused_yet_done,
        "two_node": audit.two_node,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::failover::figures::tests::round;

    fn results() -> Results {
        let errors = [("40001".to_owned(), 3)].into();
        let first = vec![Duration::from_millis(7)];
        let figures = Figures { errors, first, idle: 2, ..Figures::default() };
        let failures = vec![(Fault::Etcd, 0, "no etcd".to_owned())];
        Results { rounds: vec![round(Fault::Hang, figures)], failures, crowd: None }
    }

    #[test]
    fn the_table_has_what_was_measured_and_what_was_not() {
        let text = table(&results(), &Peer::USUAL);
        assert!(text.contains("hang: 1 rounds, writable again after 2000 ms"), "{text}");
        assert!(text.contains("0+0/2/0") && text.contains("7/7"), "{text}");
        assert!(text.contains("40001×3; -"), "{text}");
        assert!(text.contains("etcd 1: not measured: no etcd"), "{text}");
        assert!(!text.contains("haproxy"), "{text}");
    }

    #[test]
    fn the_json_has_sums_and_single_rounds() {
        let json = json(&results(), &Peer::USUAL, &[], &Machine::default());
        assert_eq!(json["faults"][0]["disconnects"]["idle"], 2);
        assert_eq!(json["rounds"][0]["writable_to_first_success_ms"]["max"], 7.0);
        assert_eq!(json["rounds"][0]["writable_again_ms"], 2000.0);
        assert!(json["crowd"].is_null());
    }
}
