//! A lease ends when every answer has come and no transaction is open; and a batch reaches the
//! server as the client wrote it.

mod support;

use support::client::*;
use support::scene::Scene;

#[test]
fn ready_for_query_releases_nothing_while_a_later_batch_is_under_way() {
    for seed in 0..100 {
        let mut scene = Scene::with(2, 1, 100, seed);
        // The next batch is begun behind the Sync, and its own Sync is still to come.
        let pipeline = [unnamed("select 1"), parse("", "select 2"), bind("", "")].concat();
        assert_eq!(scene.say(0, pipeline), "12TDCZ");
        assert!(scene.is_leased(0));
        assert_eq!(scene.say(0, [execute("", 0), sync()].concat()), "12DCZ");
        assert!(!scene.is_leased(0));
    }
}

#[test]
fn an_error_in_front_of_the_next_batch_loses_nothing_of_it() {
    for seed in 0..100 {
        let mut scene = Scene::with(2, 1, 100, seed);
        let pipeline = [
            parse("", "syntax error"),
            sync(),
            parse("s1", "select 1"),
            describe_statement("s1"),
            flush(),
        ];
        assert_eq!(scene.say(0, pipeline.concat()), "EZ1tT");
        assert_eq!(scene.say(0, run("s1")), "2DCZ");
    }
}

#[test]
fn a_portal_lives_on_behind_a_flush() {
    let mut scene = Scene::new(3, 1);
    let begin = [parse("", "rows 3"), bind("p", ""), execute("p", 2), flush()].concat();
    assert_eq!(scene.say(0, begin), "12DDs");
    assert!(scene.is_leased(0), "a Flush is no Sync");
    assert_eq!(scene.say(0, [execute("p", 2), flush()].concat()), "DC");
    assert_eq!(scene.say(0, sync()), "Z");
    assert!(!scene.is_leased(0));
    let late = scene.lines(0, [execute("p", 2), sync()].concat());
    assert!(late[0].contains("C34000"), "{late:?}");
}

#[test]
fn a_flush_brings_every_answer_up_to_it() {
    let mut scene = Scene::new(1, 2);
    assert_eq!(scene.say(1, [parse("x", "select 1"), sync()].concat()), "1Z");
    // Some of these are not for the server to see, and come behind one that is.
    let batch = [parse("a", "select 5"), parse("b", "select 1"), close_statement("b"), flush()];
    assert_eq!(scene.say(0, batch.concat()), "113");
    assert_eq!(scene.say(0, sync()), "Z");
}

#[test]
fn a_flush_without_a_server_needs_none() {
    let mut scene = Scene::new(1, 1);
    assert_eq!(scene.say(0, flush()), "");
    assert_eq!(scene.say(0, sync()), "Z");
    assert_eq!(scene.relay.clients[0].leases, 0);
}

#[test]
fn no_sync_and_no_query_is_put_into_a_batch() {
    let mut scene = Scene::new(1, 2);
    let two = scene.add(session::Mode::Transaction, &[("TimeZone", "cet")]);
    assert_eq!(scene.say(two, [parse("s1", "select 1"), sync()].concat()), "1Z");
    let log = |scene: &mut Scene| std::mem::take(&mut scene.relay.idle[0].postgres.received);
    let before = log(&mut scene);
    assert!(before.starts_with('Q'), "settings come first: {before}");
    assert_eq!(scene.say(0, query("set application_name = x")), "CSZ");
    let _ = log(&mut scene);
    // The settings go in front of the batch; then hidden messages ride with it.
    let batch = [parse("", "insert"), bind("", ""), execute("", 0), flush()].concat();
    assert_eq!(scene.say(two, batch), "12C");
    assert_eq!(scene.say(two, run("s1")), "2DCZ");
    let after = log(&mut scene);
    assert_eq!(after.matches('Q').count(), 1, "{after}");
    assert_eq!(after.matches('S').count(), 1, "{after}");
    assert!(after.starts_with('Q') && after.ends_with('S'), "{after}");
}

#[test]
fn a_transaction_keeps_its_server_and_the_next_need_not() {
    let mut scene = Scene::new(2, 1);
    assert_eq!(scene.say(0, query("begin")), "CZ");
    assert_eq!(scene.say(0, unnamed("insert")), "12nCZ");
    assert_eq!(scene.say(0, query("fail")), "EZ");
    assert!(scene.is_leased(0));
    assert_eq!(scene.say(0, query("select 1")), "EZ");
    assert_eq!(scene.say(0, query("commit")), "CZ");
    assert!(!scene.is_leased(0));
    assert_eq!(scene.relay.clients[0].leases, 1);
    assert_eq!(scene.relay.resets + scene.relay.discards, 0);
}

#[test]
fn many_unanswered_messages_wait_in_the_client_and_not_in_memory() {
    let mut scene = Scene::new(1, 1);
    // Nothing of this makes the server flush by itself.
    let batch: Vec<u8> = (0..5_000).flat_map(|at| parse(&format!("n{at}"), "select 1")).collect();
    let answers = scene.say(0, [batch, sync()].concat());
    assert_eq!(answers, "1".repeat(5_000) + "Z");
    let flushes = scene.relay.idle[0].postgres.received.matches('H').count();
    assert!((9..12).contains(&flushes), "the client was held back {flushes} times");
    let one = [bind("", ""), execute("", 0)].concat();
    let batch = [parse("", "insert"), one.repeat(10_000), sync()].concat();
    assert_eq!(scene.say(0, batch), format!("1{}Z", "2C".repeat(10_000)));
    let flushes = scene.relay.idle[0].postgres.received.matches('H').count() - flushes;
    assert_eq!(flushes, 1, "answers that are outstanding are counted too");
}
