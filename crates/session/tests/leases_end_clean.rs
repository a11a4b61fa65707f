//! In whatever state a lease ends, the next client finds a server as after its login.

mod support;

use session::{Mode, ResetKind};
use support::client::*;
use support::postgres::Transaction;
use support::scene::Scene;

#[test]
fn the_servers_word_on_the_transaction_counts_and_nothing_is_rolled_back_by_us() {
    let mut scene = Scene::new(1, 1);
    assert_eq!(scene.say(0, [query("begin"), query("fail")].concat()), "CZEZ");
    // A savepoint could still mend it: the client is left with it.
    assert_eq!(scene.postgres(0).transaction, Transaction::Failed);
    assert_eq!(scene.postgres(0).received, "QQ");
    let lines = scene.lines(0, query("commit"));
    assert_eq!(lines, ["C ROLLBACK|", "Z I"], "the tag is passed on as it is");
    assert_eq!(scene.relay.resets, 0);
}

#[test]
fn a_client_that_goes_in_a_transaction_has_it_rolled_back_before_the_reset() {
    for seed in 0..20 {
        for last in [vec![], query("rows 3"), parse("", "rows 3"), unnamed("rows 3"), query("fail")]
        {
            let mut scene = Scene::with(1, 2, 100, seed);
            assert_eq!(scene.say(0, query("begin")), "CZ");
            if !last.is_empty() {
                scene.say(0, last);
            }
            let server = scene.relay.server_of(0).unwrap();
            assert_eq!(server.state.reset_sql(), (ResetKind::Targeted, vec!["ROLLBACK".into()]));
            scene.relay.client_leaves(0);
            assert_eq!(scene.relay.resets + scene.relay.discards, 1);
            assert_eq!(scene.say(1, query("select 1")), "TDCZ");
        }
    }
}

#[test]
fn a_client_that_goes_in_the_middle_of_a_result_or_batch_leaves_no_rows_to_the_next() {
    for begin in [
        query("rows 3; begin"),
        [unnamed("rows 3"), unnamed("rows 3")].concat(),
        [parse("", "rows 3"), bind("", ""), execute("", 1)].concat(),
        parse("", "syntax error"),
        [parse("", "syntax error"), bind("", ""), sync(), parse("s1", "rows 3")].concat(),
        [query("begin"), parse("", "fail"), bind("", ""), execute("", 0)].concat(),
        [bind("", "none"), query("select 1")].concat(),
        function_call(),
    ] {
        for seed in 0..60 {
            let mut scene = Scene::with(1, 2, 100, seed);
            scene.relay.send_unread(0, &begin);
            scene.relay.client_leaves(0);
            assert!(!scene.is_leased(0), "drained or closed");
            assert_eq!(scene.say(1, query("select 1")), "TDCZ");
            assert_eq!(scene.say(1, unnamed("select 1")), "12TDCZ");
        }
    }
}

#[test]
fn a_client_that_goes_between_a_flush_and_its_sync_leaves_no_transaction() {
    for seed in 0..20 {
        let mut scene = Scene::with(1, 2, 100, seed);
        let batch = [parse("", "insert"), bind("p", ""), execute("p", 0), flush()].concat();
        assert_eq!(scene.say(0, batch), "12C");
        // Nothing is owed here, and what is answered with nothing ends no lease either.
        assert_eq!(scene.say(0, [copy_data("stray"), flush()].concat()), "");
        assert!(scene.is_leased(0));
        assert_eq!(scene.postgres(0).transaction, Transaction::Implicit);
        scene.relay.client_leaves(0);
        assert_eq!(scene.relay.discards, 1, "a Sync would have committed it");
        assert_eq!(scene.say(1, [query("select 1"), run("")].concat()), "TDCZEZ");
    }
}

#[test]
fn what_a_client_has_not_ended_itself_is_never_committed_for_it() {
    let insert = || [parse("", "insert"), bind("", ""), execute("", 0)].concat();
    let copy = || [parse("", "copy t from stdin"), bind("", ""), execute("", 0), sync()].concat();
    for (begin, commit) in [
        (insert(), "ES"),
        ([insert(), flush()].concat(), "HS"),
        ([query("begin"), insert()].concat(), "ES"),
        ([query("select 1"), insert(), flush()].concat(), "HS"),
        // The COPY swallows the Sync.
        ([copy(), copy_data("1\n"), copy_done()].concat(), "cS"),
    ] {
        for seed in 0..20 {
            for is_answered in [false, true] {
                let mut scene = Scene::with(1, 2, 100, seed);
                if is_answered {
                    scene.say(0, &begin);
                } else {
                    scene.relay.send_unread(0, &begin);
                }
                scene.relay.client_leaves(0);
                assert!(!is_answered || scene.relay.discards == 1);
                // Not all may have been sent yet; but never the Sync that was not the client's.
                assert!(!scene.relay.idle[0].postgres.received.contains(commit));
                assert_eq!(scene.say(1, query("select 1")), "TDCZ");
            }
        }
    }
    // What has ended itself, or has failed, costs no server.
    for begin in [[insert(), sync()].concat(), query("insert"), parse("", "syntax error")] {
        let mut scene = Scene::new(1, 2);
        scene.say(0, &begin);
        scene.relay.client_leaves(0);
        assert_eq!(scene.relay.discards, 0);
    }
}

