//! What an idle client costs in memory.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use testbed::Interrupt;

use super::cell::{Cell, Link, Protocol, Script, Stay};
use super::peer::{Backstage, POOL_SIZE, Peer, Running};
use super::{load, process};

/// Thousands of logins with SCRAM, perhaps with TLS, perhaps one after the other.
const READY: Duration = Duration::from_secs(300);

/// Between two looks at the interrupt.
const STEP: Duration = Duration::from_millis(100);

/// After the last query, for what is released with a delay.
const SETTLE: Duration = Duration::from_millis(500);

/// Starts a fresh process of the peer, lets it fill its pool, and returns by how many KiB it then
/// grows for each further client that runs one query and stays.
pub(crate) fn measure(
    backstage: &Backstage,
    peer: Peer,
    link: Link,
    clients: u32,
) -> anyhow::Result<f64> {
    let running = backstage.start(peer)?;
    warm(backstage, &running)?;
    let before = process::memory(&running.processes)?;
    let grown = with_idle(backstage, &running, link, clients, &backstage.interrupt, || {
        thread::sleep(SETTLE);
        let after = process::memory(&running.processes)?;
        Ok(after.saturating_sub(before) as f64 / f64::from(clients))
    });
    grown.with_context(|| running.log())
}

/// A load with as many clients as the pool has servers, so that each is logged in to.
pub(crate) fn warm(backstage: &Backstage, running: &Running) -> anyhow::Result<()> {
    let cell = Cell {
        script: Script::Aid,
        protocol: Protocol::Simple,
        clients: POOL_SIZE,
        link: Link::Plain,
        stay: Stay::Run,
    };
    let (directory, interrupt) = (backstage.bed.path(), &backstage.interrupt);
    load::measure(&cell, running.login(), &running.processes, 1, directory, interrupt)
        .with_context(|| format!("warm {} up", running.peer.as_str()))
        .map(|_| ())
}

/// Runs `look` while the clients are idle. They end with their standard input, so with us.
fn with_idle<T>(
    backstage: &Backstage,
    running: &Running,
    link: Link,
    clients: u32,
    interrupt: &Interrupt,
    look: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let login = running.login();
    let mut child = Command::new(backstage.release.join("idle"))
        .args([&clients.to_string(), link.as_str()])
        .env("PGPORT", login.port.to_string())
        .env("PGUSER", &login.user)
        .env("PGPASSWORD", &login.password)
        .env("PGDATABASE", &login.database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the idle clients")?;
    let stdout = child.stdout.take().context("the idle clients' standard output")?;
    let (sender, said) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        // Nobody listens any more if the wait was given up.
        let _ = sender.send(line);
    });
    let started = Instant::now();
    let ready = loop {
        match said.recv_timeout(STEP) {
            Ok(line) if line.trim() == "ready" => break Ok(()),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => {
                break Err(anyhow::anyhow!("the idle clients have failed"));
            }
            Err(RecvTimeoutError::Timeout) if interrupt.raised() => {
                break Err(testbed::Error::Interrupted.into());
            }
            Err(RecvTimeoutError::Timeout) if started.elapsed() > READY => {
                break Err(anyhow::anyhow!("{clients} clients are not idle within {READY:?}"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    let result = ready.and_then(|()| look());
    if result.is_err() {
        let _ = child.kill();
    }
    drop(child.stdin.take());
    let status = child.wait().context("wait for the idle clients")?;
    let result = result?;
    if !status.success() {
        bail!("the idle clients failed ({status})");
    }
    Ok(result)
}
