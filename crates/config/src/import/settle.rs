//! The text of the result, and the proof that it can be read.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::draft::{Draft, Fate, Line, Remark, Table};
use super::{Imported, SecretFile};
use crate::{Environment, Errors, parse};

/// The order of the tables in the result.
const ORDER: [&str; 15] = [
    "proxy",
    "proxy.tls",
    "peers",
    "cluster",
    "cluster.tls",
    "server",
    "server.tls",
    "pool",
    "users",
    "databases",
    "hba",
    "auth",
    "admin",
    "metrics",
    "log",
];

/// Files of secrets are yet to be written: each is taken to have something that could be right.
struct Promised;

impl Environment for Promised {
    fn var(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Ok("to be written by whoever imports".to_owned())
    }
}

/// Writes the result and reads it. A key that is refused is taken out, and said to be open.
///
/// # Errors
/// What is wrong though no key is to blame.
pub(super) fn settle(mut draft: Draft, sources: &[&str]) -> Result<Imported, Errors> {
    draft.tables.sort_by_key(|table| ORDER.iter().position(|name| *name == table.name));
    loop {
        let (toml, places) = write(&draft, sources);
        let Err(errors) = parse("proxy.toml", &toml, &Promised) else {
            draft.remarks.sort_by(|a, b| a.key().cmp(&b.key()));
            draft.remarks.dedup();
            let Draft { remarks, secrets, .. } = draft;
            return Ok(Imported { toml, remarks, secrets });
        };
        if take_out(&mut draft, &places, &errors) == Progress::None {
            return Err(errors);
        }
    }
}

/// Which key a line of the text is, or the head of which table.
#[derive(Clone, Copy)]
enum Stands {
    Head(usize),
    Key(usize, usize),
}

#[derive(PartialEq)]
enum Progress {
    Some,
    None,
}

fn take_out(draft: &mut Draft, places: &[(usize, Stands)], errors: &Errors) -> Progress {
    let (mut keys, mut tables) = (BTreeSet::new(), BTreeSet::new());
    for error in errors.iter() {
        let line = error.place.line.unwrap_or_default();
        let stands = places.iter().find(|(number, _)| *number == line);
        let (origin, what) = match stands {
            Some((_, Stands::Key(table, key))) if keys.insert((*table, *key)) => {
                let Table { name, lines, .. } = &draft.tables[*table];
                (lines[*key].origin.clone(), format!("{name}.{}", lines[*key].key))
            }
            Some((_, Stands::Head(table))) if tables.insert(*table) => {
                (None, format!("[{}]", draft.tables[*table].name))
            }
            Some(_) | None => continue,
        };
        draft.remarks.retain(|it| origin.is_none() || it.origin != origin);
        let text = format!("left out, for {what} would be refused: {}", error.problem);
        draft.remarks.push(Remark { origin, fate: Fate::Open, text });
    }
    if keys.is_empty() && tables.is_empty() {
        return Progress::None;
    }
    for (table, key) in keys.into_iter().rev() {
        draft.tables[table].lines.remove(key);
    }
    for table in tables.into_iter().rev() {
        draft.tables.remove(table);
    }
    Progress::Some
}

/// The text, and what stands on which of its lines.
fn write(draft: &Draft, sources: &[&str]) -> (String, Vec<(usize, Stands)>) {
    let mut text = Text::default();
    text.comment(&format!("Made by `pgmesh import` of {}.", sources.join(", ")));
    text.comment("`pgmesh check --config proxy.toml` reads it, docs/configuration.md explains it.");
    let mut remarks: Vec<&Remark> = draft.remarks.iter().collect();
    remarks.sort_by(|a, b| a.key().cmp(&b.key()));
    let of = |fate| remarks.iter().filter(move |remark| remark.fate == fate);
    text.chapter("Left to you:", of(Fate::Open));
    if !draft.secrets.is_empty() {
        text.blank();
        text.comment(&format!("Files with passwords, in {}:", draft.directory.display()));
        for SecretFile { name, .. } in &draft.secrets {
            text.comment(&format!("  {name}"));
        }
    }
    for (at, table) in draft.tables.iter().enumerate() {
        text.table(at, table);
    }
    let said: BTreeSet<_> = draft
        .tables
        .iter()
        .flat_map(|it| &it.lines)
        .filter_map(|line| line.origin.as_ref())
        .collect();
    let silent = |remark: &&&Remark| remark.origin.as_ref().is_none_or(|it| !said.contains(it));
    text.chapter("Holds here as well:", of(Fate::Taken).filter(silent));
    text.chapter("Without a place here, and why:", of(Fate::Gone));
    (text.text, text.places)
}

#[derive(Default)]
struct Text {
    text: String,
    lines: usize,
    places: Vec<(usize, Stands)>,
}

impl Text {
    fn blank(&mut self) {
        self.push("");
    }

    /// Paths of directories may have anything in them.
    fn comment(&mut self, comment: &str) {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let comment: String = comment.chars().map(plain).collect();
        self.push(&format!("# {comment}"));
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1;
    }

    fn chapter<'a>(&mut self, title: &str, remarks: impl Iterator<Item = &'a &'a Remark>) {
        let mut remarks = remarks.peekable();
        if remarks.peek().is_some() {
            self.blank();
            self.comment(title);
        }
        for remark in remarks {
            self.comment(&format!("- {remark}"));
        }
    }

    fn table(&mut self, at: usize, table: &Table) {
        self.blank();
        let Table { name, is_element, lines } = table;
        self.push(&if *is_element { format!("[[{name}]]") } else { format!("[{name}]") });
        self.places.push((self.lines, Stands::Head(at)));
        for (number, line) in lines.iter().enumerate() {
            let Line { key, value, origin, note } = line;
            if let Some(origin) = origin {
                self.comment(&origin.to_string());
            }
            match origin {
                Some(_) if !note.is_empty() => self.comment(note),
                Some(_) | None => {}
            }
            let behind = match origin {
                None if !note.is_empty() => format!(" # {note}"),
                Some(_) | None => String::new(),
            };
            self.push(&format!("{key} = {value}{behind}"));
            self.places.push((self.lines, Stands::Key(at, number)));
        }
    }
}
