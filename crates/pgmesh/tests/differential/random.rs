//! Scripts made at random, from few names and statements so that they get in each other's way.
//!
//! The seed is fixed, so that a run can be repeated; `PGMESH_SEED` gives another, and
//! `PGMESH_SECONDS` another length than the default.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::EVERY_WAY;
use crate::raw::{
    bind, close, close_portal, copy_data, copy_done, copy_fail, describe, describe_portal, execute,
    flush, function_call, parse, query, sync,
};
use crate::script::Script;
use crate::stage::Stage;

/// Of each of the tests here.
const LENGTH: Length = Length { seed: 1, seconds: 9 };

/// No machine is fast enough for more of them.
const CASES: u32 = 10_000;

const TEXTS: [&str; 20] = [
    "SELECT 1",
    "SELECT $1::int4 + 1",
    "SELECT $1",
    "SELECT 10 / $1::int4",
    "SELECT generate_series(1, 5)",
    "SELECT nothing",
    "SELEC",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "INSERT INTO random VALUES (1)",
    "SELECT count(*) FROM random",
    "SET DateStyle = 'German'",
    "SET LOCAL TimeZone = 'CET'",
    "RESET ALL",
    "SELECT now()::date - now()::date, current_setting('DateStyle'), current_setting('TimeZone')",
    "COPY (SELECT generate_series(1, 3)) TO STDOUT",
    "SELECT repeat('x', 20000)",
];

/// Answered with EmptyQueryResponse in every state: the mark up to which a step reads. No other
/// message of a random script is.
const MARK: &str = "";

/// A step of a random script: what is sent, and whether its answers are waited for.
#[derive(Clone)]
struct Step {
    messages: Vec<Vec<u8>>,
    waits: bool,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for message in &self.messages {
            writeln!(f, "{}", message.escape_ascii())?;
        }
        write!(f, "{}", if self.waits { "(waits)" } else { "(does not wait)" })
    }
}

#[test]
fn random_scripts_are_answered_as_by_the_server() {
    let strategy = (vec(step(), 1..7), chunks(), select(EVERY_WAY.to_vec()));
    hunt(Stage::new(), renew, LENGTH, &strategy, |stage, (steps, chunks, way)| {
        let mut script = begin(&chunks);
        for Step { messages, waits } in &steps {
            script.send(messages);
            if *waits {
                mark(&mut script);
            }
        }
        mark(&mut script);
        stage.compare(&script, &[way])
    });
}

#[test]
fn random_clients_of_one_server_are_answered_as_by_servers_of_their_own() {
    let strategy = (vec((0..3_usize, step()), 2..10), chunks());
    hunt(Stage::new(), renew, LENGTH, &strategy, |stage, (steps, chunks)| {
        let mut script = begin(&chunks);
        for (client, Step { messages, .. }) in &steps {
            // The server must be free for the next client.
            script.on(*client).send(messages).send(&[sync(), query("ROLLBACK")]);
            mark(&mut script);
        }
        let route = stage.one_server();
        stage.compare_on(&script, &[route])
    });
}

/// What the scripts of a test are made from and for how long, unless the environment says
/// otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Length {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
}

impl Length {
    fn told(self) -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
        Self {
            seed: number("PGMESH_SEED").unwrap_or(self.seed),
            seconds: number("PGMESH_SECONDS").unwrap_or(self.seconds),
        }
    }
}

/// Runs random scripts until the time is up, and fails with the smallest that is answered
/// otherwise. `renew` makes a stage fit again that such a script has been on.
pub(crate) fn hunt<T, S: Strategy>(
    stage: T,
    renew: impl Fn(&mut T),
    length: Length,
    strategy: &S,
    faults_of: impl Fn(&mut T, S::Value) -> Vec<String>,
) {
    let Length { seed: number, seconds } = length.told();
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, rng);
    // The runner's closure is Fn.
    let stage = RefCell::new(stage);
    let state = Cell::new((0_u32, false));
    let end = Instant::now() + Duration::from_secs(seconds);
    let outcome = runner.run(strategy, |value| {
        let (count, shrinks) = state.get();
        if !shrinks && Instant::now() > end {
            return Ok(());
        }
        state.set((count + 1, shrinks));
        // Where the stage itself breaks, the server or pgmesh has.
        let run = AssertUnwindSafe(|| faults_of(&mut stage.borrow_mut(), value));
        let faults = catch_unwind(run).unwrap_or_else(|_| vec!["the stage broke".to_owned()]);
        if faults.is_empty() {
            return Ok(());
        }
        state.set((count + 1, true));
        // Whatever it left behind must not fail the scripts that it is shrunk to.
        renew(&mut stage.borrow_mut());
        Err(TestCaseError::fail(faults.join("\n")))
    });
    if let Err(error) = outcome {
        panic!("PGMESH_SEED={number}, after {} scripts: {error}", state.get().0);
    }
    assert!(state.get().0 > 0);
}

