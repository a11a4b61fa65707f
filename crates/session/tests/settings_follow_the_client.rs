//! What servers report follows the client from server to server, and only what is its own.

mod support;

use std::sync::Arc;

use session::{Catalog, Frame, Mode, Pass, ServerState, Session, ToServer};
use support::client::*;
use support::scene::Scene;

#[test]
fn a_reported_setting_is_there_on_every_server_and_for_nobody_else() {
    for seed in 0..30 {
        let mut scene = Scene::with(2, 2, 100, seed);
        assert_eq!(scene.say(0, query("set TIMEZONE = cet")), "CSZ");
        for _ in 0..6 {
            assert_eq!(scene.value(0, "show timezone"), "cet");
            assert_eq!(scene.value(1, "show timezone"), "UTC");
        }
    }
}

#[test]
fn what_the_client_logged_in_with_is_set_once_and_not_told_again() {
    let mut scene = Scene::new(1, 1);
    let own = scene.add(Mode::Transaction, &[("timezone", "cet"), ("statement_timeout", "5s")]);
    assert_eq!(scene.say(own, query("show timezone")), "TDCZ");
    assert_eq!(scene.value(own, "show statement_timeout"), "5s");
    let queries = |scene: &Scene| scene.relay.idle[0].postgres.received.len();
    let before = queries(&scene);
    assert_eq!(scene.value(own, "show timezone"), "cet");
    assert_eq!(queries(&scene), before + 1, "the server is as this client wants it");
    assert_eq!(scene.value(0, "show statement_timeout"), "default", "and as the next one does");
}

#[test]
fn an_empty_value_is_a_value() {
    let mut scene = Scene::new(1, 1);
    let own = scene.add(Mode::Transaction, &[("application_name", "")]);
    assert_eq!(scene.value(own, "show application_name"), "");
    assert_eq!(scene.value(0, "show application_name"), "pgmesh");
    assert_eq!(scene.value(own, "show application_name"), "");
}

#[test]
fn a_setting_taken_back_by_a_rollback_is_taken_back_for_the_client() {
    let mut scene = Scene::new(2, 1);
    let transaction = [query("begin"), query("set timezone = cet"), query("rollback")].concat();
    assert_eq!(scene.say(0, transaction), "CZCSZCSZ");
    assert_eq!(scene.value(0, "show timezone"), "UTC");
}

#[test]
fn a_setting_that_servers_do_not_report_is_not_left_to_others() {
    for set in [
        query("set lock_timeout = 9"),
        unnamed("set lock_timeout = 9"),
        query("select 1; set lock_timeout = 9; select 2"),
        // One for the transaction only, before and behind it.
        [query("set lock_timeout = 9"), query("set local lock_timeout = 8")].concat(),
        [unnamed("set lock_timeout = 9"), unnamed("set local lock_timeout = 8")].concat(),
        [unnamed("set local lock_timeout = 8"), query("set lock_timeout = 9")].concat(),
        query("set local lock_timeout = 8; set lock_timeout = 9"),
    ] {
        for seed in 0..20 {
            let mut scene = Scene::with(1, 2, 100, seed);
            scene.say(0, set.clone());
            assert!(!scene.is_leased(0));
            assert_eq!(scene.value(1, "show lock_timeout"), "default");
        }
    }
}

#[test]
fn a_set_that_hides_behind_an_earlier_local_one_is_not_missed() {
    for seed in 0..20 {
        let mut scene = Scene::with(1, 2, 100, seed);
        assert_eq!(scene.say(0, [parse("s1", "set lock_timeout = 9"), sync()].concat()), "1Z");
        let one = |portal: &str, name: &str| [bind(portal, name), execute(portal, 0)].concat();
        let batch = [parse("", "set local lock_timeout = 8"), one("", ""), one("", "s1"), sync()];
        assert_eq!(scene.say(0, batch.concat()), "12C2CZ");
        assert_eq!(scene.value(1, "show lock_timeout"), "default");
        let batch = [bind("p", "s1"), parse("", "set local lock_timeout = 8"), bind("", "")];
        let batch = [batch.concat(), execute("p", 0), sync()].concat();
        assert_eq!(scene.say(0, batch), "212CZ");
        assert_eq!(scene.value(1, "show lock_timeout"), "default");
        // A Parse that was skipped is not what runs.
        assert_eq!(scene.say(0, [parse("", "set lock_timeout = 9"), sync()].concat()), "1Z");
        let skipped = [bind("", "none"), parse("", "set local lock_timeout = 8"), sync()];
        assert_eq!(scene.say(0, [skipped.concat(), run("")].concat()), "EZ2CZ");
        assert_eq!(scene.value(1, "show lock_timeout"), "default");
    }
}

#[test]
fn a_set_for_the_transaction_only_costs_no_reset() {
    let mut scene = Scene::new(1, 1);
    let transaction = [query("begin"), query("SET LOCAL lock_timeout = 8;"), query("commit")];
    assert_eq!(scene.say(0, transaction.concat()), "CZCZCZ");
    assert_eq!(scene.say(0, unnamed("set local lock_timeout = 8")), "12nCZ");
    assert_eq!(scene.relay.resets, 0);
}

