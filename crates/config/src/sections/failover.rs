//! `[failover]`, and what of `[cluster]` says who serves reads.

use std::time::Duration;

use ::pool::{Config, HoldLimits};
use topology::{Fallback, RoutePolicy};

use super::{ANY, BOUNDED, SOME};
use crate::section::Section;
use crate::settings::{Failover, Pool};

/// A fast stop checkpoints first: a busy primary may take seconds to begin to refuse.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

const FALLBACKS: &[(&str, Fallback)] = &[("none", Fallback::None), ("primary", Fallback::Primary)];

/// Reads the section; what belongs to each pool goes into `pool`.
pub(super) fn read(section: &Section<'_>, pool: &mut Pool) -> Failover {
    let default = Config::default();
    pool.config.hold_timeout = section.duration("hold_timeout", default.hold_timeout, BOUNDED);
    pool.config.warm_standby_size =
        section.integer("warm_standby_size", default.warm_standby_size, ANY);
    let drain_timeout = section.duration("drain_timeout", DRAIN_TIMEOUT, BOUNDED);
    let default = HoldLimits::default();
    let clients = section.integer("max_held", default.clients, SOME);
    let bytes = section.size("max_held_bytes", default.bytes as u64);
    // More than can be addressed cannot be held either.
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    Failover { drain_timeout, hold: HoldLimits { clients, bytes } }
}

/// Which replicas serve reads.
pub(super) fn routes(cluster: &Section<'_>) -> RoutePolicy {
    let default = RoutePolicy::default();
    RoutePolicy {
        max_replica_lag: cluster.optional_size("max_replica_lag"),
        replica_fallback: cluster.choice("replica_fallback", default.replica_fallback, FALLBACKS),
    }
}
