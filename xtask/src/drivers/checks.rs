//! The checks, and what a program says of them.

use std::collections::BTreeMap;

use testbed::Error;

/// A check that programs have.
pub(super) struct Check {
    /// As the programs call it.
    pub(super) name: &'static str,
    /// The head of its column.
    pub(super) title: &'static str,
    /// What it shows.
    pub(super) meaning: &'static str,
    programs: Programs,
}

/// Which programs have a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Programs {
    /// Or skip it with a reason.
    Every,
    /// What no driver adds anything to.
    Some,
}

/// In the order of the table.
pub(super) const CHECKS: [Check; 24] = [
    check("connect", "connect", "a login as the driver does it by default"),
    check("tls_verify_full", "verify-full", "TLS with the server's certificate and name verified"),
    check("tls_wrong_authority", "wrong CA", "verify-full fails with another authority"),
    check("tls_wrong_name", "wrong name", "verify-full fails for a name not in the certificate"),
    check(
        "channel_binding",
        "channel binding",
        "SCRAM-SHA-256-PLUS, while pgmesh requires it of the server; for libpq every `sslmode` with \
         every `channel_binding`, and direct TLS where it has that",
    ),
    check("wrong_password", "wrong password", "is refused, with 28P01 where the driver tells"),
    check("simple_query", "simple query", "several statements in one, NULL, 5 MB in one value"),
    check("error", "error", "comes with its SQLSTATE and leaves the connection usable"),
    check(
        "prepared",
        "prepared",
        "6 connections with 50 statements each, more than a server keeps, used in turns",
    ),
    check(
        "prepare_ahead",
        "prepare ahead",
        "6 connections that have prepared and not yet executed keep no server to themselves",
    ),
    check(
        "unnamed",
        "unnamed",
        "6 connections with statements without a name, described first where the driver does so",
    ),
    check(
        "changed",
        "changed table",
        "a prepared `SELECT *` when the table gets a column: the driver is told as it is directly, \
         and its own way out works",
    ),
    check(
        "forget",
        "DISCARD ALL",
        "and `DEALLOCATE ALL`: the connection's statements are gone, and those of others are not",
    ),
    check(
        "types",
        "own types",
        "an enum, a composite and arrays of them, which the driver looks up by itself",
    ),
    check("pipeline", "pipeline", "what the driver has of pipelines or batches, errors included"),
    check("transaction", "transaction", "commit, rollback, savepoint, a failed transaction"),
    check("copy_in", "COPY in", "10,000 rows, then a COPY that fails"),
    check("copy_out", "COPY out", "10,000 rows"),
    check("cursor", "cursor", "500 rows in portions"),
    check("cancel", "cancel", "a statement that sleeps; the connection stays"),
    check("settings", "settings", "6 connections with different settings keep their own"),
    check("shared", "shared", "6 connections at once use no more servers than the pool has"),
    of_some(
        "sql_prepare",
        "SQL PREPARE",
        "`PREPARE` and `EXECUTE` in later transactions; SQL, so the same for every driver",
    ),
    of_some(
        "sql_set",
        "any SET",
        "a setting that Postgres does not report; SQL, so the same for every driver",
    ),
];

const fn check(name: &'static str, title: &'static str, meaning: &'static str) -> Check {
    Check { name, title, meaning, programs: Programs::Every }
}

const fn of_some(name: &'static str, title: &'static str, meaning: &'static str) -> Check {
    Check { name, title, meaning, programs: Programs::Some }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// The driver has no such thing, or no way to ask for it.
    Skipped(String),
    Failed(String),
    /// It fails without pgmesh, too.
    FailedDirect(String),
    /// It fails for a reason that is known.
    Gap(&'static str),
}

/// What a program said, check by check.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Of the driver.
    pub(super) version: String,
    verdicts: BTreeMap<String, Verdict>,
}

impl Report {
    /// Reads the output of a program that has ended. Checks that it did not come to have failed.
    pub(super) fn read(ended: Result<String, Error>) -> Self {
        let (output, end) = match ended {
            Ok(output) => (output, "the program does not have it".to_owned()),
            Err(Error::Command { status, output, .. }) => {
                let end = format!("the program ended with {status}: {}", last_line(&output));
                (output, end)
            }
            Err(Error::Timeout { within, log, .. }) => {
                (log, format!("the program took more than {} s", within.as_secs()))
            }
            Err(error) => (String::new(), error.to_string()),
        };
        let mut report = Self::default();
        for line in output.lines() {
            report.read_line(line);
        }
        for check in CHECKS.iter().filter(|check| check.programs == Programs::Every) {
            let verdict = || Verdict::Failed(end.clone());
            report.verdicts.entry(check.name.to_owned()).or_insert_with(verdict);
        }
        report
    }

