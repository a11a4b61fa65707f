//! What is known not to work through pgmesh, with the reason. One that works again is an error, so
//! that this list stays true.

use super::checks::{Report, Verdict};
use super::driver::Driver;

struct Gap {
    driver: Driver,
    check: &'static str,
    /// For the table.
    reason: &'static str,
}

const FLUSH: &str = "the driver ends a `prepare` with Flush instead of Sync, and a server stays with \
    its client until the Sync that comes with the next execution; when all servers of the pool are \
    in that state, others wait. It is the same with PgBouncer: only a Sync ends what the server \
    sees as a transaction, and to add one would end it early";

const GAPS: &[Gap] = &[
    Gap { driver: Driver::Asyncpg, check: "prepare_ahead", reason: FLUSH },
    Gap { driver: Driver::AsyncpgNewer, check: "prepare_ahead", reason: FLUSH },
];

/// Marks the failures that are known.
pub(super) fn mark(driver: Driver, report: &mut Report) {
    for gap in GAPS.iter().filter(|gap| gap.driver == driver) {
        report.excuse(gap.check, gap.reason);
    }
}

/// Complaints about gaps that are none.
pub(super) fn closed(driver: Driver, report: &Report) -> impl Iterator<Item = String> {
    let gaps = GAPS.iter().filter(move |gap| gap.driver == driver);
    let closed = gaps.filter(|gap| matches!(report.verdict(gap.check), Some(Verdict::Passed)));
    closed.map(move |gap| format!("{}: {}: a known gap that works", driver.name(), gap.check))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::checks::CHECKS;

    #[test]
    fn every_gap_is_of_a_check() {
        for gap in GAPS {
            assert!(CHECKS.iter().any(|check| check.name == gap.check), "{}", gap.check);
        }
    }

    #[test]
    fn a_gap_excuses_a_failure_and_complains_of_a_success() {
        for gap in GAPS {
            let mut failed = Report::read(Ok(format!("fail {} x", gap.check)));
            mark(gap.driver, &mut failed);
            assert_eq!(failed.verdict(gap.check), Some(&Verdict::Gap(gap.reason)));
            assert!(!closed(gap.driver, &failed).any(|text| text.contains(gap.check)));
            let passed = Report::read(Ok(format!("ok {}", gap.check)));
            assert!(closed(gap.driver, &passed).any(|text| text.contains(gap.check)));
        }
    }
}
