//! proxy.toml and the environment, turned into typed [`Settings`].
//!
//! [`load`] reads a file, [`Settings::for_single_node`] needs none. Both either return settings
//! in which nothing needs checking again, or every error at once, each with its line, its key
//! and what to do. Errors, warnings and `Debug` never contain a secret.
//!
//! [`reference`] lists every key with its default as the parser itself knows them;
//! docs/configuration.md and proxy.toml are tested against it.

mod document;
mod environment;
mod error;
mod human;
pub mod import;
mod overrides;
mod reload;
mod section;
mod sections;
mod settings;
mod single_node;
mod suggest;
mod values;

use std::fmt;
use std::path::Path;

pub use document::{Key, read_secret};
pub use environment::{Environment, Process};
pub use error::{Error, Errors, Place, Warning};
pub use overrides::Overrides;
pub use reload::{Reload, reload_class};
pub use sections::{Console, Peers};
pub use settings::{
    Access, Cleartext, CoreDumps, Database, Failover, Limits, Oauth, Pool, Rotation, Settings,
    Shutdown, TimeoutOverrides, UNENDING, UNLIMITED, User, Written,
};
pub use values::{Change, Row, Values, What, diff};

use document::Document;
use zeroize::Zeroizing;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An IP address and port.
    Address,
    /// `true` or `false`.
    Boolean,
    /// One of a few words.
    Choice,
    /// A number with a unit, such as `"30s"`.
    Duration,
    /// A whole number.
    Integer,
    /// A list of strings, or one string.
    List,
    /// The path of a file.
    Path,
    /// A string that is never shown.
    Secret,
    /// A number of bytes with a unit, such as `"64MiB"`.
    Size,
    /// A string.
    String,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Address => "address",
            Self::Boolean => "boolean",
            Self::Choice => "choice",
            Self::Duration => "duration",
            Self::Integer => "integer",
            Self::List => "list",
            Self::Path => "path",
            Self::Secret => "secret",
            Self::Size => "size",
            Self::String => "string",
        })
    }
}

/// Reads a configuration file.
///
/// # Errors
/// The file cannot be read, or everything that is wrong with it.
pub fn load(path: &Path, env: &dyn Environment) -> Result<Settings, Errors> {
    load_over(path, env, &Overrides::default())
}

/// Reads a configuration file, with values over those that it has.
///
/// # Errors
/// As [`load`], and an override for a table that the file does not have.
pub fn load_over(path: &Path, env: &dyn Environment, over: &Overrides) -> Result<Settings, Errors> {
    let source = path.display().to_string();
    match std::fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => parse_over(&source, &text, env, over),
        Err(error) => {
            let place = Place { line: None, path: String::new() };
            let problem = format!("cannot read it: {error}");
            Err(Errors::new(source, vec![Error { place, problem }]))
        }
    }
}

/// Reads the text of a configuration; `source` names it in errors.
///
/// # Errors
/// Everything that is wrong with it; the syntax errors alone, if there are any.
pub fn parse(source: &str, text: &str, env: &dyn Environment) -> Result<Settings, Errors> {
    parse_over(source, text, env, &Overrides::default())
}

/// As [`parse`], with values over those of the text.
///
/// # Errors
/// As [`load_over`].
pub fn parse_over(
    source: &str,
    text: &str,
    env: &dyn Environment,
    over: &Overrides,
) -> Result<Settings, Errors> {
    match Document::walk(text, env, over, sections::settings) {
        Ok((settings, found)) if found.errors.is_empty() => {
            Ok(Settings { warnings: found.warnings, values: found.values, ..settings })
        }
        Ok((_, found)) => Err(Errors::new(source, found.errors)),
        Err(syntax) => Err(Errors::new(source, syntax)),
    }
}

/// Seconds of a duration as it is written in proxy.toml.
pub fn seconds(text: &str) -> Option<f64> {
    human::duration(text).map(|it| it.as_secs_f64())
}

/// Every key there is, sorted by path.
pub fn reference() -> Vec<Key> {
    // An empty file names no variable and no file, so the environment is not looked at.
    Document::walk("", &Process, &Overrides::default(), sections::settings)
        .map_or_else(|_| Vec::new(), |(_, it)| it.keys)
}
