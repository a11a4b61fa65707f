//! The same bytes sent to Postgres and to pgmesh are answered with the same messages.
//!
//! Every script runs directly and in several ways through pgmesh: alone on one server; on one
//! server that a neighbour works on whenever nothing is open; in turns on two servers; in session
//! mode. What may differ is in `support/allowed.rs`, with the reason; a script that is to be
//! answered otherwise at all is in `deviations`, with the reason too.
//!
//! A property is one function, named after it, in the list of the test that runs its file: an
//! own process with an own Postgres for each would take longer than the scripts themselves.
//! `PGMESH_CASE=name` runs those whose names contain it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/allowed.rs"]
mod allowed;
#[path = "../support/answer.rs"]
mod answer;
#[path = "../support/raw.rs"]
mod raw;
#[path = "../support/script.rs"]
mod script;
#[path = "../support/stage.rs"]
mod stage;
#[path = "../support/transcript.rs"]
mod transcript;

mod broken;
mod copy;
mod deviations;
mod errors;
mod extended;
mod faults;
mod large;
mod leaks;
mod login;
mod neighbours;
mod pipelines;
mod prepared;
mod random;
mod settings;
mod simple;

use script::{Script, Way};
use stage::Stage;

/// Every way that suits a script of one client.
const EVERY_WAY: [Way; 4] = [Way::Alone, Way::Shared, Way::Alternating, Way::Session];

/// A property's name and its script.
type Case = (&'static str, fn(&mut Script));

/// Properties under the names of their functions.
macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), $case as fn(&mut $crate::script::Script))),*] };
}
pub(crate) use cases;

/// Runs scripts of any number of clients in every way that suits them.
fn every_way(cases: &[Case]) {
    let mut stage = Stage::new();
    run(cases, |_, script| {
        let is_alone = script.clients() > 1 || script.keeps_server;
        let ways = if is_alone { &[Way::Alone, Way::Session][..] } else { &EVERY_WAY };
        stage.compare(script, ways)
    });
}

/// Runs each script through `faults_of`, and fails with everything that it found.
fn run(cases: &[Case], mut faults_of: impl FnMut(&str, &Script) -> Vec<String>) {
    let wanted = std::env::var("PGMESH_CASE").unwrap_or_default();
    let mut faults = Vec::new();
    for (name, write) in cases.iter().filter(|(name, _)| name.contains(&wanted)) {
        let mut script = Script::new();
        write(&mut script);
        let found = faults_of(name, &script);
        faults.extend(found.into_iter().map(|fault| format!("{name}, {fault}\n")));
    }
    let rules = allowed::RULES.map(|rule| format!("- {}\n", rule.reason)).concat();
    assert!(faults.is_empty(), "\n{}\nWhat may differ:\n{rules}", faults.join("\n"));
}