/// One that no script has been on.
fn renew(stage: &mut Stage) {
    *stage = Stage::new();
}

fn begin(chunks: &[usize]) -> Script {
    let mut script = Script::new();
    script.before("DROP TABLE IF EXISTS random; CREATE TABLE random (n int4)");
    if !chunks.is_empty() {
        script.in_chunks(chunks);
    }
    script
}

/// Waits until all that was sent has been answered.
fn mark(script: &mut Script) {
    script.send(&[sync(), query(MARK)]).until(b'I', 1).ready(1);
}

fn chunks() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![3 => Just(Vec::new()), 1 => vec(1..40_usize, 1..4)]
}

fn step() -> impl Strategy<Value = Step> {
    let waits = prop_oneof![3 => Just(true), 1 => Just(false)];
    let messages = vec(batch(), 1..5).prop_map(|batches| batches.concat());
    (messages, waits).prop_map(|(messages, waits)| Step { messages, waits })
}

/// Messages up to a Sync, which is sometimes missing.
fn batch() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let end = prop_oneof![6 => Just(sync()), 1 => Just(flush()), 1 => Just(Vec::new())];
    prop_oneof![
        3 => (vec(extended(), 1..7), end).prop_map(|(mut all, end)| {
            all.push(end);
            all
        }),
        1 => simple().prop_map(|message| vec![message]),
    ]
}

fn simple() -> impl Strategy<Value = Vec<u8>> {
    let text = select(&TEXTS[..]);
    prop_oneof![
        6 => text.clone().prop_map(query),
        2 => (text.clone(), text).prop_map(|(a, b)| query(&format!("{a}; {b}"))),
        1 => Just(query("DEALLOCATE ALL")),
        1 => Just(query("DISCARD ALL")),
        1 => select(vec!["1", "0", "x"]).prop_map(|n| function_call(154, &["8", n])),
        1 => copy_end().prop_map(|end| [query("COPY random FROM STDIN"), end].concat()),
    ]
}

/// A message of the extended protocol, or some that belong together.
///
/// The unnamed portal is used right behind its Bind only: Postgres 15 crashes on an Execute of the
/// one that a failed simple query left behind in a transaction.
fn extended() -> impl Strategy<Value = Vec<u8>> {
    let statement = || select(vec!["", "", "s", "t"]);
    let portal = || select(vec!["", "", "", "p"]);
    let value = select(vec!["1", "0", "x"]);
    let bound = (portal(), statement(), vec(value, 0..2), 0..4_u32);
    prop_oneof![
        5 => (statement(), select(&TEXTS[..])).prop_map(|(name, text)| parse(name, text)),
        6 => bound.clone().prop_map(|(p, s, values, rows)| [bind(p, s, &values), execute(p, rows)].concat()),
        3 => bound.clone().prop_map(|(p, s, values, rows)| {
            let page = execute(p, rows);
            [bind(p, s, &values), describe_portal(p), page.clone(), flush(), page].concat()
        }),
        2 => bound.prop_map(|(p, s, values, _)| bind(p, s, &values)),
        2 => statement().prop_map(describe),
        1 => Just(describe_portal("p")),
        2 => (0..4_u32).prop_map(|rows| execute("p", rows)),
        3 => statement().prop_map(close),
        1 => portal().prop_map(close_portal),
        1 => Just(flush()),
        1 => copy_end().prop_map(|end| {
            [parse("", "COPY random FROM STDIN"), bind("", "", &[]), execute("", 0), end].concat()
        }),
    ]
}

/// The data of a COPY, right or wrong, and its end.
fn copy_end() -> impl Strategy<Value = Vec<u8>> {
    let data = vec(select(vec![&b"7\n"[..], b"8\n9\n", b"x\n", b""]), 0..3);
    let end = select(vec![copy_done(), copy_fail("no")]);
    (data, end).prop_map(|(data, end)| {
        let mut all: Vec<_> = data.into_iter().map(copy_data).collect();
        all.push(end);
        all.concat()
    })
}
