//! Named and unnamed prepared statements, over servers that change.

mod support;

use support::client::*;
use support::scene::Scene;

/// SQLSTATE and message of the error among these lines.
fn error_of(lines: &[String]) -> (String, String) {
    let error = lines.iter().find(|line| line.starts_with("E ")).expect("an error");
    let field = |code: char| {
        let mut fields = error.split('|');
        fields.find_map(|field| field.strip_prefix(code)).expect("a field").to_owned()
    };
    (field('C'), field('M'))
}

#[test]
fn a_statement_is_there_on_every_server() {
    for seed in 0..20 {
        let mut scene = Scene::with(4, 1, 100, seed);
        assert_eq!(scene.say(0, [parse("s1", "select 7"), sync()].concat()), "1Z");
        for _ in 0..10 {
            assert_eq!(scene.say(0, run("s1")), "2DCZ");
            assert_eq!(scene.say(0, [describe_statement("s1"), sync()].concat()), "tTZ");
        }
        assert_eq!(scene.say(0, [close_statement("s1"), sync()].concat()), "3Z");
        assert_eq!(scene.say(0, run("s1")), "EZ");
    }
}

#[test]
fn the_same_name_of_two_clients_is_two_statements() {
    let mut scene = Scene::new(1, 2);
    for (client, sql) in [(0, "select 10"), (1, "select 20")] {
        assert_eq!(scene.say(client, [parse("s", sql), sync()].concat()), "1Z");
    }
    assert!(scene.lines(0, run("s"))[1].ends_with("10"));
    assert!(scene.lines(1, run("s"))[1].ends_with("20"));
    assert_eq!(scene.say(0, [close_statement("s"), sync()].concat()), "3Z");
    assert!(scene.lines(1, run("s"))[1].ends_with("20"), "not closed for the other");
}

#[test]
fn a_name_that_is_taken_fails_as_on_a_direct_connection() {
    for seed in 0..20 {
        let mut scene = Scene::with(1, 3, 100, seed);
        assert_eq!(scene.say(0, [parse("s1", "select 1"), sync()].concat()), "1Z");
        assert_eq!(scene.say(0, [parse("twin", "select 1"), sync()].concat()), "1Z");
        for (name, text) in [("s1", "select 2"), ("twin", "select 1")] {
            let error = error_of(&scene.lines(0, [parse(name, text), sync()].concat()));
            let message = format!("prepared statement \"{name}\" already exists");
            assert_eq!(error, ("42P05".to_owned(), message));
        }
        assert!(scene.lines(0, run("s1"))[1].ends_with('1'), "it is what it was");
    }
}

#[test]
fn a_missing_statement_and_a_wrong_bind_are_told_by_the_clients_name() {
    let mut scene = Scene::new(1, 1);
    let missing = error_of(&scene.lines(0, run("none")));
    assert_eq!(missing.0, "26000");
    assert_eq!(missing.1, "prepared statement \"none\" does not exist");
    for name in ["s1", "s2"] {
        assert_eq!(scene.say(0, [parse(name, "select 1"), sync()].concat()), "1Z");
    }
    for name in ["s2", "s1"] {
        let wrong = [bind_with("", name, "x"), sync()].concat();
        let (code, message) = error_of(&scene.lines(0, wrong));
        assert_eq!(code, "08P01");
        assert!(message.contains(&format!("prepared statement \"{name}\" requires")), "{message}");
    }
}

#[test]
fn a_client_cannot_reach_a_statement_by_our_name_for_it() {
    let mut scene = Scene::new(1, 2);
    assert_eq!(scene.say(0, [parse("s1", "select 1"), sync()].concat()), "1Z");
    for at in 0..16 {
        assert_eq!(scene.say(0, run("s1")), "2DCZ");
        let ours = format!("pgmesh:{at:x}");
        assert_eq!(scene.say(1, run(&ours)), "EZ");
        assert_eq!(scene.say(1, [describe_statement(&ours), sync()].concat()), "EZ");
        let close = [query("begin"), query("set lock_timeout = 1"), close_statement(&ours)];
        assert_eq!(scene.say(1, [close.concat(), sync()].concat()), "CZCZ3Z");
        let server = scene.relay.server_of(1).expect("in a transaction");
        assert_eq!(server.state.statement_count(), server.postgres.statement_count());
        assert_eq!(scene.say(1, query("rollback")), "CZ");
    }
}

