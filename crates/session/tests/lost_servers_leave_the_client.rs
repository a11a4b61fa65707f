//! What a client sees when its server is lost, case by case, and how it goes on.

mod support;

use session::{Lost, Mode};
use support::client::*;
use support::scene::Scene;

const ROLLED_BACK: &str = "40001";
const UNKNOWN: &str = "08007";
const ABORTED: &str = "25P02";

/// SQLSTATEs of errors; other lines as they are.
fn brief(lines: &[String]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| match line.strip_prefix("E ") {
            Some(fields) => {
                let (_, code) = fields.split_once("|C").expect("a code");
                code.split('|').next().unwrap_or_default()
            }
            None => line,
        })
        .collect()
}

fn in_block() -> Scene {
    let mut scene = Scene::new(2, 2);
    assert_eq!(scene.say(0, [query("begin"), query("insert 1")].concat()), "CZCZ");
    scene
}

/// The client is in a failed transaction, as Postgres has it, and ends it.
fn is_failed(scene: &mut Scene) {
    assert_eq!(scene.say(0, sync()), "Z");
    let lines = scene.lines(0, unnamed("select 1"));
    assert_eq!(brief(&lines), [ABORTED, "Z E"]);
    let lines = scene.lines(0, [query("insert 7"), query("commit")].concat());
    assert_eq!(brief(&lines), [ABORTED, "Z E", "C ROLLBACK|", "Z I"]);
    is_well(scene);
}

fn is_well(scene: &mut Scene) {
    assert!(!scene.is_leased(0));
    assert_eq!(scene.relay.database.rows.borrow().len(), 0);
    assert_eq!(scene.say(0, unnamed("select 1")), "12TDCZ");
    assert_eq!(scene.relay.idle.len(), 2);
}

#[test]
fn an_idle_client_in_session_mode_goes_on_if_nothing_of_its_was_there() {
    let mut scene = Scene::new(1, 0);
    let client = scene.add(Mode::Session, &[]);
    let begin = [parse("s", "select 5"), sync(), query("set timezone = a1")].concat();
    scene.say(client, [parse("s", "select 5"), sync()].concat());
    assert!(scene.lose(client).is_empty());
    assert_eq!(scene.relay.clients[client].losses, [Lost::Unnoticed]);
    assert_eq!(scene.say(client, run("s")), "2DCZ");
    scene.say(client, [close_statement("s"), begin].concat());
    let lines = scene.lose(client);
    assert_eq!(brief(&lines), ["57P01"]);
    assert!(lines[0].contains("|SFATAL|") || lines[0].starts_with("E SFATAL|"), "{lines:?}");
    assert!(lines[0].contains("pool_mode=session"));
}

#[test]
fn a_client_is_told_what_it_kept_its_lost_server_for() {
    let mut scene = Scene::new(1, 1);
    assert_eq!(scene.say(0, query("select setseed")), "TDCZ");
    assert!(scene.is_leased(0));
    let lines = scene.lose(0);
    assert_eq!(brief(&lines), ["57P01"]);
    assert!(
        lines[0].contains("|DThe client kept its server for this: unaccountable.|"),
        "{lines:?}"
    );
}

#[test]
fn a_client_between_two_statements_of_its_transaction_hears_of_it_with_the_next() {
    for next in [query("select 1"), unnamed("insert 2"), function_call(), sync()] {
        let mut scene = in_block();
        assert!(scene.lose(0).is_empty());
        let lines = scene.lines(0, next);
        assert_eq!(brief(&lines), [ROLLED_BACK, "Z E"]);
        assert!(lines[0].contains("|HRetry the transaction.|"));
        assert!(!scene.is_leased(0));
        is_failed(&mut scene);
    }
}

#[test]
fn a_client_that_rolls_back_a_lost_transaction_hears_of_nothing() {
    for (next, tags) in [
        (query("Rollback;"), "CZ"),
        (unnamed("rollback"), "12nCZ"),
        (run("r"), "2CZ"),
        ([close_portal("p"), run("r")].concat(), "32CZ"),
        ([flush(), copy_data("stray"), query("rollback")].concat(), "CZ"),
    ] {
        let mut scene = Scene::new(2, 1);
        assert_eq!(scene.say(0, [parse("r", "rollback"), sync()].concat()), "1Z");
        assert_eq!(scene.say(0, [query("begin"), query("insert 1")].concat()), "CZCZ");
        assert!(scene.lose(0).is_empty());
        assert_eq!(scene.say(0, next), tags);
        is_well(&mut scene);
    }
}

#[test]
fn a_commit_of_a_lost_transaction_is_refused_and_ends_it() {
    let mut scene = in_block();
    scene.lose(0);
    assert_eq!(brief(&scene.lines(0, query("COMMIT"))), [ROLLED_BACK, "Z I"]);
    is_well(&mut scene);
    let mut scene = in_block();
    scene.lose(0);
    assert_eq!(brief(&scene.lines(0, unnamed("commit"))), [ROLLED_BACK, "Z E"]);
    is_failed(&mut scene);
}

