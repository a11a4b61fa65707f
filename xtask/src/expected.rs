//! Lists of the tests of a foreign suite that cannot be as without a proxy, and why.

use std::fs;

use anyhow::{Context, bail};

use crate::step;

/// Tests of suites `S`, or parts of them, with the reasons why they differ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected<S>(Vec<Entry<S>>);

#[derive(Debug, PartialEq, Eq)]
struct Entry<S> {
    suite: S,
    test: String,
    /// Words of the parts that are meant; the whole test if there are none.
    words: Option<String>,
    reason: String,
}

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
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entries = lines.map(|line| {
            let Some(entry) = Entry::parse(line, &named) else {
                bail!("neither `suite/test: reason` nor `suite/test [words]: reason`: {line}")
            };
            Ok(entry)
        });
        entries.collect::<anyhow::Result<_>>().map(Self)
    }

    /// Both lists.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Why a test differs, if that is known of the whole test.
    pub(crate) fn reason(&self, suite: S, test: &str) -> Option<&str> {
        let whole = self.entries(suite, test).find(|entry| entry.words.is_none())?;
        Some(&whole.reason)
    }

    /// As [`Expected::reason`], or the first reason if that is known of each of these parts, of
    /// which there are some.
    pub(crate) fn reason_of<'a>(
        &self,
        suite: S,
        test: &str,
        parts: impl Iterator<Item = &'a str>,
    ) -> Option<&str> {
        let of = |part: &str| {
            let is_it = |entry: &&Entry<S>| {
                entry.words.as_ref().is_some_and(|words| part.contains(words.as_str()))
            };
            self.entries(suite, test).find(is_it).map(|entry| entry.reason.as_str())
        };
        let known = || parts.map(of).collect::<Option<Vec<_>>>()?.first().copied();
        self.reason(suite, test).or_else(known)
    }

    fn entries(&self, suite: S, test: &str) -> impl Iterator<Item = &Entry<S>> {
        self.0.iter().filter(move |entry| entry.suite == suite && entry.test == test)
    }

    /// The tests of a suite.
    pub(crate) fn of(&self, suite: S) -> Vec<&str> {
        let entries = self.0.iter().filter(|entry| entry.suite == suite);
        let mut tests: Vec<&str> = entries.map(|entry| entry.test.as_str()).collect();
        tests.sort_unstable();
        tests.dedup();
        tests
    }
}

impl<S> Entry<S> {
    fn parse(line: &str, named: impl Fn(&str) -> Option<S>) -> Option<Self> {
        let (test, reason) = line.split_once(": ")?;
        let (suite, test) = test.split_once('/')?;
        // The name of a test may have brackets, too, but no blank in front of them.
        let (test, words) = match test.strip_suffix(']').and_then(|test| test.split_once(" [")) {
            Some((test, words)) => (test, Some(words.to_owned())),
            None => (test, None),
        };
        let reason = reason.trim().to_owned();
        Some(Self { suite: named(suite)?, test: test.to_owned(), words, reason })
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
        assert_eq!(expected.of(Suite::Two), ["a/b.py::c-d"]);
        for wrong in ["stats: x", "one/stats", "three/stats: x"] {
            assert!(Expected::parse(wrong, named).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_test_of_which_parts_are_known_is_known_if_no_other_part_differs() {
        let list = "one/stats [b]: first\none/stats [c d]: second\none/f[x]: third\n";
        let expected = Expected::parse(list, named).unwrap();
        let reason = |parts: &[&'static str]| {
            expected.reason_of(Suite::One, "stats", parts.iter().copied()).map(str::to_owned)
        };
        assert_eq!(reason(&["a b", "c d"]).as_deref(), Some("first"));
        assert_eq!((reason(&["a b", "c"]), reason(&[])), (None, None));
        assert_eq!(expected.reason(Suite::One, "stats"), None);
        assert_eq!(expected.reason(Suite::One, "f[x]"), Some("third"));
        assert_eq!(expected.of(Suite::One), ["f[x]", "stats"]);
    }
}
