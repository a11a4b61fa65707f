//! Every row, then every flood; and what is left of them.

use std::collections::BTreeMap;

use testbed::{Pgmesh, Postgres, PostgresOptions};

use crate::clients::Raw;
use crate::metrics::{eventually, wait_for};
use crate::neighbour::{Neighbour, p99};
use crate::proxy::Setup;
use crate::row::{End, Row};
use crate::{after_login, before_login, floods, memory};

/// What the process may hold on to: pages that its allocator has not given back.
const KEPT_KB_MAX: u64 = 16 * 1024;

/// Statements of the neighbour's by which it knows what is usual.
const CALM: usize = 500;

#[test]
fn bad_input_ends_as_it_should_and_nobody_else_notices() {
    let _ = testbed::raise_descriptor_limit();
    let postgres = Postgres::start(PostgresOptions {
        // A failed test shows this log: every row fails on purpose.
        settings: vec![("log_min_messages".to_owned(), "panic".to_owned())],
        ..PostgresOptions::default()
    })
    .unwrap();
    let mut mesh = Setup::before(&postgres)
        .with("pool", "size = 4\nreserve_size = 0")
        .with("proxy", "client_login_timeout = \"3s\"\nmax_client_connections = 3000")
        .with("proxy", memory::READABLE)
        .start();
    let mut model = Raw::log_in(&mesh.app());
    model.value("CREATE TABLE t (n int)");
    let neighbour = Neighbour::move_in(&mesh.app());

    // What has happened once has left its pages behind.
    let rows: Vec<Row> = before_login::rows().into_iter().chain(after_login::rows()).collect();
    play(&mesh, &model, &rows);
    neighbour.wait_for(CALM);
    wait_for(&mesh, "pgmesh_clients", "", 2.0);
    let (before, usual) = (memory::held(&mesh), neighbour.answers());

    play(&mesh, &model, &rows);
    let flooded = neighbour.answers();
    let grown = floods::all(&mesh, &model);
    neighbour.wait_for(CALM);

    wait_for(&mesh, "pgmesh_clients", "", 2.0);
    eventually("the memory given back", || memory::held(&mesh) <= before + KEPT_KB_MAX);
    let after = memory::held(&mesh);
    let taken = neighbour.dismiss();
    let (calm, rest) = taken.split_at(usual);
    let (table, storm) = rest.split_at(flooded - usual);
    println!(
        "{} rows: {:?}\nmemory {before} kB before, {after} kB after, {grown} kB more while a gigabyte went by\n\
         the neighbour's p99: {:?} before, {:?} during the table, {:?} during the floods",
        rows.len(),
        census(&rows),
        p99(&calm[calm.len() - CALM..]),
        p99(table),
        p99(storm),
    );
    // Nothing that anybody has left half done was done.
    assert_eq!(model.value("SELECT count(*) FROM t"), "0");
    assert!(mesh.exited().unwrap().is_none());
    assert!(!mesh.log().contains("panicked"), "{}", mesh.log());
}

/// Every row; those that wait for a timeout all together.
fn play(mesh: &Pgmesh, model: &Raw, rows: &[Row]) {
    let (patient, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.end == End::TimedOut);
    let waiting: Vec<_> = patient.iter().map(|row| (row, row.send(mesh, model))).collect();
    let checks = others.iter().map(|row| (row, row.check(row.send(mesh, model))));
    let mut wrong: Vec<String> = checks.filter_map(complaint).collect();
    let checks = waiting.into_iter().map(|(row, client)| (row, row.check(client)));
    wrong.extend(checks.filter_map(complaint));
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), mesh.log());
}

fn complaint((row, check): (&&Row, Result<(), String>)) -> Option<String> {
    check.err().map(|how| format!("{row}: not {:?} but {how}", row.end))
}

/// How many rows there are of each end, and of which before the login.
fn census(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut census = BTreeMap::new();
    for row in rows {
        *census.entry(format!("{:?}", row.end)).or_default() += 1;
    }
    census
}
