//! What processes have used: processor time and memory, from /proc.

use std::collections::HashMap;
use std::fs;

use anyhow::Context;

/// Nanoseconds on a processor, user and system together, of every thread by its id.
///
/// From `schedstat`, because the times in `stat` are whole hundredths of a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Processor(HashMap<u32, u64>);

impl Processor {
    /// What the processes have used so far.
    ///
    /// # Errors
    /// A process is gone, or the kernel keeps no such statistics.
    pub(crate) fn of(processes: &[u32]) -> anyhow::Result<Self> {
        let mut threads = HashMap::new();
        for process in processes {
            let directory = format!("/proc/{process}/task");
            let entries = fs::read_dir(&directory).with_context(|| format!("read {directory}"))?;
            for entry in entries.flatten() {
                // A thread may end between the two looks.
                let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
                let thread = entry.file_name().to_string_lossy().parse();
                let spent = text.split(' ').next().map(str::parse);
                if let (Ok(thread), Some(Ok(spent))) = (thread, spent) {
                    threads.insert(thread, spent);
                }
            }
        }
        anyhow::ensure!(!threads.is_empty(), "no scheduler statistics in /proc/PID/task");
        Ok(Self(threads))
    }

    /// Nanoseconds used since `earlier`. What a thread used before it ended in between is not known
    /// and not counted; the proxies' threads stay.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        let spent = self.0.iter().map(|(thread, now)| {
            now.saturating_sub(earlier.0.get(thread).copied().unwrap_or_default())
        });
        spent.sum()
    }
}

/// Proportional memory of the processes together, in KiB.
///
/// # Errors
/// A process is gone or is somebody else's.
pub(crate) fn memory(processes: &[u32]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for process in processes {
        let path = format!("/proc/{process}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        sum += pss(&text).with_context(|| format!("no Pss in {path}"))?;
    }
    Ok(sum)
}

fn pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pss_is_one_line_of_many() {
        let rollup = "00-ff ---p [rollup]\nRss:     9 kB\nPss:      1234 kB\nPss_Anon:  7 kB\n";
        assert_eq!(pss(rollup), Some(1234));
        assert_eq!(pss("Rss: 9 kB\n"), None);
    }

    #[test]
    fn time_is_summed_over_threads_and_new_ones_count_whole() {
        let earlier = Processor(HashMap::from([(1, 100), (2, 50)]));
        let later = Processor(HashMap::from([(1, 130), (3, 7)]));
        assert_eq!(later.since(&earlier), 37);
    }

    #[test]
    fn our_own_process_can_be_read() {
        let processes = [std::process::id()];
        assert!(Processor::of(&processes).is_ok());
        assert!(memory(&processes).unwrap() > 0);
        assert!(Processor::of(&[u32::MAX]).is_err());
    }
}
