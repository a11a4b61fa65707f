//! proxy.toml and docs/configuration.md know every key that the parser knows, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use config::{Environment, Key, Kind, parse, reference};

const EXAMPLE: &str = include_str!("../../../proxy.toml");
const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

/// An environment in which every secret is there.
struct Rich;

impl Environment for Rich {
    fn var(&self, _: &str) -> Option<String> {
        Some("from-the-environment".to_owned())
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Ok("from-a-file\n".to_owned())
    }
}

fn keys() -> BTreeMap<String, Key> {
    reference().into_iter().map(|key| (key.path.clone(), key)).collect()
}

/// A line `#key = …` or `#[table]`; prose has a space after the `#`.
fn uncomment(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
        _ => line,
    }
}

/// The keys that stand in the example, with what is written there.
fn written() -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in EXAMPLE.lines().map(uncomment).filter(|line| !line.starts_with('#')) {
        if let Some(table) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
            section = format!("{table}[]");
        } else if let Some(table) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = table.to_owned();
        } else if let Some((key, value)) = line.split_once(" = ") {
            let previous = found.insert(format!("{section}.{key}"), value.to_owned());
            assert!(previous.is_none(), "{section}.{key} is there twice");
        }
    }
    found
}

#[test]
fn the_example_is_a_configuration() {
    let settings = parse("proxy.toml", EXAMPLE, &Rich).unwrap();
    let texts: Vec<_> = settings.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 1, "only that there is no certificate: {texts:?}");
    assert!(texts[0].contains("proxy.tls.mode"), "{texts:?}");
}

#[test]
fn the_example_with_every_key_uncommented_is_a_configuration() {
    // Which do not go with others.
    let alone = ["hba_file", "ident_file", "client_map", "jwks_file"];
    let lines = EXAMPLE.lines().map(uncomment);
    let text: Vec<&str> =
        lines.filter(|line| !alone.iter().any(|key| line.starts_with(key))).collect();
    let settings = parse("proxy.toml", &text.join("\n"), &Rich).unwrap();
    assert_eq!(settings.databases.len(), 1);
    assert_eq!(settings.frontend.replica_port, Some(5433));
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let written: BTreeSet<String> = written().into_keys().collect();
    let known: BTreeSet<String> = keys().into_keys().collect();
    assert_eq!(written, known);
}

#[test]
fn the_example_shows_the_defaults() {
    let written = written();
    let commented =
        |name: &str| EXAMPLE.lines().any(|line| line.starts_with(&format!("#{name} = ")));
    for (path, key) in keys() {
        let Some(default) = key.default else { continue };
        assert_eq!(written[&path].trim_matches('"'), default, "{path}");
        assert!(
            commented(path.rsplit('.').next().unwrap()),
            "{path} is at its default: comment it"
        );
    }
}

#[test]
fn the_document_has_every_key_with_its_type_and_default_and_no_other() {
    let mut documented = BTreeMap::new();
    for row in DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let path = cells[0].trim_end_matches('`').to_owned();
        let default = Some(cells[2].trim_matches('`').to_owned()).filter(|text| text != "–");
        assert!(cells[3].len() > 5, "{path} has no meaning");
        let entry = (cells[1].to_owned(), default);
        assert!(documented.insert(path.clone(), entry).is_none(), "{path} is there twice");
    }
    let known: BTreeMap<_, _> =
        keys().into_iter().map(|(path, key)| (path, (key.kind.to_string(), key.default))).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_document_explains_every_type() {
    for kind in reference().iter().map(|key| key.kind).collect::<BTreeSet<Kind>>() {
        assert!(DOCUMENT.contains(&format!("\n| {kind} | ")), "{kind}");
    }
}
