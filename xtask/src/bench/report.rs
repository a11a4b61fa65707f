//! What is printed at the end, and the JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::bars::Verdict;
use super::cell::{Cell, Link};
use super::machine::Machine;
use super::peer::Peer;
use super::results::{Logins, Metric, Outcome, Results, Spread};

/// One block per load and one for idle clients; `peers` are its lines.
pub(crate) fn table(results: &Results, peers: &[Peer]) -> String {
    let mut text = String::new();
    for cell in results.cells() {
        let _ = writeln!(
            text,
            "\n{cell}\n  {:10} {:>9} {:>9} {:>9} {:>8} {:>7} {:>11} {:>8} {:>8}",
            "", "tps", "p50 ms", "p99 ms", "cpu µs", "÷relay", "÷pgbouncer", "PSS MiB", "fairness"
        );
        for &peer in peers {
            let _ = writeln!(text, "  {:10} {}", peer.as_str(), line(results, &cell, peer));
        }
    }
    for link in [Link::Plain, Link::Tls] {
        idle(results, link, peers, &mut text);
    }
    for link in [Link::Plain, Link::Tls] {
        logins(results, link, peers, &mut text);
    }
    text
}

/// Medians over the rounds; ratios are of processor time.
fn line(results: &Results, cell: &Cell, peer: Peer) -> String {
    let median = |metric| results.spread(cell, peer, metric).map(|spread| spread.median);
    let (mut words, mut notes) = (String::new(), String::new());
    let _ = match median(Metric::Tps) {
        None => write!(words, "not measured"),
        Some(tps) => {
            let value = |metric, scale: f64| median(metric).unwrap_or_default() / scale;
            let part = |to| {
                let ratio = results.ratio(cell, peer, to, Metric::Cpu);
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.2}", ratio.median))
            };
            write!(
                words,
                "{tps:9.0} {:9.3} {:9.3} {:8.1} {:>7} {:>11} {:8.1} {:8.2}",
                value(Metric::P50, 1e3),
                value(Metric::P99, 1e3),
                value(Metric::Cpu, 1.0),
                part(Peer::Relay),
                part(Peer::PgBouncer),
                value(Metric::Memory, 1024.0),
                value(Metric::Fairness, 1.0),
            )
        }
    };
    for load in results.of(cell, peer) {
        let note = match &load.outcome {
            Outcome::Measured { note, .. } => (*note).unwrap_or_default(),
            Outcome::Unfit(reason) => reason,
            Outcome::Failed(reason) => reason.lines().next().unwrap_or_default(),
        };
        if !notes.contains(note) {
            let _ = write!(notes, "  ({note})");
        }
    }
    words + &notes
}

fn idle(results: &Results, link: Link, peers: &[Peer], text: &mut String) {
    let measured: Vec<_> = peers.iter().filter_map(|&peer| results.idle(link, peer)).collect();
    let Some(first) = measured.first() else { return };
    let _ = writeln!(text, "\n{} idle clients, {}", first.clients, link.as_str());
    for idle in measured {
        let _ = match &idle.memory {
            Ok(memory) => writeln!(text, "  {:10} {memory:9.2} KiB each", idle.peer.as_str()),
            Err(reason) => {
                let reason = reason.lines().next().unwrap_or_default();
                writeln!(text, "  {:10} not measured  ({reason})", idle.peer.as_str())
            }
        };
    }
}

/// Medians over the rounds.
fn logins(results: &Results, link: Link, peers: &[Peer], text: &mut String) {
    if results.logins.iter().all(|logins| logins.link != link) {
        return;
    }
    let _ = writeln!(
        text,
        "\nlogins, {}\n  {:10} {:>9} {:>8} {:>11}",
        link.as_str(),
        "",
        "a second",
        "cpu µs",
        "÷pgbouncer"
    );
    for &peer in peers {
        let rate = results.logins(link, peer, |figures| figures.per_second);
        let cpu = results.logins(link, peer, |figures| figures.cpu);
        let (Some(rate), Some(cpu)) = (rate, cpu) else { continue };
        let ratio = results.logins_ratio(link, peer, Peer::PgBouncer);
        let ratio = ratio.map_or_else(|| "-".to_owned(), |it| format!("{:.2}", it.median));
        let (name, rate, cpu) = (peer.as_str(), rate.median, cpu.median);
        let _ = writeln!(text, "  {name:10} {rate:9.0} {cpu:8.1} {ratio:>11}");
    }
}

