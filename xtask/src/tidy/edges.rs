//! Which crate may name which. A new edge is an architecture change and says so in its commit.

use super::offence::{Offence, Rule};
use super::source::{Manifest, Table};

/// What a crate is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Values and functions of values; see [`super::purity`].
    Pure,
    /// Everything else.
    Impure,
}

/// A crate of the workspace, and which others it may name.
#[derive(Debug)]
struct Crate {
    name: &'static str,
    kind: Kind,
    may_name: &'static [&'static str],
    /// On top, in its tests and benches, which may also name whatever those crates may name: a
    /// double of a server is made of the same pieces as the real one.
    may_name_in_tests: &'static [&'static str],
}

const fn pure(name: &'static str, may_name: &'static [&'static str]) -> Crate {
    Crate { name, kind: Kind::Pure, may_name, may_name_in_tests: &[] }
}

/// Its tests may run against real servers.
const fn io(name: &'static str, may_name: &'static [&'static str]) -> Crate {
    Crate { name, kind: Kind::Impure, may_name, may_name_in_tests: &["testbed"] }
}

const fn dev(name: &'static str, may_name: &'static [&'static str]) -> Crate {
    Crate { name, kind: Kind::Impure, may_name, may_name_in_tests: &[] }
}

/// The house. A crate names only crates above it.
const CRATES: &[Crate] = &[
    pure("wire", &[]),
    pure("auth", &["wire"]),
    pure("topology", &[]),
    pure("session", &["wire"]),
    io("transport", &[]),
    io("backend", &["wire", "auth", "transport"]),
    // A server's protocol state travels with the server, and its Disposition is the session's
    // word (docs/decisions/0002).
    io("pool", &["wire", "transport", "session", "backend", "topology"]),
    io("notify", &["wire", "transport", "topology", "pool"]),
    io("frontend", &["wire", "auth", "transport"]),
    io("control", &["topology", "auth", "transport"]),
    io("discovery", &["topology", "auth"]),
    io("telemetry", &[]),
    // The console frames and decodes its clients' messages itself (docs/decisions/0014).
    // The password of its page is a secret as any other.
    io("admin", &["wire", "auth", "pool", "topology", "telemetry"]),
    io(
        "config",
        &[
            "wire",
            "auth",
            "topology",
            "session",
            "transport",
            "backend",
            "pool",
            "notify",
            "frontend",
            "control",
            "discovery",
            "telemetry",
            "admin",
        ],
    ),
    io(
        "pgmesh",
        &[
            "wire",
            "auth",
            "topology",
            "session",
            "transport",
            "backend",
            "pool",
            "notify",
            "frontend",
            "control",
            "discovery",
            "telemetry",
            "admin",
            "config",
        ],
    ),
    // Compiles without protoc: no crate that knows etcd.
    dev("testbed", &[]),
    dev("xtask", &["testbed"]),
    // Its idle clients log in as pgmesh does to a server.
    dev("benches", &["wire", "auth", "session", "transport", "backend"]),
    // A workspace of its own: it names whoever reads what others have written.
    dev("fuzz", &["wire", "auth", "session", "transport", "frontend", "config"]),
    // A workspace of its own, too: drivers of other people, and nothing of ours.
    dev("drivers", &[]),
];

impl Crate {
    fn named(name: &str) -> Option<&'static Self> {
        CRATES.iter().find(|it| it.name == name)
    }

    /// Whether its code may name `other`.
    fn may_name(&self, other: &str) -> bool {
        self.may_name.contains(&other)
    }

    /// Whether its tests may.
    fn may_name_in_tests(&self, other: &str) -> bool {
        let reached = |name: &&str| Self::named(name).is_some_and(|it| it.reaches(other));
        self.may_name_in_tests.contains(&other) || self.may_name.iter().any(reached)
    }

    /// Whether it is `other` or names it through others. Ends because crates only name crates above.
    fn reaches(&self, other: &str) -> bool {
        let reached = |name: &&str| Self::named(name).is_some_and(|it| it.reaches(other));
        self.name == other || self.may_name.iter().any(reached)
    }
}

/// Whether a crate is pure.
pub(crate) fn is_pure(name: &str) -> bool {
    Crate::named(name).is_some_and(|it| it.kind == Kind::Pure)
}

/// Compares every Cargo.toml with the table.
pub(crate) fn check(manifests: &[Manifest]) -> Vec<Offence> {
    manifests.iter().flat_map(check_one).collect()
}

fn check_one(manifest: &Manifest) -> Vec<Offence> {
    let offence = |line: usize, item: &str, message: String| Offence {
        path: manifest.path.clone(),
        line,
        rule: Rule::Edge,
        item: item.to_owned(),
        message,
    };
    let name = manifest.name();
    let Some(this) = Crate::named(name) else {
        let message = format!("crate '{name}' has no place in the house (xtask/src/tidy/edges.rs)");
        return vec![offence(1, name, message)];
    };
    manifest
        .dependencies()
        .into_iter()
        .filter(|(_, dependency)| Crate::named(dependency).is_some())
        .filter(|(table, dependency)| match table {
            Table::Normal => !this.may_name(dependency),
            Table::Dev => !this.may_name(dependency) && !this.may_name_in_tests(dependency),
        })
        .map(|(_, dependency)| {
            let message = format!("'{name}' may not name '{dependency}'");
            offence(manifest.line_of(&dependency), &dependency, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(name: &str, tables: &str) -> Vec<String> {
        let text = format!("[package]\nname = \"{name}\"\n{tables}");
        let manifest = Manifest::new("Cargo.toml", text).unwrap();
        check(&[manifest]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_goes_upwards_only() {
        for (index, this) in CRATES.iter().enumerate() {
            for name in this.may_name {
                let above = &CRATES[..index];
                assert!(above.iter().any(|it| it.name == *name), "{} names {name}", this.name);
            }
        }
    }

    #[test]
    fn an_allowed_edge_passes() {
        assert!(offences("session", "[dependencies]\nwire.workspace = true\n").is_empty());
        assert!(offences("pgmesh", "[dev-dependencies]\ntestbed.workspace = true\n").is_empty());
        assert!(offences("wire", "[dependencies]\nbytes.workspace = true\n").is_empty());
    }

    #[test]
    fn tests_may_name_what_their_crate_reaches() {
        assert!(offences("pool", "[dev-dependencies]\nwire.workspace = true\n").is_empty());
        assert_eq!(offences("pool", "[dependencies]\nfrontend.workspace = true\n").len(), 1);
        assert_eq!(offences("pool", "[dev-dependencies]\nfrontend.workspace = true\n").len(), 1);
    }

    #[test]
    fn any_other_edge_does_not() {
        assert_eq!(
            offences("session", "[dependencies]\npool.workspace = true\n"),
            ["Cargo.toml:4: 'session' may not name 'pool'"]
        );
        assert_eq!(offences("pgmesh", "[dependencies]\ntestbed.workspace = true\n").len(), 1);
        assert_eq!(offences("wire", "[dev-dependencies]\ntestbed.workspace = true\n").len(), 1);
    }

    #[test]
    fn a_crate_without_a_place_does_not() {
        assert_eq!(offences("utils", "").len(), 1);
    }
}
