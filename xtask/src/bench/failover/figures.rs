//! The figures of one peer in one round, and of all rounds of a fault.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::audit::Audit;
use super::fault::Fault;
use super::prober::Handover;
use super::record::{HeldEnd, ROLLED_BACK, Record, Role, UNKNOWN_OUTCOME};
use super::stage::Peer;

/// SQLSTATE of what follows in a transaction that has failed.
const FAILED_TRANSACTION: &str = "25P02";

/// How often things happened, by name.
pub(crate) type Counts = BTreeMap<String, u32>;

/// One peer in one round, or in several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Connections that ended under a writer between two writes.
    pub(crate) writers_between: u32,
    /// And within a write.
    pub(crate) writers_during: u32,
    /// Connections that ended under an idle client.
    pub(crate) idle: u32,
    /// And under one that held a transaction open.
    pub(crate) held: u32,
    /// Of writers and idle clients.
    pub(crate) errors: Counts,
    /// How the transactions that were held open ended.
    pub(crate) held_ends: Counts,
    pub(crate) silences: u32,
    pub(crate) failed_logins: u32,
    /// The longest pause of a writer or an idle client, a value for each round.
    pub(crate) pauses: Vec<Duration>,
    /// From the new leader's first write to the peer's first, a value for each round.
    pub(crate) first: Vec<Duration>,
    /// And to the first of its last writer.
    pub(crate) last: Vec<Duration>,
    /// Rounds with a new leader in which a writer was not served again.
    pub(crate) unserved: u32,
    pub(crate) audit: Audit,
}

/// A round that took place.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) fault: Fault,
    pub(crate) number: usize,
    /// From the fault to the new leader's first write, if there was one.
    pub(crate) handover: Option<Duration>,
    pub(crate) peers: Vec<(Peer, Figures)>,
}

impl Figures {
    /// From what the clients of one peer have seen in a round.
    pub(crate) fn of(records: &[Record], handover: Option<&Handover>, audit: Audit) -> Self {
        let mut figures = Self { audit, ..Self::default() };
        let mut pause = Duration::ZERO;
        for record in records {
            figures.silences += record.silences;
            figures.failed_logins += record.failed_logins;
            match record.role {
                Role::Writer => {
                    figures.writers_between += record.lost_between;
                    figures.writers_during += record.lost_during;
                }
                Role::Idle => figures.idle += record.disconnects(),
                Role::Held => {
                    figures.held += record.disconnects();
                    *figures.held_ends.entry(record.held.name()).or_default() += 1;
                    continue;
                }
            }
            pause = pause.max(record.pause);
            add(&mut figures.errors, &record.errors);
        }
        figures.pauses.push(pause);
        if let Some(handover) = handover {
            figures.time(records, handover);
        }
        figures
    }

    fn time(&mut self, records: &[Record], handover: &Handover) {
        let firsts: Vec<Option<Instant>> = records
            .iter()
            .filter(|record| record.role == Role::Writer)
            .map(|record| {
                let own = record.acks.iter().filter(|ack| ack.tenure >= handover.tenure);
                own.map(|ack| ack.ended).min()
            })
            .collect();
        let after = |moment: Instant| moment.saturating_duration_since(handover.writable);
        self.first.extend(firsts.iter().flatten().min().copied().map(after));
        match firsts.into_iter().collect::<Option<Vec<Instant>>>() {
            Some(all) => self.last.extend(all.into_iter().max().map(after)),
            None => self.unserved += 1,
        }
    }

    /// Adds another round.
    pub(crate) fn add(&mut self, other: &Self) {
        self.writers_between += other.writers_between;
        self.writers_during += other.writers_during;
        self.idle += other.idle;
        self.held += other.held;
        add(&mut self.errors, &other.errors);
        add(&mut self.held_ends, &other.held_ends);
        self.silences += other.silences;
        self.failed_logins += other.failed_logins;
        self.pauses.extend(&other.pauses);
        self.first.extend(&other.first);
        self.last.extend(&other.last);
        self.unserved += other.unserved;
        let (sum, other) = (&mut self.audit, &other.audit);
        sum.acknowledged += other.acknowledged;
        sum.lost += other.lost;
        sum.twice += other.twice;
        sum.rolled_back_yet_done += other.rolled_back_yet_done;
        sum.refused_yet_done += other.refused_yet_done;
        sum.two_node += other.two_node;
    }

    /// Errors of writers and idle clients, of whatever kind.
    pub(crate) fn errors_all(&self) -> u32 {
        self.errors.values().sum()
    }

    /// Those that tell neither that a transaction was rolled back nor that its outcome is unknown.
    pub(crate) fn errors_of_other_kinds(&self) -> u32 {
        let known = [ROLLED_BACK, UNKNOWN_OUTCOME, FAILED_TRANSACTION];
        let others = self.errors.iter().filter(|(state, _)| !known.contains(&state.as_str()));
        others.map(|(_, count)| count).sum()
    }

