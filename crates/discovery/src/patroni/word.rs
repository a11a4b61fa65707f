//! The words that several of Patroni's documents share.

use serde_json::{Map, Value};
use topology::{Lsn, NodeState, Role, Timeline};

use super::{Malformed, VALUE_MAX};

pub(super) type Object = Map<String, Value>;

/// The object that a value holds; nesting is bounded by the parser.
pub(super) fn object(value: &[u8]) -> Result<Object, Malformed> {
    if value.len() > VALUE_MAX {
        return Err(Malformed::TooLong);
    }
    serde_json::from_slice(value).map_err(|_| Malformed::Json)
}

pub(super) fn text<'a>(object: &'a Object, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A true as Patroni's configuration knows it: `true`, `1`, `"on"`, `"yes"`, `"true"`.
pub(super) fn is_true(object: &Object, field: &str) -> bool {
    match object.get(field) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_i64() == Some(1),
        Some(Value::String(text)) => {
            ["on", "true", "yes", "1"].iter().any(|word| word.eq_ignore_ascii_case(text))
        }
        _ => false,
    }
}

pub(super) fn noloadbalance(object: &Object) -> bool {
    object.get("tags").and_then(Value::as_object).is_some_and(|tags| is_true(tags, "noloadbalance"))
}

/// Tagged never to become the primary: `nofailover`, or since 3.2 a priority of zero.
pub(super) fn nofailover(object: &Object) -> bool {
    object.get("tags").and_then(Value::as_object).is_some_and(|tags| {
        let priority = tags.get("failover_priority").and_then(Value::as_i64);
        is_true(tags, "nofailover") || priority.is_some_and(|priority| priority <= 0)
    })
}

pub(super) fn timeline(object: &Object) -> Option<Timeline> {
    let number = object.get("timeline")?.as_u64()?;
    u32::try_from(number).ok().filter(|number| *number > 0).map(Timeline)
}

pub(super) fn lsn(object: &Object, field: &str) -> Option<Lsn> {
    object.get(field)?.as_u64().filter(|lsn| *lsn > 0).map(Lsn)
}

/// Roles in member records (`master` until 4.0, `primary` since) and in `/cluster`.
pub(super) fn role(object: &Object) -> Role {
    match text(object, "role") {
        Some("master" | "primary" | "promoted" | "leader") => Role::Primary,
        Some("replica" | "sync_standby" | "quorum_standby") => Role::Replica,
        Some("demoted") => Role::Demoted,
        Some("standby_leader") => Role::StandbyLeader,
        Some(_) | None => Role::Other,
    }
}

pub(super) fn is_synchronous(object: &Object) -> bool {
    matches!(text(object, "role"), Some("sync_standby" | "quorum_standby"))
}

/// `state`, refined by `replication_state` where a version has it.
pub(super) fn state(object: &Object) -> NodeState {
    let state = text(object, "state").map_or(NodeState::Unknown, state_word);
    match text(object, "replication_state") {
        Some("in archive recovery") if state == NodeState::Running => NodeState::ArchiveRecovery,
        Some(_) | None => state,
    }
}

fn state_word(word: &str) -> NodeState {
    const STARTING: [&str; 6] =
        ["starting", "restarting", "creating", "initializ", "bootstrap", "running custom"];
    match word {
        "running" | "streaming" => NodeState::Running,
        "in archive recovery" => NodeState::ArchiveRecovery,
        "stopping" => NodeState::Stopping,
        "stopped" => NodeState::Stopped,
        "crashed" => NodeState::Failed,
        failed if failed.ends_with("failed") => NodeState::Failed,
        early if STARTING.iter().any(|word| early.starts_with(word)) => NodeState::Starting,
        _ => NodeState::Unknown,
    }
}