#[test]
fn a_hidden_parse_that_was_skipped_is_made_up_for_in_the_next_batch() {
    for seed in 0..200 {
        let mut scene = Scene::with(2, 1, 100, seed);
        assert_eq!(scene.say(0, [parse("s1", "select 1"), sync()].concat()), "1Z");
        // On the other server s1 is parsed behind what fails, and wanted again in a batch
        // that is sent before that is known.
        let failing = [bind("", "none"), bind("", "s1"), sync()].concat();
        assert_eq!(scene.say(0, [failing, run("s1"), run("s1")].concat()), "EZ2DCZ2DCZ");
    }
}

#[test]
fn eviction_in_a_pipeline_kills_nothing_that_the_pipeline_uses() {
    for seed in 0..50 {
        for limit in 1..4 {
            let mut scene = Scene::with(2, 2, limit, seed);
            for (at, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
                let sql = format!("select {at}");
                assert_eq!(scene.say(0, [parse(name, &sql), sync()].concat()), "1Z");
            }
            let one = |name: &str| [bind("", name), execute("", 0)].concat();
            let batch: Vec<u8> =
                ["a", "b", "a", "c", "d", "b", "a"].iter().flat_map(|n| one(n)).collect();
            assert_eq!(scene.say(0, [batch, sync()].concat()), "2DC".repeat(7) + "Z");
            let pipeline: Vec<u8> = ["d", "a", "b", "c", "d"].iter().flat_map(|n| run(n)).collect();
            assert_eq!(scene.say(0, pipeline), "2DCZ".repeat(5));
            for server in &scene.relay.idle {
                assert!(server.state.statement_count() <= limit + 4, "a batch's more at most");
            }
            for _ in 0..4 {
                assert_eq!(scene.say(0, run("a")), "2DCZ");
                assert_eq!(scene.say(0, run("b")), "2DCZ");
            }
        }
    }
}

#[test]
fn a_table_that_a_large_batch_has_swollen_shrinks_again() {
    let mut scene = Scene::with(1, 1, 2, 1);
    let many: Vec<u8> =
        (0..20).flat_map(|at| parse(&format!("s{at}"), &format!("select {at}"))).collect();
    assert_eq!(scene.say(0, [many, sync()].concat()), "1".repeat(20) + "Z");
    for at in 0..40 {
        let sql = format!("select 1{at}");
        assert_eq!(scene.say(0, [parse(&format!("t{at}"), &sql), sync()].concat()), "1Z");
    }
    assert!(scene.relay.idle[0].state.statement_count() <= 3);
}

#[test]
fn the_unnamed_statement_is_the_clients_own_on_every_server() {
    for seed in 0..50 {
        let mut scene = Scene::with(2, 3, 100, seed);
        for client in 0..3 {
            let sql = format!("select 1{client}");
            assert_eq!(scene.say(client, [parse("", &sql), sync()].concat()), "1Z");
        }
        for _ in 0..3 {
            for client in 0..3 {
                let row = &scene.lines(client, run(""))[1];
                assert!(row.ends_with(&format!("1{client}")), "{row}");
            }
        }
    }
}

#[test]
fn another_clients_unnamed_statement_is_never_reached() {
    let mut scene = Scene::new(1, 2);
    assert_eq!(scene.say(1, [parse("", "select 666"), sync()].concat()), "1Z");
    // One that has none.
    assert_eq!(error_of(&scene.lines(0, run(""))).0, "26000");
    // One whose own was skipped.
    assert_eq!(scene.say(1, [parse("", "select 666"), sync()].concat()), "1Z");
    let skipped = [query("begin"), parse("x", "syntax error"), parse("", "select 1"), sync()];
    assert_eq!(scene.say(0, [skipped.concat(), run("")].concat()), "CZEZEZ");
    assert_eq!(scene.say(0, query("rollback")), "CZ");
    // One whose restoring was skipped, in a batch that keeps the lease.
    assert_eq!(scene.say(0, [parse("", "select 5"), sync()].concat()), "1Z");
    assert_eq!(scene.say(1, [parse("", "select 666"), sync()].concat()), "1Z");
    let skipped = [parse("x", "syntax error"), bind("", ""), sync(), bind("", ""), execute("", 0)];
    let lines = scene.lines(0, [skipped.concat(), sync()].concat());
    assert!(lines[3].ends_with('5'), "{lines:?}");
}

