//! COPY FROM STDIN: whatever the order of data, end, error and Sync, every ReadyForQuery finds
//! its client, and the server is free afterwards.

mod support;

use support::client::*;
use support::scene::Scene;

fn extended() -> Vec<u8> {
    [parse("", "copy t from stdin"), bind("", ""), execute("", 0)].concat()
}

fn data() -> Vec<u8> {
    [copy_data("1\n"), copy_data("2\n")].concat()
}

fn is_free(scene: &mut Scene) {
    assert!(!scene.is_leased(0), "the server is not released");
    assert_eq!(scene.say(1, query("select 1")), "TDCZ", "and serves another");
}

#[test]
fn a_copy_is_not_over_when_the_server_asks_for_data() {
    let mut scene = Scene::new(1, 2);
    assert_eq!(scene.say(0, query("copy t from stdin")), "G");
    assert!(scene.is_leased(0));
    assert_eq!(scene.say(0, data()), "");
    assert!(scene.is_leased(0));
    assert_eq!(scene.say(0, copy_done()), "CZ");
    is_free(&mut scene);
}

#[test]
fn a_sync_that_the_copy_swallows_is_not_waited_for() {
    for seed in 0..50 {
        let mut scene = Scene::with(1, 2, 100, seed);
        // As libpq does: Sync behind Execute, and again behind the data.
        assert_eq!(scene.say(0, [extended(), sync()].concat()), "12G");
        assert_eq!(scene.say(0, [data(), copy_done(), sync()].concat()), "CZ");
        is_free(&mut scene);
        let all = [extended(), sync(), data(), copy_done(), sync()].concat();
        assert_eq!(scene.say(0, all), "12GCZ");
        is_free(&mut scene);
        // And between the data, or without the first.
        let inside = [data(), sync(), flush(), data(), copy_done(), sync()].concat();
        assert_eq!(scene.say(0, [extended(), flush()].concat()), "12G");
        assert_eq!(scene.say(0, inside.clone()), "CZ");
        assert_eq!(scene.say(0, [extended(), inside].concat()), "12GCZ");
        is_free(&mut scene);
    }
}

#[test]
fn data_that_comes_behind_the_servers_error_is_swallowed() {
    for seed in 0..50 {
        let mut scene = Scene::with(1, 2, 100, seed);
        assert_eq!(scene.say(0, [query("copy t from stdin"), copy_data("!")].concat()), "GEZ");
        is_free(&mut scene);
        let leases = scene.relay.clients[0].leases;
        assert_eq!(scene.say(0, [data(), copy_done()].concat()), "");
        assert_eq!(scene.relay.clients[0].leases, leases, "no server is taken for it");
        assert_eq!(scene.say(0, query("select 1")), "TDCZ");
        let all = [query("copy t from stdin"), copy_data("!"), data(), copy_done()].concat();
        assert_eq!(scene.say(0, [all, query("select 1")].concat()), "GEZTDCZ");
        is_free(&mut scene);
    }
}

#[test]
fn a_copy_that_fails_before_it_begins_leaves_nothing_to_wait_for() {
    for seed in 0..50 {
        let mut scene = Scene::with(1, 2, 100, seed);
        let bad = [parse("", "copy nowhere"), bind("", ""), execute("", 0), sync()].concat();
        assert_eq!(scene.say(0, [bad.clone(), data(), copy_done()].concat()), "EZ");
        is_free(&mut scene);
        assert_eq!(scene.say(0, [bad, data(), copy_done(), sync()].concat()), "EZZ");
        is_free(&mut scene);
    }
}

#[test]
fn a_copy_in_the_extended_protocol_that_fails_skips_to_the_sync_behind_it() {
    for seed in 0..50 {
        let mut scene = Scene::with(1, 2, 100, seed);
        assert_eq!(scene.say(0, [extended(), sync()].concat()), "12G");
        assert_eq!(scene.say(0, copy_data("!")), "E");
        assert_eq!(scene.say(0, [data(), copy_done(), sync()].concat()), "Z");
        is_free(&mut scene);
        let all = [extended(), sync(), copy_data("!"), copy_fail(), sync(), unnamed("select 1")];
        assert_eq!(scene.say(0, all.concat()), "12GEZ12TDCZ");
        is_free(&mut scene);
    }
}

#[test]
fn a_server_whose_copy_may_have_swallowed_a_sync_is_not_handed_on() {
    for seed in 0..100 {
        let mut scene = Scene::with(1, 2, 100, seed);
        // Whether the Sync inside is answered depends on what the server has read when it
        // fails; here it is, directly and through us.
        let inside = [copy_data("!"), sync(), copy_done(), sync()].concat();
        assert_eq!(scene.say(0, [extended(), flush()].concat()), "12G");
        let answers = scene.say(0, inside);
        // Where the error has come before the Sync was sent, nothing is open.
        let discards = scene.relay.discards;
        assert!((answers == "EZ" && discards == 1) || answers == "EZZ", "{answers} {discards}");
        is_free(&mut scene);
    }
}

#[test]
fn several_copies_in_one_text_take_their_data_in_turn() {
    for seed in 0..50 {
        let mut scene = Scene::with(1, 2, 100, seed);
        let two = query("copy t from stdin; select 1; copy t from stdin");
        let input = [data(), copy_done(), data(), copy_done()].concat();
        assert_eq!(scene.say(0, [two, input].concat()), "GCTDCGCZ");
        is_free(&mut scene);
    }
}

#[test]
fn a_copy_out_streams_and_ends() {
    let mut scene = Scene::new(1, 2);
    assert_eq!(scene.say(0, query("copy t to stdout")), "HdcCZ");
    assert_eq!(scene.say(0, unnamed("copy t to stdout")), "12nHdcCZ");
    is_free(&mut scene);
}

#[test]
fn a_client_that_breaks_into_its_copy_is_told_what_the_server_says() {
    let mut scene = Scene::new(1, 2);
    assert_eq!(scene.say(0, query("copy t from stdin")), "G");
    assert_eq!(scene.say(0, query("select 1")), "E");
    assert!(scene.relay.clients[0].is_lost);
    is_free(&mut scene);
}

#[test]
fn a_client_that_goes_during_a_copy_leaves_a_server_that_can_be_used() {
    for begin in [query("copy t from stdin"), extended(), [extended(), sync()].concat()] {
        for seed in 0..20 {
            let mut scene = Scene::with(1, 2, 100, seed);
            let begin = [begin.clone(), flush()].concat();
            assert!(scene.say(0, begin).ends_with('G'));
            scene.relay.client_leaves(0);
            is_free(&mut scene);
        }
        // Or before the server has asked for the data.
        for seed in 0..40 {
            let mut scene = Scene::with(1, 2, 100, seed);
            scene.relay.send_unread(0, &begin);
            scene.relay.client_leaves(0);
            is_free(&mut scene);
        }
    }
}
