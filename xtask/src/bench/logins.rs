//! Clients that log in and leave: how many a second, and what each costs the peer.

use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::cell::Link;
use super::options::Options;
use super::peer::{Backstage, Running};
use super::process::Processor;
use super::results::{LoginFigures, Logins, Results};

/// Clients that are logging in at any moment: enough to keep the processors busy.
const CLIENTS: u32 = 16;

/// Beyond its time, for the last logins.
const FINISH: Duration = Duration::from_secs(60);

/// Measures every pooler, each in its turn; only an interrupt ends the bench.
pub(crate) fn round(
    round: usize,
    running: &[Running],
    options: &Options,
    backstage: &Backstage,
    results: &mut Results,
) -> anyhow::Result<()> {
    for link in [Link::Plain, Link::Tls] {
        if !options.filter.takes_logins(link) {
            continue;
        }
        for turn in 0..running.len() {
            let running = &running[(turn + round) % running.len()];
            if !running.peer.is_pooler() {
                continue;
            }
            let peer = running.peer;
            let outcome = match measure(running, link, options.seconds, backstage) {
                Err(_) if backstage.interrupt.raised() => {
                    return Err(testbed::Error::Interrupted.into());
                }
                result => result.map_err(|error| format!("{error:#}")),
            };
            let what = format!("{} logins, {}: {}", round + 1, link.as_str(), peer.as_str());
            match &outcome {
                Ok(LoginFigures { per_second, cpu }) => {
                    println!("{what}: {per_second:.0} a second, {cpu:.1} µs");
                }
                Err(reason) => println!("{what}: failed: {reason}"),
            }
            results.logins.push(Logins { round, link, peer, outcome });
        }
    }
    Ok(())
}

fn measure(
    running: &Running,
    link: Link,
    seconds: u32,
    backstage: &Backstage,
) -> anyhow::Result<LoginFigures> {
    let login = running.login();
    let mut logins = Command::new(backstage.release.join("logins"));
    logins
        .args([&CLIENTS.to_string(), &seconds.to_string(), link.as_str()])
        .env("PGPORT", login.port.to_string())
        .env("PGUSER", &login.user)
        .env("PGPASSWORD", &login.password)
        .env("PGDATABASE", &login.database);
    let limit = Duration::from_secs(seconds.into()) + FINISH;
    let before = Processor::of(&running.processes)?;
    let said = testbed::run(&mut logins, "", limit, &backstage.interrupt)?;
    let spent = Processor::of(&running.processes)?.since(&before);
    let words = said.trim().split_once(' ').context("the clients say nothing")?;
    let (count, took): (f64, f64) = (words.0.parse()?, words.1.parse()?);
    Ok(LoginFigures { per_second: count / (took / 1e6), cpu: spent as f64 / 1e3 / count })
}
