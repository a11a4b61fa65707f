//! Whether the table agrees with what clients were told.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::prober::Handover;
use super::record::{ROLLED_BACK, Record};
use super::table::Row;

/// The writes of one peer in one round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    pub(crate) acknowledged: usize,
    /// Acknowledged, and not there.
    pub(crate) lost: usize,
    /// There more than once.
    pub(crate) twice: usize,
    /// Refused with 40001, and there.
    pub(crate) rolled_back_yet_done: usize,
    /// Refused with another SQLSTATE that says that it was not done, or never sent to its end, and
    /// there.
    pub(crate) refused_yet_done: usize,
    /// Taken by a server whose time was over, or by two on one timeline.
    pub(crate) two_node: usize,
}

/// Compares the records of a peer's clients with all rows of the table.
pub(crate) fn audit(records: &[Record], rows: &[Row], handover: Option<&Handover>) -> Audit {
    let own: HashSet<i32> = records.iter().map(|record| record.client).collect();
    let mut copies: HashMap<(i32, i32), usize> = HashMap::new();
    for row in rows.iter().filter(|row| own.contains(&row.client)) {
        *copies.entry((row.client, row.seq)).or_default() += 1;
    }
    let is_there = |client: i32, seq: i32| copies.contains_key(&(client, seq));
    let mut audit = Audit {
        twice: copies.values().filter(|copies| **copies > 1).count(),
        two_node: strangers(rows, &own),
        ..Audit::default()
    };
    for record in records {
        audit.acknowledged += record.acks.len();
        let lost = record.acks.iter().filter(|ack| !is_there(record.client, ack.seq));
        audit.lost += lost.count();
        for refusal in &record.refusals {
            if is_there(record.client, refusal.seq) {
                match refusal.state.as_str() {
                    ROLLED_BACK => audit.rolled_back_yet_done += 1,
                    _ => audit.refused_yet_done += 1,
                }
            }
        }
        if let Some(handover) = handover {
            let late = record
                .acks
                .iter()
                .filter(|ack| ack.began > handover.writable && ack.tenure < handover.tenure);
            audit.two_node += late.count();
        }
    }
    audit
}

/// Own rows that were not taken by the server that most rows of their timeline are from.
fn strangers(rows: &[Row], own: &HashSet<i32>) -> usize {
    let mut timelines: BTreeMap<u32, HashMap<&str, usize>> = BTreeMap::new();
    for row in rows {
        let nodes = timelines.entry(row.tenure.timeline).or_default();
        *nodes.entry(&row.node).or_default() += 1;
    }
    let owners: BTreeMap<u32, &str> = timelines
        .into_iter()
        .filter_map(|(timeline, nodes)| {
            let (node, _) = nodes.into_iter().max_by_key(|(node, count)| (*count, *node))?;
            Some((timeline, node))
        })
        .collect();
    rows.iter()
        .filter(|row| own.contains(&row.client))
        .filter(|row| owners.get(&row.tenure.timeline) != Some(&row.node.as_str()))
        .count()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::bench::failover::record::{Ack, Refusal, Role, Tenure};

    const OLD: Tenure = Tenure { timeline: 1, started: 5 };
    const NEW: Tenure = Tenure { timeline: 2, started: 3 };

    fn row(client: i32, seq: i32, node: &str, tenure: Tenure) -> Row {
        Row { client, seq, node: node.to_owned(), tenure }
    }

    fn acknowledged(seqs: &[i32], began: Instant, tenure: Tenure) -> Record {
        let mut record = Record::new(Role::Writer, 1);
        record.acks = seqs.iter().map(|&seq| Ack { seq, began, ended: began, tenure }).collect();
        record
    }

    #[test]
    fn lost_and_doubled_writes_are_found() {
        let record = acknowledged(&[0, 1, 2], Instant::now(), OLD);
        let rows = [
            row(1, 0, "a", OLD),
            row(1, 2, "a", OLD),
            row(1, 2, "a", OLD),
            // Unknown to its client, which is no offence.
            row(1, 3, "a", OLD),
            // Somebody else's.
            row(7, 1, "a", OLD),
            row(7, 1, "a", OLD),
        ];
        let found = audit(&[record], &rows, None);
        assert_eq!((found.acknowledged, found.lost, found.twice), (3, 1, 1));
        assert_eq!(found.two_node, 0);
    }

    #[test]
    fn what_was_refused_must_not_be_there() {
        let mut record = Record::new(Role::Held, 1);
        let refusal = |seq, state: &str| Refusal { seq, state: state.to_owned() };
        record.refusals = vec![refusal(0, "40001"), refusal(1, "40001"), refusal(2, "57P03")];
        let rows = [row(1, 1, "a", OLD), row(1, 2, "a", OLD)];
        let found = audit(&[record], &rows, None);
        assert_eq!((found.rolled_back_yet_done, found.refused_yet_done), (1, 1));
    }

    #[test]
    fn a_write_by_the_old_leader_after_the_new_ones_first_is_found() {
        let writable = Instant::now();
        let handover = Handover { writable, tenure: NEW };
        let late = writable + Duration::from_millis(1);
        let count = |began, tenure| {
            audit(&[acknowledged(&[0], began, tenure)], &[], Some(&handover)).two_node
        };
        assert_eq!(count(late, OLD), 1);
        assert_eq!(count(writable, OLD), 0);
        assert_eq!(count(late, NEW), 0);
    }

    #[test]
    fn a_timeline_belongs_to_one_node() {
        let record = Record::new(Role::Writer, 1);
        let rows =
            [row(2, 0, "a", OLD), row(2, 1, "a", OLD), row(1, 0, "b", OLD), row(1, 1, "b", NEW)];
        assert_eq!(audit(&[record], &rows, None).two_node, 1);
    }
}
