//! PostgreSQL's isolation tester, so that it finds a session's server behind a proxy.
//!
//! It asks a server whether a step waits for another session's lock, and names both by the process
//! ids that it got at its logins. A proxy in transaction mode invents those: a session has a server
//! of its own for a transaction only. But every session has an `application_name` of its own, which
//! its servers get with it, so the sessions are named by that; without a proxy, too. The connection that
//! asks is none of them: a step that waits for its snapshot only, waits for the question.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::sources::Headers;

/// What [`QUERY`] is prepared in the place of.
const PIDS: (&str, &str) = ("initPQExpBuffer(&wait_query);", "res = PQprepare(");

/// How the tester keeps what it gives the query.
const PID: &str = r#"psprintf("%d", conns[i].backend_pid)"#;

const NAME: &str = r#"pg_strdup(PQparameterStatus(conns[i].conn, "application_name"))"#;

const QUERY: &str = "SELECT coalesce(pg_catalog.bool_or(\
    pg_catalog.pg_isolation_test_session_is_blocked(one.pid, ARRAY(\
        SELECT other.pid FROM pg_catalog.pg_stat_activity other \
        WHERE other.application_name LIKE 'isolation/%' \
        AND other.application_name NOT LIKE '%/control connection'))), false) \
    FROM pg_catalog.pg_stat_activity one \
    WHERE one.state = 'active' AND one.application_name = $1";

/// A command that compiles the tester of a source tree to `program`.
///
/// # Errors
/// Its source is another than is known here.
pub(super) fn compilation(
    tree: &Path,
    headers: &Headers,
    program: &Path,
) -> anyhow::Result<Command> {
    let tests = tree.join("src/test");
    let own = tests.join("isolation");
    let source = own.join("isolationtester.c");
    let text = fs::read_to_string(&source).context("read the isolation tester")?;
    fs::write(&source, by_name(&text)?).context("write the isolation tester")?;
    let archives = headers.archives();
    let mut compile = Command::new("gcc");
    compile
        .args(["-O2", "-D_GNU_SOURCE", "-o"])
        .arg(program)
        .args([&source, &own.join("specparse.c")])
        .args([format!("-I{}", own.display()), format!("-I{}", tests.join("regress").display())])
        .args(headers.options())
        .arg(format!("-L{}", archives.display()))
        .args(["-l:libpq.so.5", "-lpgcommon", "-lpgport"]);
    Ok(compile)
}

/// The tester's source, naming sessions by their `application_name`.
fn by_name(source: &str) -> anyhow::Result<String> {
    let (from, to) = PIDS;
    let place = source.find(from).zip(source.find(to)).filter(|(from, to)| from < to);
    let (Some((start, end)), true) = (place, source.contains(PID)) else {
        bail!("the isolation tester is not the one that is known here");
    };
    let query = format!("{from}\n\tappendPQExpBufferStr(&wait_query, \"{QUERY}\");\n\n\t");
    Ok(format!("{}{query}{}", &source[..start], &source[end..]).replace(PID, NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_named_and_not_numbered() {
        let source = "s = psprintf(\"%d\", conns[i].backend_pid);\ninitPQExpBuffer(&wait_query);\n\
                      append(pids);\n\tres = PQprepare(conn);\n";
        let changed = by_name(source).unwrap();
        assert!(changed.starts_with(&format!("s = {NAME};\ninitPQExpBuffer(")), "{changed}");
        assert!(!changed.contains("append(pids)") && changed.contains(QUERY), "{changed}");
        assert!(changed.ends_with("\tres = PQprepare(conn);\n"), "{changed}");
    }

    #[test]
    fn another_tester_is_left_alone() {
        assert!(by_name("res = PQprepare(); initPQExpBuffer(&wait_query);").is_err());
    }
}
