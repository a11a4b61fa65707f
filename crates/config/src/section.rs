//! One table of proxy.toml and typed access to its keys. A wrong value is reported and its
//! default returned, so that the walk goes on to the next error.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use auth::Secret;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::{Document, Key, Raw, RawValue, file_of, key_offset, name_of, resolve};
use crate::environment::Environment;
use crate::error::Place;
use crate::values::{Shown, Value};
use crate::{Kind, human};

/// A table, present or not (an absent one has every key at its default). When it is dropped,
/// the keys that nobody asked for are reported as unknown.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    document: &'a Document,
    env: EnvironmentRef<'a>,
    /// With indices: for messages.
    path: String,
    /// Without indices: for the list of keys.
    generic: String,
    /// With names where tables have them: for telling configurations apart.
    named: String,
    line: Option<usize>,
    table: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
}

/// `dyn Environment` with the `Debug` that a section's derive asks for.
#[derive(Clone, Copy)]
struct EnvironmentRef<'a>(&'a dyn Environment);

impl fmt::Debug for EnvironmentRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// An item of a list with its line.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// Integers of a size that fits a key.
pub(crate) trait Whole: TryFrom<i128> + PartialOrd + Copy + Display {}

impl<T: TryFrom<i128> + PartialOrd + Copy + Display> Whole for T {}

impl<'a> Section<'a> {
    pub(crate) fn root(
        document: &'a Document,
        env: &'a dyn Environment,
        table: &'a DeTable<'_>,
    ) -> Self {
        Self {
            document,
            env: EnvironmentRef(env),
            path: String::new(),
            generic: String::new(),
            named: String::new(),
            line: None,
            table: Some(table),
            asked: RefCell::default(),
        }
    }

