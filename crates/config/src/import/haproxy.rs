//! HAProxy's syntax: sections, their lines in words, and the proxies that they make.

use std::sync::Arc;

use super::Source;
use super::draft::Origin;

/// What begins a section.
const SECTIONS: [&str; 18] = [
    "backend",
    "cache",
    "crt-store",
    "defaults",
    "fcgi-app",
    "frontend",
    "global",
    "http-errors",
    "listen",
    "log-forward",
    "log-profile",
    "mailers",
    "peers",
    "program",
    "resolvers",
    "ring",
    "traces",
    "userlist",
];

/// A line in words, without quotes and comments.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) words: Vec<String>,
    pub(super) origin: Origin,
}

impl Line {
    /// A word, or nothing.
    pub(super) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    /// What follows a word, which is somewhere behind the first.
    pub(super) fn after(&self, name: &str) -> Option<&str> {
        let at = self.words.iter().skip(1).position(|word| word == name)?;
        self.words.get(at + 2).map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.words.iter().skip(1).any(|word| word == name)
    }
}

/// A section.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) lines: Vec<Line>,
    /// The `defaults` before it, by its place among the sections.
    pub(super) defaults: Option<usize>,
}

impl Section {
    pub(super) fn is_proxy(&self) -> bool {
        matches!(self.kind.as_str(), "frontend" | "backend" | "listen")
    }

    /// The lines that begin with this word.
    pub(super) fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.word(0) == word)
    }
}

/// The file. The first section has what stands before any.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) sections: Vec<Section>,
}

pub(super) fn read(source: &Source) -> Config {
    let file: Arc<str> = source.name.as_str().into();
    let section = |kind: &str, name: &str, defaults| Section {
        kind: kind.to_owned(),
        name: name.to_owned(),
        lines: Vec::new(),
        defaults,
    };
    let mut sections = vec![section("", "", None)];
    let mut defaults = None;
    for (at, line) in source.text.expose().lines().enumerate() {
        let words = words(line);
        let Some(first) = words.first() else { continue };
        if SECTIONS.contains(&first.as_str()) {
            if first == "defaults" {
                defaults = Some(sections.len());
            }
            let name = words.get(1).map_or("", String::as_str);
            sections.push(section(first, name, defaults));
        } else if let Some(section) = sections.last_mut() {
            let shown = shown(&section.kind, &words);
            section.lines.push(Line { origin: Origin::new(&file, at + 1, &shown), words });
        }
    }
    Config { sections }
}

/// What may be shown of a line.
fn shown(section: &str, words: &[String]) -> String {
    const SECRET: [&str; 6] =
        ["auth", "authorization", "insecure-password", "key", "password", "secret"];
    let at = words.iter().position(|word| {
        let word = word.to_ascii_lowercase();
        SECRET.iter().any(|secret| word.contains(secret))
    });
    match at {
        _ if section == "userlist" => format!("{} …", words[0]),
        Some(at) if at + 1 < words.len() => format!("{} …", words[..=at.min(1)].join(" ")),
        _ => words.join(" "),
    }
}

/// A line's words: quotes and backslashes as in a shell, and a comment at its end.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_open) = (Vec::new(), String::new(), false);
    let mut quote: Option<char> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => (quote, is_open) = (Some(c), true),
            (None | Some('"'), '\\') => {
                word.extend(rest.next());
                is_open = true;
            }
            (Some(_), c) => word.push(c),
            (None, '#') => break,
            (None, c) if c.is_whitespace() => {
                if std::mem::take(&mut is_open) {
                    words.push(std::mem::take(&mut word));
                }
            }
            (None, c) => {
                word.push(c);
                is_open = true;
            }
        }
    }
    if is_open {
        words.push(word);
    }
    words
}

impl Config {
    /// Lines of a proxy that begin with this word; its defaults' if it has none.
    pub(super) fn own_or_default<'a>(
        &'a self,
        proxy: &'a Section,
        is_it: impl Fn(&Line) -> bool + Copy,
    ) -> Vec<&'a Line> {
        let own: Vec<&Line> = proxy.lines.iter().filter(|line| is_it(line)).collect();
        let defaults = proxy.defaults.and_then(|at| self.sections.get(at));
        match (own.is_empty(), defaults) {
            (true, Some(defaults)) => defaults.lines.iter().filter(|line| is_it(line)).collect(),
            _ => own,
        }
    }

    /// Whether it carries bytes, as Postgres needs it, or HTTP.
    pub(super) fn is_tcp(&self, proxy: &Section) -> bool {
        let modes = self.own_or_default(proxy, |line| line.word(0) == "mode");
        modes.last().is_none_or(|line| line.word(1) == "tcp")
    }

    /// The proxy that has the servers: itself, or the backend that it names.
    pub(super) fn backend<'a>(&'a self, proxy: &'a Section) -> Option<&'a Section> {
        if proxy.all("server").next().is_some() || proxy.all("server-template").next().is_some() {
            return Some(proxy);
        }
        let names = proxy.all("default_backend").chain(proxy.all("use_backend"));
        let name = names.map(|line| line.word(1)).next()?;
        self.sections.iter().find(|section| {
            matches!(section.kind.as_str(), "backend" | "listen") && section.name == name
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_haproxy_splits_them() {
        assert_eq!(words("  a \"b c\" d\\ e 'f\\' # g"), ["a", "b c", "d e", "f\\"]);
        assert_eq!(words("a \"\" b"), ["a", "", "b"]);
        assert!(words("# a").is_empty());
    }

    #[test]
    fn passwords_are_not_shown() {
        for (section, line) in [
            ("listen", "stats auth admin:hush"),
            ("userlist", "user admin hush"),
            ("backend", "http-check send hdr Authorization hush"),
            ("global", "stats socket /a password hush"),
        ] {
            let shown = shown(section, &words(line));
            assert!(!shown.contains("hush"), "{shown}");
        }
    }
}
