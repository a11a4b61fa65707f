//! The same script directly and through us must be answered alike, frame by frame.
//!
//! What may differ, and is left out of the scripts or evened out by the model:
//! - how often a setting is reported before its last value: servers differ in the first one;
//! - what a text or batch sees of a setting that it has itself reset: that is the server's
//!   login value until the ReadyForQuery, and the client's from then on;
//! - which error refuses a named statement inside a failed transaction: where the server has
//!   yet to be given the statement, it is 25P02 whatever else is wrong with the message;
//! - a plan that DDL has made invalid, which is mended and not reported;
//! - settings that servers do not report;
//! - a name of SQL in a Query behind a Bind without a Sync, or that comes to be between the Bind
//!   and the Execute of what uses it.

mod support;

use proptest::prelude::*;
use session::Mode;
use support::client::*;
use support::postgres::Database;
use support::relay::{Relay, Step, direct};
use support::transcript;

const LOGIN: [(&str, &str); 3] =
    [("DateStyle", "ISO"), ("TimeZone", "UTC"), ("application_name", "pgmesh")];

/// What clients log in with: one like the servers, one with settings of its own, one with
/// one that servers do not report.
const STARTUPS: [&[(&str, &str)]; 3] = [
    &[],
    &[("TimeZone", "cet"), ("application_name", "two")],
    &[("DateStyle", "german"), ("statement_timeout", "5s")],
];

fn startup(client: usize) -> Vec<(&'static str, &'static str)> {
    LOGIN.iter().chain(STARTUPS[client % STARTUPS.len()]).copied().collect()
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 3 => Just("s1"), 3 => Just("s2"), 1 => Just("s3")]
}

fn portal() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just("p1")]
}

fn statement() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "select 1",
        "select 1",
        "select 2",
        "select 3",
        "rows 3",
        "insert",
        "begin",
        "commit",
        "rollback",
        "fail",
        "notice",
        "syntax error",
        "",
        "show timezone",
        "show application_name",
        "show datestyle",
        "show statement_timeout",
        "set timezone = a1",
        "set application_name = b1",
        "set local timezone = c1",
        "set lock_timeout = 9",
        "set local lock_timeout = 8",
        "set timezone = bad",
        "select pg_catalog.set_config(E'TimeZone',E'd1',false)",
        "copy t to stdout",
        "deallocate all",
    ])
}

/// Texts that go back to the settings of the login. They have a message of their own: what
/// comes behind one in the same text or batch still sees the server's login, not the client's.
fn reset() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "reset timezone",
        "reset all",
        "set datestyle = default",
        "discard all",
        "reset role",
    ])
}

/// On their own: of several statements in a text none is looked for.
fn deallocate() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["deallocate s1", "Deallocate PREPARE \"s1\";"])
}

/// With a Sync in front: a Bind without one would have begun what a Sync of ours must not commit.
fn named() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "prepare s1 as select 5",
        "prepare s2 as select 6",
        "execute s1",
        "execute s2",
        "execute s3",
        "select 1; execute s1",
        "deallocate s2; prepare s2 as select 7",
    ])
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => statement().prop_map(str::to_owned),
        1 => prop::collection::vec(statement(), 2..4).prop_map(|all| all.join("; ")),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => text().prop_map(|sql| query(&sql)),
        1 => reset().prop_map(query),
        1 => deallocate().prop_map(query),
        4 => (name(), statement()).prop_map(|(name, sql)| parse(name, sql)),
        6 => (portal(), name()).prop_map(|(portal, name)| bind(portal, name)),
        1 => name().prop_map(|name| bind_with("", name, "x")),
        2 => name().prop_map(describe_statement),
        1 => portal().prop_map(describe_portal),
        6 => (portal(), prop_oneof![4 => Just(0_u32), 1 => Just(2)]).prop_map(|(p, n)| execute(p, n)),
        2 => name().prop_map(close_statement),
        1 => portal().prop_map(close_portal),
        1 => Just(flush()),
        6 => Just(sync()),
        1 => Just(function_call()),
        1 => Just(copy_done()),
    ]
}

/// Messages as drivers send them, and COPY, where a client knows what it does.
fn phrase() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![
        statement().prop_map(|sql| vec![unnamed(sql)]),
        (name(), statement()).prop_map(|(name, sql)| vec![
            [parse(name, sql), describe_statement(name), flush()].concat(),
            run(name),
        ]),
        (name(), statement()).prop_map(|(name, sql)| vec![[parse(name, sql), sync()].concat()]),
        named().prop_map(|sql| vec![sync(), query(sql)]),
        named().prop_map(|sql| {
            let last = sql.rsplit("; ").next().unwrap_or_default();
            vec![sync(), [unnamed(last), parse("", "select 1")].concat(), sync()]
        }),
        deallocate().prop_map(|sql| vec![[unnamed(sql), parse("", "select 1")].concat(), sync()]),
        name().prop_map(|name| vec![run(name)]),
        name().prop_map(|name| vec![run(name), run(name)]),
        copy(),
    ]
}