    /// The table `name` inside this one.
    pub(crate) fn section(&self, name: &'static str) -> Self {
        let table = match self.value(name) {
            None => None,
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => Some(table),
                other => {
                    let text = format!("{} where a table is expected", name_of(other));
                    self.error(name, text);
                    None
                }
            },
        };
        self.child(name, [name; 3], table)
    }

    /// The tables of `[[name]]`. Without any, one absent table is walked by `each` all the same
    /// (and its value dropped) so that its keys are known.
    pub(crate) fn tables<T>(
        &self,
        name: &'static str,
        each: impl Fn(&Self) -> Option<T>,
    ) -> Vec<T> {
        let generic = format!("{name}[]");
        let list = match self.value(name).map(Spanned::get_ref) {
            None => None,
            Some(DeValue::Array(list)) => Some(list),
            Some(other) => {
                let text = format!("{} where [[{name}]] is expected", name_of(other));
                self.error(name, text);
                None
            }
        };
        let mut built = Vec::new();
        for (index, value) in list.into_iter().flatten().enumerate() {
            let DeValue::Table(table) = value.get_ref() else {
                self.error(name, format!("each of [[{name}]] must be a table"));
                continue;
            };
            let own = format!("{name}[{index}]");
            let named = self.name_of_table(table).map(|it| format!("{name}.{it}"));
            let named = named.as_deref().unwrap_or(&own);
            let mut child = self.child(name, [&own, &generic, named], Some(table));
            child.line = Some(self.document.line(value.span().start));
            built.extend(each(&child));
        }
        each(&self.child(name, [&generic; 3], None));
        built
    }

    /// What `name` says in one of several tables, if that can be read.
    fn name_of_table(&self, table: &DeTable<'_>) -> Option<String> {
        let name = resolve(table.get("name")?.get_ref(), self.env.0).ok()?;
        text(&name).ok()
    }

    /// `names` are those for its path, generic path and named path.
    fn child(&self, name: &'static str, names: [&str; 3], table: Option<&'a DeTable<'a>>) -> Self {
        let [own, generic, named] = names;
        Self {
            document: self.document,
            env: self.env,
            path: join(&self.path, own),
            generic: join(&self.generic, generic),
            named: join(&self.named, named),
            line: table.and_then(|_| self.place(name).line),
            table,
            asked: RefCell::default(),
        }
    }

    /// Is the table in the file at all?
    pub(crate) fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// Is the key in the file, or was it set?
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
            || self.document.set_at(&join(&self.named, key)).is_some()
    }

    /// Where `key` stands, or the section if it does not; `""` is the section itself.
    pub(crate) fn place(&self, key: &str) -> Place {
        let line = self
            .table
            .and_then(|table| key_offset(table, key))
            .map(|offset| self.document.line(offset))
            .or(self.line);
        Place { line, path: join(&self.path, key) }
    }

    /// Reports what is wrong with `key`.
    pub(crate) fn error(&self, key: &str, problem: impl Into<String>) {
        self.document.error(self.place(key), problem.into());
    }

    /// Reports what is wrong at a place seen before.
    pub(crate) fn error_at(&self, place: &Place, problem: impl Into<String>) {
        self.document.error(place.clone(), problem.into());
    }

    /// Notes what the operator should know about `key`.
    pub(crate) fn warning(&self, key: &str, text: impl Into<String>) {
        self.document.warning(self.place(key), text.into());
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.and_then(|table| table.get(key))
    }

    /// Makes the key known and reads it; `None` when absent or already reported.
    fn scalar<T>(
        &self,
        key: &'static str,
        kind: Kind,
        default: Option<String>,
        read: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        self.document.key(Key { path: join(&self.generic, key), kind, default });
        let (value, over) = (self.value(key), self.document.set_at(&join(&self.named, key)));
        let raw = match over {
            Some(text) => Ok(Raw::set(text)),
            None => resolve(value?.get_ref(), self.env.0),
        };
        let shown = match &raw {
            Ok(raw) if kind != Kind::Secret && (raw.literal || over.is_some()) => Shown::Text,
            Ok(_) | Err(_) => Shown::Never,
        };
        match raw.and_then(|raw| Ok((read(&raw)?, raw))) {
            Ok((value, raw)) => {
                let line = if over.is_some() { None } else { self.place(key).line };
                self.note(key, raw.text(), shown, line);
                Some(value)
            }
            Err(problem) => {
                self.error(key, problem);
                None
            }
        }
    }

    /// Notes what `key` says.
    fn note(&self, key: &str, text: String, shown: Shown, line: Option<usize>) {
        let (text, file) = (Secret::new(text), self.file_of(key));
        let value = Value { key: join(&self.generic, key), line, text, shown, file };
        self.document.value(join(&self.named, key), value);
    }

    pub(crate) fn optional_string(&self, key: &'static str) -> Option<String> {
        self.scalar(key, Kind::String, None, text)
    }

    /// A string that `read` turns into a type; its error must not quote the text.
    pub(crate) fn parsed<T>(
        &self,
        key: &'static str,
        kind: Kind,
        default: Option<&str>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.scalar(key, kind, default.map(str::to_owned), |raw| read(&text(raw)?))
    }

    pub(crate) fn secret(&self, key: &'static str) -> Option<Secret> {
        self.scalar(key, Kind::Secret, None, |raw| text(raw).map(Secret::new))
    }

    /// The file that a key names as the place of its value.
    pub(crate) fn file_of(&self, key: &str) -> Option<PathBuf> {
        file_of(self.table?.get(key)?.get_ref())
    }

    pub(crate) fn optional_duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        self.scalar(key, Kind::Duration, None, |raw| duration(raw, &range))
    }

    pub(crate) fn duration(
        &self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let written = Some(human::write_duration(default));
        self.scalar(key, Kind::Duration, written, |raw| duration(raw, &range)).unwrap_or(default)
    }

    /// Bytes.
    pub(crate) fn size(&self, key: &'static str, default: u64) -> u64 {
        let written = Some(human::write_size(default));
        self.scalar(key, Kind::Size, written, size).unwrap_or(default)
    }

    /// Bytes.
    pub(crate) fn optional_size(&self, key: &'static str) -> Option<u64> {
        self.scalar(key, Kind::Size, None, size)
    }

    pub(crate) fn optional_integer<T: Whole>(
        &self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        self.scalar(key, Kind::Integer, None, |raw| integer(raw, &range))
    }

    pub(crate) fn integer<T: Whole>(
        &self,
        key: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        let written = Some(default.to_string());
        self.scalar(key, Kind::Integer, written, |raw| integer(raw, &range)).unwrap_or(default)
    }

    /// `true` or `false`, each of which means a value.
    pub(crate) fn either<T: Copy>(&self, key: &'static str, default: bool, values: [T; 2]) -> T {
        let [of_false, of_true] = values;
        let is_on =
            self.scalar(key, Kind::Boolean, Some(default.to_string()), boolean).unwrap_or(default);
        if is_on { of_true } else { of_false }
    }

    /// One of a few words, of which one means the default.
    pub(crate) fn choice<T: Copy + PartialEq>(
        &self,
        key: &'static str,
        default: T,
        words: &'static [(&'static str, T)],
    ) -> T {
        let written =
            words.iter().find(|(_, value)| *value == default).map(|(word, _)| (*word).to_owned());
        self.scalar(key, Kind::Choice, written, |raw| choose(raw, words)).unwrap_or(default)
    }

    pub(crate) fn optional_choice<T: Copy>(
        &self,
        key: &'static str,
        words: &'static [(&'static str, T)],
    ) -> Option<T> {
        self.scalar(key, Kind::Choice, None, |raw| choose(raw, words))
    }

    /// A list of strings, a single string, or `{ env = … }` whose text is split at commas.
    pub(crate) fn list(&self, key: &'static str, default: Option<&str>) -> Vec<Item> {
        let written = default.map(str::to_owned);
        let path = join(&self.generic, key);
        self.document.key(Key { path, kind: Kind::List, default: written });
        let value = self.value(key);
        if let Some(text) = self.document.set_at(&join(&self.named, key)) {
            self.note(key, text.to_owned(), Shown::Text, None);
            let place = Place { line: None, ..self.place(key) };
            return split(text, &place).collect();
        }
        let Some(value) = value else { return Vec::new() };
        let (items, shown) = match value.get_ref() {
            DeValue::Array(list) => (self.items(key, list.iter()), Shown::Text),
            DeValue::Table(_) => (self.items(key, std::iter::once(value)), Shown::Never),
            _ => (self.items(key, std::iter::once(value)), Shown::Text),
        };
        let is_literal = |value: &Spanned<DeValue<'_>>| value.get_ref().as_table().is_none();
        let shown = match value.get_ref().as_array() {
            Some(list) if !list.iter().all(is_literal) => Shown::Never,
            Some(_) | None => shown,
        };
        let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
        self.note(key, texts.join(", "), shown, self.place(key).line);
        items
    }

    fn items<'v>(
        &self,
        key: &'static str,
        values: impl Iterator<Item = &'v Spanned<DeValue<'v>>>,
    ) -> Vec<Item> {
        let mut items = Vec::new();
        for value in values {
            let mut place = self.place(key);
            place.line = Some(self.document.line(value.span().start));
            match resolve(value.get_ref(), self.env.0)
                .and_then(|raw| Ok((text(&raw)?, raw.literal)))
            {
                Ok((text, true)) => items.push(Item { text, place }),
                Ok((text, false)) => items.extend(split(&text, &place)),
                Err(problem) => self.document.error(place, problem),
            }
        }
        items
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table.into_iter().flatten() {
            if !asked.contains(&key.get_ref().as_ref()) {
                self.document.stranger(self.place(key.get_ref()));
            }
        }
    }
}

