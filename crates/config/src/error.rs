//! What is wrong with a configuration: every complaint at once, none with a secret in it.

use std::fmt;

/// Where in the file something stands: a line, and the key with its tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1; `None` for what is not in the file (a missing section, the environment).
    pub line: Option<usize>,
    /// Dotted path of the key, such as `proxy.tls.mode` or `users[2].password`; empty for the
    /// file as a whole.
    pub path: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        Ok(())
    }
}

/// One reason not to start, saying what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}{problem}")]
pub struct Error {
    /// Where it stands.
    pub place: Place,
    /// What is wrong and what to write instead. Never contains a secret.
    pub problem: String,
}

/// Something that is allowed but that the operator should know; logged at start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Where it stands.
    pub place: Place,
    /// What follows from it.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.text)
    }
}

/// Every [`Error`] of one configuration, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errors {
    source: String,
    list: Vec<Error>,
}

impl Errors {
    /// `source` names the file (or the command line) in the message.
    pub(crate) fn new(source: impl Into<String>, mut list: Vec<Error>) -> Self {
        // What has no line (a missing section) is said last; equal lines keep their order.
        list.sort_by_key(|error| error.place.line.unwrap_or(usize::MAX));
        list.dedup();
        Self { source: source.into(), list }
    }

    /// For settings whose text the operator never saw.
    pub(crate) fn without_lines(mut self) -> Self {
        for error in &mut self.list {
            error.place.line = None;
        }
        self
    }

    /// The file, or the command line, that they are of.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The errors, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.list.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.list.len() == 1 { "error" } else { "errors" };
        write!(f, "{}: {} {plural}", self.source, self.list.len())?;
        for error in &self.list {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
