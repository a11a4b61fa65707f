//! `/cluster` and `/pools`. The names in them are stable; docs/status-page.md has them.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::history::{millis, seconds};
use super::{Cluster, PoolsView, Reign, Start};
use crate::Readiness;
use crate::rows::{FailoverRow, Flag, NodeRow, PoolRow};

/// What `/cluster` says, without the time.
pub(crate) fn cluster(cluster: &Cluster, readiness: &Readiness) -> Value {
    json!({
        "version": cluster.version,
        "ready": readiness.is_ready(),
        "reason": readiness.reason(),
        "draining": readiness.draining,
        "paused": cluster.paused,
        "standing": cluster.standing,
        "leader": cluster.reign.as_ref().map(leader),
        "nodes": cluster.nodes.iter().map(node).collect::<Vec<_>>(),
        "failovers": cluster.failovers.iter().map(failover).collect::<Vec<_>>(),
    })
}

/// What `/pools` says, without the time.
pub(crate) fn pools(view: &PoolsView) -> Value {
    let pools = view.pools.iter().zip(&view.sizes).map(|(row, size)| pool(row, *size));
    json!({
        "clients": view.clients,
        "clients_max": view.clients_max,
        "pools": pools.collect::<Vec<_>>(),
    })
}

/// Adds the time to one of these.
pub(crate) fn at(now: SystemTime, mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.insert("time".to_owned(), json!(seconds(now)));
    }
    value
}

fn leader(reign: &Reign) -> Value {
    json!({
        "node": reign.node,
        "epoch": reign.epoch,
        "since": seconds(reign.since),
        "since_before": reign.start == Start::Before,
    })
}

fn node(row: &NodeRow) -> Value {
    let is = |flag: Flag| flag == Flag::Yes;
    json!({
        "group": row.group,
        "node": row.node,
        "role": row.role,
        "state": row.state,
        "leader": is(row.leader),
        "address": row.address,
        "timeline": row.timeline,
        "lag_bytes": row.lag_bytes,
        "sync": is(row.sync),
        "epoch": row.epoch,
        "standing": row.standing,
        "proof": row.proof,
        "drained": is(row.drained),
        "switchover": row.switchover,
    })
}

fn failover(row: &FailoverRow) -> Value {
    json!({
        "started": seconds(row.started),
        "kind": row.kind,
        "from": row.from,
        "to": row.to,
        "epoch": row.epoch,
        "timeline": row.timeline,
        "detect_ms": millis(row.detect),
        "hold_ms": millis(row.hold),
        "first_success_ms": millis(row.first_success),
        "clients_held": row.clients_held,
        "outcome": row.outcome,
    })
}

fn pool(row: &PoolRow, size: u64) -> Value {
    json!({
        "database": row.database,
        "user": row.user,
        "role": row.role,
        "mode": row.mode.as_str(),
        "size": size,
        "clients_active": row.clients_active,
        "clients_waiting": row.clients_waiting,
        "clients_held": row.clients_held,
        "max_wait_ms": millis(Some(row.max_wait)),
        "servers_active": row.servers_active,
        "servers_pinned": row.servers_pinned,
        "servers_idle": row.servers_idle,
        "servers_tested": row.servers_tested,
        "servers_login": row.servers_login,
        "servers_warm": row.servers_warm,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::rows::PoolMode;

    #[test]
    fn a_failover_is_shown_in_milliseconds() {
        let row = FailoverRow {
            started: UNIX_EPOCH + Duration::from_millis(1500),
            kind: "failover".to_owned(),
            from: Some("n1".to_owned()),
            to: None,
            epoch: 3,
            timeline: None,
            detect: Some(Duration::from_micros(1500)),
            hold: None,
            first_success: None,
            clients_held: 4,
            outcome: "under way".to_owned(),
        };
        assert_eq!(
            failover(&row),
            json!({
                "started": 1.5, "kind": "failover", "from": "n1", "to": null, "epoch": 3,
                "timeline": null, "detect_ms": 1.5, "hold_ms": null, "first_success_ms": null,
                "clients_held": 4, "outcome": "under way",
            })
        );
    }

    #[test]
    fn before_anything_is_known_there_is_json_all_the_same() {
        let shown = cluster(&Cluster::default(), &Readiness::default());
        assert_eq!((&shown["leader"], &shown["reason"]), (&json!(null), &json!("no_primary")));
        let shown = at(UNIX_EPOCH + Duration::from_secs(7), pools(&PoolsView::default()));
        assert_eq!(shown, json!({"time": 7.0, "clients": 0, "clients_max": 0, "pools": []}));
    }

    #[test]
    fn names_of_clients_stay_inside_their_strings() {
        let row = PoolRow {
            database: "a\"}<script>\n\u{2028}".to_owned(),
            user: "u".to_owned(),
            role: "primary".to_owned(),
            clients_active: 2,
            clients_waiting: 1,
            clients_cancelling: 0,
            clients_waiting_to_cancel: 0,
            servers_active: 1,
            servers_cancelling: 0,
            servers_being_cancelled: 0,
            servers_idle: 0,
            servers_tested: 0,
            servers_login: 0,
            max_wait: Duration::from_millis(1250),
            mode: PoolMode::Transaction,
            servers_warm: 0,
            clients_held: 0,
            servers_pinned: 0,
        };
        let text = pool(&row, 25).to_string();
        assert!(!text.contains('\n'), "an event is one line: {text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["database"], row.database);
        assert_eq!((&read["max_wait_ms"], &read["size"]), (&json!(1250.0), &json!(25)));
    }
}