#[test]
fn a_parse_of_the_unnamed_statement_counts_when_the_server_has_accepted_it() {
    let mut scene = Scene::new(3, 1);
    assert_eq!(scene.say(0, [parse("", "select 1"), sync()].concat()), "1Z");
    // Skipped: the old one stays.
    let skipped = [bind("", "none"), parse("", "select 2"), sync()].concat();
    assert_eq!(scene.say(0, skipped), "EZ");
    assert!(scene.lines(0, run(""))[1].ends_with('1'));
    // Refused: there is none.
    assert_eq!(scene.say(0, [parse("", "syntax error"), sync()].concat()), "EZ");
    assert_eq!(error_of(&scene.lines(0, run(""))).0, "26000");
    // A simple query ends it, and a skipped one does not.
    assert_eq!(scene.say(0, [parse("", "select 3"), sync()].concat()), "1Z");
    assert_eq!(scene.say(0, [bind("", "none"), query("select 1"), sync()].concat()), "EZ");
    assert!(scene.lines(0, run(""))[1].ends_with('3'));
    assert_eq!(scene.say(0, query("select 1")), "TDCZ");
    assert_eq!(error_of(&scene.lines(0, run(""))).0, "26000");
}

#[test]
fn closing_a_portal_drops_no_statement() {
    let mut scene = Scene::new(2, 1);
    assert_eq!(
        scene.say(0, [parse("s1", "select 1"), parse("", "select 2"), sync()].concat()),
        "11Z"
    );
    assert_eq!(scene.say(0, [close_portal("s1"), close_portal(""), sync()].concat()), "33Z");
    assert_eq!(scene.say(0, run("s1")), "2DCZ");
    assert_eq!(scene.say(0, run("")), "2DCZ");
}

#[test]
fn deallocate_all_and_discard_all_end_every_name_at_their_place_in_the_pipeline() {
    for sql in ["deallocate all", "discard all"] {
        for seed in 0..50 {
            let mut scene = Scene::with(2, 2, 100, seed);
            assert_eq!(scene.say(1, [parse("s1", "select 1"), sync()].concat()), "1Z");
            assert_eq!(scene.say(0, [parse("s1", "select 1"), sync()].concat()), "1Z");
            let pipeline = [run("s1"), query(sql), run("s1"), parse("s1", "select 2"), run("s1")];
            let lines = scene.lines(0, pipeline.concat());
            let tags: String = lines.iter().map(|line| &line[..1]).collect();
            assert_eq!(tags, "2DCZCZEZ12DCZ", "{lines:?}");
            assert_eq!(error_of(&lines).1, "prepared statement \"s1\" does not exist");
            assert_eq!(scene.say(1, run("s1")), "2DCZ", "only the client's own names end");
        }
    }
}

#[test]
fn long_names_are_cut_as_postgres_cuts_them() {
    let mut scene = Scene::new(2, 1);
    let (long, longer) = ("n".repeat(64), "n".repeat(5_000));
    assert_eq!(scene.say(0, [parse(&long, "select 1"), sync()].concat()), "1Z");
    assert_eq!(error_of(&scene.lines(0, [parse(&longer, "select 2"), sync()].concat())).0, "42P05");
    assert_eq!(scene.say(0, run(&longer)), "2DCZ");
    assert_eq!(scene.say(0, [close_statement(&longer[..63]), sync()].concat()), "3Z");
    assert_eq!(scene.say(0, run(&long)), "EZ");
}

/// Says it until it is mended: it is not if the error comes before the Describe.
fn mended(scene: &mut Scene, client: usize, bytes: &[u8]) -> Vec<String> {
    loop {
        let lines = scene.lines(client, bytes);
        if !lines[0].starts_with("E ") {
            return lines;
        }
        assert_eq!(error_of(&lines).0, "0A000");
    }
}

/// Changes the table on a connection that does not lead through here.
fn alter_elsewhere(scene: &Scene) {
    let version = &scene.relay.database.version;
    version.set(version.get() + 1);
}

#[test]
fn a_plan_that_ddl_has_made_invalid_is_mended_unseen() {
    let mut retries = 0;
    for seed in 0..50 {
        let mut scene = Scene::with(2, 2, 100, seed);
        assert_eq!(scene.say(0, [parse("s1", "select * from t"), sync()].concat()), "1Z");
        for _ in 0..4 {
            assert_eq!(scene.say(0, run_described("s1")), "2TDCZ");
        }
        assert_eq!(scene.say(1, query("alter table t")), "CZ");
        for _ in 0..4 {
            let lines = mended(&mut scene, 0, &run_described("s1"));
            assert!(lines[2].ends_with("columns of 1"), "{lines:?}");
        }
        retries += scene.relay.retries;
    }
    assert!(retries > 20, "{retries}");
}