#[test]
fn a_failed_transaction_stays_one_on_the_next_server_and_the_one_after_that() {
    let mut scene = Scene::new(2, 1);
    assert_eq!(scene.say(0, [query("begin"), query("fail")].concat()), "CZEZ");
    assert!(scene.lose(0).is_empty());
    assert_eq!(brief(&scene.lines(0, query("select 1"))), [ABORTED, "Z E"]);
    assert_eq!(scene.postgres(0).received, "QQ", "one to fail it, one of the client's");
    assert!(scene.lose(0).is_empty());
    assert_eq!(brief(&scene.lines(0, query("select 1"))), [ABORTED, "Z E"]);
    is_failed(&mut scene);
}

#[test]
fn a_server_that_dies_while_it_is_taken_to_the_failed_transaction_is_not_noticed() {
    let mut scene = in_block();
    scene.lose(0);
    assert_eq!(scene.say(0, query("select 1")), "EZ");
    scene.relay.clients[0].unread.extend(query("rollback"));
    while scene.relay.client_is_read(0) {}
    assert!(scene.is_leased(0));
    assert!(scene.lose(0).is_empty());
    assert_eq!(scene.relay.clients[0].losses.last(), Some(&Lost::Unnoticed));
    scene.relay.run();
    assert_eq!(scene.heard(0), "CZ");
    is_well(&mut scene);
}

#[test]
fn what_is_in_flight_in_a_transaction_is_rolled_back() {
    let pipeline = [unnamed("insert 2"), query("select 1"), sync(), unnamed("select 2")].concat();
    for (sent, seen, fails) in [
        (query("insert 2"), vec![ROLLED_BACK, "Z E"], true),
        (query("insert 2; insert 3"), vec![ROLLED_BACK, "Z E"], true),
        (query("call p()"), vec![ROLLED_BACK, "Z E"], true),
        (pipeline, vec![ROLLED_BACK, "Z E", ABORTED, "Z E", "Z E", ABORTED, "Z E"], true),
        (query("rollback"), vec!["C ROLLBACK|", "Z I"], false),
        (
            [query("insert 2"), query("rollback")].concat(),
            vec![ROLLED_BACK, "Z E", "C ROLLBACK|", "Z I"],
            false,
        ),
        (unnamed("rollback"), vec![ROLLED_BACK, "Z I"], false),
    ] {
        let mut scene = in_block();
        assert_eq!(brief(&scene.lose_in(0, sent)), seen);
        if fails { is_failed(&mut scene) } else { is_well(&mut scene) }
    }
}

#[test]
fn a_batch_in_a_transaction_is_skipped_to_its_sync() {
    let mut scene = in_block();
    let batch = [parse("", "insert 2"), bind("", ""), execute("", 0)].concat();
    assert_eq!(brief(&scene.lose_in(0, batch)), [ROLLED_BACK]);
    assert_eq!(scene.say(0, [bind("", ""), execute("", 0), query("skipped")].concat()), "");
    assert_eq!(scene.lines(0, sync()), ["Z E"]);
    is_failed(&mut scene);
}

#[test]
fn the_outcome_of_a_commit_is_unknown_if_all_of_it_was_sent() {
    for commit in [
        query("commit"),
        unnamed("end"),
        query("insert 3; commit"),
        query("commit and chain"),
        [parse("", "commit"), bind("p", ""), execute("p", 0), sync()].concat(),
    ] {
        let mut scene = in_block();
        assert_eq!(brief(&scene.lose_in(0, commit)), [UNKNOWN, "Z I"]);
        assert!(!scene.is_leased(0));
    }
    let mut scene = in_block();
    let lines = scene.lose_in(0, [query("insert 2"), query("commit"), query("insert 3")].concat());
    assert_eq!(brief(&lines), [UNKNOWN, "Z I", UNKNOWN, "Z I", UNKNOWN, "Z I"]);
    for (before, seen) in [
        (query("commit"), vec![ROLLED_BACK, "Z I"]),
        (
            [query("insert 2"), query("commit")].concat(),
            vec![ROLLED_BACK, "Z E", "C ROLLBACK|", "Z I"],
        ),
    ] {
        let mut scene = in_block();
        assert_eq!(brief(&scene.lose_before(0, before)), seen);
        is_well(&mut scene);
    }
}

