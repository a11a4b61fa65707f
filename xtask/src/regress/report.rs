//! The table that is printed at the end.

use std::fmt::Write as _;

use super::outcome::{End, Outcome};
use super::stage::Way;
use super::suite::Suite;
use crate::expected::Expected;

/// One way, and what became of the suite on it.
pub(super) struct Run {
    pub(super) way: Way,
    pub(super) outcome: Outcome,
}

/// The run that the others are measured by.
pub(super) fn direct(runs: &[Run]) -> Option<&Outcome> {
    runs.iter().find(|run| matches!(run.way, Way::Direct)).map(|run| &run.outcome)
}

/// Counts, then the tests that differ through each proxy.
pub(super) fn render(suite: Suite, runs: &[Run], expected: &Expected<Suite>) -> String {
    let mut text = format!(
        "{:>10} {:>6} {:>7} {:>7} {:>6} {:>8} {:>8}\n",
        "", "tests", "passed", "failed", "hung", "ignored", "seconds"
    );
    for Run { way, outcome } in runs {
        let count = |end| outcome.count(end);
        let _ = writeln!(
            text,
            "{:>10} {:>6} {:>7} {:>7} {:>6} {:>8} {:>8.1}",
            way.name(),
            outcome.ends.len(),
            count(End::Passed),
            count(End::Failed),
            count(End::Hung),
            count(End::Ignored),
            outcome.took.as_secs_f64(),
        );
    }
    let direct = direct(runs);
    for Run { way, outcome } in runs {
        let compared = match way {
            Way::Direct => None,
            Way::Pgmesh(_) | Way::PgBouncer(_) => direct,
        };
        text.push_str(&differences(suite, way, outcome, compared, expected));
    }
    text
}

fn differences(
    suite: Suite,
    way: &Way,
    outcome: &Outcome,
    direct: Option<&Outcome>,
    expected: &Expected<Suite>,
) -> String {
    let worse: Vec<(&str, End)> = outcome.worse_than(direct).collect();
    if worse.is_empty() {
        return String::new();
    }
    let what = if direct.is_some() { "differ from direct" } else { "did not pass" };
    let mut text = format!("\n{way}: {} tests {what}; changed lines:\n", worse.len());
    for (name, end) in worse {
        let lines = outcome.changed(name);
        let reason = expected.reason_of(suite, name, outcome.parts(name)).unwrap_or_default();
        let line = format!("  {name:32} {:7} {lines:6}  {reason}", end.as_str());
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let passed = |test: &&str| outcome.ends.get(*test).is_some_and(|end| end.is_good());
    if matches!(way, Way::Pgmesh(_)) {
        for test in expected.of(suite).into_iter().filter(passed) {
            let _ = writeln!(text, "  {test:32} passed, and is in the list of those that do not");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn run(way: Way, printed: &str) -> Run {
        Run { way, outcome: Outcome::read(printed, "", Duration::from_secs(2)) }
    }

    #[test]
    fn only_what_differs_is_listed() {
        let runs = [
            run(Way::Direct, "test a ... ok 1 ms\ntest b ... FAILED 1 ms\ntest c ... ok 1 ms"),
            run(
                Way::Pgmesh("p".into()),
                "test a ... FAILED 1 ms\ntest b ... FAILED 1 ms\ntest c ... ok 1 ms",
            ),
        ];
        let text = render(Suite::Regress, &runs, &Expected::default());
        assert!(
            text.contains("    direct      3       2       1      0        0      2.0\n"),
            "{text}"
        );
        assert!(text.contains("pgmesh: 1 tests differ from direct"), "{text}");
        assert!(text.contains("direct: 1 tests did not pass"), "{text}");
        let tests = text.split("pgmesh: 1").nth(1).unwrap();
        assert!(tests.contains("  a ") && !tests.contains("  b ") && !tests.contains("  c "));
    }
}
