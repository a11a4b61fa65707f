//! psql, pgbench and psycopg 3 through the proxy.

use std::process::Command;
use std::time::Duration;

use testbed::{Interrupt, Pgmesh, programs::SYSTEM_PYTHON, run};

/// For a whole run of a program.
const PATIENCE: Duration = Duration::from_secs(120);

fn finish(command: &mut Command, input: &str) -> String {
    run(command, input, PATIENCE, &Interrupt::default()).unwrap()
}

const SCRIPT: &str = r"
CREATE TABLE psql_t (n int PRIMARY KEY, s text);
\copy psql_t FROM PROGRAM 'seq 1 100 | sed s/$/\\tx/'
SELECT count(*) FROM psql_t;
\copy (SELECT n FROM psql_t WHERE n < 3 ORDER BY n) TO STDOUT
SELECT 1 AS one, 'two' AS two \gdesc
BEGIN;
DELETE FROM psql_t;
ROLLBACK;
SELECT count(*) AS kept FROM psql_t \gset
\echo kept :kept
SELECT 1/0;
\echo :SQLSTATE
SELECT 'a'\; SELECT 'b';
BEGIN; DECLARE c CURSOR FOR SELECT n FROM psql_t ORDER BY n;
FETCH 2 FROM c;
COMMIT;
\encoding LATIN1
\echo :ENCODING
SELECT pg_is_in_recovery();
\d psql_t
\set FETCH_COUNT 30
SELECT count(*) FROM psql_t;
";

pub(crate) fn psql_works(mesh: &Pgmesh) {
    let mut psql = mesh.app().command("psql").unwrap();
    let said = finish(psql.args(["-X", "-A", "-t", "-q", "-f", "-"]), SCRIPT);
    let expected = "100\n1\n2\none|integer\ntwo|text\nkept 100\n22012\na\nb\n1\n2\nLATIN1\nf\n";
    let (begin, description) = said.split_at(expected.len().min(said.len()));
    assert_eq!(begin, expected);
    assert!(
        description.contains("n|integer||not null") && description.ends_with("100\n"),
        "{description}"
    );
    let mut once = mesh.app().command("psql").unwrap();
    once.args(["-X", "-A", "-t", "-1", "-c", "TABLE psql_t LIMIT 1", "-c", "SELECT 2"]);
    assert_eq!(finish(&mut once, ""), "1|x\n2\n");
}

pub(crate) fn pgbench_works(mesh: &Pgmesh) {
    let pgbench = |arguments: &str| {
        let mut pgbench = mesh.app().command("pgbench").unwrap();
        pgbench.args(arguments.split(' '));
        finish(&mut pgbench, "")
    };
    pgbench("-q -i -s 1");
    for (arguments, transactions) in [
        ("-M simple -c 8 -j 2 -t 50", "400/400"),
        ("-M extended -c 8 -j 2 -t 50", "400/400"),
        ("-M prepared -c 8 -j 2 -t 50", "400/400"),
        ("-S -M prepared -c 8 -j 2 -t 200", "1600/1600"),
        ("-C -S -c 4 -j 2 -t 20", "80/80"),
    ] {
        let said = pgbench(&format!("-n {arguments}"));
        assert!(said.contains(&format!("processed: {transactions}")), "{arguments}: {said}");
        assert!(!said.contains("failed transactions: 1"), "{said}");
    }
    let sums = "SELECT count(DISTINCT sum) FROM (SELECT sum(abalance) FROM pgbench_accounts
        UNION ALL SELECT sum(tbalance) FROM pgbench_tellers
        UNION ALL SELECT sum(bbalance) FROM pgbench_branches
        UNION ALL SELECT sum(delta) FROM pgbench_history) AS sums";
    assert_eq!(mesh.app().psql(sums).unwrap(), "1", "no transaction was lost or run twice");
}

pub(crate) fn psycopg_works(mesh: &Pgmesh) {
    let login = mesh.app();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/psycopg/drive.py");
    let mut python = Command::new(SYSTEM_PYTHON);
    python
        .args(["-B", "-u", script])
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", login.port.to_string())
        .env("PGUSER", login.user)
        .env("PGPASSWORD", login.password)
        .env("PGDATABASE", login.database);
    assert!(finish(&mut python, "").ends_with("all held\n"));
}