#[test]
fn a_statement_on_its_own_is_unknown_once_it_may_have_been_committed() {
    let batch = |name| [parse(name, "insert"), bind("", name), execute("", 0)].concat();
    for (sent, seen) in [
        (query("insert"), vec![UNKNOWN, "Z I"]),
        (function_call(), vec![UNKNOWN, "Z I"]),
        (unnamed("insert"), vec![UNKNOWN, "Z I"]),
        ([unnamed("insert"), query("insert")].concat(), vec![UNKNOWN, "Z I", UNKNOWN, "Z I"]),
        ([unnamed("insert"), batch("s")].concat(), vec![UNKNOWN, "Z I", ROLLED_BACK]),
        ([batch(""), query("insert"), sync()].concat(), vec![UNKNOWN, "Z I"]),
        (batch(""), vec![ROLLED_BACK]),
        ([parse("", "vacuum"), bind("", ""), execute("", 0)].concat(), vec![UNKNOWN]),
        (
            [parse("s", "insert"), describe_statement("s"), sync()].concat(),
            vec![ROLLED_BACK, "Z I"],
        ),
        (query("begin"), vec![ROLLED_BACK, "Z I"]),
        (unnamed("begin"), vec![ROLLED_BACK, "Z I"]),
        (query("begin; insert"), vec![ROLLED_BACK, "Z E"]),
        ([query("begin"), unnamed("insert")].concat(), vec![ROLLED_BACK, "Z E", ABORTED, "Z E"]),
        (
            [query("begin"), query("insert"), query("commit")].concat(),
            vec![UNKNOWN, "Z I", UNKNOWN, "Z I", UNKNOWN, "Z I"],
        ),
    ] {
        let mut scene = Scene::new(2, 1);
        assert_eq!(brief(&scene.lose_in(0, &sent)), seen, "{}", String::from_utf8_lossy(&sent));
        assert_eq!(scene.relay.clients[0].losses, [Lost::Told]);
    }
    for sent in [query("insert"), unnamed("insert"), function_call()] {
        let mut scene = Scene::new(2, 1);
        assert_eq!(brief(&scene.lose_before(0, sent)), [ROLLED_BACK, "Z I"]);
        is_well(&mut scene);
    }
}

#[test]
fn the_end_of_a_failed_transaction_is_certain() {
    for (sent, seen) in [
        (query("commit"), vec!["C ROLLBACK|", "Z I"]),
        (query("rollback"), vec!["C ROLLBACK|", "Z I"]),
        (unnamed("commit"), vec![ROLLED_BACK, "Z I"]),
        (
            [query("select 1"), query("commit"), query("insert")].concat(),
            vec![ABORTED, "Z E", "C ROLLBACK|", "Z I", UNKNOWN, "Z I"],
        ),
    ] {
        let mut scene = Scene::new(2, 1);
        assert_eq!(scene.say(0, [query("begin"), query("fail")].concat()), "CZEZ");
        assert_eq!(brief(&scene.lose_in(0, sent)), seen);
    }
}

#[test]
fn a_copy_without_its_end_is_rolled_back_and_what_comes_of_it_is_dropped() {
    let mut scene = Scene::new(2, 1);
    assert_eq!(scene.say(0, [query("copy t from stdin"), copy_data("1\n")].concat()), "G");
    assert_eq!(brief(&scene.lose(0)), [ROLLED_BACK, "Z I"]);
    assert_eq!(scene.say(0, [copy_data("2\n"), copy_done(), query("select 1")].concat()), "TDCZ");
    // Postgres ignores the Sync before the end of the data.
    let copy = [parse("", "copy t from stdin"), bind("", ""), execute("", 0), sync()].concat();
    assert_eq!(scene.say(0, copy), "12G");
    assert_eq!(brief(&scene.lose(0)), [ROLLED_BACK]);
    assert_eq!(scene.lines(0, [copy_data("2\n"), copy_done(), sync()].concat()), ["Z I"]);
    assert_eq!(scene.say(0, query("copy t from stdin")), "G");
    assert_eq!(brief(&scene.lose_in(0, copy_done())), [UNKNOWN, "Z I"]);
    is_well(&mut scene);
}

#[test]
fn between_a_flush_and_its_sync_the_next_message_tells_unless_nothing_has_run() {
    let mut scene = Scene::new(2, 1);
    let batch = [parse("", "insert 1"), bind("", ""), execute("", 0), flush()].concat();
    assert_eq!(scene.say(0, batch), "12C");
    assert!(scene.lose(0).is_empty());
    assert_eq!(brief(&scene.lines(0, sync())), [ROLLED_BACK, "Z I"]);
    assert_eq!(scene.say(0, [parse("s", "select 1"), flush()].concat()), "1");
    assert!(scene.lose(0).is_empty());
    assert_eq!(scene.relay.clients[0].losses.last(), Some(&Lost::Unnoticed));
    assert_eq!(scene.say(0, run("s")), "2DCZ");
    is_well(&mut scene);
}

