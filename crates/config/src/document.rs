//! One walk over a parsed proxy.toml: it collects every error, warning and known key.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use auth::Secret;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::error::{Error, Place, Warning};
use crate::overrides::{Laid, Overrides};
use crate::section::Section;
use crate::values::{Value, Values};
use crate::{Kind, suggest};

/// A key that the parser knows: what docs/configuration.md and proxy.toml must list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Dotted path; an element of an array of tables is `users[]`.
    pub path: String,
    /// What it takes.
    pub kind: Kind,
    /// Its default as it would be written, if it has one.
    pub default: Option<String>,
}

/// The walk's memory. Sections borrow it and add to it.
#[derive(Debug)]
pub(crate) struct Document {
    /// Offset of each line's first byte.
    lines: Vec<usize>,
    errors: RefCell<Vec<Error>>,
    warnings: RefCell<Vec<Warning>>,
    keys: RefCell<Vec<Key>>,
    /// Keys nobody asked for: judged at the end, when all known keys are known.
    strangers: RefCell<Vec<Place>>,
    values: RefCell<Values>,
    over: Laid,
}

/// What a walk came upon.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) errors: Vec<Error>,
    pub(crate) warnings: Vec<Warning>,
    /// Sorted, each once.
    pub(crate) keys: Vec<Key>,
    pub(crate) values: Values,
}

impl Document {
    /// Parses `text` and gives its root, with `over` laid over it, to `build`, whose value is worth
    /// something only if nothing wrong was found.
    ///
    /// # Errors
    /// The syntax errors, when there are any: what follows from them would only confuse.
    pub(crate) fn walk<T>(
        text: &str,
        env: &dyn Environment,
        over: &Overrides,
        build: impl FnOnce(&Section<'_>) -> T,
    ) -> Result<(T, Found), Vec<Error>> {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let document = Self {
            lines: std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect(),
            errors: RefCell::default(),
            warnings: RefCell::default(),
            keys: RefCell::default(),
            strangers: RefCell::default(),
            values: RefCell::default(),
            over: Laid::new(over.clone()),
        };
        let (root, syntax) = DeTable::parse_recoverable(text);
        if !syntax.is_empty() {
            return Err(document.syntax_errors(&syntax));
        }
        let section = Section::root(&document, env, root.get_ref());
        let built = build(&section);
        drop(section);
        document.judge_strangers();
        for path in document.over.unused() {
            let place = Place { line: None, path };
            document.error(place, "was set, and there is no such table in the file".to_owned());
        }
        let mut keys = document.keys.into_inner();
        keys.sort();
        keys.dedup();
        let (errors, warnings) = (document.errors.into_inner(), document.warnings.into_inner());
        let values = document.values.into_inner();
        Ok((built, Found { errors, warnings, keys, values }))
    }

    /// The line of a byte offset, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    pub(crate) fn error(&self, place: Place, problem: String) {
        self.errors.borrow_mut().push(Error { place, problem });
    }

    pub(crate) fn warning(&self, place: Place, text: String) {
        self.warnings.borrow_mut().push(Warning { place, text });
    }

    pub(crate) fn key(&self, key: Key) {
        self.keys.borrow_mut().push(key);
    }

    /// Notes what a key says.
    pub(crate) fn value(&self, path: String, value: Value) {
        self.values.borrow_mut().insert(path, value);
    }

    /// What was set for this path over what the file says.
    pub(crate) fn set_at(&self, path: &str) -> Option<&str> {
        self.over.get(path)
    }

    pub(crate) fn stranger(&self, place: Place) {
        self.strangers.borrow_mut().push(place);
    }

    /// Only `message()` and the line are used: toml's `Display` quotes the source, which may be
    /// an unquoted password.
    fn syntax_errors(&self, errors: &[toml::de::Error]) -> Vec<Error> {
        errors
            .iter()
            .map(|error| Error {
                place: Place {
                    line: error.span().map(|span| self.line(span.start)),
                    path: String::new(),
                },
                problem: format!("not TOML: {}", error.message()),
            })
            .collect()
    }

    /// Reports each unknown key, with the nearest known one: first in its own section, then by
    /// its exact name in another, then by the name another pooler gives it.
    fn judge_strangers(&self) {
        let keys = self.keys.borrow();
        for place in self.strangers.borrow().iter() {
            let generic = generic_path(&place.path);
            let (section, name) = generic.rsplit_once('.').unwrap_or(("", &generic));
            let siblings = keys.iter().filter_map(|key| child_of(&key.path, section));
            let near = suggest::nearest(name, siblings).map(|near| match section {
                "" => near.to_owned(),
                _ => format!("{section}.{near}"),
            });
            let elsewhere = || {
                let mut same = keys
                    .iter()
                    .filter(|key| key.path.rsplit_once('.').is_some_and(|(_, last)| last == name));
                same.next().map(|key| key.path.clone())
            };
            let named = || {
                let key = near.or_else(|| suggest::foreign(name).map(str::to_owned));
                key.or_else(elsewhere).map(|key| format!("did you mean {key}?"))
            };
            let hint = suggest::needless(name)
                .map(|why| format!("leave it out: {why}"))
                .or_else(named)
                .unwrap_or_else(|| "docs/configuration.md lists every key".to_owned());
            self.error(place.clone(), format!("unknown key; {hint}"));
        }
    }
}

