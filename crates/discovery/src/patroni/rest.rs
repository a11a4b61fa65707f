//! The document of `GET /cluster`.

use serde_json::Value;
use topology::{Address, Member, NodeName, Replay, Role, SourceState, Switchover, Synchronous};

use super::Malformed;
use super::word::{self, Object};

/// The cluster as one node sees it, and the members that had to be left out.
///
/// # Errors
/// The document is no JSON object with a list of members.
pub(crate) fn cluster(body: &[u8]) -> Result<(SourceState, Vec<Malformed>), Malformed> {
    let document = word::object(body)?;
    let members = document.get("members").and_then(Value::as_array).ok_or(Malformed::Json)?;
    let mut state = SourceState {
        paused: word::is_true(&document, "pause"),
        switchover: switchover(&document),
        ..SourceState::default()
    };
    let mut left_out = Vec::new();
    let (mut leaders, mut standbys) = (Vec::new(), Vec::new());
    for value in members.iter().take(SourceState::MEMBERS_MAX) {
        match value.as_object().ok_or(Malformed::Json).and_then(member) {
            Ok((name, member)) => {
                if matches!(member.role, Role::Primary | Role::StandbyLeader) {
                    leaders.push(name.clone());
                }
                if value.as_object().is_some_and(word::is_synchronous) {
                    standbys.push(name.clone());
                }
                state.members.insert(name, member);
            }
            Err(reason) => left_out.push(reason),
        }
    }
    if leaders.len() > 1 {
        left_out.push(Malformed::TwoLeaders);
    } else {
        state.leader = leaders.pop();
        let leader = state.leader.clone();
        state.synchronous = Synchronous { leader, standbys: standbys.into() };
    }
    Ok((state, left_out))
}

fn member(object: &Object) -> Result<(NodeName, Member), Malformed> {
    let name = NodeName::new(word::text(object, "name").unwrap_or_default())?;
    let host = word::text(object, "host").ok_or(Malformed::NoConnUrl)?;
    let port = object.get("port").and_then(Value::as_u64).unwrap_or(5432);
    let port = u16::try_from(port).map_err(|_| topology::AddressError::Port)?;
    let member = Member {
        address: Address::new(host, port)?,
        role: word::role(object),
        state: word::state(object),
        timeline: word::timeline(object),
        replay: replay(object),
        noloadbalance: word::noloadbalance(object),
        nofailover: word::nofailover(object),
    };
    Ok((name, member))
}

/// `lag` is a number of bytes or `"unknown"`; newer versions tell replay from receive.
fn replay(object: &Object) -> Replay {
    let bytes = |field| object.get(field).and_then(Value::as_u64);
    bytes("replay_lag").or_else(|| bytes("lag")).map_or(Replay::Unknown, Replay::Behind)
}

fn switchover(document: &Object) -> Option<Switchover> {
    let request = document.get("scheduled_switchover")?.as_object()?;
    let name = |field| word::text(request, field).and_then(|text| NodeName::new(text).ok());
    let at = word::text(request, "at").filter(|at| at.len() <= 64);
    Some(Switchover { from: name("from"), to: name("to"), scheduled_at: at.map(Into::into) })
}

#[cfg(test)]
mod tests {
    use topology::{NodeState, Timeline};

    use super::*;

    // As Patroni 3.0.2 answered.
    const SCHEDULED: &str = r#"{"members": [{"name": "n1", "role": "leader", "state": "running", "api_url": "http://127.0.0.1:28081/patroni", "host": "127.0.0.1", "port": 25431, "timeline": 2}, {"name": "n2", "role": "replica", "state": "running", "api_url": "http://127.0.0.1:28082/patroni", "host": "127.0.0.1", "port": 25432, "timeline": 2, "lag": 0}], "scheduled_switchover": {"at": "2030-01-01T00:00:00+00:00", "from": "n1", "to": "n2"}}"#;
    const PAUSED: &str = r#"{"members": [{"name": "n1", "role": "leader", "state": "running", "api_url": "http://127.0.0.1:28081/patroni", "host": "127.0.0.1", "port": 25431, "timeline": 2}, {"name": "n2", "role": "replica", "state": "running", "api_url": "http://127.0.0.1:28082/patroni", "host": "127.0.0.1", "port": 25432, "timeline": 2, "tags": {"noloadbalance": true}, "lag": 0}], "pause": true}"#;

    fn n(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[test]
    fn clusters_of_patroni_3_0_2() {
        let (state, left_out) = cluster(SCHEDULED.as_bytes()).unwrap();
        assert_eq!(left_out, []);
        assert_eq!(state.leader, Some(n("n1")));
        let replica = &state.members[&n("n2")];
        assert_eq!(replica.address.to_string(), "127.0.0.1:25432");
        assert_eq!((replica.role, replica.state), (Role::Replica, NodeState::Running));
        assert_eq!((replica.timeline, replica.replay), (Some(Timeline(2)), Replay::Behind(0)));
        assert_eq!(state.switchover.and_then(|s| s.to), Some(n("n2")));
        assert!(!state.paused);

        let (state, _) = cluster(PAUSED.as_bytes()).unwrap();
        assert!(state.paused && state.members[&n("n2")].noloadbalance);
        assert_eq!(state.switchover, None);
    }

    #[test]
    fn synchronous_standbys_have_a_role_of_their_own() {
        let body = r#"{"members": [{"name": "a", "host": "h", "role": "leader"},
            {"name": "b", "host": "h", "role": "replica"},
            {"name": "c", "host": "h", "role": "sync_standby"}]}"#;
        let (state, _) = cluster(body.as_bytes()).unwrap();
        assert_eq!(state.members[&n("c")].role, Role::Replica);
        assert_eq!(state.synchronous.leader, Some(n("a")));
        assert_eq!(*state.synchronous.standbys, [n("c")]);
    }

    #[test]
    fn a_bad_member_is_left_out_alone() {
        let body = r#"{"members": [7, {"name": "a"}, {"host": "h"}, {"name": "b", "host": "h", "port": 70000},
            {"name": "c", "host": "h", "lag": "unknown", "role": "standby_leader"}]}"#;
        let (state, left_out) = cluster(body.as_bytes()).unwrap();
        assert_eq!(left_out.len(), 4);
        assert_eq!(state.members.keys().collect::<Vec<_>>(), [&n("c")]);
        assert_eq!(state.leader, Some(n("c")));
    }

    #[test]
    fn two_leaders_are_none() {
        let body = r#"{"members": [{"name": "a", "host": "h", "role": "leader"},
            {"name": "b", "host": "h", "role": "leader"}]}"#;
        let (state, left_out) = cluster(body.as_bytes()).unwrap();
        assert_eq!((state.leader, left_out), (None, vec![Malformed::TwoLeaders]));
    }

    #[test]
    fn no_document_is_an_error() {
        for body in ["", "[]", "{}", r#"{"members": {}}"#, "<html>"] {
            assert_eq!(cluster(body.as_bytes()).unwrap_err(), Malformed::Json, "{body}");
        }
    }
}
