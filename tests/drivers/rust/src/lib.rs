//! What the Rust programs share: where to connect, and a line for each check.

use std::collections::HashSet;
use std::fmt::Debug;
use std::time::Duration;
use std::{env, fmt};

use anyhow::{Context, Result, bail};

/// How many connections a check uses that needs many.
pub const CLIENTS: i32 = 6;

/// How many statements each of them prepares.
pub const STATEMENTS: i32 = 50;

/// One for each connection.
pub const ZONES: [&str; 6] =
    ["Asia/Tokyo", "Europe/Berlin", "UTC", "America/Lima", "Asia/Kolkata", "Africa/Cairo"];

/// How many connections sleep.
pub const SLEEPS: &str = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

/// What was compiled, with the versions.
const LOCK: &str = include_str!("../Cargo.lock");

/// For one check.
const CHECK: Duration = Duration::from_secs(40);

/// Why a driver has no such check.
#[derive(Debug)]
pub struct Skip(pub &'static str);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Skip {}

/// A variable that the caller has set.
///
/// # Errors
/// When it has not.
pub fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| name.to_owned())
}

/// Tells the version of a crate.
pub fn version(name: &str) {
    let mut lines = LOCK.lines().skip_while(|line| *line != format!("name = \"{name}\""));
    let line = lines.nth(1).unwrap_or_default();
    println!("version {}", line.trim_start_matches("version = ").trim_matches('"'));
}

/// Runs a check and tells how it ended.
pub async fn check(name: &str, check: impl Future<Output = Result<()>>) {
    let ended = match tokio::time::timeout(CHECK, check).await {
        Ok(ended) => ended,
        Err(_) => Err(anyhow::anyhow!("not within {} s", CHECK.as_secs())),
    };
    match ended {
        Ok(()) => println!("ok {name}"),
        Err(error) if error.is::<Skip>() => println!("skip {name} {error}"),
        Err(error) => {
            let reason = format!("{error:#}");
            println!("fail {name} {}", reason.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

/// Whether what was found is what was wanted.
///
/// # Errors
/// When it is not.
pub fn expect<T: PartialEq + Debug>(found: T, wanted: T) -> Result<()> {
    if found != wanted {
        bail!("{found:?} instead of {wanted:?}");
    }
    Ok(())
}

/// As many servers as there are in the pool, or one for each client.
///
/// # Errors
/// When there were more.
pub fn expect_shared(pids: &HashSet<i32>) -> Result<()> {
    let limit = match env::var("DRIVERS_SERVERS") {
        Ok(servers) => servers.parse().context("DRIVERS_SERVERS")?,
        Err(_) => usize::try_from(CLIENTS)?,
    };
    if pids.len() > limit {
        bail!("{} servers, at most {limit} expected", pids.len());
    }
    Ok(())
}