#[test]
fn a_message_that_was_cut_off_ends_the_server() {
    let mut scene = Scene::new(1, 2);
    let long = query(&format!("select {}", "x".repeat(200_000)));
    scene.relay.send_unread(0, &long[..150_000]);
    assert!(scene.is_leased(0));
    scene.relay.client_leaves(0);
    assert_eq!(scene.relay.discards, 1);
    assert_eq!(scene.say(1, query("select 1")), "TDCZ");
}

#[test]
fn a_long_message_does_not_lose_its_server_half_way() {
    for seed in 0..30 {
        let mut scene = Scene::with(2, 1, 100, seed);
        let long = query(&format!("select {}", "x".repeat(200_000)));
        let pipeline = [query("select 1"), long, query("select 2")].concat();
        assert_eq!(scene.say(0, pipeline), "TDCZTDCZTDCZ");
        assert!(!scene.is_leased(0));
    }
}

#[test]
fn what_a_text_too_long_to_be_looked_through_leaves_behind_is_asked() {
    let mut scene = Scene::new(1, 1);
    assert_eq!(scene.say(0, query(&format!("select {}", "x".repeat(70_000)))), "TDCZ");
    assert_eq!(scene.relay.idle[0].postgres.received, "QQ");
    assert_eq!(scene.say(0, query("select 1")), "TDCZ");
    assert_eq!(scene.relay.idle[0].postgres.received, "QQQ");
}

#[test]
fn a_refused_batch_is_skipped_to_its_sync_and_answers_nothing_later() {
    let mut scene = Scene::new(1, 1);
    let error = wire::ErrorMessage::error(wire::SqlState::TOO_MANY_CONNECTIONS, "no server");
    let mut answer = Vec::new();
    let client = &mut scene.relay.clients[0];
    client.session.refuse(b'P', &error, &mut answer);
    assert_eq!(support::transcript::tags(&answer), "E");
    let rest = [bind("", ""), execute("", 0), query("select 1"), flush(), sync()].concat();
    assert_eq!(scene.say(0, rest), "Z");
    assert_eq!(scene.relay.clients[0].leases, 0);
    assert_eq!(scene.say(0, query("select 1")), "TDCZ");
    answer.clear();
    scene.relay.clients[0].session.refuse(b'Q', &error, &mut answer);
    assert_eq!(support::transcript::tags(&answer), "EZ");
}

#[test]
fn in_session_mode_the_server_stays_until_the_client_goes() {
    let mut scene = Scene::new(1, 0);
    let (one, two) = (scene.add(Mode::Session, &[]), scene.add(Mode::Transaction, &[]));
    assert_eq!(scene.say(one, query("set lock_timeout = 9")), "CZ");
    assert_eq!(scene.value(one, "show lock_timeout"), "9");
    assert_eq!(scene.say(one, query("prepare x as select 1")), "CZ");
    assert_eq!(scene.say(one, run("x")), "2DCZ");
    assert!(scene.is_leased(one));
    scene.relay.client_leaves(one);
    assert_eq!(scene.relay.resets, 1);
    assert_eq!(scene.value(two, "show lock_timeout"), "default");
}

#[test]
fn in_statement_mode_a_transaction_block_ends_the_client() {
    let mut scene = Scene::new(1, 1);
    let one = scene.add(Mode::Statement, &[]);
    assert_eq!(scene.say(one, query("select 1")), "TDCZ");
    scene.say(one, query("begin"));
    let violation = scene.relay.clients[one].violation.clone().expect("a violation");
    assert!(violation.to_string().contains("0A000"), "{violation}");
    assert_eq!(scene.say(0, query("select 1")), "TDCZ");
}

#[test]
fn a_statement_made_by_prepare_lives_as_long_as_the_lease() {
    let mut scene = Scene::new(1, 2);
    let transaction = [query("begin"), query("prepare mine as select 1"), run("mine")].concat();
    assert_eq!(scene.say(0, transaction), "CZCZ2DCZ");
    let rest = [describe_statement("mine"), close_statement("mine"), sync(), run("mine")].concat();
    assert_eq!(scene.say(0, rest), "tT3ZEZ");
    assert_eq!(scene.say(0, query("rollback")), "CZ");
    assert_eq!(scene.say(1, run("mine")), "EZ");
}

#[test]
fn what_an_idle_server_says_is_heard_and_anything_else_closes_it() {
    let mut scene = Scene::new(1, 1);
    let catalog = std::sync::Arc::clone(&scene.relay.catalog);
    let state = &mut scene.relay.idle[0].state;
    let mut report = Vec::new();
    wire::message::put_parameter_status(&mut report, "TimeZone", "cet");
    assert!(state.on_idle(&catalog, &report));
    assert_eq!(state.parameters().get("timezone"), Some("cet"));
    state.after_reset(ResetKind::All);
    assert_eq!(state.parameters().get("timezone"), Some("cet"), "its login's value has changed");
    let mut ready = Vec::new();
    wire::message::put_ready_for_query(&mut ready, wire::message::TransactionStatus::Idle);
    assert!(!state.on_idle(&catalog, &ready));
    assert!(!state.on_idle(&catalog, &report[..7]), "half a message");
}

#[test]
fn a_default_that_changed_while_the_server_was_lent_is_known_after_the_reset() {
    let mut scene = Scene::new(1, 1);
    let catalog = std::sync::Arc::clone(&scene.relay.catalog);
    let state = &mut scene.relay.idle[0].state;
    state.on_reset_parameter(ResetKind::All, &catalog, "TimeZone", "cet");
    state.after_reset(ResetKind::All);
    assert_eq!(state.parameters().get("TimeZone"), Some("cet"));
}