#[test]
fn a_setting_of_a_lost_transaction_is_taken_back() {
    let mut scene = Scene::new(2, 1);
    let begin = [query("begin"), query("set local timezone = b1")].concat();
    let lines = scene.lines(0, begin);
    assert!(lines.contains(&"S TimeZone|b1|".to_owned()), "{lines:?}");
    assert_eq!(scene.lose(0), ["S TimeZone|UTC|"]);
    assert_eq!(scene.say(0, query("rollback")), "CZ");
    assert_eq!(scene.value(0, "show timezone"), "UTC");
}

#[test]
fn an_unnamed_statement_that_may_not_be_the_one_that_is_meant_is_not_used() {
    let mut scene = Scene::new(2, 1);
    assert_eq!(scene.say(0, [parse("", "select 1"), sync()].concat()), "1Z");
    assert_eq!(
        brief(&scene.lose_in(0, [parse("", "select 2"), sync()].concat())),
        [ROLLED_BACK, "Z I"]
    );
    assert_eq!(brief(&scene.lines(0, run(""))), ["26000", "Z I"]);
}

fn says(scene: &mut Scene, tag: u8, fields: &str) {
    let postgres = scene.postgres(0);
    postgres.put(tag, format!("{}\0\0", fields.replace('|', "\0")).as_bytes());
    postgres.flush();
    scene.relay.run();
}

#[test]
fn the_last_words_of_a_server_that_is_shut_down_are_not_passed_on() {
    for (tag, fields) in [
        (b'E', "SFATAL|C57P01|Mterminating connection due to administrator command"),
        (b'E', "SPANIC|VPANIC|C57P02|M"),
        (b'E', "SFATAL|C57P03|Mthe database system is shutting down"),
        (b'N', "SWARNING|VWARNING|C57P02|Mterminating connection|Rquickdie"),
    ] {
        let mut scene = in_block();
        says(&mut scene, tag, fields);
        assert_eq!(scene.heard(0), "", "{fields}");
        assert!(!scene.is_leased(0));
        assert_eq!(brief(&scene.lines(0, query("select 1"))), [ROLLED_BACK, "Z E"]);
    }
}

#[test]
fn other_last_words_and_words_that_only_look_like_them_are_passed_on() {
    for (tag, fields) in [
        (b'E', "SFATAL|C25P03|Mterminating connection due to idle-in-transaction timeout"),
        (b'E', "SFATAL|VFATAL|C57P05|M"),
        (b'N', "SWARNING|VWARNING|C57P01|Mraised|Rexec_stmt_raise"),
    ] {
        let mut scene = in_block();
        says(&mut scene, tag, fields);
        assert_eq!(scene.heard(0), char::from(tag).to_string(), "{fields}");
    }
}

#[test]
fn a_write_that_a_standby_refuses_is_counted() {
    let mut scene = in_block();
    scene.relay.send_unanswered(0, &query("insert 2"));
    scene.relay.server_of(0).unwrap().unsent.clear();
    says(&mut scene, b'E', "SERROR|C25006|Mcannot execute INSERT in a read-only transaction");
    assert_eq!(scene.heard(0), "E");
    let server = scene.relay.server_of(0).unwrap();
    assert_eq!(server.state.take_counters().read_only_refusals, 1);
}

#[test]
fn state_that_no_server_has_got_is_not_lost_with_it() {
    let mut scene = Scene::new(1, 0);
    let client = scene.add(Mode::Session, &[]);
    let unsent = |scene: &mut Scene| {
        scene.relay.send_unanswered(client, &query("select temp"));
        let lender = &mut scene.relay.clients[client];
        lender.session.forget_unsent(&mut lender.server.as_mut().unwrap().state);
        let words = scene.lose(client);
        (words, scene.relay.clients[client].losses.pop())
    };
    // On a server of its first statement's, and on one that it has had for longer.
    for _ in 0..2 {
        assert_eq!(unsent(&mut scene), (Vec::new(), Some(Lost::Unnoticed)));
        assert_eq!(scene.say(client, query("select 1")), "TDCZ");
    }
    // What is there already is lost.
    assert_eq!(scene.say(client, query("set timezone = a1")), "CSZ");
    assert_eq!(brief(&unsent(&mut scene).0), ["57P01"]);
}

#[test]
fn frames_that_no_server_has_got_can_be_taken_back() {
    let mut scene = Scene::new(2, 1);
    let frames = [unnamed("insert 1"), query("begin"), query("insert 2")].concat();
    scene.relay.send_unanswered(0, &frames);
    let client = &mut scene.relay.clients[0];
    client.session.forget_unsent(&mut client.server.as_mut().unwrap().state);
    assert!(scene.lose(0).is_empty());
    assert_eq!(scene.relay.clients[0].losses, [Lost::Unnoticed]);
    assert_eq!(scene.say(0, [frames, query("rollback")].concat()), "12nCZCZCZCZ");
    assert_eq!(*scene.relay.database.rows.borrow(), [1]);
}