/// The other build as a part of ours, with the extremes of the rounds.
pub(crate) fn comparison(results: &Results) -> String {
    let mut text = String::new();
    for cell in results.cells() {
        let part = |metric| results.ratio(&cell, Peer::Other, Peer::Pgmesh, metric);
        let Some(cpu) = part(Metric::Cpu) else { continue };
        let show = |spread: Option<Spread>| match spread {
            Some(Spread { median, min, max }) => format!("{median:.3} ({min:.3}–{max:.3})"),
            None => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "  {cell}: cpu {}, tps {}, p50 {}, p99 {}",
            show(Some(cpu)),
            show(part(Metric::Tps)),
            show(part(Metric::P50)),
            show(part(Metric::P99)),
        );
    }
    text
}

/// Everything, single rounds included.
pub(crate) fn json(results: &Results, verdicts: &[Verdict], machine: &Machine) -> Value {
    let loads: Vec<Value> = results
        .loads
        .iter()
        .map(|load| {
            let mut entry = json!({
                "round": load.round,
                "load": load.cell.to_string(),
                "peer": load.peer.as_str(),
            });
            match &load.outcome {
                Outcome::Measured { figures, note } => {
                    entry["note"] = json!(note);
                    for metric in Metric::ALL {
                        entry[metric.key()] = json!(metric.of(figures));
                    }
                }
                Outcome::Unfit(reason) => entry["unfit"] = json!(reason),
                Outcome::Failed(reason) => entry["failed"] = json!(reason),
            }
            entry
        })
        .collect();
    let idle: Vec<Value> = results
        .idle
        .iter()
        .map(|idle| {
            json!({
                "link": idle.link.as_str(),
                "peer": idle.peer.as_str(),
                "clients": idle.clients,
                "kib_per_client": idle.memory.as_ref().ok(),
                "failed": idle.memory.as_ref().err(),
            })
        })
        .collect();
    let bars: Vec<Value> = verdicts
        .iter()
        .map(|verdict| {
            json!({
                "what": verdict.what,
                "measured": verdict.measured,
                "limit": verdict.limit.to_string(),
                "unit": verdict.unit,
                "passes": verdict.passes(),
            })
        })
        .collect();
    json!({
        "machine": machine.json(),
        "loads": loads,
        "idle": idle,
        "logins": json_of_logins(results),
        "bars": bars,
    })
}

fn json_of_logins(results: &Results) -> Vec<Value> {
    let entry = |logins: &Logins| {
        let figures = logins.outcome.as_ref();
        json!({
            "round": logins.round,
            "link": logins.link.as_str(),
            "peer": logins.peer.as_str(),
            "logins_per_second": figures.ok().map(|figures| figures.per_second),
            "cpu_us_per_login": figures.ok().map(|figures| figures.cpu),
            "failed": figures.err(),
        })
    };
    results.logins.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::{CELL, load};
    use crate::bench::results::{Idle, Load};

    fn results() -> Results {
        let outcome = Outcome::Failed("first line\nsecond".to_owned());
        let loads = vec![
            load(0, Peer::Pgmesh, 11.0),
            load(0, Peer::Relay, 10.0),
            Load { round: 0, cell: CELL, peer: Peer::PgBouncer, outcome },
        ];
        let memory = Ok(1.5);
        let idle = vec![Idle { link: Link::Plain, peer: Peer::Pgmesh, clients: 7, memory }];
        Results { loads, idle, ..Results::default() }
    }

    #[test]
    fn the_table_has_a_line_for_each_peer() {
        let text = table(&results(), &[Peer::Pgmesh, Peer::PgBouncer, Peer::Relay]);
        assert!(text.contains("SELECT :aid, simple, 32 clients, plain\n"), "{text}");
        assert!(text.contains("11.0    1.10           -"), "{text}");
        assert!(text.contains("not measured  (first line)\n"), "{text}");
        assert!(text.contains("1.50 KiB each"), "{text}");
    }

    #[test]
    fn json_keeps_single_rounds() {
        let value = json(&results(), &[], &Machine::default());
        assert_eq!(value["loads"][0]["cpu_us_per_transaction"], 11.0);
        assert_eq!(value["loads"][2]["failed"], "first line\nsecond");
        assert_eq!(value["idle"][0]["kib_per_client"], 1.5);
    }
}