fn join(parent: &str, own: &str) -> String {
    match (parent, own) {
        (path, "") | ("", path) => path.to_owned(),
        (parent, own) => format!("{parent}.{own}"),
    }
}

/// The items of a list that is written as one text.
fn split<'t>(text: &'t str, place: &'t Place) -> impl Iterator<Item = Item> + 't {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| Item { text: part.to_owned(), place: place.clone() })
}

fn text(raw: &Raw) -> Result<String, String> {
    match &raw.value {
        RawValue::Text(text) if text.is_empty() => {
            Err("must not be empty; leave the key out for its default".to_owned())
        }
        RawValue::Text(text) if text.contains('\0') => {
            Err("must not contain a zero byte".to_owned())
        }
        RawValue::Text(text) => Ok(text.to_string()),
        RawValue::Boolean(_) | RawValue::Integer(_) => {
            Err("a string is expected; put it in quotes".to_owned())
        }
    }
}

fn duration(raw: &Raw, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let value = match &raw.value {
        RawValue::Text(text) => human::duration(text),
        RawValue::Integer(0) => Some(Duration::ZERO),
        RawValue::Integer(_) | RawValue::Boolean(_) => None,
    };
    let value = value
        .ok_or_else(|| format!("{} is not a duration; {}", raw.quote(), human::DURATION_FORM))?;
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = (human::write_duration(*range.start()), human::write_duration(*range.end()));
    Err(format!("{} is out of range; write {low} to {high}", raw.quote()))
}

fn size(raw: &Raw) -> Result<u64, String> {
    let value = match &raw.value {
        RawValue::Text(text) => human::size(text),
        RawValue::Integer(0) => Some(0),
        RawValue::Integer(_) | RawValue::Boolean(_) => None,
    };
    value.ok_or_else(|| format!("{} is not a size; {}", raw.quote(), human::SIZE_FORM))
}

fn integer<T: Whole>(raw: &Raw, range: &RangeInclusive<T>) -> Result<T, String> {
    let value = match &raw.value {
        RawValue::Integer(value) => Some(*value),
        RawValue::Text(text) if !raw.literal => text.trim().parse().ok(),
        RawValue::Text(_) | RawValue::Boolean(_) => None,
    };
    let value = value.and_then(|value| T::try_from(value).ok()).filter(|it| range.contains(it));
    value.ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        format!("{} is not a whole number from {low} to {high}", raw.quote())
    })
}

fn boolean(raw: &Raw) -> Result<bool, String> {
    let value = match &raw.value {
        RawValue::Boolean(value) => Some(*value),
        RawValue::Text(text) if !raw.literal => text.trim().parse().ok(),
        RawValue::Text(_) | RawValue::Integer(_) => None,
    };
    value.ok_or_else(|| format!("{} is neither true nor false", raw.quote()))
}

fn choose<T: Copy>(raw: &Raw, words: &[(&'static str, T)]) -> Result<T, String> {
    if let RawValue::Text(text) = &raw.value
        && let Some((_, value)) = words.iter().find(|(word, _)| *word == text.as_str())
    {
        return Ok(*value);
    }
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(format!("{} is not one of {}", raw.quote(), words.join(", ")))
}
