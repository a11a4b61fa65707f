//! The tests that cannot be as without a proxy, and why: tests/regress/expected.txt.

use std::fs;

use anyhow::{Context, bail};

use super::suite::Suite;
use crate::step;

/// From the root of the workspace.
const LIST: &str = "tests/regress/expected.txt";

/// Tests with the reasons why they differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected(Vec<(Suite, String, String)>);

impl Expected {
    /// Reads the list.
    ///
    /// # Errors
    /// A line without a suite, a test and a reason.
    pub(super) fn load() -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(step::root().join(LIST)).with_context(|| format!("read {LIST}"))?;
        Self::parse(&text).context(LIST)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut tests = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parts = line.split_once(": ").and_then(|(test, reason)| {
                let (suite, test) = test.split_once('/')?;
                Some((Suite::named(suite)?, test.to_owned(), reason.trim().to_owned()))
            });
            let Some(parts) = parts else { bail!("not `suite/test: reason`: {line}") };
            tests.push(parts);
        }
        Ok(Self(tests))
    }

    /// Why a test differs, if that is known.
    pub(super) fn reason(&self, suite: Suite, test: &str) -> Option<&str> {
        let found = self.0.iter().find(|(of, name, _)| *of == suite && name == test)?;
        Some(&found.2)
    }

    /// The tests of a suite.
    pub(super) fn of(&self, suite: Suite) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(of, _, _)| *of == suite).map(|(_, test, _)| test.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_suite_a_test_and_a_reason() {
        let list = "# why\n\nregress/stats: line 9: its own pid\nisolation/a-b: c\n";
        let expected = Expected::parse(list).unwrap();
        assert_eq!(expected.reason(Suite::Regress, "stats"), Some("line 9: its own pid"));
        assert_eq!(expected.reason(Suite::Isolation, "stats"), None);
        assert_eq!(expected.of(Suite::Isolation).collect::<Vec<_>>(), ["a-b"]);
        for wrong in ["stats: x", "regress/stats", "other/stats: x"] {
            assert!(Expected::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_list_can_be_read() {
        Expected::load().unwrap();
    }
}
