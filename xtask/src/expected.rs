//! Lists of the tests of a foreign suite that cannot be as without a proxy, and why.

use std::fs;

use anyhow::{Context, bail};

use crate::step;

/// Tests of suites `S` with the reasons why they differ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected<S>(Vec<(S, String, String)>);

impl<S> Default for Expected<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Copy + PartialEq> Expected<S> {
    /// Reads a list, whose path is from the root of the workspace. `named` knows the suites.
    ///
    /// # Errors
    /// A line without a suite, a test and a reason.
    pub(crate) fn load(list: &str, named: impl Fn(&str) -> Option<S>) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(step::root().join(list)).with_context(|| format!("read {list}"))?;
        Self::parse(&text, named).with_context(|| list.to_owned())
    }

    fn parse(text: &str, named: impl Fn(&str) -> Option<S>) -> anyhow::Result<Self> {
        let mut tests = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parts = line.split_once(": ").and_then(|(test, reason)| {
                let (suite, test) = test.split_once('/')?;
                Some((named(suite)?, test.to_owned(), reason.trim().to_owned()))
            });
            let Some(parts) = parts else { bail!("not `suite/test: reason`: {line}") };
            tests.push(parts);
        }
        Ok(Self(tests))
    }

    /// Why a test differs, if that is known.
    pub(crate) fn reason(&self, suite: S, test: &str) -> Option<&str> {
        let found = self.0.iter().find(|(of, name, _)| *of == suite && name == test)?;
        Some(&found.2)
    }

    /// The tests of a suite.
    pub(crate) fn of(&self, suite: S) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(of, _, _)| *of == suite).map(|(_, test, _)| test.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Suite {
        One,
        Two,
    }

    fn named(name: &str) -> Option<Suite> {
        match name {
            "one" => Some(Suite::One),
            "two" => Some(Suite::Two),
            _ => None,
        }
    }

    #[test]
    fn a_line_has_a_suite_a_test_and_a_reason() {
        let list = "# why\n\none/stats: line 9: its own pid\ntwo/a/b.py::c-d: e\n";
        let expected = Expected::parse(list, named).unwrap();
        assert_eq!(expected.reason(Suite::One, "stats"), Some("line 9: its own pid"));
        assert_eq!(expected.reason(Suite::Two, "stats"), None);
        assert_eq!(expected.of(Suite::Two).collect::<Vec<_>>(), ["a/b.py::c-d"]);
        for wrong in ["stats: x", "one/stats", "three/stats: x"] {
            assert!(Expected::parse(wrong, named).is_err(), "{wrong}");
        }
    }
}