/// `users[3].name` as the key's documentation has it: `users[].name`.
fn generic_path(path: &str) -> String {
    let mut generic = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        inside = match c {
            '[' => true,
            ']' => false,
            _ => inside,
        };
        if !inside || c == '[' {
            generic.push(c);
        }
    }
    generic
}

/// The name right below `section` on the way to `path`: a key of it or a table in it.
fn child_of<'p>(path: &'p str, section: &str) -> Option<&'p str> {
    let rest = match section {
        "" => path,
        _ => path.strip_prefix(section)?.strip_prefix('.')?,
    };
    let name = rest.split('.').next()?;
    Some(name.trim_end_matches("[]"))
}

/// A scalar as written, before its type is known.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) value: RawValue,
    /// Written in the file itself; what came from the environment or a file is never quoted in
    /// an error, for it may be a secret.
    pub(crate) literal: bool,
}

#[derive(Clone)]
pub(crate) enum RawValue {
    Boolean(bool),
    Integer(i128),
    /// It may be a secret.
    Text(Zeroizing<String>),
}

impl Raw {
    /// A value that was set at run time.
    pub(crate) fn set(text: &str) -> Self {
        Self { value: RawValue::Text(text.to_owned().into()), literal: false }
    }

    /// The value as it may be written.
    pub(crate) fn text(&self) -> String {
        match &self.value {
            RawValue::Boolean(value) => value.to_string(),
            RawValue::Integer(value) => value.to_string(),
            RawValue::Text(text) => text.to_string(),
        }
    }

    /// The value in backquotes if it may be shown, cut to a readable length.
    pub(crate) fn quote(&self) -> String {
        if !self.literal {
            return "the value".to_owned();
        }
        let text = match &self.value {
            RawValue::Boolean(value) => value.to_string(),
            RawValue::Integer(value) => value.to_string(),
            RawValue::Text(text) if text.chars().count() > 32 => return "the value".to_owned(),
            RawValue::Text(text) => text.escape_debug().to_string(),
        };
        format!("`{text}`")
    }
}

/// Reads a scalar, through `{ env = … }` and `{ file = … }` if written so.
pub(crate) fn resolve(value: &DeValue<'_>, env: &dyn Environment) -> Result<Raw, String> {
    let (value, literal) = match value {
        DeValue::String(text) => (RawValue::Text(text.to_string().into()), true),
        DeValue::Boolean(value) => (RawValue::Boolean(*value), true),
        DeValue::Integer(integer) => {
            let value = i128::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| "the number is too large".to_owned())?;
            (RawValue::Integer(value), true)
        }
        DeValue::Table(table) => (RawValue::Text(indirect(table, env)?.into()), false),
        other => return Err(format!("{} is not expected here", name_of(other))),
    };
    Ok(Raw { value, literal })
}

/// The text behind `{ env = "X" }` or `{ file = "/path" }`.
fn indirect(table: &DeTable<'_>, env: &dyn Environment) -> Result<String, String> {
    const FORM: &str = "write { env = \"NAME\" } or { file = \"/path\" }";
    let mut entries = table.iter();
    let (Some((key, value)), None) = (entries.next(), entries.next()) else {
        return Err(FORM.to_owned());
    };
    let DeValue::String(name) = value.get_ref() else {
        return Err(FORM.to_owned());
    };
    match key.get_ref().as_ref() {
        "env" => env
            .var(name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("the environment variable {name} is not set; set it")),
        "file" => of_file(Path::new(name.as_ref()), env),
        _ => Err(FORM.to_owned()),
    }
}

/// The text of a file without its last line break.
fn of_file(path: &Path, env: &dyn Environment) -> Result<String, String> {
    let name = path.display();
    let text = env.file(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    let text = Zeroizing::new(text);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text {
        "" => Err(format!("{name} is empty; put the value into it")),
        _ => Ok(text.to_owned()),
    }
}

/// The file that `{ file = "/path" }` names.
pub(crate) fn file_of(value: &DeValue<'_>) -> Option<PathBuf> {
    let DeValue::Table(table) = value else { return None };
    match table.get("file")?.get_ref() {
        DeValue::String(path) => Some(PathBuf::from(path.as_ref())),
        _ => None,
    }
}

/// The secret in a file, as `{ file = … }` reads it. The error says what to do, and nothing of
/// what is in it.
///
/// # Errors
/// It cannot be read, is empty or cannot be a secret.
pub fn read_secret(path: &Path, env: &dyn Environment) -> Result<Secret, String> {
    let text = Secret::new(of_file(path, env)?);
    if text.expose().contains('\0') {
        return Err(format!("{} must not contain a zero byte", path.display()));
    }
    Ok(text)
}

/// What a TOML value is, for people.
pub(crate) fn name_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Start of a key in the file.
pub(crate) fn key_offset(table: &DeTable<'_>, name: &str) -> Option<usize> {
    table.get_key_value(name).map(|(key, _)| Spanned::span(key).start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_indices_only() {
        assert_eq!(generic_path("users[12].name"), "users[].name");
        assert_eq!(generic_path("pool.size"), "pool.size");
        assert_eq!(child_of("users[].name", ""), Some("users"));
        assert_eq!(child_of("proxy.tls.mode", "proxy"), Some("tls"));
        assert_eq!(child_of("pool.size", "proxy"), None);
    }
}
