//! docs/compatibility.md, and the lines that are printed on the way.

use std::fmt::Write as _;

use super::checks::{CHECKS, Report, Verdict};
use super::driver::Driver;

/// A driver and what became of its program.
pub(super) struct Row {
    pub(super) driver: Driver,
    /// Or why there was nothing to run.
    pub(super) outcome: Result<Report, String>,
}

const HEAD: &str = "\
# Drivers

Made by `cargo xtask drivers`, which runs the programs of `tests/drivers/` against PostgreSQL
VERSION, once with pgmesh in front of it and once without: transaction mode, TLS with verified
names and required channel binding to the server, and fewer servers than a program has connections.
`LISTEN` is not among the checks.

";

const LEGEND: &str = "\
*yes*: it works. *–*: the driver has no such thing. *no*: it does not work, and the reason is
below. *direct*: it does not work on a direct connection either. Empty: it was not asked.
";

/// The whole file. Drivers are columns: there are fewer of them than checks.
pub(super) fn render(server: &str, rows: &[Row]) -> String {
    let mut text = HEAD.replace("VERSION", server);
    let mut line = |first: &str, cell: &dyn Fn(&Row) -> String| {
        let cells: Vec<String> = rows.iter().map(cell).collect();
        let _ = writeln!(text, "| {first} | {} |", cells.join(" | "));
    };
    line("", &|row| row.driver.title().to_owned());
    line("---", &|_| "---".to_owned());
    line("version", &|row| match &row.outcome {
        Ok(report) => report.version.clone(),
        Err(_) => "not run".to_owned(),
    });
    for check in CHECKS {
        line(check.title, &|row| {
            let verdict = row.outcome.as_ref().ok().and_then(|report| report.verdict(check.name));
            cell(verdict).to_owned()
        });
    }
    let _ = write!(text, "\n{LEGEND}\n## What each check shows\n\n");
    for check in CHECKS {
        let _ = writeln!(text, "- **{}**: {}.", check.title, check.meaning);
    }
    let _ = write!(text, "\n## What is not *yes*, and why\n\n");
    text + &notes(rows)
}

fn cell(verdict: Option<&Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Passed) => "yes",
        Some(Verdict::Skipped(_)) => "–",
        Some(Verdict::FailedDirect(_)) => "direct",
        Some(Verdict::Failed(_) | Verdict::Gap(_)) => "no",
        None => "",
    }
}

fn notes(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let driver = row.driver.title();
        let report = match &row.outcome {
            Ok(report) => report,
            Err(reason) => {
                let _ = writeln!(text, "- **{driver}** was not run: {}.", plain(reason));
                continue;
            }
        };
        for check in CHECKS {
            if let Some(reason) = report.verdict(check.name).and_then(reason) {
                let _ = writeln!(text, "- **{driver}**, {}: {reason}.", check.title);
            }
        }
    }
    text
}

fn reason(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Passed => None,
        Verdict::Skipped(reason) | Verdict::Failed(reason) => Some(plain(reason)),
        Verdict::Gap(reason) => Some((*reason).to_owned()),
        Verdict::FailedDirect(reason) => Some(format!("fails directly too ({})", plain(reason))),
    }
}

/// On one line, and without a full stop of its own.
fn plain(reason: &str) -> String {
    let words: Vec<&str> = reason.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

/// One line for each check.
pub(super) fn lines(row: &Row) -> String {
    let report = match &row.outcome {
        Ok(report) => report,
        Err(reason) => return format!("  not run: {reason}\n"),
    };
    let mut text = format!("  version {}\n", report.version);
    for check in CHECKS {
        let Some(verdict) = report.verdict(check.name) else { continue };
        let reason = reason(verdict).unwrap_or_default();
        let line = format!("  {:6} {:19} {reason}", cell(Some(verdict)), check.name);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_has_a_column_and_every_failure_a_reason() {
        let output = CHECKS.map(|check| match check.name {
            "copy_in" => "skip copy_in has none".to_owned(),
            "cancel" => "fail cancel it slept on.".to_owned(),
            name => format!("ok {name}"),
        });
        let report = Report::read(Ok(format!("version 9\n{}", output.join("\n"))));
        let rows = [
            Row { driver: Driver::Asyncpg, outcome: Ok(report) },
            Row { driver: Driver::Npgsql, outcome: Err("no\nruntime".to_owned()) },
        ];
        let text = render("15.1", &rows);
        assert!(text.contains("PostgreSQL\n15.1, once"), "{text}");
        assert!(text.contains("|  | asyncpg | Npgsql |\n| --- | --- | --- |\n"), "{text}");
        assert!(text.contains("| version | 9 | not run |\n| connect | yes |  |\n"), "{text}");
        assert!(text.contains("| COPY in | – |  |\n") && text.contains("| cancel | no |  |\n"));
        assert!(text.contains("- **asyncpg**, cancel: it slept on.\n"), "{text}");
        assert!(text.contains("- **asyncpg**, COPY in: has none.\n"), "{text}");
        assert!(text.contains("- **Npgsql** was not run: no runtime.\n"), "{text}");
    }
}
