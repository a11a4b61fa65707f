//! SQL DEALLOCATE of a statement that was made by Parse: answered as on a direct connection,
//! and dropped for this client only.

mod support;

use support::client::*;
use support::scene::Scene;

fn has_error(lines: &[String], state: &str, message: &str) -> bool {
    let wanted = format!("|C{state}|M{message}");
    lines.iter().any(|line| line.starts_with("E ") && line.contains(&wanted))
}

fn is_missing(scene: &mut Scene, client: usize, sql: &str, name: &str) {
    let lines = scene.lines(client, query(sql));
    let message = format!("prepared statement \"{name}\" does not exist");
    assert!(has_error(&lines, "26000", &message), "{lines:?}");
}

type Way = fn(&str) -> Vec<u8>;

/// Each way to send a text, and the tags that answer a command.
const WAYS: [(Way, &str); 3] = [(query, "CZ"), (unnamed, "12nCZ"), (named, "12CZ")];

fn named(sql: &str) -> Vec<u8> {
    [parse("d", sql), run("d")].concat()
}

#[test]
fn a_name_is_dropped_for_its_client_and_the_statement_stays_for_others() {
    for (way, wanted) in WAYS {
        for (name, sql) in [
            ("s1", "deallocate s1"),
            ("s1", " DEALLOCATE Prepare S1 ; "),
            ("a b", "deallocate \"a b\""),
        ] {
            for seed in 0..20 {
                let mut scene = Scene::with(3, 2, 100, seed);
                for client in 0..2 {
                    assert_eq!(scene.say(client, [parse(name, "select 1"), sync()].concat()), "1Z");
                }
                assert_eq!(scene.say(0, way(sql)), wanted);
                assert_eq!(scene.relay.resets, 0, "nothing is left behind");
                is_missing(&mut scene, 0, sql, name);
                assert_eq!(scene.say(0, run(name)), "EZ");
                assert_eq!(scene.say(1, run(name)), "2DCZ");
                assert_eq!(scene.say(0, [parse(name, "select 2"), sync()].concat()), "1Z");
                assert!(scene.lines(0, run(name))[1].ends_with('2'));
                // A statement that drops does it again on any server.
                if wanted.len() == 4 {
                    assert_eq!(scene.say(0, run("d")), "2CZ");
                    assert_eq!(scene.say(0, run("d")), "2EZ");
                }
            }
        }
    }
}

#[test]
fn a_name_that_is_not_the_clients_is_told_by_the_server() {
    let mut scene = Scene::new(1, 2);
    assert_eq!(scene.say(1, [parse("s1", "select 1"), sync()].concat()), "1Z");
    is_missing(&mut scene, 0, "deallocate s1", "s1");
    assert_eq!(scene.say(0, [parse("S1", "select 1"), sync()].concat()), "1Z");
    is_missing(&mut scene, 0, "deallocate S1", "s1");
    assert_eq!(scene.say(0, query("deallocate \"S1\"")), "CZ");
    // One of PREPARE is dropped as ever.
    let own = [query("begin"), query("prepare x as select 1"), query("deallocate x"), run("x")];
    assert_eq!(scene.say(0, own.concat()), "CZCZCZEZ");
}

#[test]
fn in_a_failed_transaction_it_is_refused_and_the_name_stays() {
    for (way, _) in &WAYS[..2] {
        for pipelined in [false, true] {
            for seed in 0..20 {
                let mut scene = Scene::with(2, 1, 100, seed);
                assert_eq!(scene.say(0, [parse("s1", "select 1"), sync()].concat()), "1Z");
                let fail = [query("begin"), query("fail")].concat();
                let last = [way("deallocate s1"), query("rollback")].concat();
                if pipelined {
                    assert_eq!(scene.say(0, [fail, last].concat()), "CZEZEZCZ");
                } else {
                    assert_eq!(scene.say(0, fail), "CZEZ");
                    assert_eq!(scene.say(0, last), "EZCZ");
                }
                assert_eq!(scene.relay.resets, 0);
                assert_eq!(scene.say(0, run("s1")), "2DCZ");
            }
        }
    }
}

#[test]
fn it_is_not_undone_with_its_transaction() {
    let mut scene = Scene::new(2, 1);
    assert_eq!(scene.say(0, [parse("s1", "select 1"), sync()].concat()), "1Z");
    let all = [query("begin"), query("deallocate s1"), query("rollback"), run("s1")].concat();
    assert_eq!(scene.say(0, all), "CZCZCZEZ");
}

#[test]
fn in_a_pipeline_it_counts_at_its_place() {
    for seed in 0..100 {
        let mut scene = Scene::with(2, 2, 100, seed);
        let two = [parse("s1", "select 1"), parse("s2", "select 2"), sync()].concat();
        assert_eq!(scene.say(0, two), "11Z");
        let pipeline = [run("s1"), query("deallocate s1"), query("deallocate s1"), run("s1")];
        assert_eq!(scene.say(0, pipeline.concat()), "2DCZCZEZEZ");
        let pipeline = [run("s2"), unnamed("deallocate s2"), run("s2"), parse("s2", "select 7")];
        assert_eq!(scene.say(0, [pipeline.concat(), sync()].concat()), "2DCZ12nCZEZ1Z");
        assert!(scene.lines(0, run("s2"))[1].ends_with('7'));
        let batch = [parse("", "insert"), bind("", ""), execute("", 0), query("deallocate s2")];
        assert_eq!(scene.say(0, batch.concat()), "12CCZ");
        let skipped = [parse("s3", "select 3"), sync(), bind("", "none"), query("deallocate s3")];
        assert_eq!(scene.say(0, [skipped.concat(), sync(), run("s3")].concat()), "1ZEZ2DCZ");
        assert_eq!(scene.relay.resets, 0);
    }
}

#[test]
fn what_was_never_run_leaves_nothing_under_the_name() {
    for seed in 0..20 {
        let mut scene = Scene::with(1, 2, 100, seed);
        assert_eq!(scene.say(0, [parse("s1", "select 1"), sync()].concat()), "1Z");
        let bound = [parse("", "deallocate s1"), bind("", ""), sync()].concat();
        assert_eq!(scene.say(0, bound.clone()), "12Z");
        assert_eq!(scene.relay.resets, 1);
        assert_eq!(scene.say(1, run("s1")), "EZ");
        assert_eq!(scene.say(0, run("s1")), "2DCZ");
        // Nor to the client itself, once it has closed it.
        let closed = [query("begin"), bound, close_statement("s1"), sync(), run("s1")].concat();
        assert_eq!(scene.say(0, closed), "CZ12Z3ZEZ");
        assert_eq!(scene.say(0, query("rollback")), "CZ");
    }
}

#[test]
fn the_statement_of_another_is_not_reached_by_our_name() {
    let mut scene = Scene::new(1, 2);
    assert_eq!(scene.say(0, [parse("pgmesh:1", "select 1"), sync()].concat()), "1Z");
    assert_eq!(scene.say(1, [parse("s1", "select 1"), sync()].concat()), "1Z");
    scene.say(0, query("deallocate \"pgmesh:1\""));
    assert!(scene.lines(1, run("s1"))[1].ends_with('1'));
}
