//! Everything measured, and the medians and ratios of it.

use super::cell::{Cell, Link};
use super::load::Figures;
use super::peer::Peer;

/// All measurements of one run of the bench.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) loads: Vec<Load>,
    pub(crate) idle: Vec<Idle>,
    pub(crate) logins: Vec<Logins>,
}

/// One load through one peer in one round.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) round: usize,
    pub(crate) cell: Cell,
    pub(crate) peer: Peer,
    pub(crate) outcome: Outcome,
}

/// What became of a load.
#[derive(Debug)]
pub(crate) enum Outcome {
    Measured {
        figures: Figures,
        note: Option<&'static str>,
    },
    /// The peer cannot carry it.
    Unfit(&'static str),
    Failed(String),
}

/// Idle clients of one peer.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) link: Link,
    pub(crate) peer: Peer,
    pub(crate) clients: u32,
    /// KiB per client.
    pub(crate) memory: Result<f64, String>,
}

/// Clients that log in and leave, through one peer in one round.
#[derive(Debug)]
pub(crate) struct Logins {
    pub(crate) round: usize,
    pub(crate) link: Link,
    pub(crate) peer: Peer,
    pub(crate) outcome: Result<LoginFigures, String>,
}

/// What logins came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LoginFigures {
    pub(crate) per_second: f64,
    /// Microseconds of processor time of the peer for each.
    pub(crate) cpu: f64,
}

/// One of a load's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Cpu,
    Fairness,
    Memory,
    P50,
    P99,
    Tps,
}

/// A median, and how far the single values were from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Metric {
    pub(crate) const ALL: [Self; 6] =
        [Self::Tps, Self::P50, Self::P99, Self::Cpu, Self::Memory, Self::Fairness];

    pub(crate) fn of(self, figures: &Figures) -> f64 {
        match self {
            Self::Cpu => figures.cpu,
            Self::Fairness => figures.fairness,
            Self::Memory => figures.memory,
            Self::P50 => figures.p50,
            Self::P99 => figures.p99,
            Self::Tps => figures.tps,
        }
    }

    /// The name in JSON, unit last.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_us_per_transaction",
            Self::Fairness => "slowest_client_of_mean",
            Self::Memory => "memory_kib",
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
            Self::Tps => "transactions_per_second",
        }
    }
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values.get((values.len() - 1) / 2)?, values.get(values.len() / 2)?);
        Some(Self { median: f64::midpoint(*low, *high), min, max })
    }

    /// The distance of the extremes as a part of the median.
    pub(crate) fn relative(&self) -> f64 {
        (self.max - self.min) / self.median
    }
}

impl Load {
    fn figures(&self) -> Option<&Figures> {
        match &self.outcome {
            Outcome::Measured { figures, .. } => Some(figures),
            _ => None,
        }
    }
}

impl Results {
    /// The cells of all loads, in the order of the first round.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for load in &self.loads {
            if !cells.contains(&load.cell) {
                cells.push(load.cell);
            }
        }
        cells
    }

    pub(crate) fn of<'a>(&'a self, cell: &'a Cell, peer: Peer) -> impl Iterator<Item = &'a Load> {
        self.loads.iter().filter(move |load| load.cell == *cell && load.peer == peer)
    }

    /// A figure of a peer over the rounds.
    pub(crate) fn spread(&self, cell: &Cell, peer: Peer, metric: Metric) -> Option<Spread> {
        let figures = self.of(cell, peer).filter_map(Load::figures);
        Spread::of(figures.map(|figures| metric.of(figures)).collect())
    }

    /// A figure of a peer as a part of another peer's, round by round: what disturbed a round
    /// disturbed both.
    pub(crate) fn ratio(
        &self,
        cell: &Cell,
        peer: Peer,
        to: Peer,
        metric: Metric,
    ) -> Option<Spread> {
        let ratios = self.of(cell, peer).filter_map(|load| {
            let other = self.of(cell, to).find(|other| other.round == load.round)?;
            Some(metric.of(load.figures()?) / metric.of(other.figures()?))
        });
        Spread::of(ratios.collect())
    }

    /// By how much the processor time of one peer and load differs between rounds, as a part of the
    /// median; of all loads the one in the middle. `None` for a single round.
    pub(crate) fn noise(&self, peer: Peer) -> Option<f64> {
        if self.loads.iter().all(|load| load.round == 0) {
            return None;
        }
        let cells = self.cells();
        let spreads = cells.iter().filter_map(|cell| self.spread(cell, peer, Metric::Cpu));
        Spread::of(spreads.map(|spread| spread.relative()).collect()).map(|spread| spread.median)
    }

    /// A figure of a peer's logins over the rounds.
    pub(crate) fn logins(
        &self,
        link: Link,
        peer: Peer,
        figure: fn(&LoginFigures) -> f64,
    ) -> Option<Spread> {
        let of = self.logins.iter().filter(|logins| (logins.link, logins.peer) == (link, peer));
        Spread::of(of.filter_map(|logins| logins.outcome.as_ref().ok()).map(figure).collect())
    }

    /// Logins per second of one peer as a part of another's, round by round.
    pub(crate) fn logins_ratio(&self, link: Link, peer: Peer, to: Peer) -> Option<Spread> {
        let rate = |round, peer| {
            let mut of = self.logins.iter();
            let found = of.find(|it| (it.round, it.link, it.peer) == (round, link, peer))?;
            found.outcome.as_ref().ok().map(|figures| figures.per_second)
        };
        let rounds = self.logins.iter().filter(|it| (it.link, it.peer) == (link, peer));
        let ratios = rounds.filter_map(|it| Some(rate(it.round, peer)? / rate(it.round, to)?));
        Spread::of(ratios.collect())
    }

    pub(crate) fn idle(&self, link: Link, peer: Peer) -> Option<&Idle> {
        self.idle.iter().find(|idle| idle.link == link && idle.peer == peer)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::cell::{Protocol, Script, Stay};

    pub(crate) const CELL: Cell = Cell {
        script: Script::Aid,
        protocol: Protocol::Simple,
        clients: 32,
        link: Link::Plain,
        stay: Stay::Run,
    };

    pub(crate) fn load(round: usize, peer: Peer, cpu: f64) -> Load {
        let figures =
            Figures { tps: 1000.0, p50: 10.0, p99: 20.0, cpu, memory: 2048.0, fairness: 0.9 };
        let outcome = Outcome::Measured { figures, note: None };
        Load { round, cell: CELL, peer, outcome }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let loads = vec![
            load(0, Peer::Pgmesh, 10.0),
            load(0, Peer::Relay, 10.0),
            // A disturbed round.
            load(1, Peer::Relay, 30.0),
            load(1, Peer::Pgmesh, 33.0),
            load(2, Peer::Pgmesh, 12.0),
            load(2, Peer::Relay, 10.0),
        ];
        let results = Results { loads, ..Results::default() };
        let ratio = results.ratio(&CELL, Peer::Pgmesh, Peer::Relay, Metric::Cpu).unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (1.0, 1.1, 1.2));
        assert_eq!(results.ratio(&CELL, Peer::Pgmesh, Peer::HaProxy, Metric::Cpu), None);
        assert_eq!(results.noise(Peer::Relay), Some(2.0));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(vec![]), None);
    }
}