    /// What is not a line of ours is a program's chatter.
    fn read_line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "version" {
            rest.clone_into(&mut self.version);
            return;
        }
        let (name, reason) = rest.split_once(' ').unwrap_or((rest, "no reason given"));
        let verdict = match word {
            "ok" => Verdict::Passed,
            "skip" => Verdict::Skipped(reason.to_owned()),
            "fail" => Verdict::Failed(reason.to_owned()),
            _ => return,
        };
        if CHECKS.iter().any(|check| check.name == name) {
            self.verdicts.insert(name.to_owned(), verdict);
        }
    }

    /// Marks the failures that `direct`, the report of a run without pgmesh, has too. What fails
    /// only there has failed: the check does not show what it should.
    pub(super) fn compare(&mut self, direct: &Self) {
        for (name, verdict) in &mut self.verdicts {
            let Some(Verdict::Failed(reason)) = direct.verdicts.get(name) else { continue };
            if matches!(verdict, Verdict::Failed(_)) {
                *verdict = Verdict::FailedDirect(reason.clone());
            } else if *verdict == Verdict::Passed {
                *verdict = Verdict::Failed(format!("works, but not without pgmesh: {reason}"));
            }
        }
    }

    /// Makes a failure a known gap.
    pub(super) fn excuse(&mut self, name: &str, reason: &'static str) {
        if let Some(verdict @ Verdict::Failed(_)) = self.verdicts.get_mut(name) {
            *verdict = Verdict::Gap(reason);
        }
    }

    /// How a check ended.
    pub(super) fn verdict(&self, name: &str) -> Option<&Verdict> {
        self.verdicts.get(name)
    }

    /// The checks that failed and should not have, with the reasons.
    pub(super) fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.verdicts.iter().filter_map(|(name, verdict)| match verdict {
            Verdict::Failed(reason) => Some((name.as_str(), reason.as_str())),
            Verdict::Passed | Verdict::Skipped(_) | Verdict::FailedDirect(_) | Verdict::Gap(_) => {
                None
            }
        })
    }

    /// How many checks ended like this.
    pub(super) fn count(&self, wanted: &Verdict) -> usize {
        self.verdicts.values().filter(|verdict| *verdict == wanted).count()
    }
}

fn last_line(output: &str) -> &str {
    output.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no output")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(output: &str) -> Report {
        Report::read(Ok(output.to_owned()))
    }

    #[test]
    fn a_line_is_a_check() {
        let report =
            report("version 1.2\nchatter\nok connect\nskip copy_in has none\nfail cancel a b\n");
        assert_eq!(report.version, "1.2");
        assert_eq!(report.verdict("connect"), Some(&Verdict::Passed));
        assert_eq!(report.verdict("copy_in"), Some(&Verdict::Skipped("has none".to_owned())));
        assert!(report.failures().any(|failure| failure == ("cancel", "a b")));
    }

    #[test]
    fn what_a_program_leaves_out_has_failed() {
        let report = report("ok connect\nok no_such_check\n");
        assert_eq!(report.failures().count(), CHECKS.len() - 3);
        assert_eq!(report.verdict("no_such_check"), None);
    }

    #[test]
    fn what_fails_directly_too_is_no_failure_and_what_fails_only_directly_is_one() {
        let mut through = report("fail cancel late\nfail copy_in broken\nok cursor");
        through.compare(&report("fail cancel never\nok copy_in\nfail cursor none"));
        let only_direct = "works, but not without pgmesh: none";
        assert!(through.failures().any(|failure| failure == ("cursor", only_direct)));
        assert_eq!(through.verdict("cancel"), Some(&Verdict::FailedDirect("never".to_owned())));
        assert!(through.failures().any(|(name, _)| name == "copy_in"));
        through.excuse("copy_in", "known");
        through.excuse("connect", "known");
        assert_eq!(through.verdict("copy_in"), Some(&Verdict::Gap("known")));
    }
}
