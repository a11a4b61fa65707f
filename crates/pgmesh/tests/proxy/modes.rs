//! The three pool modes.

use crate::clients::Raw;
use crate::metrics::{wait_for, wait_for_waiters};
use crate::postgres;
use crate::proxy::Setup;

#[test]
fn a_session_keeps_its_server_and_leaves_it_clean() {
    let postgres = postgres();
    let pool = "mode = \"session\"\nsize = 1\nreserve_size = 0";
    let mesh = Setup::before(&postgres).with("pool", pool).start();
    let (mut first, mut second) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    first.value("CREATE TEMP TABLE mine (n int); SET work_mem = '7MB'; LISTEN news");
    assert_eq!(first.value("SELECT count(*) FROM mine"), "0");
    second.ask("SELECT to_regclass('mine'), current_setting('work_mem')");
    wait_for_waiters(&mesh, 1);
    assert_eq!(first.value("SHOW work_mem"), "7MB");
    drop(first);
    assert_eq!(second.answer().rows, [["NULL", "4MB"]]);
}

#[test]
fn statement_mode_refuses_transaction_blocks() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("pool", "mode = \"statement\"\nsize = 1").start();
    let (mut first, mut second) = (Raw::log_in(&mesh.app()), Raw::log_in(&mesh.app()));
    assert_eq!(first.value("SELECT 1"), "1");
    first.ask("BEGIN");
    let told = first.last_words().unwrap();
    assert_eq!(told.severity, "FATAL", "{told:?}");
    // What was begun is not left to the next one.
    assert_eq!(second.query("SELECT 2").status, 'I');
    wait_for(&mesh, "pgmesh_clients", "", 1.0);
}
