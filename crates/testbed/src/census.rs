//! Finding the Postgres processes of one data directory.
//!
//! Patroni starts Postgres detached, and each Postgres process leads a session of its own, so neither
//! parenthood nor process groups lead to them. Their working directory does: the postmaster enters
//! its data directory and its children stay there.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Interrupt, until};

/// How long killed processes may take to disappear.
const DISAPPEAR: Duration = Duration::from_secs(5);

/// The line of postmaster.pid that holds "key id" of the System V shared memory segment.
const SHARED_MEMORY_LINE: usize = 6;

/// Kills every Postgres process of `data` as a power cut would, and waits until they are gone.
pub(crate) fn kill_postgres(data: &Path) -> Result<(), Error> {
    let segment = shared_memory(data);
    until("end of killed Postgres processes", DISAPPEAR, &Interrupt::default(), || {
        let residents = postgres_processes(data);
        for pid in &residents {
            // Gone already is as good.
            let _ = kill_process(*pid, Signal::KILL);
        }
        Ok(residents.is_empty().then_some(()))
    })?;
    if let Some(segment) = segment {
        // A killed postmaster leaves its segment behind, which outlives every process. Postgres
        // copes with a segment that is gone when it starts again.
        let _ = Command::new("ipcrm")
            .args(["-m", &segment])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
    Ok(())
}

/// Stops every Postgres process of `data` where it stands, and those that they start meanwhile.
pub(crate) fn stop_postgres(data: &Path) {
    let mut stopped = Vec::new();
    loop {
        let running: Vec<Pid> =
            postgres_processes(data).into_iter().filter(|pid| !stopped.contains(pid)).collect();
        if running.is_empty() {
            return;
        }
        for pid in running {
            let _ = kill_process(pid, Signal::STOP);
            stopped.push(pid);
        }
    }
}

/// Lets stopped Postgres processes of `data` go on.
pub(crate) fn continue_postgres(data: &Path) {
    for pid in postgres_processes(data) {
        let _ = kill_process(pid, Signal::CONT);
    }
}

/// Kills the postmaster of `data` alone; its children notice by themselves.
pub(crate) fn kill_postmaster(data: &Path) -> Result<(), Error> {
    let postmaster = postmaster(data)?;
    kill_process(postmaster, Signal::KILL)
        .map_err(|errno| Error::io("kill a postmaster")(errno.into()))
}

/// The process whose id is in postmaster.pid, if it runs.
pub(crate) fn postmaster(data: &Path) -> Result<Pid, Error> {
    let file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let number = file.lines().next().and_then(|line| line.trim().parse().ok());
    let pid = number.and_then(Pid::from_raw);
    // The file of a server that was killed stays, and its number may be anybody's.
    pid.filter(|pid| postgres_processes(data).contains(pid))
        .ok_or_else(|| Error::Missing(format!("postmaster in {}", data.display())))
}

/// The processes whose program is `postgres` and whose working directory is `data`.
pub(crate) fn postgres_processes(data: &Path) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let number: i32 = entry.file_name().to_str()?.parse().ok()?;
            let directory = fs::read_link(entry.path().join("cwd")).ok()?;
            let program = fs::read_link(entry.path().join("exe")).ok()?;
            let resident = directory == data && program.file_name()? == "postgres";
            resident.then(|| Pid::from_raw(number)).flatten()
        })
        .collect()
}

/// The id of the System V segment of the postmaster that runs, or ran, in `data`.
fn shared_memory(data: &Path) -> Option<String> {
    let file = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let line = file.lines().nth(SHARED_MEMORY_LINE)?;
    line.split_whitespace().nth(1).map(str::to_owned)
}
