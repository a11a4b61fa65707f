//! Every event that the code logs has a name of [`telemetry::events`], and `docs/logs.md` tells of
//! each.
//!
//! `PGMESH_WRITE_DOCS=1 cargo test -p telemetry --test events` writes the document anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use telemetry::events::{ALL, About};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

const HEAD: &str = "\
# Logs

One event per line on stderr (`log.format = \"text\"` or `\"json\"`), or in systemd's journal
(`\"journald\"`). The tables below are made from the code by `crates/telemetry/tests/events.rs`.

- `event` names what has happened. It stays when the message changes: alert and search by it. In
  the journal it is `F_EVENT`, as in `journalctl -u pgmesh F_EVENT=epoch_began`.
- `client` and `server` are the numbers of connections, never given twice by one process: those of
  `SHOW CLIENTS` and `SHOW SERVERS`. `client=42` finds the whole life of a connection.
- What clients and servers say is in fields, escaped: nobody can forge a line. Passwords, keys,
  statements and parameters are in no event at any level.
- `log.level` is `error`, `warn`, `info`, `debug` or `trace`; `PGMESH_LOG=info,pool=debug` overrules
  it for a crate. `LOG_LEVEL debug` on the console changes it until the next reload.
- One place in the code logs at most `log.rate` events per second. What was kept back is told of
  once a second (`log_suppressed`) and counted in `pgmesh_log_suppressed_total`.
- Logins and the ends of sessions are logged as long as `log.connections` is on.
- A transaction that takes longer than `log.min_duration` is logged when it ends, with its client,
  pool, server and duration.
- Each command on the console is logged with the target `audit`: who, from where, what, and whether
  it was done. `PGMESH_LOG=warn,audit=info` keeps that and little else.

What to do about an event is in [operations.md](operations.md) and [runbooks.md](runbooks.md).
";

/// Places that log, each as the text between its parentheses.
fn logged(code: &str) -> Vec<&str> {
    let tests = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
    let code = &code[..tests];
    let mut found = Vec::new();
    for level in ["trace!(", "debug!(", "info!(", "warn!(", "error!("] {
        for (at, _) in code.match_indices(level) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            found.push(arguments(&code[at + level.len()..]));
        }
    }
    found
}

/// Up to the parenthesis that ends it.
fn arguments(code: &str) -> &str {
    let (mut depth, mut in_text, mut is_escaped) = (1, false, false);
    for (at, c) in code.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if in_text => is_escaped = true,
            '"' => in_text = !in_text,
            '(' if !in_text => depth += 1,
            ')' if !in_text => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &code[..at];
        }
    }
    code
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("a folder of sources");
    for path in entries.map(|entry| entry.expect("a file of sources").path()) {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "tests") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|it| it == "rs")
            && !path.to_string_lossy().ends_with("tests.rs")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_event_has_a_name_that_is_listed() {
    let mut files = Vec::new();
    for entry in fs::read_dir(Path::new(ROOT).join("crates")).unwrap() {
        let path = entry.unwrap().path();
        // It is not part of the program.
        if !path.ends_with("testbed") {
            sources(&path.join("src"), &mut files);
        }
    }
    let listed: BTreeSet<&str> = ALL.iter().map(|kind| kind.name).collect();
    assert_eq!(listed.len(), ALL.len(), "a name is listed twice");
    let mut used = BTreeSet::new();
    let mut faults = Vec::new();
    for file in files {
        let code = fs::read_to_string(&file).unwrap();
        for arguments in logged(&code) {
            let name = arguments.split("event = \"").nth(1).and_then(|rest| rest.split('"').next());
            match name {
                Some(name) if listed.contains(name) => {
                    used.insert(name.to_owned());
                }
                _ => faults.push(format!("{}: {}", file.display(), arguments.trim())),
            }
        }
    }
    assert!(faults.is_empty(), "no event of telemetry::events:\n{}", faults.join("\n"));
    let unused: Vec<_> = listed.iter().filter(|name| !used.contains(**name)).collect();
    assert!(unused.is_empty(), "listed, and nowhere logged: {unused:?}");
}

#[test]
fn the_document_tells_of_each() {
    let mut text = HEAD.to_owned();
    for about in About::ALL {
        let kinds: Vec<_> = ALL.iter().filter(|kind| kind.about == about).collect();
        assert!(kinds.is_sorted_by_key(|kind| kind.name), "{about:?} is not in order");
        write!(text, "\n## {}\n\n| Event | Meaning |\n|---|---|\n", about.as_str()).unwrap();
        for kind in kinds {
            writeln!(text, "| `{}` | {} |", kind.name, kind.meaning).unwrap();
        }
    }
    let path = Path::new(ROOT).join("docs/logs.md");
    if env::var_os("PGMESH_WRITE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/logs.md is old: PGMESH_WRITE_DOCS=1 cargo test -p telemetry --test events"
    );
}
