//! PgBouncer's syntax: sections of `key = value`, and connection strings in values.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::Source;
use super::draft::{Draft, Origin};
use crate::Environment;

/// As deep as PgBouncer goes.
const INCLUDES_MAX: usize = 10;

/// More files than anybody has; each may name any number of others.
const FILES_MAX: usize = 1000;

/// Of these sections only the key may be shown: there are passwords in the values.
const SECRETIVE: [&str; 3] = ["databases", "users", "peers"];

/// A line `key = value`.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// Reads a file, and what it includes. Lines that PgBouncer would not take are said and left out.
pub(super) fn read(source: &Source, files: &dyn Environment, draft: &mut Draft) -> Vec<Item> {
    let mut reader = Reader {
        files,
        draft,
        section: String::new(),
        items: Vec::new(),
        read: 0,
        open: BTreeSet::new(),
    };
    reader.file(&source.name, source.text.expose(), 0);
    reader.items
}

struct Reader<'a> {
    files: &'a dyn Environment,
    draft: &'a mut Draft,
    section: String,
    items: Vec<Item>,
    read: usize,
    open: BTreeSet<String>,
}

impl Reader<'_> {
    fn file(&mut self, name: &str, text: &str, depth: usize) {
        let name: Arc<str> = name.into();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            let origin = |shown: &str| Origin::new(&name, at + 1, shown);
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(path) =
                line.strip_prefix("%include").filter(|it| it.starts_with([' ', '\t']))
            {
                self.include(path.trim(), &origin(line), depth);
            } else if let Some(rest) = line.strip_prefix('[') {
                match rest.split_once(']') {
                    Some((section, _)) => self.section = section.to_owned(),
                    None => self.draft.open(Some(&origin(line)), "a section without its `]`"),
                }
            } else {
                match pair(line) {
                    Some((key, value)) => {
                        let hidden =
                            SECRETIVE.contains(&&*self.section) || key == "auth_ldap_options";
                        let shown = if hidden { "…" } else { value };
                        let origin = origin(&format!("{key} = {shown}"));
                        let (section, value) = (self.section.clone(), value.to_owned());
                        self.items.push(Item { section, key, value, origin });
                    }
                    None => {
                        self.draft.open(Some(&origin("…")), "neither a section nor key = value")
                    }
                }
            }
        }
    }

    fn include(&mut self, path: &str, origin: &Origin, depth: usize) {
        self.read += 1;
        if depth >= INCLUDES_MAX || self.read > FILES_MAX || !self.open.insert(path.to_owned()) {
            self.draft.open(Some(origin), "not read: too many files, or a file in itself");
            return;
        }
        match self.files.file(Path::new(path)) {
            Ok(text) => {
                self.draft.taken(origin, "its lines stand where this one does");
                self.file(path, &text, depth + 1);
            }
            Err(error) => self.draft.open(Some(origin), format!("cannot read it: {error}")),
        }
        self.open.remove(path);
    }
}

/// A key, maybe in quotes, and the rest of the line.
fn pair(line: &str) -> Option<(String, &str)> {
    let (key, rest) = match line.chars().next()? {
        quote @ ('"' | '\'') => quoted(&line[1..], quote)?,
        _ => {
            let known = |c: char| c.is_ascii_alphanumeric() || "_.-*".contains(c);
            let end = line.find(|c| !known(c)).unwrap_or(line.len());
            (line[..end].to_owned(), &line[end..])
        }
    };
    let value = rest.trim_start().strip_prefix('=')?;
    (!key.is_empty()).then(|| (key, value.trim()))
}

/// What stands before the closing quote, of which two are one, and what follows it.
pub(super) fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        if c == quote && rest.next_if(|(_, next)| *next == quote).is_none() {
            return Some((inside, &text[at + quote.len_utf8()..]));
        }
        inside.push(c);
    }
    None
}

/// The pairs of a connection string; `None` where PgBouncer would find none.
pub(super) fn connection(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim();
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            Some(inside) => quoted(inside, '\'')?,
            None => {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if key.is_empty() || key.contains(char::is_whitespace) || value.is_empty() {
            return None;
        }
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Some(pairs)
}

/// The names of a list with commas.
pub(super) fn names(text: &str) -> Vec<String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| name.trim_matches('"').to_owned()).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_connection_strings_are_read_as_pgbouncer_reads_them() {
        assert_eq!(pair("* = host=a"), Some(("*".to_owned(), "host=a")));
        assert_eq!(pair("\"a \"\"b\" =x ; y"), Some(("a \"b".to_owned(), "x ; y")));
        assert_eq!(pair("a b = c"), None);
        let read =
            |text| connection(text).map(|it| it.into_iter().map(|(k, v)| format!("{k}:{v}")));
        let read = |text| read(text).map(|it| it.collect::<Vec<_>>().join("|"));
        assert_eq!(read("host=a  port = 1").as_deref(), Some("host:a|port:1"));
        assert_eq!(read("q='it''s 1' b=2").as_deref(), Some("q:it's 1|b:2"));
        assert_eq!(read(""), Some(String::new()));
        for wrong in ["host", "host=", "q='x", "=1", "a b=1"] {
            assert_eq!(connection(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lists_have_commas() {
        assert_eq!(names(" a, \"b\" ,,c"), ["a", "b", "c"]);
    }
}
