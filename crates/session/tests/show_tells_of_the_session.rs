//! `SHOW pgmesh.session` is answered here: in order, by either protocol, with and without a server.

mod support;

use session::Mode;
use support::client::*;
use support::scene::Scene;

const SHOW: &str = "SHOW pgmesh.session";

/// The rows of lines, as `kind name value`.
fn rows(lines: &[String]) -> Vec<String> {
    let text = |line: &str| {
        let words = line.split(|c: char| c.is_control()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(" ")
    };
    lines
        .iter()
        .filter_map(|line| line.strip_prefix("D "))
        .map(|line| text(&line.replace('|', "")))
        .collect()
}

#[test]
fn it_needs_no_server() {
    let mut scene = Scene::new(0, 1);
    assert_eq!(scene.say(0, query("show PGMESH.session;")), "TDDDCZ");
    assert_eq!(scene.say(0, unnamed(SHOW)), "12TDDDCZ");
    let named = [parse("s", SHOW), describe_statement("s"), sync(), run_described("s")].concat();
    assert_eq!(scene.say(0, named), "1tTZ2TDDDCZ");
    assert_eq!(scene.say(0, [close_statement("s"), sync()].concat()), "3Z");
    assert!(!scene.is_leased(0));
}

#[test]
fn it_comes_in_order_and_ends_no_lease_too_early_or_too_late() {
    for seed in 0..40 {
        let mut scene = Scene::with(1, 2, 100, seed);
        let around = [query("select 1"), query(SHOW), query("select 1"), query(SHOW)].concat();
        assert_eq!(scene.say(0, around), "TDCZTDDDCZTDCZTDDDCZ");
        assert!(!scene.is_leased(0));
        let batch = [parse("", "select 1"), bind("", ""), execute("", 0)].concat();
        let show = [parse("s", SHOW), bind("p", "s"), execute("p", 0)].concat();
        let ran = scene.say(0, [batch.clone(), show, batch, sync()].concat());
        assert_eq!(ran, "12DC12DDDC12DCZ");
        assert!(!scene.is_leased(0));
        assert_eq!(scene.say(1, query("select 1")), "TDCZ");
    }
}

#[test]
fn it_is_part_of_a_transaction_and_refused_in_a_failed_one() {
    let mut scene = Scene::new(1, 1);
    assert_eq!(scene.say(0, query("begin")), "CZ");
    assert_eq!(scene.lines(0, query(SHOW)).last().unwrap(), "Z T");
    assert!(scene.is_leased(0));
    assert_eq!(scene.say(0, unnamed(SHOW)), "12TDDDCZ");
    assert_eq!(scene.say(0, query("fail")), "EZ");
    assert_eq!(scene.lines(0, query(SHOW)).last().unwrap(), "Z E");
    assert_eq!(scene.say(0, query("rollback")), "CZ");
    assert_eq!(scene.say(0, query(SHOW)), "TDDDCZ");
}

#[test]
fn rows_are_fetched_as_many_as_asked_for() {
    let mut scene = Scene::new(0, 1);
    let batch = [parse("", SHOW), bind("", ""), execute("", 2), execute("", 2), sync()].concat();
    assert_eq!(scene.say(0, batch), "12DDsDCZ");
}

#[test]
fn another_statement_in_its_place_goes_to_the_server() {
    let mut scene = Scene::new(1, 1);
    assert_eq!(scene.say(0, unnamed(SHOW)), "12TDDDCZ");
    assert_eq!(scene.say(0, unnamed("select 1")), "12TDCZ");
    let both =
        [parse("s", SHOW), bind("", "s"), parse("", "select 1"), bind("", ""), execute("", 0)];
    assert_eq!(scene.say(0, [both.concat(), sync()].concat()), "1212DCZ");
    let after_query = [query("select 1"), bind("", ""), execute("", 0), sync()].concat();
    assert_eq!(scene.say(0, unnamed(SHOW)), "12TDDDCZ");
    assert_eq!(scene.say(0, after_query), "TDCZEZ");
}

#[test]
fn it_tells_what_would_be_replayed_and_where_the_client_is() {
    let mut scene = Scene::new(1, 1);
    scene.say(0, query("set TimeZone = CET"));
    let idle = rows(&scene.lines(0, query(SHOW)));
    assert!(idle.iter().any(|row| row.ends_with("server none")), "{idle:?}");
    assert!(idle.iter().any(|row| row.contains("TimeZone cet")), "{idle:?}");
    scene.say(0, query("begin"));
    let lent = rows(&scene.lines(0, query(SHOW)));
    assert!(lent.iter().any(|row| row.contains("until the transaction ends")), "{lent:?}");
    let in_session = scene.add(Mode::Session, &[]);
    let rows = rows(&scene.lines(in_session, query(SHOW)));
    assert!(rows.iter().any(|row| row.contains("pool_mode session")), "{rows:?}");
}
