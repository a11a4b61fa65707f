//! What a rule refuses fails before a server has seen it, in order and as if the server had.

mod support;

use session::{Feature, StateRules, Treatment};
use support::client::*;
use support::postgres::Transaction;
use support::scene::Scene;

fn scene(seed: u64, feature: Feature) -> Scene {
    let mut scene = Scene::with(1, 2, 100, seed);
    scene.rule(0, StateRules::default().with(feature, Treatment::Reject));
    scene
}

#[test]
fn a_client_without_a_server_needs_none_to_be_refused() {
    let mut scene = Scene::new(0, 1);
    scene.rule(0, StateRules::default().with(Feature::Listen, Treatment::Reject));
    let lines = scene.lines(0, query("listen news"));
    assert!(lines[0].contains("C0A000|") && lines[0].contains("pool.state.listen"), "{lines:?}");
    assert_eq!(lines[1], "Z I");
    assert_eq!(scene.say(0, unnamed("LISTEN news")), "EZ");
    assert_eq!(
        scene.say(0, [parse("s", "listen x"), describe_statement("s"), sync()].concat()),
        "EZ"
    );
}

#[test]
fn the_error_comes_in_order_and_fails_its_transaction_and_no_other() {
    for seed in 0..40 {
        let mut scene = scene(seed, Feature::Listen);
        let around = [query("select 1"), query("listen x"), query("select 1")].concat();
        assert_eq!(scene.say(0, around), "TDCZEZTDCZ");
        assert!(!scene.is_leased(0));
        let batch = [parse("", "insert"), bind("", ""), execute("", 0), parse("", "listen x")];
        let behind = [bind("", ""), execute("", 0), sync(), query("select 1")];
        assert_eq!(scene.say(0, [batch.concat(), behind.concat()].concat()), "12CEZTDCZ");
        assert!(!scene.is_leased(0));
        assert_eq!(scene.say(0, query("begin")), "CZ");
        assert_eq!(scene.lines(0, query("listen x")).last().unwrap(), "Z E");
        assert_eq!(scene.postgres(0).transaction, Transaction::Failed);
        assert_eq!(scene.lines(0, query("commit")), ["C ROLLBACK|", "Z I"]);
        assert_eq!(scene.say(1, query("select 1")), "TDCZ");
    }
}

#[test]
fn what_is_refused_while_settings_are_put_on_is_told_as_that() {
    let mut scene = scene(1, Feature::Listen);
    scene.say(0, query("set TimeZone = cet"));
    scene.say(1, query("select 1"));
    let lines = scene.lines(0, [query("select 1"), query("listen x")].concat());
    let errors: Vec<_> = lines.iter().filter(|line| line.starts_with("E ")).collect();
    assert!(errors.len() == 1 && errors[0].contains("C0A000|"), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "Z I");
}

#[test]
fn what_is_not_refused_goes_on() {
    let mut scene = scene(1, Feature::Settings);
    let mut tags = |client, bytes: Vec<u8>| scene.say(client, bytes).replace('S', "");
    assert_eq!(tags(0, query("set TimeZone = cet")), "EZ");
    assert_eq!(tags(0, [query("begin"), query("set local TimeZone = cet")].concat()), "CZCZ");
    assert_eq!(tags(0, query("commit")), "CZ");
    assert_eq!(tags(1, query("set TimeZone = cet")), "CZ", "it is the other's rule");
}