#[test]
fn who_prepares_for_the_first_time_is_not_told_that_a_result_has_changed() {
    for end in [flush, sync] {
        for seed in 0..50 {
            let mut scene = Scene::with(1, 3, 100, seed);
            let prepare =
                || [parse("s1", "select * from t"), describe_statement("s1"), end()].concat();
            let prepared = scene.say(0, prepare());
            assert!(prepared.starts_with("1tT"), "{prepared}");
            scene.say(0, sync());
            alter_elsewhere(&scene);
            assert_eq!(scene.say(2, prepare()), prepared);
            scene.say(2, sync());
            assert_eq!(scene.say(1, query("alter table t")), "CZ");
            assert_eq!(scene.say(1, prepare()), prepared);
        }
    }
}

#[test]
fn who_prepares_in_a_transaction_does_not_meet_what_was_prepared_before_a_change() {
    for seed in 0..50 {
        let mut scene = Scene::with(2, 3, 100, seed);
        let prepare = |name| [parse(name, "select * from t"), sync()].concat();
        for _ in 0..4 {
            assert_eq!(scene.say(0, prepare("s1")), "1Z");
            assert_eq!(scene.say(0, [run("s1"), close_statement("s1"), sync()].concat()), "2DCZ3Z");
        }
        // On one server or the other: what is seen on one is known of both.
        assert_eq!(scene.say(1, query("alter table t")), "CZ");
        assert_eq!(scene.say(2, query("begin")), "CZ");
        assert_eq!(scene.say(2, prepare("s1")), "1Z");
        assert_eq!(scene.say(2, run("s1")), "2DCZ");
        // Nor what it has prepared itself, before a change of its own.
        assert_eq!(scene.say(2, query("alter table t")), "CZ");
        assert_eq!(scene.say(2, prepare("s2")), "1Z");
        assert_eq!(scene.say(2, run("s2")), "2DCZ");
        // For the old name it is told what it is told directly.
        assert_eq!(error_of(&scene.lines(2, run("s1"))).0, "0A000");
        assert_eq!(scene.say(2, query("rollback")), "CZ");
        assert_eq!(scene.relay.retries, 0);
    }
}

#[test]
fn a_client_that_is_not_told_of_another_result_does_not_get_it() {
    for seed in 0..50 {
        let mut scene = Scene::with(3, 3, 100, seed);
        let prepare =
            |name| [parse(name, "select * from t"), describe_statement(name), flush()].concat();
        for client in 0..2 {
            assert_eq!(scene.say(client, prepare("s1")), "1tT");
            assert_eq!(scene.say(client, run("s1")), "2DCZ");
        }
        assert_eq!(scene.say(2, query("alter table t")), "CZ");
        // A server that did not have it cannot tell; once one has, all do.
        let mut told = false;
        for turn in 0..20 {
            let lines = scene.lines(turn % 2, run("s1"));
            if told || lines[0].starts_with("E ") {
                assert_eq!(error_of(&lines).0, "0A000");
                told = true;
            }
        }
        assert!(told);
        // Prepared anew it works, also where the text is known from before.
        for client in [0, 1, 2] {
            assert_eq!(scene.say(client, prepare("s2")), "1tT");
            assert_eq!(scene.say(client, run("s2")), "2DCZ");
        }
        // And for the old name, where the client is told.
        mended(&mut scene, 0, &run_described("s1"));
        assert_eq!(scene.say(0, run("s1")), "2DCZ");
    }
}

#[test]
fn who_parses_a_text_does_not_see_that_others_had_parsed_it_before_the_table_changed() {
    let mut retries = 0;
    for seed in 0..50 {
        let mut scene = Scene::with(2, 2, 100, seed);
        for _ in 0..6 {
            assert_eq!(scene.say(0, [parse("s1", "select * from t"), sync()].concat()), "1Z");
            assert_eq!(scene.say(0, [close_statement("s1"), sync()].concat()), "3Z");
        }
        alter_elsewhere(&scene);
        let batch = [parse("s1", "select * from t"), run_described("s1")].concat();
        let answers = scene.say(1, batch);
        assert!(["12TDCZ", "1EZ"].contains(&&*answers), "{answers}");
        retries += scene.relay.retries;
    }
    assert!(retries > 10, "{retries}");
}

