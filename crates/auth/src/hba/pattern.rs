//! Regular expressions of rules and maps.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use super::Fault;

/// A regular expression, matched in time linear to the text. Not anchored.
///
/// As in PostgreSQL, which compiles these before it knows an encoding, classes like `\w` and
/// the case of letters are ASCII, and a dot is one byte, line breaks included. Back-references are
/// an error here, and so is what would silently mean something else than there.
#[derive(Clone)]
pub struct Pattern {
    regex: Regex,
}

impl Pattern {
    /// Compiles a regular expression, given without the slash that marks it.
    ///
    /// # Errors
    /// [`Fault::Pattern`] says what to change.
    pub fn new(text: &str) -> Result<Self, Fault> {
        let fault = |reason: String| Fault::Pattern { text: text.to_owned(), reason };
        if text.len() > LENGTH_MAX {
            return Err(fault(format!("longer than {LENGTH_MAX} bytes")));
        }
        check_dialect(text).map_err(|reason| fault(reason.to_owned()))?;
        let regex = RegexBuilder::new(text)
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(COMPILED_MAX)
            .nest_limit(NEST_MAX)
            .build()
            .map_err(|error| fault(reason(&error)))?;
        Ok(Self { regex })
    }

    /// The text, without the slash.
    pub fn as_str(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether it matches somewhere in `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }

    /// Whether it has a group in parentheses.
    pub(super) fn has_group(&self) -> bool {
        self.regex.captures_len() > 1
    }

    /// `None` if it does not match; else what its first group has matched, which is nothing
    /// if the group took no part or cut a character.
    pub(super) fn first_group<'a>(&self, text: &'a str) -> Option<Option<&'a str>> {
        let captures = self.regex.captures(text.as_bytes())?;
        let group = captures.get(1).and_then(|group| text.get(group.range()));
        Some(group)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

/// Refuses what both dialects take and read differently.
fn check_dialect(text: &str) -> Result<(), &'static str> {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '\\' => after_escape(rest)?,
            '[' => after_class(rest)?,
            c => &rest[c.len_utf8()..],
        };
    }
    Ok(())
}

/// `rest` begins with a backslash.
fn after_escape(rest: &str) -> Result<&str, &'static str> {
    let mut chars = rest.chars();
    match chars.nth(1) {
        Some('b' | 'B' | '<' | '>') => Err("\\b, \\B, \\< and \\> are not supported"),
        Some('x' | 'u' | 'U') => Err("\\x and \\u are not supported: write the character"),
        _ => Ok(chars.as_str()),
    }
}

/// `rest` begins with a bracket.
fn after_class(rest: &str) -> Result<&str, &'static str> {
    let mut rest = &rest[1..];
    for first in ['^', ']'] {
        rest = rest.strip_prefix(first).unwrap_or(rest);
    }
    while let Some(c) = rest.chars().next() {
        rest = match c {
            ']' => return Ok(&rest[1..]),
            '\\' => after_escape(rest)?,
            '[' => match rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) {
                Some((_, rest)) => rest,
                None => return Err("inside brackets, write \\[ for a bracket"),
            },
            _ if ["&&", "--", "~~"].iter().any(|operator| rest.starts_with(operator)) => {
                return Err("inside brackets, \"&&\", \"--\" and \"~~\" are not supported");
            }
            c => &rest[c.len_utf8()..],
        };
    }
    Ok(rest)
}

/// The last line of the message, which otherwise draws the place over several.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Far above what anybody writes by hand.
const LENGTH_MAX: usize = 1024;
/// Bytes of a compiled expression: a bound on what `{1000}{1000}` can cost.
const COMPILED_MAX: usize = 256 * 1024;
const NEST_MAX: u32 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_anywhere_and_bytewise() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().matches(text);
        assert!(matches("b", "abc") && !matches("^b", "abc"));
        assert!(matches("", "anything") && matches("^$", "") && !matches("^$", "\n"));
        assert!(matches(r"^db\d{2,4}$", "db123") && !matches(r"^db\d{2,4}$", "db1"));
        assert!(matches("^a.c$", "a\nc") && matches("^..$", "é"));
        assert!(matches("^é$", "é") && matches("(?i)^ABC$", "abc"));
        assert!(!matches(r"^\w$", "é"));
    }

    #[test]
    fn what_would_mean_something_else_or_cost_too_much_is_refused() {
        let refused = [
            r"(a)\1",
            r"\bword",
            r"\<x\>",
            r"\x41",
            "[a&&b]",
            "[a--b]",
            "[a~~b]",
            "(",
            "a{2",
            "[é]",
            "(?=a)",
            "[a[b]]",
            "[[.a.]]",
            r"[\x41]",
            r"a\",
            "(a{1000}){1000}",
            r"\m",
            r"\Z",
            "***=x",
        ];
        for text in refused {
            assert!(matches!(Pattern::new(text), Err(Fault::Pattern { .. })), "{text}");
        }
        assert!(Pattern::new(&"(".repeat(60)).is_err() && Pattern::new(&"x".repeat(1025)).is_err());
        for text in [r"\\b", "a--b&&c", "[]a]", "[^]a]", "[[:alpha:]_-]", r"[\[&]"] {
            assert!(Pattern::new(text).is_ok(), "{text}");
        }
        let error = Pattern::new("(").unwrap_err();
        assert_eq!(error.to_string(), "invalid regular expression \"(\": unclosed group");
    }
}
