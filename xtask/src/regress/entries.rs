//! apt's entries, with sources beside the packages.

/// The syntax of a file of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// One entry a line: `sources.list(5)`, "one-line-style".
    Lines,
    /// Stanzas of fields: "deb822-style".
    Stanzas,
}

impl Syntax {
    /// The one that apt reads a file with, by its name; `None` if apt passes over it.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "list" => Some(Self::Lines),
            "sources" => Some(Self::Stanzas),
            _ => None,
        }
    }
}

/// The same entries, each asking for packages and for sources. Options and keys stay as they are.
pub(super) fn with_sources(text: &str, syntax: Syntax) -> String {
    let lines: Vec<String> = match syntax {
        Syntax::Lines => text.lines().flat_map(both).collect(),
        Syntax::Stanzas => text.lines().map(types_of_both).collect(),
    };
    lines.join("\n") + "\n"
}

fn both(line: &str) -> Vec<String> {
    let words = line.trim_start();
    let rest = words.strip_prefix("deb").unwrap_or_default();
    if rest.starts_with(char::is_whitespace) {
        vec![format!("deb{rest}"), format!("deb-src{rest}")]
    } else if words.starts_with("deb-src") {
        // Its repository most often has a line for packages too, which gives both.
        vec![words.to_owned()]
    } else {
        Vec::new()
    }
}

fn types_of_both(line: &str) -> String {
    match line.split_once(':') {
        Some((field, _)) if field.eq_ignore_ascii_case("types") => "Types: deb deb-src".to_owned(),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_two() {
        let text = "# old\ndeb [signed-by=/k.gpg] http://host.invalid/debian stable main\n";
        let wanted = "deb [signed-by=/k.gpg] http://host.invalid/debian stable main\n\
                      deb-src [signed-by=/k.gpg] http://host.invalid/debian stable main\n";
        assert_eq!(with_sources(text, Syntax::Lines), wanted);
    }

    #[test]
    fn a_stanza_keeps_its_fields() {
        let text = "Types: deb\nURIs: http://host.invalid/debian\nSigned-By:\n -----BEGIN\n .\n";
        let wanted = text.replace("Types: deb", "Types: deb deb-src");
        assert_eq!(with_sources(text, Syntax::Stanzas), wanted);
    }

    #[test]
    fn apt_passes_over_other_files() {
        assert_eq!(Syntax::of("debian.sources"), Some(Syntax::Stanzas));
        assert_eq!(Syntax::of("a.b.list"), Some(Syntax::Lines));
        assert_eq!(Syntax::of("debian.sources.save"), None);
        assert_eq!(Syntax::of("README"), None);
    }
}
