//! The proxy.toml in the making, and what became of each line.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth::Secret;

use super::SecretFile;
use crate::human;

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is in the result, or holds here anyway.
    Taken,
    /// It has no place here, and nothing is to be done about it.
    Gone,
    /// Somebody has to decide or do something.
    Open,
}

/// A line of a file that was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// The file's name, with its place among the files.
    file: Arc<str>,
    line: usize,
    /// What may be shown of it.
    shown: String,
}

impl Origin {
    /// `shown` has no secret.
    pub(super) fn new(file: &Arc<str>, line: usize, shown: &str) -> Self {
        Self { file: Arc::clone(file), line, shown: printable(shown) }
    }

    /// A part of the line, whose value has no secret.
    pub(super) fn part(&self, key: &str, value: &str) -> Self {
        let name = self.shown.strip_suffix(" = …").unwrap_or(&self.shown);
        Self { shown: printable(&format!("{name}: {key} = {value}")), ..self.clone() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}: {}", self.file, self.line, self.shown)
    }
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    pub(super) origin: Option<Origin>,
    /// Which of the three.
    pub fate: Fate,
    pub(super) text: String,
}

impl Remark {
    /// The line's number in its file, from 1; `None` for what no line says.
    pub fn line(&self) -> Option<usize> {
        self.origin.as_ref().map(|origin| origin.line)
    }

    /// The order of the files; what no line says comes last.
    pub(super) fn key(&self) -> (bool, Option<(&str, usize)>) {
        let place = self.origin.as_ref().map(|origin| (&*origin.file, origin.line));
        (place.is_none(), place)
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) if self.text.is_empty() => origin.fmt(f),
            Some(origin) => write!(f, "{origin}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// A key with its value as TOML has it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) origin: Option<Origin>,
    pub(super) note: String,
}

/// `[name]`, or one of `[[name]]`.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) is_element: bool,
    pub(super) lines: Vec<Line>,
}

/// One of `[[users]]` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element(usize);

/// The result in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) tables: Vec<Table>,
    pub(super) remarks: Vec<Remark>,
    pub(super) secrets: Vec<SecretFile>,
    pub(super) directory: PathBuf,
    names: BTreeSet<String>,
}

impl Draft {
    pub(super) fn new(directory: PathBuf) -> Self {
        let (tables, remarks, secrets) = (Vec::new(), Vec::new(), Vec::new());
        Self { tables, remarks, secrets, directory, names: BTreeSet::new() }
    }

    pub(super) fn has(&self, table: &str, key: &str) -> bool {
        self.line(table, key).is_some()
    }

    pub(super) fn line(&self, table: &str, key: &str) -> Option<&Line> {
        let table = self.tables.iter().find(|it| it.name == table && !it.is_element)?;
        table.lines.iter().find(|line| line.key == key)
    }

    pub(super) fn has_element(&self, name: &str) -> bool {
        self.tables.iter().any(|it| it.name == name && it.is_element)
    }

    /// Writes a key, unless it is there: what was written first counts.
    pub(super) fn set(
        &mut self,
        table: &'static str,
        key: &'static str,
        value: String,
        origin: &Origin,
        note: &str,
    ) {
        if let Some(line) = self.line(table, key) {
            let instead = match &line.origin {
                Some(first) => format!("{} line {}", first.file, first.line),
                None => "what was written before".to_owned(),
            };
            self.gone(Some(origin), format!("{instead} counts for {table}.{key}"));
            return;
        }
        let line = Line { key, value, origin: Some(origin.clone()), note: printable(note) };
        self.table(table).lines.push(line);
        self.taken(origin, note);
    }

    /// Writes a key that no line says.
    pub(super) fn default(
        &mut self,
        table: &'static str,
        key: &'static str,
        value: String,
        note: &str,
    ) {
        if !self.has(table, key) {
            let line = Line { key, value, origin: None, note: note.to_owned() };
            self.table(table).lines.push(line);
        }
    }

    fn table(&mut self, name: &'static str) -> &mut Table {
        let found = self.tables.iter().position(|it| it.name == name && !it.is_element);
        let at = found.unwrap_or_else(|| {
            self.tables.push(Table { name, is_element: false, lines: Vec::new() });
            self.tables.len() - 1
        });
        &mut self.tables[at]
    }

    /// Begins another element of an array of tables.
    pub(super) fn element(&mut self, name: &'static str) -> Element {
        self.tables.push(Table { name, is_element: true, lines: Vec::new() });
        Element(self.tables.len() - 1)
    }

    /// Writes a key of an element.
    pub(super) fn put(&mut self, element: Element, key: &'static str, value: String) {
        let Table { lines, .. } = &mut self.tables[element.0];
        lines.push(Line { key, value, origin: None, note: String::new() });
    }

