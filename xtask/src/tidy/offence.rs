//! What a rule complains about.

use std::fmt;

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A document names a test that is not there.
    Claim,
    /// A crate names another one that it may not know.
    Edge,
    /// An exception that excuses nothing.
    Exception,
    /// A file has too many lines.
    FileLength,
    /// A function has too many lines.
    FunctionLength,
    /// A file does not begin with `//!`.
    ModuleDoc,
    /// A pure crate knows something impure.
    Purity,
    /// A static that can change.
    StatefulStatic,
    /// Code that is `unsafe`, or a crate that may have some.
    Unsafe,
}

/// One breach of one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offence {
    /// The file, relative to the root of the workspace.
    pub(crate) path: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The rule.
    pub(crate) rule: Rule,
    /// What an exception names: the function, the static, the dependency; empty for a whole file.
    pub(crate) item: String,
    /// What is wrong.
    pub(crate) message: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}