#[test]
fn an_invalid_setting_fails_the_statement_and_not_the_connection() {
    let mut scene = Scene::new(1, 1);
    let bad = scene.add(Mode::Transaction, &[("TimeZone", "bad")]);
    assert_eq!(scene.say(bad, query("select 1")), "EZ");
    assert_eq!(scene.say(bad, unnamed("select 1")), "EZ");
    assert_eq!(scene.say(bad, [query("select 1"), unnamed("select 1"), sync()].concat()), "EZEZZ");
    assert_eq!(scene.say(0, query("select 1")), "TDCZ");
}

#[test]
fn nothing_runs_under_settings_that_could_not_be_made() {
    for (sent, said) in [
        (query("insert 1"), "EZ"),
        (query("begin; insert 1; commit"), "EZ"),
        (query("rollback; insert 1"), "EZ"),
        (query("commit; insert 1"), "EZ"),
        (unnamed("insert 1"), "EZ"),
        ([parse("", "rollback"), bind("", ""), execute("", 0), unnamed("insert 1")].concat(), "EZ"),
        ([parse("", ""), bind("", ""), execute("", 0), unnamed("insert 1")].concat(), "EZ"),
        ([parse("s", "insert 1"), flush(), bind("", "s"), execute("", 0), sync()].concat(), "EZ"),
        ([unnamed("insert 1"), query("insert 2"), unnamed("insert 3")].concat(), "EZEZEZ"),
        ([query("copy t from stdin"), copy_data("1"), copy_done()].concat(), "EZ"),
        ([query("insert 1"), sync(), unnamed("insert 1"), sync()].concat(), "EZZEZZ"),
        (
            [query("insert 1"), parse("s", "insert 2"), run("s"), query("insert 3")].concat(),
            "EZEZEZ",
        ),
    ] {
        for seed in 0..20 {
            let mut scene = Scene::with(2, 1, 100, seed);
            let bad = scene.add(Mode::Transaction, &[("TimeZone", "bad")]);
            assert_eq!(scene.say(bad, &sent), said, "{}", String::from_utf8_lossy(&sent));
            assert_eq!(scene.say(0, query("select 1")), "TDCZ");
            assert_eq!(*scene.relay.database.rows.borrow(), [0_u32; 0]);
            assert!(!scene.is_leased(bad));
        }
    }
}

#[test]
fn the_data_of_a_copy_that_was_refused_keeps_no_server() {
    for seed in 0..20 {
        let mut scene = Scene::with(1, 1, 100, seed);
        let own = scene.add(Mode::Transaction, &[("timezone", "cet")]);
        for end in [copy_done(), copy_fail()] {
            assert_eq!(scene.value(0, "show timezone"), "UTC");
            let sent = [query("copy nothing from stdin"), copy_data("1"), end].concat();
            assert_eq!(scene.say(own, sent), "EZ");
            assert!(!scene.is_leased(own));
        }
    }
}

#[test]
fn a_setting_is_made_in_front_of_what_it_would_fail() {
    let catalog = Arc::new(Catalog::default());
    let [plain, own] = ["UTC", "cet"].map(|zone| catalog.parameters([("TimeZone", zone)]));
    for (sent, verdict) in [
        (query("insert 1"), ToServer::Pass(Pass::Forward)),
        (parse("", "insert 1"), ToServer::Pass(Pass::Forward)),
        (parse("s", "insert 1"), ToServer::Pass(Pass::Replace)),
        (parse("s", " ; "), ToServer::Prepare),
        (query("rollback; insert 1"), ToServer::Prepare),
        (describe_statement("s"), ToServer::Prepare),
    ] {
        let mut session = Session::new(Arc::clone(&catalog), Arc::clone(&own), Mode::Transaction);
        let mut server = ServerState::new(Arc::clone(&plain), 100);
        let header = wire::Header::peek(&sent).unwrap().unwrap();
        let frame = Frame { header, body: &sent[wire::HEADER_LEN..] };
        let mut to_server = Vec::new();
        let seen = session.on_client(&frame, &mut server, &mut to_server, &mut Vec::new());
        assert_eq!(seen, Ok(verdict), "{}", String::from_utf8_lossy(&sent));
        let sql = String::from_utf8_lossy(&to_server).into_owned();
        assert_eq!(sql.contains("BEGIN; SELECT"), verdict != ToServer::Prepare, "{sql:?}");
    }
}

