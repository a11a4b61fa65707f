//! Pure crates get time and randomness as arguments and know no runtime, socket, log or metric.

use syn::visit::{self, Visit};
use syn::{ExprMethodCall, Macro, Path, UseTree};

use super::edges::is_pure;
use super::offence::{Offence, Rule};
use super::source::{Manifest, Source};

/// Crates that a pure crate may not depend on, nor any whose name goes on with a dash.
const IMPURE_CRATES: [&str; 12] = [
    "tokio",
    "tracing",
    "prometheus",
    "rand",
    "getrandom",
    "socket2",
    "mio",
    "rustls",
    "hyper",
    "log",
    "etcd-client",
    "async-std",
];

/// Paths that a pure crate may not use.
const IMPURE_PATHS: [&str; 5] =
    ["std::net", "std::fs", "std::thread", "Instant::now", "SystemTime::now"];

/// A clock read that shows as a method.
const CLOCK_METHOD: &str = "elapsed";

/// Looks for impure dependencies, in tests too.
pub(crate) fn check_manifests(manifests: &[Manifest]) -> Vec<Offence> {
    let pure = manifests.iter().filter(|manifest| is_pure(manifest.name()));
    pure.flat_map(|manifest| {
        let impure = manifest.dependencies().into_iter().filter(|(_, name)| is_impure(name));
        impure.map(|(_, name)| Offence {
            path: manifest.path.clone(),
            line: manifest.line_of(&name),
            rule: Rule::Purity,
            message: format!("'{}' is pure and may not know '{name}'", manifest.name()),
            item: name,
        })
    })
    .collect()
}

fn is_impure(dependency: &str) -> bool {
    IMPURE_CRATES.iter().any(|name| {
        let rest = dependency.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

/// Looks for impure paths in a file of a pure crate.
pub(crate) fn check_source(source: &Source) -> Vec<Offence> {
    let mut look = Look { source, prefix: String::new(), offences: Vec::new() };
    look.visit_file(&source.syntax);
    look.offences
}

struct Look<'a> {
    source: &'a Source,
    /// The part of a `use` that leads to the tree being looked at.
    prefix: String,
    offences: Vec<Offence>,
}

impl Look<'_> {
    /// Compares a path, written with `::` and without spaces.
    fn compare(&mut self, path: &str, line: usize) {
        let whole = format!("::{path}::");
        let impure = IMPURE_PATHS.iter().find(|impure| whole.contains(&format!("::{impure}::")));
        if let Some(impure) = impure {
            self.blame(impure, line);
        }
    }

    fn blame(&mut self, impure: &str, line: usize) {
        self.offences.push(Offence {
            path: self.source.path.clone(),
            line,
            rule: Rule::Purity,
            item: impure.to_owned(),
            message: format!("a pure crate may not use {impure}"),
        });
    }
}

impl<'ast> Visit<'ast> for Look<'_> {
    fn visit_path(&mut self, path: &'ast Path) {
        let segments: Vec<String> = path.segments.iter().map(|it| it.ident.to_string()).collect();
        let line = path.segments.first().map_or(1, |it| it.ident.span().start().line);
        self.compare(&segments.join("::"), line);
        visit::visit_path(self, path);
    }

    fn visit_use_tree(&mut self, tree: &'ast UseTree) {
        let name = match tree {
            UseTree::Path(path) => &path.ident,
            UseTree::Name(name) => &name.ident,
            UseTree::Rename(rename) => &rename.ident,
            UseTree::Glob(_) => return,
            UseTree::Group(_) => return visit::visit_use_tree(self, tree),
        };
        let outer = self.prefix.clone();
        self.prefix = if outer.is_empty() { name.to_string() } else { format!("{outer}::{name}") };
        match tree {
            // Compared once, at its leaf or where it first matches.
            UseTree::Path(path) => {
                let before = self.offences.len();
                let prefix = self.prefix.clone();
                self.compare(&prefix, name.span().start().line);
                if self.offences.len() == before {
                    self.visit_use_tree(&path.tree);
                }
            }
            _ => {
                let prefix = self.prefix.clone();
                self.compare(&prefix, name.span().start().line);
            }
        }
        self.prefix = outer;
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if call.method == CLOCK_METHOD && call.args.is_empty() {
            self.blame(CLOCK_METHOD, call.method.span().start().line);
        }
        visit::visit_expr_method_call(self, call);
    }

    /// The arguments of a macro are tokens, not syntax; their text says enough.
    fn visit_macro(&mut self, call: &'ast Macro) {
        let text: String = call.tokens.to_string().split_whitespace().collect();
        let line = call.path.segments.first().map_or(1, |it| it.ident.span().start().line);
        for impure in IMPURE_PATHS {
            if text.contains(impure) {
                self.blame(impure, line);
            }
        }
        visit::visit_macro(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn impure(text: &str) -> Vec<(usize, String)> {
        let source = Source::new("crates/wire/src/a.rs", text.to_owned()).unwrap();
        check_source(&source).into_iter().map(|it| (it.line, it.item)).collect()
    }

    #[test]
    fn clocks_and_sockets_are_found_however_they_are_named() {
        let found = |item: &str| vec![(1, item.to_owned())];
        assert_eq!(impure("use std::net::TcpStream;"), found("std::net"));
        assert_eq!(impure("use std::{fmt, net::{IpAddr, TcpStream}};"), found("std::net"));
        assert_eq!(impure("use std::{fmt, net as sockets};"), found("std::net"));
        assert_eq!(impure("fn f() { let t = std::time::Instant::now(); }"), found("Instant::now"));
        assert_eq!(impure("fn f() { g(SystemTime::now) }"), found("SystemTime::now"));
        assert_eq!(impure("fn f(t: Instant) { t.elapsed(); }"), found("elapsed"));
        assert_eq!(impure("fn f() { dbg!(Instant::now()); }"), found("Instant::now"));
    }

    #[test]
    fn time_as_an_argument_is_pure() {
        assert!(impure("use std::time::Instant;\nfn f(now: Instant) {}").is_empty());
        assert!(impure("use core::net::IpAddr;\nfn f(net: u8) { net::g() }").is_empty());
    }

    #[test]
    fn impure_crates_are_found_by_name_and_family() {
        let offences = |name: &str, table: &str| {
            let text = format!("[package]\nname = \"{name}\"\n{table}");
            check_manifests(&[Manifest::new("Cargo.toml", text).unwrap()]).len()
        };
        assert_eq!(offences("wire", "[dependencies]\ntokio-util = \"1\"\nbytes = \"1\"\n"), 1);
        assert_eq!(offences("wire", "[dev-dependencies]\nrand = \"1\"\n"), 1);
        assert_eq!(offences("wire", "[dependencies]\nrandom-words = \"1\"\n"), 0);
        assert_eq!(offences("pool", "[dependencies]\ntokio = \"1\"\n"), 0);
    }
}
