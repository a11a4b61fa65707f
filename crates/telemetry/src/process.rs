//! `process_*`, read from `/proc/self` at scrape time.
//!
//! prometheus' own collector brings in procfs and what it stands on; these are seven numbers.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::Error;
use crate::family::{Row, Spec, collect, descs};

/// Linux' `USER_HZ`: the unit of times in `/proc`, 100 on every architecture Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What `/proc` says; `None` where it does not say it (not Linux, or `/proc` is hidden).
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Process {
    cpu_seconds: Option<f64>,
    threads: Option<f64>,
    start_seconds: Option<f64>,
    virtual_bytes: Option<f64>,
    resident_bytes: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
}

impl Process {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            open_fds: open_fds(),
            ..Self::parse(
                &text("/proc/self/stat"),
                &text("/proc/self/status"),
                &text("/proc/self/limits"),
                &text("/proc/stat"),
            )
        }
    }

    fn parse(stat: &str, status: &str, limits: &str, host: &str) -> Self {
        // proc(5): the second field is the command in parentheses and may contain anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let field = |number: usize| -> Option<f64> {
            fields.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
        };
        #[expect(clippy::cast_precision_loss, reason = "Prometheus' samples are floats")]
        let bytes = |name: &str| kilobytes(status, name).map(|kb| kb as f64 * 1024.0);
        let boot = host
            .lines()
            .find_map(|line| line.strip_prefix("btime "))
            .and_then(|text| text.trim().parse::<f64>().ok());
        let max_fds = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            cpu_seconds: field(14)
                .zip(field(15))
                .map(|(user, sys)| (user + sys) / TICKS_PER_SECOND),
            threads: field(20),
            start_seconds: field(22).zip(boot).map(|(at, boot)| boot + at / TICKS_PER_SECOND),
            virtual_bytes: bytes("VmSize:"),
            resident_bytes: bytes("VmRSS:"),
            open_fds: None,
            max_fds: max_fds.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()),
        }
    }
}

/// Resident memory of this process, in bytes; `None` where `/proc` does not say it.
pub fn resident_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:").map(|kb| kb * 1024)
}

/// A line of `/proc/self/status` such as `VmRSS: 512 kB`.
fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Since Linux 6.2 the directory's size is the number of its entries; before, it is counted.
#[expect(clippy::cast_precision_loss, reason = "Prometheus' samples are floats")]
fn open_fds() -> Option<f64> {
    const PATH: &str = "/proc/self/fd";
    match fs::metadata(PATH).ok()?.len() {
        // The directory that is being read is one of them.
        0 => Some(fs::read_dir(PATH).ok()?.count().saturating_sub(1) as f64),
        count => Some(count as f64),
    }
}

const fn row(
    spec: Spec,
    read: fn(&Spec, &Process) -> Vec<prometheus::proto::Metric>,
) -> Row<Process> {
    Row { spec, read }
}

fn some(spec: &Spec, value: Option<f64>) -> Vec<prometheus::proto::Metric> {
    value.map(|value| spec.sample_f64(&[], value)).into_iter().collect()
}

pub(crate) const ROWS: &[Row<Process>] = &[
    row(
        Spec::counter("process_cpu_seconds_total", "User and system processor time.", &[]),
        |spec, process| some(spec, process.cpu_seconds),
    ),
    row(Spec::gauge("process_threads", "Threads.", &[]), |spec, process| {
        some(spec, process.threads)
    }),
    row(
        Spec::gauge("process_start_time_seconds", "Start, in seconds since the epoch.", &[]),
        |spec, process| some(spec, process.start_seconds),
    ),
    row(Spec::gauge("process_virtual_memory_bytes", "Address space.", &[]), |spec, process| {
        some(spec, process.virtual_bytes)
    }),
    row(Spec::gauge("process_resident_memory_bytes", "Resident memory.", &[]), |spec, process| {
        some(spec, process.resident_bytes)
    }),
    row(Spec::gauge("process_open_fds", "Open file descriptors.", &[]), |spec, process| {
        some(spec, process.open_fds)
    }),
    row(Spec::gauge("process_max_fds", "Limit of open file descriptors.", &[]), |spec, process| {
        some(spec, process.max_fds)
    }),
];

#[derive(Debug)]
pub(crate) struct ProcessCollector {
    descs: Vec<Desc>,
}

impl ProcessCollector {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self { descs: descs(ROWS)? })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        collect(ROWS, std::iter::once(&Process::read()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_whatever_the_command_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1000 5 6";
        let status = "Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\n";
        let limits =
            "Limit  Soft Limit Hard Limit Units\nMax open files            1024    4096    files\n";
        let process = Process::parse(stat, status, limits, "cpu 1\nbtime 1700000000\n");
        assert_eq!(process.cpu_seconds, Some(3.0));
        assert_eq!(process.threads, Some(9.0));
        assert_eq!(process.start_seconds, Some(1_700_000_010.0));
        assert_eq!(process.virtual_bytes, Some(2.0 * 1024.0 * 1024.0));
        assert_eq!(process.resident_bytes, Some(512.0 * 1024.0));
        assert_eq!(process.max_fds, Some(1024.0));
    }

    #[test]
    fn without_proc_there_is_nothing_rather_than_zero() {
        assert_eq!(Process::parse("", "", "", ""), Process::default());
        let unlimited = "Max open files            unlimited    unlimited    files";
        assert_eq!(Process::parse("", "", unlimited, "").max_fds, None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_every_number() {
        let process = Process::read();
        assert!(process.threads.unwrap() >= 1.0);
        assert!(process.resident_bytes.unwrap() > 0.0);
        assert!(process.open_fds.unwrap() >= 3.0);
        assert!(process.start_seconds.unwrap() > 1_500_000_000.0);
        assert!(process.cpu_seconds.is_some() && process.virtual_bytes.is_some());
    }
}
