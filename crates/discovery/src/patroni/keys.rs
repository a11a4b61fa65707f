//! Patroni's keys in etcd, below the scope's prefix.

use topology::{Address, Change, Member, NodeName, Replay, SourceState, Switchover, Synchronous};

use super::Malformed;
use super::word::{self, Object};

/// Longest `scheduled_at` that is kept, in bytes; an ISO 8601 time has 32.
const SCHEDULED_AT_MAX: usize = 64;

/// Whether [`change`] reads the key; `history`, `initialize` and other groups' are not
/// worth a log line.
pub(crate) fn is_etcd_key(key: &str) -> bool {
    matches!(key, "config" | "failover" | "leader" | "status" | "sync")
        || key.starts_with("members/")
}

/// What a key's value (`None`: deleted) means, and what was wrong with it. `key` is relative to
/// the scope's prefix. Gives nothing for keys that are not read.
pub(crate) fn change(key: &str, value: Option<&[u8]>) -> (Option<Change>, Option<Malformed>) {
    let (change, error) = match key {
        "config" => {
            let (paused, error) = read(value, |v| Ok(word::is_true(&word::object(v)?, "pause")));
            (Change::Config { paused: paused.unwrap_or(false) }, error)
        }
        "failover" => {
            let (request, error) = read(value, failover);
            (Change::FailoverRequest(request.flatten()), error)
        }
        "leader" => {
            let (name, error) = read(value, name);
            (Change::Leader(name), error)
        }
        "status" => {
            let (lsn, error) = read(value, |v| Ok(word::lsn(&word::object(v)?, "optime")));
            (Change::Status(lsn.flatten()), error)
        }
        "sync" => {
            let (synchronous, error) = read(value, synchronous);
            (Change::Sync(synchronous.unwrap_or_default()), error)
        }
        _ => {
            let Some(member_name) = key.strip_prefix("members/") else { return (None, None) };
            match NodeName::new(member_name) {
                Ok(name) => {
                    let (member, error) = read(value, member);
                    (Change::Member(name, member), error)
                }
                Err(error) => return (None, Some(error.into())),
            }
        }
    };
    (Some(change), error)
}