#[test]
fn no_batch_is_sent_twice_of_which_anything_has_run() {
    let run_twice = |begin: Vec<u8>, wanted: &str| {
        for seed in 0..30 {
            let mut scene = Scene::with(1, 2, 100, seed);
            assert_eq!(scene.say(0, [parse("s1", "select * from t"), sync()].concat()), "1Z");
            assert_eq!(scene.say(1, query("alter table t")), "CZ");
            assert_eq!(scene.say(0, [begin.clone(), run_described("s1")].concat()), wanted);
            assert_eq!(scene.relay.retries, 0);
            // The client's own retry works, which directly it would not.
            assert_eq!(scene.say(0, query("rollback")), "CZ");
            mended(&mut scene, 0, &run_described("s1"));
        }
    };
    let insert = [parse("", "insert"), bind("", ""), execute("", 0)].concat();
    run_twice(insert.clone(), "12CEZ");
    run_twice([insert, flush()].concat(), "12CEZ");
    run_twice(query("begin"), "CZEZ");
    run_twice(unnamed("begin"), "12nCZEZ");
}

#[test]
fn what_the_client_sends_behind_a_failed_batch_does_not_overtake_it() {
    for seed in 0..300 {
        let mut scene = Scene::with(1, 2, 100, seed);
        assert_eq!(scene.say(0, [parse("s1", "select * from t"), sync()].concat()), "1Z");
        assert_eq!(scene.say(1, query("alter table t")), "CZ");
        let pipeline =
            [run_described("s1"), query("set application_name = x"), query("select 1")].concat();
        let answers = scene.say(0, pipeline);
        // Either it is mended, or the client had sent more already and sees the error.
        assert!(["2TDCZCSZTDCZ", "EZCSZTDCZ"].contains(&&*answers), "{answers}");
    }
}

#[test]
fn a_batch_whose_next_has_begun_is_not_sent_behind_it() {
    for seed in 0..300 {
        let mut scene = Scene::with(1, 2, 100, seed);
        assert_eq!(scene.say(0, [parse("s1", "select * from t"), sync()].concat()), "1Z");
        assert_eq!(scene.say(1, query("alter table t")), "CZ");
        let next = [parse("", "insert"), bind("", ""), execute("", 0)].concat();
        let answers = scene.say(0, [run_described("s1"), next, flush()].concat());
        assert!(["2TDCZ12C", "EZ12C"].contains(&&*answers), "{answers}");
        assert_eq!(scene.say(0, sync()), "Z");
    }
}

#[test]
fn a_name_that_the_server_has_lost_gives_no_other_text_to_those_who_share_it() {
    for seed in 0..20 {
        let mut scene = Scene::with(1, 1, 100, seed);
        let both = [parse("s1", "select 1"), parse("twin", "select 1"), sync()].concat();
        assert_eq!(scene.say(0, both), "11Z");
        // Behind our back, as a function can.
        assert_eq!(scene.say(0, [query("begin"), run("s1"), query("forget")].concat()), "CZ2DCZCZ");
        let lines = scene.lines(0, [parse("s1", "select 2"), sync(), run("s1")].concat());
        assert!(lines[3].ends_with('2'), "{lines:?}");
        let lines = scene.lines(0, run("twin"));
        assert!(lines[1].ends_with('1'), "{lines:?}");
    }
}

#[test]
fn a_failed_transaction_refuses_a_parse_that_the_server_need_not_see() {
    let mut scene = Scene::new(1, 2);
    assert_eq!(scene.say(1, [parse("x", "select 1"), sync()].concat()), "1Z");
    let batch = [parse("s1", "select 1"), sync()].concat();
    assert_eq!(scene.say(0, [query("begin"), query("fail")].concat()), "CZEZ");
    assert_eq!(error_of(&scene.lines(0, batch.clone())).0, "25P02");
    assert_eq!(scene.say(0, [query("rollback"), batch].concat()), "CZ1Z", "no ghost");
    // Also where the failure is not known yet.
    let pipeline =
        [query("begin"), query("fail"), parse("s2", "select 1"), sync(), query("rollback")];
    assert_eq!(scene.say(0, pipeline.concat()), "CZEZEZCZ");
}
