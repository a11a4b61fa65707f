//! One load: pgbench through one peer, and what the peer used for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use testbed::{Interrupt, Login, until};

use super::cell::{Cell, Link, Script, Stay};
use super::process::{self, Processor};

/// pgbench's `SELECT :aid`.
const AID: &str = "\\set aid random(1, 100000)\nSELECT :aid;\n";

/// pgbench counts its `--time` from before it opens its connections, one by one, each with SCRAM on
/// both sides: it is given this much more for each client.
const CONNECT_MS_PER_CLIENT: u32 = 7;

/// What it may take to connect on a machine that has other things to do.
const CONNECT_MAX: Duration = Duration::from_secs(180);

/// From the end of its time to its exit.
const FINISH: Duration = Duration::from_secs(60);

/// Between two looks at the interrupt.
const STEP: Duration = Duration::from_millis(100);

/// The window ends this long before pgbench does, so that all of it is under load.
const MARGIN: Duration = Duration::from_millis(250);

/// A window that is shorter because connecting took longer than this is not worth a figure.
const WINDOW_MIN: Duration = Duration::from_millis(400);

/// What one load came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    /// Transactions per second.
    pub(crate) tps: f64,
    /// Median and 99th percentile of a transaction's time in microseconds; of a client that
    /// reconnects, from the end of one transaction to the end of the next.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Microseconds of processor time of the peer per transaction.
    pub(crate) cpu: f64,
    /// KiB of the peer's memory at the end.
    pub(crate) memory: f64,
    /// Transactions of the client that had the fewest, as a part of the mean: 1 is fair.
    pub(crate) fairness: f64,
}

/// A transaction as pgbench logged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Transaction {
    client: u32,
    /// Microseconds that it took.
    took: u64,
    /// Microseconds since 1970 at its end.
    end: u64,
}

/// The measured part of a run, in microseconds since 1970, and what was used in it.
struct Window {
    start: u64,
    end: u64,
    processor: u64,
    memory: u64,
}

