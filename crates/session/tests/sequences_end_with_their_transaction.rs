//! Values of sequences: nobody sees another client's, and a rule says what becomes of one's own.

mod support;

use session::{Feature, Mode, StateRules, Treatment};
use support::client::*;
use support::scene::Scene;

const TAKES: &str = "select nextval()";
const ASKS: &str = "select lastval()";

/// One server, on which a client has taken a value.
fn taken(seed: u64) -> Scene {
    let mut scene = Scene::with(1, 2, 100, seed);
    assert_eq!(scene.value(0, TAKES), "1");
    scene
}

fn batch(texts: &[&str]) -> Vec<u8> {
    let one = |text: &&str| [parse("", text), bind("", ""), execute("", 0)].concat();
    texts.iter().flat_map(one).chain(sync()).collect()
}

/// Whether what the client sends ends with an error of Postgres' own.
fn is_undefined(scene: &mut Scene, client: usize, bytes: Vec<u8>) -> bool {
    scene.lines(client, bytes).iter().any(|line| line.contains("C55000|"))
}

#[test]
fn a_value_ends_with_its_transaction_and_is_seen_by_nobody_else() {
    for seed in 0..20 {
        let mut scene = taken(seed);
        for client in [0, 1, 1] {
            assert!(is_undefined(&mut scene, client, query(ASKS)));
            assert_eq!(scene.say(0, query(TAKES)), "TDCZ");
            assert!(is_undefined(&mut scene, client, unnamed(ASKS)));
            assert_eq!(scene.say(0, query("takes")), "CZ");
            assert!(is_undefined(&mut scene, client, query("insert; select lastval()")));
            assert_eq!(scene.say(0, query("takes")), "CZ");
            // Behind another one that the server has not answered.
            assert_eq!(scene.say(client, [query("select 1"), query(ASKS)].concat()), "TDCZTEZ");
            assert_eq!(scene.say(client, [query("select 1"), unnamed(ASKS)].concat()), "TDCZ12TEZ");
        }
    }
}

#[test]
fn within_its_transaction_a_value_is_there() {
    for seed in 0..20 {
        let mut scene = taken(seed);
        for _ in 0..2 {
            assert_eq!(scene.say(1, query("select nextval(); select lastval()")), "TDCTDCZ");
            assert_eq!(scene.say(1, batch(&[TAKES, ASKS])), "12DC12DCZ");
            assert_eq!(scene.say(1, query("begin")), "CZ");
            let value = scene.value(1, TAKES);
            assert_eq!(scene.value(1, ASKS), value);
            assert_eq!(scene.say(1, query("commit")), "CZ");
        }
    }
}

#[test]
fn a_statement_that_was_prepared_before_sees_nothing_of_others() {
    for name in ["", "s"] {
        let mut scene = taken(1);
        assert_eq!(scene.say(1, [parse(name, ASKS), sync()].concat()), "1Z");
        assert_eq!(scene.say(0, query(TAKES)), "TDCZ");
        let run = [bind("", name), execute("", 0), sync()].concat();
        assert_eq!(scene.say(1, run), "2EZ", "{name}");
    }
}

#[test]
fn blocks_and_batches_have_it_in_front_once_one_has_asked() {
    let in_block = |scene: &mut Scene| {
        assert_eq!(scene.say(1, query("begin")), "CZ");
        let undefined = is_undefined(scene, 1, query(ASKS));
        assert_eq!(scene.say(1, query("rollback")), "CZ");
        undefined
    };
    let in_batch = |scene: &mut Scene| is_undefined(scene, 1, batch(&["select 1", ASKS]));
    let ways: [fn(&mut Scene) -> bool; 2] = [in_block, in_batch];
    for asks in ways {
        let mut scene = taken(1);
        assert!(!asks(&mut scene), "the hole that the documentation tells of");
        for _ in 0..3 {
            assert_eq!(scene.say(0, query(TAKES)), "TDCZ");
            assert!(asks(&mut scene));
        }
    }
}