    /// Writes a key of an element because of a line; the first counts.
    pub(super) fn put_from(
        &mut self,
        element: Element,
        key: &'static str,
        value: String,
        origin: &Origin,
    ) {
        let Table { lines, .. } = &mut self.tables[element.0];
        if lines.iter().any(|line| line.key == key) {
            self.gone(Some(origin), format!("{key} was there before"));
            return;
        }
        let (origin, note) = (Some(origin.clone()), String::new());
        lines.push(Line { key, value, origin: origin.clone(), note });
        self.remarks.push(Remark { origin, fate: Fate::Taken, text: String::new() });
    }

    /// Says something of the last key of an element.
    pub(super) fn note(&mut self, element: Element, note: &str) {
        if let Some(line) = self.tables[element.0].lines.last_mut() {
            note.clone_into(&mut line.note);
        }
    }

    /// A line that is in the result, or holds here anyway.
    pub(super) fn taken(&mut self, origin: &Origin, text: &str) {
        let origin = Some(origin.clone());
        self.remarks.push(Remark { origin, fate: Fate::Taken, text: printable(text) });
    }

    /// A line that has no place here.
    pub(super) fn gone(&mut self, origin: Option<&Origin>, why: impl AsRef<str>) {
        let (origin, text) = (origin.cloned(), printable(why.as_ref()));
        self.remarks.push(Remark { origin, fate: Fate::Gone, text });
    }

    /// What somebody has to decide or do.
    pub(super) fn open(&mut self, origin: Option<&Origin>, what: impl AsRef<str>) {
        let (origin, text) = (origin.cloned(), printable(what.as_ref()));
        self.remarks.push(Remark { origin, fate: Fate::Open, text });
    }

    /// Writes the nodes of the cluster where nothing tells of them but a list; `note` says whose.
    pub(super) fn listed_nodes(&mut self, nodes: impl IntoIterator<Item = String>, note: &str) {
        self.default("cluster", "discovery", text("static"), "");
        self.default("cluster", "nodes", list(nodes), note);
        self.open(
            None,
            "servers in a list are asked which of them is the primary; better name etcd or Patroni \
             in [cluster], which tell of a new one at once",
        );
    }

    /// Keeps a secret in a file; returns what to write in its place.
    pub(super) fn secret(&mut self, name: &str, secret: &str) -> String {
        let (text, name) = (Secret::new(secret), file_name(name));
        if self.secrets.iter().any(|it| it.name == name && it.text == text) {
            return self.reference(&name);
        }
        let name = self.free_name(&name);
        let reference = self.reference(&name);
        self.secrets.push(SecretFile { name, text });
        reference
    }

    /// What to write in the place of a secret that is not known, and is yet to be made.
    pub(super) fn secret_path(&mut self, name: &str) -> String {
        let name = self.free_name(name);
        self.reference(&name)
    }

    fn reference(&self, name: &str) -> String {
        format!("{{ file = {} }}", text(&self.directory.join(name).to_string_lossy()))
    }

    fn free_name(&mut self, name: &str) -> String {
        let name = file_name(name);
        let numbered = (2..).map(|number: usize| format!("{name}-{number}"));
        let mut candidates = std::iter::once(name.clone()).chain(numbered);
        let free = candidates.find(|candidate| !self.names.contains(candidate)).unwrap_or(name);
        self.names.insert(free.clone());
        free
    }
}

/// No slash, nothing hidden and nothing odd, and not longer than a file's name may be.
fn file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    name.chars().take(128).map(|c| if plain(c) { c } else { '_' }).collect()
}

/// What may stand in a comment: one line of bounded length.
fn printable(text: &str) -> String {
    const MOST: usize = 400;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().take(MOST).map(plain).collect();
    if text.chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}

/// A string as TOML has it.
pub(super) fn text(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of strings; a string alone is one, too.
pub(super) fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| text(item.as_ref())).collect();
    match items.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", items.join(", ")),
    }
}

/// A duration.
pub(super) fn time(value: Duration) -> String {
    text(&human::write_duration(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_files_of_their_own() {
        let mut draft = Draft::new("/s".into());
        assert_eq!(draft.secret("user-a/b", "1"), "{ file = \"/s/user-a_b\" }");
        assert_eq!(draft.secret("user-a_b", "2"), "{ file = \"/s/user-a_b-2\" }");
        assert_eq!(draft.secret("user-a_b", "1"), "{ file = \"/s/user-a_b\" }");
        let names: Vec<&str> = draft.secrets.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["user-a_b", "user-a_b-2"]);
    }

    #[test]
    fn strings_are_quoted_as_toml_has_it() {
        assert_eq!(text("a\"\\\u{7f}\n"), "\"a\\\"\\\\\\u007F\\u000A\"");
        assert_eq!(list(["a"]), "\"a\"");
        assert_eq!(list(["a", "b"]), "[\"a\", \"b\"]");
    }
}
