//! `[shutdown]`: how the process ends.

use std::time::Duration;

use super::OPTIONAL;
use crate::Shutdown;
use crate::section::Section;

/// Well within the 90 s that systemd waits before it kills, and what Kubernetes gives a pod.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Ten thousand clients in ten seconds: others take as many logins.
const DRAIN_RATE: u32 = 1000;

pub(super) fn read(section: &Section<'_>) -> Shutdown {
    Shutdown {
        drain_timeout: section.duration("drain_timeout", DRAIN_TIMEOUT, OPTIONAL),
        drain_rate: section.integer("drain_rate", DRAIN_RATE, 0..=u32::MAX),
    }
}