#[test]
fn reset_goes_back_to_what_the_client_logged_in_with() {
    for reset in [
        query("reset timezone"),
        query("RESET ALL"),
        query("set TimeZone = DEFAULT"),
        query("discard all"),
        unnamed("reset all"),
        [parse("s1", "reset all"), sync(), run("s1")].concat(),
        [query("begin"), query("reset timezone"), query("commit")].concat(),
    ] {
        for seed in 0..20 {
            for mode in [Mode::Transaction, Mode::Session] {
                let mut scene = Scene::with(2, 1, 100, seed);
                let own = scene.add(mode, &[("TimeZone", "cet"), ("statement_timeout", "5s")]);
                assert_eq!(scene.say(own, query("set timezone = a")), "CSZ");
                assert!(scene.say(own, reset.clone()).contains('S'), "the client is told");
                assert_eq!(scene.value(own, "show timezone"), "cet");
                assert_eq!(scene.value(own, "show statement_timeout"), "5s");
                // Also for what is sent before the answer has come.
                let pipeline = [query("set timezone = a"), reset.clone(), query("show timezone")];
                let lines = scene.lines(own, pipeline.concat());
                let row = lines.iter().rfind(|line| line.starts_with("D ")).expect("a row");
                assert!(row.ends_with("cet"), "{lines:?}");
            }
        }
    }
}

#[test]
fn a_reset_of_one_setting_leaves_the_others_as_they_were_set() {
    let mut scene = Scene::new(2, 1);
    let own = scene.add(Mode::Transaction, &[("application_name", "own"), ("DateStyle", "german")]);
    // Set to what is the server's own default, so only the text tells.
    assert_eq!(scene.say(own, query("set application_name = pgmesh")), "CSZ");
    assert_eq!(scene.say(own, query("reset datestyle")), "CSSZ");
    assert_eq!(scene.value(own, "show application_name"), "pgmesh");
    assert_eq!(scene.value(own, "show datestyle"), "german");
}

#[test]
fn a_statement_that_sets_something_is_known_wherever_it_is_run_again() {
    let set = "select pg_catalog.set_config(E'lock_timeout',E'9',false)";
    for name in ["", "s1"] {
        let mut scene = Scene::new(2, 2);
        assert_eq!(scene.say(0, [parse(name, set), sync()].concat()), "1Z");
        for _ in 0..4 {
            assert_eq!(scene.say(0, run(name)), "2DCZ");
            assert_eq!(scene.value(1, "show lock_timeout"), "default");
        }
    }
}

#[test]
fn discard_all_by_the_client_is_not_done_again() {
    let mut scene = Scene::new(1, 1);
    assert_eq!(scene.say(0, [query("set timezone = a"), query("discard all")].concat()), "CSZCSZ");
    assert_eq!(scene.value(0, "show timezone"), "UTC");
    assert!(scene.relay.resets <= 1, "for the SET at most");
    let resets = scene.relay.resets;
    assert_eq!(scene.say(0, query("discard all")), "CZ");
    assert_eq!(scene.relay.resets, resets);
}

#[test]
fn a_query_of_ours_takes_no_unnamed_statement_from_the_client() {
    let mut scene = Scene::new(1, 0);
    let own = scene.add(Mode::Session, &[("TimeZone", "cet")]);
    let begin = [parse("s1", "reset timezone"), parse("", "select 5"), sync()].concat();
    assert_eq!(scene.say(own, begin), "11Z");
    assert!(scene.say(own, run("s1")).starts_with("2C"));
    assert!(scene.lines(own, run(""))[1].ends_with('5'));
    assert_eq!(scene.value(own, "show timezone"), "cet");
}

#[test]
fn a_transaction_that_resets_a_setting_sees_the_clients_own_in_it() {
    let mut scene = Scene::new(1, 1);
    let own = scene.add(Mode::Transaction, &[("TimeZone", "cet")]);
    assert_eq!(scene.say(own, [query("set timezone = a"), query("begin")].concat()), "CSZCZ");
    assert!(scene.say(own, query("reset timezone")).starts_with('C'));
    assert_eq!(scene.value(own, "show timezone"), "cet");
    assert!(scene.say(own, query("rollback")).starts_with('C'));
    assert_eq!(scene.value(own, "show timezone"), "a");
}

#[test]
fn a_statement_parsed_under_other_settings_is_another() {
    let mut scene = Scene::new(1, 1);
    let own = scene.add(Mode::Transaction, &[("DateStyle", "german")]);
    for client in [0, own] {
        assert_eq!(scene.say(client, [parse("s1", "select 1"), sync()].concat()), "1Z");
        assert_eq!(scene.say(client, run("s1")), "2DCZ");
    }
    assert_eq!(scene.relay.idle[0].state.statement_count(), 2);
}

#[test]
fn what_reset_all_takes_in_a_transaction_does_not_come_back_in_it() {
    for seed in 0..20 {
        let mut scene = Scene::with(2, 2, 100, seed);
        assert_eq!(scene.say(0, query("set lock_timeout = 9")), "CZ");
        assert_eq!(scene.say(0, unnamed("begin")), "12nCZ");
        assert_eq!(scene.say(0, query("reset all")), "CZ");
        let before = scene.lines(0, query("show lock_timeout"));
        assert!(!before.iter().any(|line| line.ends_with('9')), "{before:?}");
        assert_eq!(scene.say(0, query("rollback")), "CZ");
        let after = scene.lines(0, query("show lock_timeout"));
        assert!(after.iter().any(|line| line.ends_with('9')), "{after:?}");
    }
}