#[test]
fn it_costs_nothing_where_nobody_asks_and_on_a_server_that_nobody_has_had() {
    let received = |scene: &Scene| scene.relay.idle[0].postgres.received.clone();
    let mut scene = Scene::new(1, 2);
    assert!(is_undefined(&mut scene, 0, query(ASKS)));
    assert_eq!(received(&scene), "Q");
    assert_eq!(scene.say(0, query(ASKS)), "TEZ");
    assert_eq!(received(&scene), "QQQ", "one of which is hidden");
    for text in ["select 1", "insert", "begin; insert; commit"] {
        let before = received(&scene);
        scene.say(1, query(text));
        assert_eq!(received(&scene), format!("{before}Q"), "{text}");
    }
}

fn pinning(seed: u64) -> Scene {
    let mut scene = Scene::with(1, 2, 100, seed);
    for client in 0..2 {
        scene.rule(client, StateRules::default().with(Feature::Sequences, Treatment::Pin));
    }
    scene
}

#[test]
fn a_client_that_keeps_its_values_keeps_its_server() {
    for seed in 0..20 {
        let mut scene = pinning(seed);
        assert_eq!(scene.value(0, TAKES), "1");
        assert!(scene.is_leased(0));
        assert_eq!(scene.say(0, query("begin")), "CZ");
        assert_eq!(scene.value(0, ASKS), "1");
        assert_eq!(scene.say(0, query("commit")), "CZ");
        // What is asked about does not end it.
        assert_eq!(scene.say(0, query("set lock_timeout = 9")), "CZ");
        assert_eq!(scene.value(0, ASKS), "1");
        let block = [query("begin"), query("discard sequences"), query(TAKES), query("commit")];
        assert_eq!(scene.say(0, block.concat()), "CZCZTDCZCZ");
        assert_eq!(scene.value(0, ASKS), "2");
        assert_eq!(scene.say(0, unnamed("discard sequences")), "12nCZ");
        assert!(!scene.is_leased(0));
        assert!(is_undefined(&mut scene, 1, query(ASKS)));
        for takes in [query("insert"), unnamed("insert"), batch(&["insert", "select 1"])] {
            scene.say(1, takes);
            assert!(scene.is_leased(1));
            assert_eq!(scene.say(1, query("discard all")), "CZ");
            assert!(!scene.is_leased(1));
        }
        // What no text tells of is forgotten.
        assert_eq!(scene.say(0, query("takes")), "CZ");
        assert!(is_undefined(&mut scene, 1, query(ASKS)));
        // A block that takes some later than it begins.
        assert_eq!(
            scene.say(0, [query("begin"), query(TAKES), query("commit")].concat()),
            "CZTDCZCZ"
        );
        assert_eq!(scene.say(0, query(ASKS)), "TDCZ");
    }
}

#[test]
fn a_server_that_was_kept_has_nothing_for_the_next() {
    let mut scene = pinning(1);
    assert_eq!(scene.value(0, TAKES), "1");
    scene.relay.client_leaves(0);
    scene.relay.run();
    assert!(is_undefined(&mut scene, 1, query(ASKS)));
    assert_eq!(scene.relay.resets, 1);
}

#[test]
fn in_session_mode_values_are_the_clients() {
    let mut scene = Scene::new(1, 0);
    for _ in 0..2 {
        let client = scene.add(Mode::Session, &[]);
        assert_eq!(scene.say(client, query("takes")), "CZ");
        assert_eq!(scene.say(client, query("select 1")), "TDCZ");
        assert_eq!(scene.say(client, query(ASKS)), "TDCZ");
        scene.relay.client_leaves(client);
        scene.relay.run();
        let client = scene.add(Mode::Session, &[]);
        assert_eq!(scene.say(client, query("select 1")), "TDCZ");
        assert!(is_undefined(&mut scene, client, query(ASKS)));
        scene.relay.client_leaves(client);
        scene.relay.run();
    }
}
