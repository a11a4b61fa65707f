//! On what was measured, and whether it was left in peace.

use std::fs;

use serde_json::{Value, json};

/// Runnable processes of others, on average, above which figures are doubtful.
const LOAD_MAX: f64 = 0.5;

/// What figures depend on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) kernel: String,
    /// The load average of the last minute before the bench.
    pub(crate) load: f64,
    /// Names and versions of what was measured.
    pub(crate) versions: Vec<(String, String)>,
}

impl Machine {
    /// This one, now.
    pub(crate) fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            processor: model(&read("/proc/cpuinfo")).to_owned(),
            processors,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load(&read("/proc/loadavg")),
            versions: Vec::new(),
        }
    }

    /// What to say if somebody else uses the processors.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.load > LOAD_MAX).then(|| {
            format!(
                "the load average is {:.2}: whatever else runs here is measured too, let it end",
                self.load
            )
        })
    }

    pub(crate) fn json(&self) -> Value {
        let versions: serde_json::Map<String, Value> =
            self.versions.iter().map(|(name, version)| (name.clone(), json!(version))).collect();
        json!({
            "processor": self.processor,
            "processors": self.processors,
            "kernel": self.kernel,
            "load_before": self.load,
            "versions": versions,
        })
    }
}

fn model(cpuinfo: &str) -> &str {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name.trim())
}

fn load(loadavg: &str) -> f64 {
    loadavg.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        assert_eq!(model("processor : 0\nmodel name\t: A B @ 2GHz\n"), "A B @ 2GHz");
        assert_eq!(model(""), "unknown");
        assert_eq!(load("0.75 0.5 0.1 1/2 3\n"), 0.75);
    }

    #[test]
    fn a_busy_machine_is_warned_of() {
        let machine = |load| Machine { load, ..Machine::default() };
        assert!(machine(2.0).warning().is_some());
        assert!(machine(0.1).warning().is_none());
    }
}