/// Runs pgbench and measures `seconds` of it under full load: neither the logins at its start, which
/// a pooler has to answer and the bare relay has not, nor its end.
pub(crate) fn measure(
    cell: &Cell,
    login: &Login,
    processes: &[u32],
    seconds: u32,
    directory: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<Figures> {
    let logs = directory.join("pgbench");
    fs::create_dir(&logs).context("make a directory for pgbench's logs")?;
    let result = run(cell, login, processes, seconds, &logs, interrupt)
        .and_then(|window| figures(&read_logs(&logs)?, &window, cell.stay));
    fs::remove_dir_all(&logs).context("remove pgbench's logs")?;
    result
}

fn run(
    cell: &Cell,
    login: &Login,
    processes: &[u32],
    seconds: u32,
    logs: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<Window> {
    // The first report comes a second after connecting.
    let connect = (cell.clients * CONNECT_MS_PER_CLIENT + 500) / 1000;
    let time = seconds + 1 + connect;
    let mut pgbench = command(cell, login, time, logs)?;
    let end = SystemTime::now() + Duration::from_secs(time.into()) - MARGIN;
    let mut child = pgbench
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start pgbench")?;
    let lines = lines(child.stderr.take().context("pgbench's standard error")?);
    let measured = watch(&lines, processes, seconds, end, interrupt);
    if measured.is_err() {
        let _ = child.kill();
    }
    let status = wait(&mut child, interrupt);
    let said: Vec<String> = lines.iter().filter(|line| !is_progress(line)).take(5).collect();
    let said = said.join("\n");
    let window = match measured {
        Err(error) if !said.is_empty() => return Err(error.context(said)),
        measured => measured?,
    };
    let status = status?;
    // A client that failed is left out from then on, so the others were not measured as said.
    if !status.success() {
        bail!("pgbench failed ({status})\n{said}");
    }
    Ok(window)
}

fn command(
    cell: &Cell,
    login: &Login,
    seconds: u32,
    logs: &Path,
) -> anyhow::Result<std::process::Command> {
    let mut pgbench = login.command("pgbench")?;
    let mode = if cell.link == Link::Tls { "require" } else { "disable" };
    pgbench.env("PGSSLMODE", mode).env("PGGSSENCMODE", "disable");
    // A thread connects one client at a time, so reconnecting clients have one each.
    let threads = match cell.stay {
        Stay::Run => cell.clients.min(2),
        Stay::Transaction => cell.clients,
    };
    pgbench
        .arg(format!("--client={}", cell.clients))
        .arg(format!("--jobs={threads}"))
        .arg(format!("--time={seconds}"))
        .arg(format!("--protocol={}", cell.protocol.as_str()))
        .args(["--no-vacuum", "--progress=1", "--log"])
        .arg(format!("--log-prefix={}", logs.join("log").display()));
    match cell.script {
        Script::Select => pgbench.arg("--select-only"),
        Script::Aid => {
            let script = logs.join("aid.sql");
            fs::write(&script, AID).context("write pgbench's script")?;
            pgbench.arg("--file").arg(script)
        }
    };
    if cell.stay == Stay::Transaction {
        pgbench.arg("--connect");
    }
    Ok(pgbench)
}

/// What pgbench says, line by line, until its standard error closes.
fn lines(stderr: impl Read + Send + 'static) -> Receiver<String> {
    // Room for a line per second of any run; more, as when every client complains, waits.
    let (sender, receiver) = mpsc::sync_channel(10_000);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn is_progress(line: &str) -> bool {
    line.starts_with("progress:")
}

/// Waits for the first report of progress, which comes a second after every client has connected,
/// and looks at the processes there and `seconds` later, or at `end`.
fn watch(
    lines: &Receiver<String>,
    processes: &[u32],
    seconds: u32,
    end: SystemTime,
    interrupt: &Interrupt,
) -> anyhow::Result<Window> {
    let deadline = SystemTime::now() + CONNECT_MAX;
    loop {
        match lines.recv_timeout(STEP) {
            Ok(line) if is_progress(&line) => break,
            Ok(line) if line.contains("error:") || line.contains("aborted") => bail!("{line}"),
            Ok(_) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("pgbench ended before it began"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if interrupt.raised() {
            return Err(testbed::Error::Interrupted.into());
        }
        if SystemTime::now() > deadline {
            bail!("pgbench has not begun within {CONNECT_MAX:?}");
        }
    }
    let (start, before) = (now()?, Processor::of(processes)?);
    let end = end.min(SystemTime::now() + Duration::from_secs(seconds.into()));
    if end.duration_since(SystemTime::now()).unwrap_or_default() < WINDOW_MIN {
        bail!("connecting took so long that no time is left to measure");
    }
    while let Ok(left) = end.duration_since(SystemTime::now()) {
        if interrupt.raised() {
            return Err(testbed::Error::Interrupted.into());
        }
        thread::sleep(left.min(STEP));
    }
    let (end, after) = (now()?, Processor::of(processes)?);
    let memory = process::memory(processes)?;
    Ok(Window { start, end, processor: after.since(&before), memory })
}

fn wait(child: &mut Child, interrupt: &Interrupt) -> anyhow::Result<ExitStatus> {
    let ended = until("end of pgbench", FINISH, interrupt, || {
        // An error here would mean that somebody else has waited for our child.
        Ok(child.try_wait().ok().flatten())
    });
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    Ok(ended?)
}

fn now() -> anyhow::Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_micros())?)
}

/// Every transaction in the logs of a run, one log for each thread of pgbench.
fn read_logs(directory: &Path) -> anyhow::Result<Vec<Transaction>> {
    let mut transactions = Vec::new();
    for entry in fs::read_dir(directory).context("read pgbench's logs")?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("log.") {
            let text = fs::read_to_string(entry.path()).context("read a log of pgbench")?;
            transactions.extend(text.lines().filter_map(transaction));
        }
    }
    Ok(transactions)
}

/// `client number took script seconds microseconds`, the last two being the time of its end.
fn transaction(line: &str) -> Option<Transaction> {
    let mut words = line.split(' ');
    let client = words.next()?.parse().ok()?;
    let took = words.nth(1)?.parse().ok()?;
    let seconds: u64 = words.nth(1)?.parse().ok()?;
    let micros: u64 = words.next()?.parse().ok()?;
    Some(Transaction { client, took, end: seconds * 1_000_000 + micros })
}

fn figures(transactions: &[Transaction], window: &Window, stay: Stay) -> anyhow::Result<Figures> {
    let mut of_clients: BTreeMap<u32, Vec<Transaction>> = BTreeMap::new();
    // pgbench ended early if the last is not about as late as the window's end.
    let last = transactions.iter().map(|transaction| transaction.end).max().unwrap_or_default();
    if last + MARGIN.as_micros() as u64 / 2 < window.end {
        bail!("the load ended before the measurement");
    }
    for transaction in transactions {
        of_clients.entry(transaction.client).or_default().push(*transaction);
    }
    let inside = |transaction: &&Transaction| (window.start..window.end).contains(&transaction.end);
    let clients = of_clients.len();
    let (mut times, mut count, mut fewest) = (Vec::new(), 0, usize::MAX);
    for transactions in of_clients.values_mut() {
        transactions.sort_unstable_by_key(|transaction| transaction.end);
        let own = transactions.iter().filter(inside).count();
        (count, fewest) = (count + own, fewest.min(own));
        match stay {
            Stay::Run => {
                times
                    .extend(transactions.iter().filter(inside).map(|transaction| transaction.took));
            }
            Stay::Transaction => {
                let pairs = transactions.windows(2).filter_map(|pair| match pair {
                    [one, next] if inside(&next) => Some(next.end - one.end),
                    _ => None,
                });
                times.extend(pairs);
            }
        }
    }
    if count == 0 || times.is_empty() {
        bail!("no transaction ended within the window");
    }
    times.sort_unstable();
    let micros = (window.end - window.start) as f64;
    Ok(Figures {
        tps: count as f64 * 1e6 / micros,
        p50: percentile(&times, 0.50),
        p99: percentile(&times, 0.99),
        cpu: window.processor as f64 / 1e3 / count as f64,
        memory: window.memory as f64,
        fairness: fewest as f64 * clients as f64 / count as f64,
    })
}

/// The smallest value that at least this part of `sorted` does not exceed.
fn percentile(sorted: &[u64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: u64, end: u64) -> Window {
        Window { start, end, processor: 3_000, memory: 9 }
    }

    fn ended(client: u32, took: u64, end: u64) -> Transaction {
        Transaction { client, took, end }
    }

    #[test]
    fn a_line_of_the_log_is_read() {
        let read = transaction("3 17 2184 0 1499414498 241216").unwrap();
        assert_eq!(read, ended(3, 2184, 1_499_414_498_241_216));
        assert_eq!(transaction("3 17 skipped 0 1499414498 241216"), None);
        assert_eq!(transaction(""), None);
    }

    #[test]
    fn only_what_ends_inside_the_window_counts() {
        let log = [ended(0, 10, 99), ended(0, 20, 100), ended(0, 30, 199), ended(0, 40, 200)];
        let figures = figures(&log, &window(100, 200), Stay::Run).unwrap();
        assert_eq!((figures.p50, figures.p99), (20.0, 30.0));
        assert_eq!((figures.tps, figures.cpu), (20_000.0, 1.5));
    }

    #[test]
    fn reconnecting_clients_are_timed_from_end_to_end() {
        let log = [ended(0, 1, 90), ended(1, 1, 100), ended(0, 1, 120), ended(1, 1, 160)];
        let figures = figures(&log, &window(100, 200), Stay::Transaction).unwrap();
        assert_eq!((figures.p50, figures.p99), (30.0, 60.0));
    }

    #[test]
    fn a_starved_client_shows() {
        let log = [ended(0, 1, 1), ended(0, 1, 2), ended(0, 1, 3), ended(1, 1, 3)];
        assert_eq!(figures(&log, &window(0, 9), Stay::Run).unwrap().fairness, 0.5);
    }

    #[test]
    fn a_load_that_ended_early_is_no_measurement() {
        let log = [ended(0, 1, 1), ended(0, 1, 2)];
        assert!(figures(&log, &window(5, 9), Stay::Run).is_err());
        assert!(figures(&log, &window(0, 1_000_000), Stay::Run).is_err());
    }

    #[test]
    fn percentiles_are_values_of_the_sample() {
        let sorted: Vec<u64> = (1..=200).collect();
        assert_eq!((percentile(&sorted, 0.5), percentile(&sorted, 0.99)), (100.0, 198.0));
        assert_eq!(percentile(&[7], 0.99), 7.0);
    }
}