fn copy() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let data = prop::sample::select(vec!["1\n", "2\n", "!\n"]);
    let end = prop::sample::select(vec![copy_done(), copy_done(), copy_fail()]);
    let begin = prop::sample::select(vec![
        (query("copy t from stdin"), vec![]),
        (query("copy t from stdin; select 7"), vec![]),
        ([parse("", "copy t from stdin"), bind("", ""), execute("", 0), sync()].concat(), sync()),
        ([parse("", "copy t from stdin"), bind("", ""), execute("", 0), flush()].concat(), sync()),
        ([parse("c", "copy t from stdin"), bind("", "c"), execute("", 0), sync()].concat(), sync()),
    ]);
    (begin, prop::collection::vec(data, 0..3), end).prop_map(|((begin, behind), data, end)| {
        let data: Vec<u8> = data.into_iter().flat_map(copy_data).collect();
        vec![begin, [data, end, behind].concat()]
    })
}

fn script(max: usize) -> impl Strategy<Value = Vec<Step>> {
    let part = prop_oneof![
        3 => message().prop_map(|message| vec![message]),
        2 => phrase(),
    ];
    prop::collection::vec((part, any::<(bool, bool)>()), 1..max).prop_map(|parts| {
        let mut steps = Vec::new();
        for (messages, (waits_inside, waits_behind)) in parts {
            let count = messages.len();
            for (at, message) in messages.into_iter().enumerate() {
                steps.push(Step::Send(message));
                if (at + 1 < count && waits_inside) || (at + 1 == count && waits_behind) {
                    steps.push(Step::Wait);
                }
            }
        }
        steps.push(Step::Send(sync()));
        steps.push(Step::Wait);
        steps.push(Step::Send(query("rollback")));
        steps.push(Step::Wait);
        steps
    })
}

fn relay(scripts: &[Vec<Step>], servers: usize, limit: usize, mode: Mode, seed: u64) -> Relay {
    let mut relay = Relay::new(servers, &LOGIN, limit, seed);
    for (at, script) in scripts.iter().enumerate() {
        relay.client(mode, STARTUPS[at % STARTUPS.len()], script.clone());
    }
    relay
}

fn compare(relay: &Relay, at: usize, script: &[Step]) {
    let startup = startup(at);
    let expected = direct(&Database::default(), &startup, script);
    let client = &relay.clients[at];
    assert_eq!(client.violation, None);
    let seen = transcript::lines(&client.transcript, &startup);
    let expected = transcript::lines(&expected, &startup);
    assert_eq!(seen, expected, "client {at}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_client_over_several_servers(script in script(14), seed: u64, limit in 1_usize..4) {
        let mut relay = relay(std::slice::from_ref(&script), 3, limit, Mode::Transaction, seed);
        relay.run();
        compare(&relay, 0, &script);
        prop_assert_eq!(relay.idle.len(), 3, "a lease has not ended");
    }

    #[test]
    fn several_clients_over_fewer_servers(
        scripts in prop::collection::vec(script(8), 3..5), seed: u64, limit in 1_usize..4
    ) {
        let mut relay = relay(&scripts, 2, limit, Mode::Transaction, seed);
        relay.run();
        for (at, script) in scripts.iter().enumerate() {
            compare(&relay, at, script);
        }
        prop_assert_eq!(relay.idle.len(), 2, "a lease has not ended");
    }

    #[test]
    fn a_client_that_goes_at_any_moment_is_not_noticed_by_the_others(
        scripts in prop::collection::vec(script(8), 3..4), seed: u64, turns in 0_usize..200
    ) {
        let mut relay = relay(&scripts, 2, 3, Mode::Transaction, seed);
        relay.some_turns(turns);
        relay.client_leaves(0);
        relay.run();
        for (at, script) in scripts.iter().enumerate().skip(1) {
            compare(&relay, at, script);
        }
        prop_assert_eq!(relay.idle.len(), 2, "a lease has not ended");
    }

    #[test]
    fn a_server_of_its_own_in_session_mode(script in script(14), seed: u64) {
        let mut relay = relay(std::slice::from_ref(&script), 1, 100, Mode::Session, seed);
        relay.run();
        compare(&relay, 0, &script);
    }
}
