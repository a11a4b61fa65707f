//! How often: logins, transactions and TLS handshakes; failed logins; memory.

use std::io::Read as _;
use std::net::TcpStream;

use testbed::{APP_USER, Credentials};
use wire::Version;

use crate::certificates::Authority;
use crate::clients::Raw;
use crate::metrics::{sample, wait_for};
use crate::postgres;
use crate::proxy::Setup;

fn refused(mesh: &testbed::Pgmesh, reason: &str, times: f64) {
    wait_for(mesh, "pgmesh_refusals_total", &format!("reason=\"{reason}\""), times);
}

/// One, and one more with each second.
const ONCE: &str = "_per_second_per_user = 1";

#[test]
fn a_user_logs_in_so_often_and_no_stranger_can_use_that_up() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("proxy", &format!("logins{ONCE}")).start();
    for _ in 0..3 {
        let wrong = mesh.login(Credentials { password: "wrong", ..APP_USER }, "app");
        let told = Raw::log_in_with(&wrong, Version::V3_0, &[]).unwrap_err();
        assert_eq!(told.code, "28P01");
    }
    let mut first = Raw::log_in(&mesh.app());
    // Several within any second: one of them is too many, however slow this machine is.
    let told = (0..100).find_map(|_| Raw::log_in_with(&mesh.app(), Version::V3_0, &[]).err());
    let told = told.expect("nobody was refused");
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "53400"));
    refused(&mesh, "login_rate", 1.0);
    assert_eq!(first.value("SELECT 1"), "1");
}

#[test]
fn an_address_tries_to_log_in_so_often() {
    let postgres = postgres();
    let keys = "logins_per_second_per_address = 1";
    let mesh = Setup::before(&postgres).with("proxy", keys).start();
    let wrong = mesh.login(Credentials { password: "wrong", ..APP_USER }, "app");
    let codes = (0..100).map(|_| Raw::log_in_with(&wrong, Version::V3_0, &[]).unwrap_err().code);
    assert!(codes.take_while(|code| code == "28P01").count() < 100);
    refused(&mesh, "login_rate", 1.0);
}

#[test]
fn a_transaction_too_many_fails_and_the_client_stays() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("proxy", &format!("transactions{ONCE}")).start();
    let mut client = Raw::log_in(&mesh.app());
    let mut told = None;
    for _ in 0..1000 {
        let answer = client.query("SELECT 1");
        assert_eq!(answer.status, 'I');
        told = answer.errors.into_iter().next();
        if told.is_some() {
            break;
        }
    }
    let told = told.expect("nothing was refused");
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("ERROR", "53400"));
    let limit = "limit=\"transaction_rate\"";
    assert_eq!(sample(&mesh, "pgmesh_limits_reached_total", limit), 1.0);
    // A transaction is one, whatever is in it.
    crate::metrics::eventually("a transaction", || client.query("BEGIN").status == 'T');
    for _ in 0..10 {
        assert_eq!(client.value("SELECT 2"), "2");
    }
    assert_eq!(client.query("COMMIT").status, 'I');
}

#[test]
fn in_a_batch_everything_to_the_sync_fails_with_it() {
    let postgres = postgres();
    let mesh = Setup::before(&postgres).with("proxy", &format!("transactions{ONCE}")).start();
    let mut client = Raw::log_in(&mesh.app());
    let mut batch = Vec::new();
    crate::clients::parse(&mut batch, "", "SELECT 1");
    crate::clients::run(&mut batch, "", &[]);
    crate::clients::sync(&mut batch);
    let refused = (0..1000).find_map(|_| {
        client.send(&batch);
        let answer = client.answer();
        (!answer.errors.is_empty()).then_some(answer)
    });
    let refused = refused.expect("nothing was refused");
    assert_eq!((refused.tags.as_str(), refused.errors[0].code.as_str()), ("EZ", "53400"));
}

#[test]
fn no_new_clients_while_memory_is_short() {
    let postgres = postgres();
    // No process is so small.
    let mesh = Setup::before(&postgres).with("proxy", "max_memory = \"1MiB\"").start();
    let mut told = None;
    crate::metrics::eventually("a refusal", || {
        told = Raw::log_in_with(&mesh.app(), Version::V3_0, &[]).err();
        told.is_some()
    });
    let told = told.unwrap();
    assert_eq!((told.severity.as_str(), told.code.as_str()), ("FATAL", "53200"));
    crate::metrics::wait_for_at_least(&mesh, "pgmesh_refusals_total", "reason=\"memory\"", 1.0);
}

#[test]
fn tls_handshakes_take_turns_and_those_far_behind_are_closed() {
    let (postgres, authority) = (postgres(), Authority::new());
    let keys = authority.sign_to_files(&["localhost"]);
    let setup = Setup::before(&postgres).with("proxy", "tls_handshakes_per_second = 2");
    let mesh = setup.with("proxy.tls", &keys).start();
    let mut clients: Vec<Raw> = (0..30).map(|_| Raw::connect(mesh.app().port)).collect();
    for client in &mut clients {
        client.send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
    }
    // Without TLS nobody waits for them.
    assert_eq!(Raw::log_in(&mesh.app()).value("SELECT 1"), "1");
    let answers: Vec<_> = clients.iter().map(|client| answer(client.socket())).collect();
    let taken = answers.iter().filter(|answer| **answer == Some(b'S')).count();
    let closed = answers.iter().filter(|answer| answer.is_none()).count();
    assert!(taken >= 2 && closed >= 1 && taken + closed == 30, "{answers:?}");
    crate::metrics::wait_for_at_least(&mesh, "pgmesh_refusals_total", "reason=\"tls_rate\"", 1.0);
}

/// The next byte, or the end.
fn answer(mut socket: &TcpStream) -> Option<u8> {
    let mut byte = [0];
    matches!(socket.read(&mut byte), Ok(1)).then_some(byte[0])
}

#[test]
fn passwords_are_not_guessed_at_speed() {
    let postgres = postgres();
    let keys = "failed_login_delay = \"1h\"\nclient_login_timeout = \"1s\"";
    let mesh = Setup::before(&postgres).with("proxy", keys).start();
    let wrong = mesh.login(Credentials { password: "wrong", ..APP_USER }, "app");
    // Each guess waits twice as long as the one before, and then for longer than there is.
    crate::metrics::eventually("a guess that waits", || {
        wrong.psql("SELECT 1").unwrap_err();
        sample(&mesh, "pgmesh_refusals_total", "reason=\"timeout\"") >= 1.0
    });
    let guesses = sample(&mesh, "pgmesh_refusals_total", "reason=\"authentication\"");
    assert!((4.0..10.0).contains(&guesses), "{guesses}");
}
