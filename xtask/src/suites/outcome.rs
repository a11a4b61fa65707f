//! What a suite's program said of each test.

use std::collections::BTreeMap;
use std::time::Duration;

/// How one test ended. Of several ends the last in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Passed,
    /// The test says itself that it cannot be run here.
    Skipped,
    Failed,
}

impl End {
    fn named(name: &str) -> Option<Self> {
        match name {
            "passed" => Some(Self::Passed),
            "skipped" => Some(Self::Skipped),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }
}

/// All tests of one run.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// By the name of the test.
    pub(super) ends: BTreeMap<String, End>,
    /// From the first test to the last, with what the suite sets up.
    pub(super) took: Duration,
}

impl Outcome {
    /// Reads what `tests/suites/report.py` has written.
    pub(super) fn read(report: &str, took: Duration) -> Self {
        let mut ends = BTreeMap::new();
        for line in report.lines() {
            let Some((end, name)) = line.split_once(' ') else { continue };
            let Some(end) = End::named(end) else { continue };
            let known = ends.entry(name.to_owned()).or_insert(end);
            *known = end.max(*known);
        }
        Self { ends, took }
    }

    /// How many tests ended like this.
    pub(super) fn count(&self, end: End) -> usize {
        self.ends.values().filter(|it| **it == end).count()
    }

    /// The tests that did not end as in `direct`: failed here, or not come to. Without a `direct`
    /// those that failed.
    pub(super) fn worse_than<'a>(
        &'a self,
        direct: Option<&'a Self>,
    ) -> impl Iterator<Item = &'a str> {
        let ends = direct.map_or(&self.ends, |direct| &direct.ends);
        let worse = move |name: &str, there: End| {
            let here = self.ends.get(name).copied();
            match direct {
                None => there == End::Failed,
                Some(_) => there == End::Passed && here != Some(End::Passed),
            }
        };
        let only_here = self.ends.iter().filter(move |(name, end)| {
            **end == End::Failed && direct.is_some_and(|direct| !direct.ends.contains_key(*name))
        });
        ends.iter()
            .filter(move |(name, end)| worse(name, **end))
            .chain(only_here)
            .map(|(name, _)| name.as_str())
    }
}

/// The name by which the list of known differences has a test: without its parameters, and that of
/// the synchronous twin of an asynchronous one.
pub(super) fn known_as(test: &str) -> String {
    let plain = test.split('[').next().unwrap_or(test);
    plain.replace("_async.py::", ".py::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(report: &str) -> Outcome {
        Outcome::read(report, Duration::ZERO)
    }

    #[test]
    fn a_test_that_fails_in_one_phase_has_failed() {
        let read = outcome("passed a b\nfailed a b\npassed c\nskipped d\nchatter\n");
        assert_eq!(read.ends.len(), 3);
        assert_eq!((read.count(End::Failed), read.count(End::Passed)), (1, 1));
        assert_eq!(read.worse_than(None).collect::<Vec<_>>(), ["a b"]);
    }

    #[test]
    fn what_passes_directly_and_not_here_is_worse() {
        let direct = outcome("passed a\npassed b\nfailed c\npassed d\nskipped e\npassed f\n");
        let here = outcome("passed a\nfailed b\nfailed c\nskipped d\npassed e\nfailed g\n");
        let worse: Vec<&str> = here.worse_than(Some(&direct)).collect();
        assert_eq!(worse, ["b", "d", "f", "g"]);
    }

    #[test]
    fn variants_of_a_test_are_known_by_one_name() {
        assert_eq!(known_as("tests/test_a_async.py::test_x[asyncio-1]"), "tests/test_a.py::test_x");
        assert_eq!(known_as("backends.tests.T.test_y"), "backends.tests.T.test_y");
    }
}