    /// Transactions held open that did not end in 40001 with their connection kept.
    pub(crate) fn held_otherwise(&self) -> u32 {
        let others = self.held_ends.iter().filter(|(end, _)| *end != ROLLED_BACK);
        others.map(|(_, count)| count).sum()
    }
}

impl HeldEnd {
    fn name(&self) -> String {
        match self {
            Self::Open => "open".to_owned(),
            Self::Committed => "committed".to_owned(),
            Self::Kept(state) => state.clone(),
            Self::Disconnected => "disconnected".to_owned(),
        }
    }
}

fn add(sum: &mut Counts, other: &Counts) {
    for (name, count) in other {
        *sum.entry(name.clone()).or_default() += count;
    }
}

/// All rounds of a fault for one peer; `None` if it took part in none.
pub(crate) fn sum(rounds: &[Round], fault: Fault, peer: Peer) -> Option<Figures> {
    let mut own = rounds
        .iter()
        .filter(|round| round.fault == fault)
        .flat_map(|round| &round.peers)
        .filter(|(other, _)| *other == peer)
        .map(|(_, figures)| figures);
    let mut sum = own.next()?.clone();
    own.for_each(|figures| sum.add(figures));
    Some(sum)
}

/// The value in the middle, the greater of the two if there are two.
pub(crate) fn median(values: &[Duration]) -> Option<Duration> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Milliseconds, with their fractions.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::failover::record::{Ack, Failure, Moment, Tenure};

    const OLD: Tenure = Tenure { timeline: 1, started: 5 };
    const NEW: Tenure = Tenure { timeline: 2, started: 3 };

    /// One round of a fault.
    pub(crate) fn round(fault: Fault, figures: Figures) -> Round {
        let handover = Some(Duration::from_secs(2));
        Round { fault, number: 0, handover, peers: vec![(Peer::Pgmesh, figures)] }
    }

    fn writer(acks: &[(u64, Tenure)], base: Instant) -> Record {
        let mut record = Record::new(Role::Writer, 1);
        let moment = |ms| base + Duration::from_millis(ms);
        let ack = |(ms, tenure)| Ack { seq: 0, began: base, ended: moment(ms), tenure };
        record.acks = acks.iter().copied().map(ack).collect();
        record
    }

    #[test]
    fn the_first_success_is_one_of_the_new_leader() {
        let base = Instant::now();
        let handover = Handover { writable: base + Duration::from_millis(100), tenure: NEW };
        let quick = writer(&[(50, OLD), (105, OLD), (110, NEW)], base);
        let slow = writer(&[(140, NEW), (130, NEW)], base);
        let idle = Record::new(Role::Idle, 2);
        let figures = Figures::of(&[quick, slow, idle], Some(&handover), Audit::default());
        assert_eq!(figures.first, [Duration::from_millis(10)]);
        assert_eq!(figures.last, [Duration::from_millis(30)]);
        // Before the prober noticed is at once.
        let early = writer(&[(99, NEW)], base);
        let never = writer(&[(50, OLD)], base);
        let figures = Figures::of(&[early, never], Some(&handover), Audit::default());
        assert_eq!((figures.first, figures.unserved), (vec![Duration::ZERO], 1));
        assert!(figures.last.is_empty());
    }

    #[test]
    fn roles_are_counted_apart() {
        let lost = Failure::Lost(Some("57P01".to_owned()));
        let mut writer = Record::new(Role::Writer, 1);
        writer.note(&lost, Moment::During);
        writer.note(&Failure::Refused("40001".to_owned()), Moment::During);
        let mut idle = Record::new(Role::Idle, 2);
        idle.note(&Failure::Lost(None), Moment::Between);
        let mut held = Record::new(Role::Held, 3);
        held.note(&Failure::Refused("40001".to_owned()), Moment::During);
        held.held = HeldEnd::Kept("40001".to_owned());
        let mut figures = Figures::of(&[writer, idle, held], None, Audit::default());
        assert_eq!((figures.writers_between, figures.writers_during), (0, 1));
        assert_eq!((figures.idle, figures.held), (1, 0));
        assert_eq!((figures.errors_all(), figures.errors_of_other_kinds()), (2, 1));
        assert_eq!(figures.held_otherwise(), 0);
        let again = figures.clone();
        figures.add(&again);
        assert_eq!((figures.writers_during, figures.errors["40001"]), (2, 2));
        assert_eq!(figures.held_ends["40001"], 2);
    }

    #[test]
    fn the_median_is_a_value_of_the_sample() {
        let seconds = |values: &[u64]| -> Vec<Duration> {
            values.iter().map(|&value| Duration::from_secs(value)).collect()
        };
        assert_eq!(median(&seconds(&[3, 1, 2])), Some(Duration::from_secs(2)));
        assert_eq!(median(&seconds(&[1, 2])), Some(Duration::from_secs(2)));
        assert_eq!(median(&[]), None);
    }
}
