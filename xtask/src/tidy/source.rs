//! The files of the workspace, read and parsed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A Rust file.
pub(crate) struct Source {
    /// Relative to the root of the workspace.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

impl Source {
    /// Parses a file.
    pub(crate) fn new(path: &str, text: String) -> anyhow::Result<Self> {
        let syntax = syn::parse_file(&text).with_context(|| format!("parse {path}"))?;
        Ok(Self { path: path.to_owned(), text, syntax })
    }

    /// The crate it belongs to, by its place; empty for a file outside `crates/`.
    pub(crate) fn package(&self) -> &str {
        let rest = self.path.strip_prefix("crates/").unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }
}

/// A Cargo.toml of a package.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Relative to the root of the workspace.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) document: toml::Table,
}

impl Manifest {
    /// Parses a file.
    pub(crate) fn new(path: &str, text: String) -> anyhow::Result<Self> {
        let document = text.parse().with_context(|| format!("parse {path}"))?;
        Ok(Self { path: path.to_owned(), text, document })
    }

    /// The package's name.
    pub(crate) fn name(&self) -> &str {
        self.document
            .get("package")
            .and_then(|package| package.get("name")?.as_str())
            .unwrap_or_default()
    }

    /// The line on which `needle` first starts a line, from 1.
    pub(crate) fn line_of(&self, needle: &str) -> usize {
        self.text.lines().position(|line| line.starts_with(needle)).map_or(1, |index| index + 1)
    }

    /// Every dependency with the table that names it, those under `target.*` included.
    pub(crate) fn dependencies(&self) -> Vec<(Table, String)> {
        let targets = self.document.get("target").and_then(toml::Value::as_table);
        let targets = targets.into_iter().flat_map(|targets| targets.values());
        let roots = targets.filter_map(toml::Value::as_table).chain([&self.document]);
        let mut found = Vec::new();
        for root in roots {
            for (table, key) in [
                (Table::Normal, "dependencies"),
                (Table::Normal, "build-dependencies"),
                (Table::Dev, "dev-dependencies"),
            ] {
                let names = root.get(key).and_then(toml::Value::as_table).into_iter().flatten();
                found.extend(names.map(|(name, value)| {
                    let renamed = value.get("package").and_then(toml::Value::as_str);
                    (table, renamed.unwrap_or(name).to_owned())
                }));
            }
        }
        found
    }
}

/// Which table a dependency stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Dev,
    Normal,
}

/// The Cargo.toml of every package below `root`, but not the workspace's own.
pub(crate) fn manifests(root: &Path) -> anyhow::Result<Vec<Manifest>> {
    let files = files(root, |path| path.ends_with("Cargo.toml"))?;
    let parsed = files.into_iter().map(|(path, text)| Manifest::new(&path, text));
    let packages =
        parsed.filter(|manifest| !manifest.as_ref().is_ok_and(|it| it.name().is_empty()));
    packages.collect()
}

/// Every Rust file below `root`.
pub(crate) fn sources(root: &Path) -> anyhow::Result<Vec<Source>> {
    let files = files(root, |path| path.extension().is_some_and(|extension| extension == "rs"))?;
    files.into_iter().map(|(path, text)| Source::new(&path, text)).collect()
}

/// Reads the wanted files below `root` in order of their paths; build output and hidden directories
/// are passed over.
fn files(root: &Path, wanted: impl Fn(&Path) -> bool) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from(root)];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory);
        for entry in entries.with_context(|| format!("list {}", directory.display()))? {
            let path = entry.context("list a directory")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    directories.push(path);
                }
            } else if wanted(&path) {
                let text = fs::read_to_string(&path);
                let text = text.with_context(|| format!("read {}", path.display()))?;
                let relative = path.strip_prefix(root).unwrap_or(&path);
                found.push((relative.display().to_string(), text));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_dependencies_is_read() {
        let text = "[package]\nname = \"a\"\n[dependencies]\nb = \"1\"\nc = { package = \"d\" }\n\
                    [build-dependencies]\ne = \"1\"\n[dev-dependencies]\nf.workspace = true\n\
                    [target.'cfg(unix)'.dependencies]\ng = \"1\"\n";
        let manifest = Manifest::new("crates/a/Cargo.toml", text.to_owned()).unwrap();
        assert_eq!(manifest.name(), "a");
        let mut found = manifest.dependencies();
        found.sort_by(|a, b| a.1.cmp(&b.1));
        let names: Vec<_> = found.iter().map(|(table, name)| (name.as_str(), *table)).collect();
        let normal = |name| (name, Table::Normal);
        assert_eq!(names, [normal("b"), normal("d"), normal("e"), ("f", Table::Dev), normal("g")]);
    }

    #[test]
    fn the_package_of_a_file_is_its_directory() {
        let source = |path| Source::new(path, String::new()).unwrap();
        assert_eq!(source("crates/wire/tests/a.rs").package(), "wire");
        assert_eq!(source("xtask/src/main.rs").package(), "");
    }
}
