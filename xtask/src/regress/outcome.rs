//! What pg_regress said of each test.

use std::collections::BTreeMap;
use std::time::Duration;

/// How one test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Passed,
    Failed,
    /// It failed, and the suite itself says that it may.
    Ignored,
    /// It was killed.
    Hung,
}

impl End {
    /// For the table.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Ignored => "failed, as it may",
            Self::Hung => "HUNG",
        }
    }

    /// Whether a suite with this test has passed.
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Passed | Self::Ignored)
    }
}

/// All tests of one run.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// By the name of the test.
    pub(super) ends: BTreeMap<String, End>,
    /// What is other than expected, by the name of the test.
    hunks: BTreeMap<String, Vec<Hunk>>,
    /// From the first test to the last.
    pub(super) took: Duration,
}

/// A part of a test's output that is other than expected, with the lines around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hunk {
    /// All of its lines.
    text: String,
    /// How many of them are other than expected.
    changed: usize,
}

/// What `timeout` ends with after killing a program, in pg_regress' words.
const KILLED: [&str; 2] = ["exit code 124", "exit code 137"];

impl Outcome {
    /// Reads what pg_regress printed, and its regression.diffs.
    pub(super) fn read(printed: &str, diffs: &str, took: Duration) -> Self {
        let ends = printed.lines().filter_map(read_line).collect();
        Self { ends, hunks: hunks_of(diffs), took }
    }

    /// The parts of a test's output that are other than expected.
    pub(super) fn parts(&self, test: &str) -> impl Iterator<Item = &str> {
        self.hunks.get(test).into_iter().flatten().map(|hunk| hunk.text.as_str())
    }

    /// Lines of a test that are other than expected.
    pub(super) fn changed(&self, test: &str) -> usize {
        self.hunks.get(test).into_iter().flatten().map(|hunk| hunk.changed).sum()
    }

    /// How many tests ended like this.
    pub(super) fn count(&self, end: End) -> usize {
        self.ends.values().filter(|it| **it == end).count()
    }

    /// The tests that did not pass here and did in `direct`, or are not in it.
    pub(super) fn worse_than<'a>(
        &'a self,
        direct: Option<&'a Self>,
    ) -> impl Iterator<Item = (&'a str, End)> {
        let passed = move |name: &str| {
            direct.and_then(|direct| direct.ends.get(name)).is_none_or(|end| end.is_good())
        };
        let bad = self.ends.iter().filter(|(_, end)| !end.is_good());
        bad.filter(move |(name, _)| passed(name)).map(|(name, end)| (name.as_str(), *end))
    }
}

/// Lines such as `test boolean   ... FAILED     50 ms`, or of a group, without the word `test`.
fn read_line(line: &str) -> Option<(String, End)> {
    let (name, said) = line.split_once(" ... ")?;
    let name = name.trim().strip_prefix("test ").unwrap_or(name).trim();
    let end = if said.starts_with("ok") {
        End::Passed
    } else if said.starts_with("failed (ignored)") {
        End::Ignored
    } else if KILLED.iter().any(|killed| said.contains(killed)) {
        End::Hung
    } else if said.starts_with("FAILED") {
        End::Failed
    } else {
        return None;
    };
    Some((name.to_owned(), end))
}

fn hunks_of(diffs: &str) -> BTreeMap<String, Vec<Hunk>> {
    let mut all: BTreeMap<String, Vec<Hunk>> = BTreeMap::new();
    let mut test = String::new();
    for line in diffs.lines() {
        if let Some(header) = line.strip_prefix("diff ") {
            test = test_of(header);
            all.entry(test.clone()).or_default();
            continue;
        }
        let Some(hunks) = all.get_mut(&test) else { continue };
        if line.starts_with("@@ ") {
            hunks.push(Hunk::default());
        }
        // In front of the first are the names of the files.
        if let Some(hunk) = hunks.last_mut() {
            hunk.text += line;
            hunk.text.push('\n');
            hunk.changed += usize::from(line.starts_with(['+', '-']));
        }
    }
    all
}

/// The test in `-U3 /…/expected/boolean.out /…/results/boolean.out`.
fn test_of(header: &str) -> String {
    let file = header.rsplit('/').next().unwrap_or_default();
    file.trim_end_matches(".out").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
parallel group (3 tests):  int2 random boolean
     boolean                      ... ok           50 ms
     random                       ... failed (ignored)      20 ms
     int2                         ... FAILED (test process exited with exit code 124)  9 ms
test tablespace                   ... FAILED (test process exited with exit code 2)   11 ms
test select                       ... FAILED       17 ms
";

    #[test]
    fn every_way_to_end_is_told_apart() {
        let outcome = Outcome::read(PRINTED, "", Duration::ZERO);
        let ends: Vec<(&str, End)> =
            outcome.ends.iter().map(|(name, end)| (name.as_str(), *end)).collect();
        let wanted = [
            ("boolean", End::Passed),
            ("int2", End::Hung),
            ("random", End::Ignored),
            ("select", End::Failed),
            ("tablespace", End::Failed),
        ];
        assert_eq!(ends, wanted);
        assert_eq!(outcome.count(End::Failed), 2);
    }

    #[test]
    fn what_fails_directly_too_is_not_worse() {
        let direct = Outcome::read("test select  ... FAILED  1 ms", "", Duration::ZERO);
        let outcome = Outcome::read(PRINTED, "", Duration::ZERO);
        let worse: Vec<&str> = outcome.worse_than(Some(&direct)).map(|(name, _)| name).collect();
        assert_eq!(worse, ["int2", "tablespace"]);
        assert_eq!(outcome.worse_than(None).count(), 3);
    }

    #[test]
    fn changed_lines_are_counted_by_test() {
        let diffs = "diff -U3 /a/expected/int2.out /b/results/int2.out\n--- /a\t2026\n+++ /b\t2026\n\
                     @@ -1,2 +1,2 @@\n a\n-b\n+c\n+d\n@@ -9 +9 @@\n+z\n\
                     diff -U3 /a/expected/x_1.out /b/results/x.out\n@@ -1 +1 @@\n+e\n";
        let outcome = Outcome::read("", diffs, Duration::ZERO);
        assert_eq!(["int2", "x", "y"].map(|test| outcome.changed(test)), [4, 1, 0]);
        let parts: Vec<_> = outcome.parts("int2").collect();
        assert_eq!(parts, ["@@ -1,2 +1,2 @@\n a\n-b\n+c\n+d\n", "@@ -9 +9 @@\n+z\n"]);
    }
}