fn read<T>(
    value: Option<&[u8]>,
    parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> (Option<T>, Option<Malformed>) {
    match value.map(parse) {
        Some(Ok(parsed)) => (Some(parsed), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    }
}

fn name(value: &[u8]) -> Result<NodeName, Malformed> {
    let text = std::str::from_utf8(value).map_err(|_| Malformed::Json)?;
    Ok(NodeName::new(text)?)
}

fn member(value: &[u8]) -> Result<Member, Malformed> {
    let object = word::object(value)?;
    let url = word::text(&object, "conn_url").ok_or(Malformed::NoConnUrl)?;
    Ok(Member {
        address: Address::from_conn_url(url)?,
        role: word::role(&object),
        state: word::state(&object),
        timeline: word::timeline(&object),
        replay: replay(&object),
        noloadbalance: word::noloadbalance(&object),
        nofailover: word::nofailover(&object),
    })
}

/// `replay_lsn` is newer; `xlog_location` is what every version has.
fn replay(object: &Object) -> Replay {
    let lsn = word::lsn(object, "replay_lsn").or_else(|| word::lsn(object, "xlog_location"));
    lsn.map_or(Replay::Unknown, Replay::At)
}

/// An empty object is how Patroni takes a request back; an unusable name is as good as none.
fn failover(value: &[u8]) -> Result<Option<Switchover>, Malformed> {
    if value.is_empty() {
        return Ok(None);
    }
    let object = word::object(value)?;
    let name = |field| word::text(&object, field).and_then(|text| NodeName::new(text).ok());
    let (from, to) = (name("leader"), name("member"));
    let scheduled_at = word::text(&object, "scheduled_at")
        .filter(|text| text.len() <= SCHEDULED_AT_MAX && !text.chars().any(char::is_control));
    let request = Switchover { from, to, scheduled_at: scheduled_at.map(Into::into) };
    let asked = request.from.is_some() || request.to.is_some();
    Ok(asked.then_some(request))
}

/// Names that cannot be are left out; so are those beyond the most members that are kept.
fn synchronous(value: &[u8]) -> Result<Synchronous, Malformed> {
    if value.is_empty() {
        return Ok(Synchronous::default());
    }
    let object = word::object(value)?;
    let name = |text: &str| NodeName::new(text.trim()).ok();
    let standbys = word::text(&object, "sync_standby").unwrap_or_default().split(',');
    Ok(Synchronous {
        leader: word::text(&object, "leader").and_then(name),
        standbys: standbys.filter_map(name).take(SourceState::MEMBERS_MAX).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use topology::{AddressError, Lsn, NameError, NodeState, Role, Timeline};

    use super::super::VALUE_MAX;
    use super::*;

    // As Patroni 3.0.2 wrote them through a switchover.
    const REPLICA: &str = r#"{"conn_url":"postgres://127.0.0.1:25431/postgres","api_url":"http://127.0.0.1:28081/patroni","state":"running","role":"replica","version":"3.0.2","proxy_url":"postgres://127.0.0.1:26431/postgres","xlog_location":50332040,"timeline":1}"#;
    const MASTER: &str = r#"{"conn_url":"postgres://127.0.0.1:25431/postgres","api_url":"http://127.0.0.1:28081/patroni","state":"running","role":"master","version":"3.0.2","proxy_url":"postgres://127.0.0.1:26431/postgres","xlog_location":50332320,"timeline":2,"pause":true}"#;
    const STOPPING: &str = r#"{"conn_url":"postgres://127.0.0.1:25432/postgres","api_url":"http://127.0.0.1:28082/patroni","state":"stopping","role":"demoted","version":"3.0.2","proxy_url":"postgres://127.0.0.1:26432/postgres"}"#;
    const TAGGED: &str = r#"{"conn_url":"postgres://127.0.0.1:25432/postgres","api_url":"http://127.0.0.1:28082/patroni","state":"running","role":"replica","version":"3.0.2","tags":{"noloadbalance":true},"xlog_location":50332320,"timeline":2}"#;
    const PAUSED: &str = r#"{"ttl":20,"loop_wait":2,"retry_timeout":4,"maximum_lag_on_failover":1048576,"postgresql":{"use_pg_rewind":true},"pause":true}"#;

    fn put(key: &str, value: &str) -> (Option<Change>, Option<Malformed>) {
        change(key, Some(value.as_bytes()))
    }

    fn member_of(value: &str) -> Member {
        match put("members/n1", value) {
            (Some(Change::Member(_, Some(member))), None) => member,
            other => panic!("{other:?}"),
        }
    }

    fn n(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[test]
    fn members_of_patroni_3_0_2() {
        let expected = Member {
            address: Address::new("127.0.0.1", 25431).unwrap(),
            role: Role::Replica,
            state: NodeState::Running,
            timeline: Some(Timeline(1)),
            replay: Replay::At(Lsn(50_332_040)),
            noloadbalance: false,
            nofailover: false,
        };
        assert_eq!(member_of(REPLICA), expected);
        let master = member_of(MASTER);
        assert_eq!((master.role, master.timeline), (Role::Primary, Some(Timeline(2))));
        let stopping = member_of(STOPPING);
        assert_eq!((stopping.role, stopping.state), (Role::Demoted, NodeState::Stopping));
        assert_eq!((stopping.timeline, stopping.replay), (None, Replay::Unknown));
        assert!(member_of(TAGGED).noloadbalance);
    }

    #[test]
    fn members_of_newer_versions() {
        let member = member_of(
            r#"{"conn_url":"postgres://[fd00::2]:5432/postgres","state":"running","role":"primary",
            "replication_state":"in archive recovery","receive_lsn":20,"replay_lsn":10,
            "xlog_location":20,"tags":{"noloadbalance":"yes","failover_priority":0}}"#,
        );
        assert!(member.nofailover);
        assert!(
            member_of(r#"{"conn_url":"postgres://h:1/","tags":{"nofailover":true}}"#).nofailover
        );
        assert_eq!(member.address.to_string(), "[fd00::2]:5432");
        assert_eq!((member.role, member.state), (Role::Primary, NodeState::ArchiveRecovery));
        assert_eq!((member.replay, member.noloadbalance), (Replay::At(Lsn(10)), true));
    }

    #[test]
    fn the_other_keys() {
        assert_eq!(put("leader", "n2").0, Some(Change::Leader(Some(n("n2")))));
        assert_eq!(change("leader", None), (Some(Change::Leader(None)), None));
        let status = Change::Status(Some(Lsn(50_332_320)));
        assert_eq!(put("status", r#"{"optime":50332320}"#), (Some(status), None));
        assert_eq!(put("config", PAUSED).0, Some(Change::Config { paused: true }));
        assert_eq!(put("config", r#"{"ttl":20}"#).0, Some(Change::Config { paused: false }));
        let scheduled =
            r#"{"leader":"n1","member":"n2","scheduled_at":"2030-01-01T00:00:00+00:00"}"#;
        let request = Switchover {
            from: Some(n("n1")),
            to: Some(n("n2")),
            scheduled_at: Some("2030-01-01T00:00:00+00:00".into()),
        };
        assert_eq!(put("failover", scheduled).0, Some(Change::FailoverRequest(Some(request))));
        assert_eq!(put("failover", "{}"), (Some(Change::FailoverRequest(None)), None));
        let standbys = ["n2", "n3"].map(n).into();
        let synchronous = Synchronous { leader: Some(n("n1")), standbys };
        let written = r#"{"leader":"n1","sync_standby":"n2,n3"}"#;
        assert_eq!(put("sync", written).0, Some(Change::Sync(synchronous)));
        for none in [r#"{"leader":null,"sync_standby":null}"#, "", "{}"] {
            assert_eq!(put("sync", none), (Some(Change::Sync(Synchronous::default())), None));
        }
        for key in ["history", "initialize", "0/leader", "members", ""] {
            assert_eq!(put(key, "[]"), (None, None), "{key}");
            assert!(!is_etcd_key(key), "{key}");
        }
    }

    #[test]
    fn wrong_types_are_as_good_as_absent() {
        let member = member_of(
            r#"{"conn_url":"postgres://h:1/","role":7,"state":[],"timeline":"two","tags":[1],
            "xlog_location":-5,"replay_lsn":1e99}"#,
        );
        assert_eq!((member.role, member.state), (Role::Other, NodeState::Unknown));
        assert_eq!((member.timeline, member.replay), (None, Replay::Unknown));
        assert_eq!(
            member_of(r#"{"conn_url":"postgres://h:1/","timeline":4294967296}"#).timeline,
            None
        );
    }

    #[test]
    fn an_unusable_member_is_absent_with_a_reason() {
        let reason = |value: &str| match put("members/n1", value) {
            (Some(Change::Member(name, None)), Some(reason)) if name == n("n1") => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason("{"), Malformed::Json);
        assert_eq!(reason("[]"), Malformed::Json);
        assert_eq!(reason(""), Malformed::Json);
        assert_eq!(reason("{}"), Malformed::NoConnUrl);
        assert_eq!(reason(r#"{"conn_url":5}"#), Malformed::NoConnUrl);
        let url = |url: &str| reason(&format!(r#"{{"conn_url":"{url}"}}"#));
        assert_eq!(url("http://h:1"), Malformed::Address(AddressError::Scheme));
        assert_eq!(reason(&"[".repeat(100_000)), Malformed::Json);
        assert_eq!(reason(&" ".repeat(VALUE_MAX + 1)), Malformed::TooLong);
        assert_eq!(put("members/", "{}"), (None, Some(Malformed::Name(NameError::Empty))));
        assert_eq!(put("leader", ""), (Some(Change::Leader(None)), Some(NameError::Empty.into())));
    }

    #[test]
    fn reasons_quote_nothing() {
        let (_, reason) = put("members/n1", r#"{"conn_url":"postgres://u:s3cret@:0/"}"#);
        assert!(!reason.unwrap().to_string().contains("s3cret"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            key in "(config|failover|leader|status|sync|members/[a-z]{0,3}|[a-z/]{0,8})",
            value in prop::collection::vec(any::<u8>(), 0..64),
            json in "[{\\[]?(\"(conn_url|role|state|timeline|tags|leader)\":[0-9{}\"a-z/:.-]{0,9},?){0,5}[}\\]]?",
        ) {
            let _ = change(&key, Some(&value));
            let _ = put(&key, &json);
        }
    }
}
