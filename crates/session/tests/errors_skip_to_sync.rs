//! After an error in the extended protocol nothing counts until Sync.

mod support;

use support::client::*;
use support::scene::Scene;

#[test]
fn nothing_comes_between_the_error_and_ready_for_query() {
    let mut scene = Scene::new(2, 2);
    assert_eq!(scene.say(1, [parse("other", "select 1"), sync()].concat()), "1Z");
    // What we would answer ourselves is skipped too: the adopted Parse, both Closes.
    let batch = [
        parse("", "syntax error"),
        parse("s1", "select 1"),
        close_statement("s2"),
        close_portal("p"),
        bind("", "s1"),
        execute("", 0),
        sync(),
    ];
    assert_eq!(scene.say(0, batch.concat()), "EZ");
    assert_eq!(scene.lines(0, run("s1"))[0].split('|').nth(2), Some("C26000"), "no ghost of s1");
}

#[test]
fn the_error_is_passed_on_before_the_client_sends_its_sync() {
    let mut scene = Scene::new(1, 1);
    assert_eq!(scene.say(0, parse("", "syntax error")), "E");
    assert!(scene.is_leased(0));
    let skipped = [bind("", ""), execute("", 0), flush(), query("select 1"), close_statement("x")];
    assert_eq!(scene.say(0, skipped.concat()), "");
    assert_eq!(scene.postgres(0).received, "P", "nothing of it went to the server");
    assert_eq!(scene.say(0, sync()), "Z");
    assert!(!scene.is_leased(0));
    assert_eq!(scene.say(0, query("select 1")), "TDCZ");
}

#[test]
fn a_simple_query_does_not_end_the_skipping() {
    let mut scene = Scene::new(1, 1);
    let batch = [parse("", "syntax error"), query("select 1"), sync()].concat();
    assert_eq!(scene.say(0, batch), "EZ");
}

#[test]
fn an_error_in_a_simple_query_skips_nothing() {
    let mut scene = Scene::new(1, 1);
    let pipeline = [query("fail"), unnamed("select 1"), query("select 2")].concat();
    assert_eq!(scene.say(0, pipeline), "EZ12TDCZTDCZ");
}

#[test]
fn the_skipping_is_told_by_the_error_and_not_by_the_transaction_status() {
    let mut scene = Scene::new(1, 1);
    // Not in a transaction: status I throughout.
    let batch = [bind("", "none"), execute("", 0), sync(), unnamed("select 1")].concat();
    assert_eq!(scene.say(0, batch), "EZ12TDCZ");
    // In one, where E stays behind the Sync.
    let batch = [query("begin"), bind("", "none"), sync(), unnamed("rollback")].concat();
    assert_eq!(scene.say(0, batch), "CZEZ12nCZ");
}

#[test]
fn a_sync_is_answered_for_each_sync_of_a_pipeline_with_errors() {
    for seed in 0..50 {
        let mut scene = Scene::with(2, 1, 100, seed);
        let bad = [parse("", "syntax error"), execute("", 0), sync()].concat();
        let pipeline = [bad.clone(), unnamed("select 1"), bad, sync(), sync()].concat();
        assert_eq!(scene.say(0, pipeline), "EZ12TDCZEZZZ");
        assert!(!scene.is_leased(0));
    }
}

#[test]
fn a_statement_that_failed_leaves_no_ghost_and_one_that_was_skipped_neither() {
    let mut scene = Scene::new(3, 1);
    let batch = [parse("a", "syntax error"), parse("b", "select 1"), sync()].concat();
    assert_eq!(scene.say(0, batch), "EZ");
    for name in ["a", "b"] {
        assert_eq!(scene.say(0, [parse(name, "select 2"), sync()].concat()), "1Z", "{name}");
        assert_eq!(scene.say(0, run(name)), "2DCZ");
    }
}
