//! docs/reference.md is what the parser knows: written by the test below, and compared with it.
//!
//! `PGMESH_WRITE_DOCS=1 cargo test -p config --test reference` writes it anew.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::{env, fs};

use config::{Key, Kind, Reload, reference, reload_class};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md");

const HEAD: &str = "\
# Configuration reference

Every key of `proxy.toml` with its type, unit and default, and whether it can be changed while pgmesh
runs. This page is made from the parser by `crates/config/tests/reference.rs`: do not edit it. What each
key means is in [configuration.md](configuration.md).

**Reload** says when a change counts after SIGHUP, `RELOAD` or a new text of the file
([operations.md](operations.md#reload)):

- `now`: at once, for everybody. Clients that wait keep their places, and nobody is disconnected.
- `new connections`: for clients that connect from then on; those there are go on as they began.
- `restart`: not before pgmesh is started again. Each reload says which keys wait for that.

`SET` on the console takes the keys of the first two kinds, but for secrets and names. What is in files
of their own (certificates, `pg_hba.conf`, secrets written as `{ file = … }`) is followed anyway.

`[[users]]`, `[[databases]]`, `[[hba]]` and `[[ident]]` may be there several times: `users[].pool_size`
is `users.NAME.pool_size` for `SET` and in the log.
";

fn unit(key: &Key) -> &'static str {
    match key.kind {
        Kind::Duration => "time",
        Kind::Size => "bytes",
        Kind::Integer if key.path.contains("_per_second") => "per second",
        Kind::Integer if key.path.ends_with("port") => "port",
        Kind::Integer => "number",
        Kind::Address
        | Kind::Boolean
        | Kind::Choice
        | Kind::List
        | Kind::Path
        | Kind::Secret
        | Kind::String => "–",
    }
}

fn heading(section: &str) -> String {
    match section.strip_suffix("[]") {
        Some(table) => format!("[[{table}]]"),
        None => format!("[{section}]"),
    }
}

fn document() -> String {
    let (mut text, mut section) = (HEAD.to_owned(), String::new());
    for key in reference() {
        let first = key.path.split('.').next().unwrap().to_owned();
        if first != section {
            section = first;
            write!(text, "\n## {}\n\n", heading(&section)).unwrap();
            text.push_str("| key | type | unit | default | reload |\n|---|---|---|---|---|\n");
        }
        let default = key.default.as_ref().map_or_else(|| "–".to_owned(), |it| format!("`{it}`"));
        let (path, kind, unit) = (&key.path, key.kind, unit(&key));
        writeln!(text, "| `{path}` | {kind} | {unit} | {default} | {} |", reload_class(path))
            .unwrap();
    }
    text
}

#[test]
fn the_document_is_what_the_parser_knows() {
    let expected = document();
    if env::var_os("PGMESH_WRITE_DOCS").is_some() {
        fs::write(PATH, &expected).unwrap();
    }
    let written = fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        written == expected,
        "docs/reference.md is not what the parser knows:\n    \
         PGMESH_WRITE_DOCS=1 cargo test -p config --test reference"
    );
}

#[test]
fn what_a_reload_would_break_needs_a_restart() {
    for key in reference() {
        let is_of_the_process = ["cluster.", "metrics.", "peers.", "server."]
            .iter()
            .any(|section| key.path.starts_with(section));
        if is_of_the_process || key.path.ends_with("port") {
            assert_eq!(reload_class(&key.path), Reload::Restart, "{}", key.path);
        }
    }
}
