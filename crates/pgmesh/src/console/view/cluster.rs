//! `SHOW CLUSTER`.

use std::sync::Arc;

use admin::rows::{Flag, NodeRow};
use topology::{Node, NodeName, Snapshot, Standing};

/// Every node: ours first, then those of the other Citus groups.
pub(crate) fn nodes(snapshot: &Snapshot) -> Vec<NodeRow> {
    let ours = snapshot.nodes().iter().map(|node| of_ours(snapshot, node));
    let others = snapshot.groups().iter().flat_map(|group| {
        let leader = group.leader.as_ref();
        group.nodes.iter().map(move |node| row(Some(u64::from(group.id)), leader, node))
    });
    ours.chain(others).collect()
}

fn of_ours(snapshot: &Snapshot, node: &Arc<Node>) -> NodeRow {
    let row = NodeRow {
        drained: snapshot.orders().is_drained(&node.name).into(),
        switchover: switchover(snapshot, node),
        ..row(None, snapshot.leader(), node)
    };
    if snapshot.primary().is_none_or(|primary| primary.name != node.name) {
        return row;
    }
    let standing = snapshot.standing();
    NodeRow {
        epoch: Some(snapshot.epoch().get()),
        standing: Some(standing.as_str().to_owned()),
        proof: proof(standing).map(str::to_owned),
        ..row
    }
}

fn row(group: Option<u64>, leader: Option<&NodeName>, node: &Node) -> NodeRow {
    NodeRow {
        group,
        node: node.name.to_string(),
        role: node.role.as_str().to_owned(),
        state: node.state.as_str().to_owned(),
        leader: Flag::from(leader == Some(&node.name)),
        address: node.address.to_string(),
        timeline: node.timeline.map(|timeline| u64::from(timeline.0)),
        lag_bytes: node.lag,
        sync: Flag::from(node.sync),
        epoch: None,
        standing: None,
        proof: None,
        drained: Flag::No,
        switchover: None,
    }
}

/// What lets transactions begin on the primary.
fn proof(standing: Standing) -> Option<&'static str> {
    match standing {
        Standing::Proven => Some("probe"),
        // Each login looks whether its server is in recovery.
        Standing::Named => Some("login"),
        Standing::LeaderGone
        | Standing::NoAddress
        | Standing::OldTimeline
        | Standing::Promoting
        | Standing::Recovering
        | Standing::StandbyLeader
        | Standing::Suspect
        | Standing::SwitchingOver
        | Standing::Unknown
        | Standing::Unproven => None,
    }
}

fn switchover(snapshot: &Snapshot, node: &Node) -> Option<String> {
    let request = snapshot.switchover()?;
    let when = request.scheduled_at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    if request.from.as_ref() == Some(&node.name) {
        return Some(format!("steps down{when}"));
    }
    (request.to.as_ref() == Some(&node.name)).then(|| format!("follows{when}"))
}
