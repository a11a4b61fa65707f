//! The whole proxy in front of a single Postgres, feature by feature.
//!
//! Every test has a Postgres and a pgmesh of its own, so that none sees what another has
//! left. What is waited for is waited for by what can be seen of it: a metric, a message,
//! a row of pg_stat_activity.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/clients.rs"]
mod clients;
#[path = "../support/metrics.rs"]
mod metrics;
#[path = "../support/proxy.rs"]
#[allow(dead_code, reason = "clusters are tested elsewhere")]
mod proxy;

mod auth_hba;
mod auth_passthrough;
mod auth_query;
mod backpressure;
mod cancel;
mod certificates;
mod check_connect;
mod command_line;
mod console;
mod console_orders;
mod console_tools;
mod core_dumps;
mod crowd;
mod databases;
mod departure;
mod departures;
mod hostile;
mod import;
mod issuer;
mod ldap;
mod leftovers;
mod limits;
mod logs;
mod modes;
mod names;
mod notifications;
mod oauth;
mod parameters;
mod peers;
mod pool;
mod prepared;
mod rates;
mod reload;
mod resets;
mod rotation;
mod secrets;
mod sequences;
mod server_login;
mod servers;
mod session_state;
mod signals;
mod startup;
mod systemd;
mod takeover;
mod timeouts;
mod tls;
mod tools;
mod unix;

use testbed::{Postgres, PostgresOptions};

/// A Postgres with nothing special.
fn postgres() -> Postgres {
    Postgres::start(PostgresOptions::default()).unwrap()
}

/// Waits until the server runs a `SELECT pg_sleep(…)`: a cancel before that is for nothing,
/// as it is on a direct connection.
fn wait_for_sleep(postgres: &Postgres) {
    wait_for_sleeps(postgres, 1);
}

/// Waits until so many servers do.
fn wait_for_sleeps(postgres: &Postgres, count: u32) {
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let count = count.to_string();
    metrics::eventually("a sleeping server", || postgres.psql(sleeps).unwrap() == count);
}
