//! The corpora of the fuzz targets, without a fuzzer.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::targets;

/// Every input of a target's corpus, and which of them fail.
fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let inputs: Vec<_> =
        fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!inputs.is_empty(), "{target} has no corpus");
    let fails = |path: &&std::path::PathBuf| {
        let input = fs::read(path).unwrap();
        catch_unwind(AssertUnwindSafe(|| run(&input))).is_err()
    };
    let failed: Vec<_> = inputs.iter().filter(fails).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn what_clients_say_at_startup() {
    replay("startup", targets::startup::run);
}

#[test]
fn what_clients_say_behind_their_login() {
    replay("frontend", targets::frontend::run);
}

#[test]
fn what_servers_say_behind_their_login() {
    replay("backend", targets::backend::run);
}

#[test]
fn what_either_side_says_in_scram() {
    replay("scram_client", targets::scram_client::run);
    replay("scram_server", targets::scram_server::run);
}

#[test]
fn what_clients_and_issuers_say_in_oauthbearer() {
    replay("oauth", targets::oauth::run);
}

#[test]
fn what_files_say() {
    replay("config", targets::config::run);
    replay("hba", targets::hba::run);
    replay("ident", targets::ident::run);
}
