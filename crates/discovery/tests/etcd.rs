//! Following Patroni's keys in a real etcd.

#[path = "support/link.rs"]
mod link;
#[path = "support/node.rs"]
mod node;
mod support;

use std::time::{Duration, Instant};

use auth::{Rotating, Secret};
use discovery::{Config, Discovery, EtcdConfig, spawn};
use etcd_client::{Client, CompactionOptions, ConnectOptions, Permission, PermissionType};
use link::Link;
use node::{Node, cluster};
use support::{primary, route, until};
use testbed::Etcd;
use topology::{Access, Config as Rules, Refusal, Snapshot, Standing, Timeline};

/// Three members as Patroni 3.0.2 records them, n1 leading on timeline 1.
struct Store {
    etcd: Etcd,
    client: Client,
    prefix: String,
}

impl Store {
    async fn new(prefix: &str) -> Self {
        let etcd =
            tokio::task::spawn_blocking(Etcd::start).await.expect("no panic").expect("etcd starts");
        let client = Client::connect([etcd.endpoint()], None).await.expect("etcd answers");
        let mut store = Self { etcd, client, prefix: prefix.to_owned() };
        store.member("n1", "master", 1).await;
        store.member("n2", "replica", 1).await;
        store.member("n3", "replica", 1).await;
        store.put("leader", "n1").await;
        store
    }

    fn config(&self) -> EtcdConfig {
        EtcdConfig {
            // Long: a test that passes only by it would not end in time.
            refresh_interval: Duration::from_secs(600),
            ..EtcdConfig::new(vec![self.etcd.endpoint()], "demo")
        }
    }

    fn follow(&self) -> Discovery {
        spawn(Config::Etcd(self.config()), Rules::default(), None)
            .expect("the configuration is fit")
    }

    async fn put(&mut self, key: &str, value: &str) {
        let key = format!("{}{key}", self.prefix);
        self.client.put(key, value, None).await.expect("put");
    }

    async fn delete(&mut self, key: &str) {
        self.client.delete(format!("{}{key}", self.prefix), None).await.expect("delete");
    }

    async fn member(&mut self, name: &str, role: &str, timeline: u32) {
        let key = format!("members/{name}");
        self.put(&key, &member(name, role, timeline)).await;
    }

    /// Throws away all history up to now.
    async fn compact(&mut self) {
        let response = self.client.get("x", None).await.expect("get");
        let revision = response.header().expect("a header").revision();
        let physical = Some(CompactionOptions::new().with_physical());
        self.client.compact(revision, physical).await.expect("compact");
    }
}

fn member(name: &str, role: &str, timeline: u32) -> String {
    format!(
        r#"{{"conn_url":"postgres://{name}:5432/postgres","api_url":"http://{name}:8008/patroni",
        "state":"running","role":"{role}","version":"3.0.2","xlog_location":50332040,
        "timeline":{timeline}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_is_followed_key_by_key() {
    let mut store = Store::new("/service/demo/").await;
    let mut discovery = store.follow();
    let first = until(&mut discovery, |s| primary(s) == "n1").await;
    assert_eq!(first.epoch().get(), 1);
    assert_eq!(first.primary().unwrap().address.to_string(), "n1:5432");
    assert_eq!(route(&first, Access::ReadOnly), "n2 n3");

    store.put("failover", r#"{"leader":"n1","member":"n2"}"#).await;
    let asked = until(&mut discovery, |s| s.switchover().is_some()).await;
    assert_eq!(asked.standing(), Standing::SwitchingOver);
    assert_eq!(asked.candidates()[0].name.as_str(), "n2");
    store.put("status", r#"{"optime":50332140}"#).await;
    let lagging = until(&mut discovery, |s| s.nodes()[1].lag == Some(100)).await;
    assert_eq!(lagging.timeline(), Some(Timeline(1)));

    store.delete("leader").await;
    let between = until(&mut discovery, |s| s.leader().is_none()).await;
    assert_eq!(between.epoch().get(), 1);
    assert_eq!(between.route(Access::ReadWrite).unwrap_err(), Refusal::LeaderGone);
    store.put("leader", "n2").await;
    let named = until(&mut discovery, |s| primary(s) == "n2").await;
    assert_eq!(named.epoch().get(), 2);

    store.put("failover", "{}").await;
    store.member("n1", "replica", 2).await;
    store.member("n2", "master", 2).await;
    let promoted = until(&mut discovery, |s| s.timeline() == Some(Timeline(2))).await;
    assert_eq!(promoted.epoch().get(), 2);
    assert_eq!(route(&promoted, Access::ReadOnly), "n1 n3");
    assert!(promoted.switchover().is_none());

    store.put("config", r#"{"ttl":20,"pause":true}"#).await;
    until(&mut discovery, |s| s.paused()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_key_that_comes_back_is_the_same_epoch_until_promoted_again() {
    let mut store = Store::new("/service/demo/").await;
    let mut discovery = store.follow();
    until(&mut discovery, |s| primary(s) == "n1").await;
    store.delete("leader").await;
    until(&mut discovery, |s| s.leader().is_none()).await;
    store.put("leader", "n1").await;
    let back = until(&mut discovery, |s| s.leader().is_some()).await;
    assert_eq!(back.epoch().get(), 1);
    store.member("n1", "master", 2).await;
    until(&mut discovery, |s| s.epoch().get() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_member_spoils_nothing() {
    let mut store = Store::new("/service/demo/").await;
    store.put("members/n3", "{\"conn_url\":").await;
    store.put("members/n4", "[[[[").await;
    let mut discovery = store.follow();
    let snapshot = until(&mut discovery, |s| primary(s) == "n1").await;
    assert_eq!(route(&snapshot, Access::ReadOnly), "n2");
    // Also when it comes by the watch, and when it is the primary's.
    store.put("members/n2", "\u{0}").await;
    store.put("members/n1", "{}").await;
    store.member("n3", "replica", 1).await;
    let snapshot = until(&mut discovery, |s| route(s, Access::ReadOnly) == "n3").await;
    assert_eq!((snapshot.epoch().get(), primary(&snapshot).as_str()), (1, "n1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_down_changes_nothing_and_what_was_missed_is_caught_up() {
    let mut store = Store::new("/service/demo/").await;
    let (mut link, port) = Link::to(store.etcd.port()).await;
    let endpoints = vec![format!("http://127.0.0.1:{port}")];
    let config = EtcdConfig { endpoints, ..store.config() };
    let mut discovery = spawn(Config::Etcd(config), Rules::default(), None).unwrap();
    let before = until(&mut discovery, |s| primary(s) == "n1").await;
    store.etcd.kill();
    link.accepted(4).await;
    assert_eq!(**discovery.snapshots.borrow(), *before);

    let restart = move || {
        store.etcd.restart().expect("etcd restarts");
        store
    };
    let mut store = tokio::task::spawn_blocking(restart).await.unwrap();
    store.client = Client::connect([store.etcd.endpoint()], None).await.unwrap();
    store.put("leader", "n3").await;
    let after = until(&mut discovery, |s| primary(s) == "n3").await;
    assert_eq!(after.epoch().get(), 2);
}

/// What happened while etcd was away is compacted when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn history_that_is_compacted_away_is_not_needed() {
    let mut store = Store::new("/service/demo/").await;
    // The proxy's way to etcd, which can be cut without etcd noticing.
    let (link, port) = Link::to(store.etcd.port()).await;
    let config =
        EtcdConfig { endpoints: vec![format!("http://127.0.0.1:{port}")], ..store.config() };
    let mut discovery = spawn(Config::Etcd(config), Rules::default(), None).unwrap();
    until(&mut discovery, |s| primary(s) == "n1").await;
    link.cut();
    store.delete("members/n3").await;
    store.put("leader", "n2").await;
    store.compact().await;
    store.member("n2", "master", 2).await;
    link.mend();
    let after = until(&mut discovery, |s| s.timeline() == Some(Timeline(2))).await;
    assert_eq!((after.epoch().get(), primary(&after).as_str()), (2, "n2"));
    assert_eq!(route(&after, Access::Any), "n2", "n3 is gone, n1 is the old primary");
}

/// Follows over a connection that falls silent (open, no event, no error), with a second endpoint
/// that works; how long it takes to see what happened meanwhile.
async fn silence(refresh_interval: Duration) -> Duration {
    let mut store = Store::new("/service/demo/").await;
    let (link, port) = Link::to(store.etcd.port()).await;
    let config = EtcdConfig {
        endpoints: vec![format!("http://127.0.0.1:{port}"), store.etcd.endpoint()],
        refresh_interval,
        request_timeout: Duration::from_secs(1),
        ..store.config()
    };
    let mut discovery = spawn(Config::Etcd(config), Rules::default(), None).expect("fit");
    until(&mut discovery, |s| primary(s) == "n1").await;
    // Seen by the watch, which therefore is open.
    store.put("config", r#"{"pause":true}"#).await;
    until(&mut discovery, |s| s.paused()).await;
    link.silence();
    let began = Instant::now();
    store.put("leader", "n2").await;
    until(&mut discovery, |s| primary(s) == "n2").await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_noticed_by_the_read_beside_the_watch() {
    let noticed = silence(Duration::from_secs(2)).await;
    assert!(noticed < Duration::from_secs(9), "{noticed:?}: only the pings noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_noticed_by_pings() {
    silence(Duration::from_secs(600)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_endpoint_is_taken_when_one_does_not_answer() {
    let store = Store::new("/service/demo/").await;
    let closed = testbed::Port::reserve().unwrap();
    let endpoints = vec![format!("http://127.0.0.1:{}", closed.number()), store.etcd.endpoint()];
    let config = EtcdConfig { endpoints, ..store.config() };
    let mut discovery = spawn(Config::Etcd(config), Rules::default(), None).unwrap();
    until(&mut discovery, |s| primary(s) == "n1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_that_comes_to_nothing_lets_go_by_itself() {
    let mut store = Store::new("/service/demo/").await;
    let rules = Rules { drain_timeout: Duration::from_millis(300), ..Rules::default() };
    let mut discovery = spawn(Config::Etcd(store.config()), rules, None).unwrap();
    until(&mut discovery, |s| primary(s) == "n1").await;
    store.put("failover", r#"{"leader":"n1","member":"n2"}"#).await;
    until(&mut discovery, |s| s.standing() == Standing::SwitchingOver).await;
    let after = until(&mut discovery, |s| primary(s) == "n1").await;
    assert!(after.switchover().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn patroni_is_asked_while_etcd_is_away() {
    let mut store = Store::new("/service/demo/").await;
    let mut node = Node::start(cluster("n2", 2), None).await;
    let config = EtcdConfig {
        patroni_fallback: vec![node.url()],
        refresh_interval: Duration::from_secs(1),
        ..store.config()
    };
    let mut discovery = spawn(Config::Etcd(config), Rules::default(), None).unwrap();
    until(&mut discovery, |s| primary(s) == "n1").await;
    assert_eq!(*node.answered.borrow(), 0);

    store.etcd.kill();
    let meanwhile = until(&mut discovery, |s| primary(s) == "n2").await;
    assert_eq!((meanwhile.epoch().get(), meanwhile.timeline()), (2, Some(Timeline(2))));
    assert_eq!(route(&meanwhile, Access::ReadOnly), "n1 n3", "nobody is taken away");
    // A node that is cut off shows the time before.
    node.response.send_replace(cluster("n1", 1));
    node.asked_again().await;
    assert_eq!(primary(&discovery.snapshots.borrow()), "n2");

    let restart = move || {
        store.etcd.restart().expect("etcd restarts");
        store
    };
    let _store = tokio::task::spawn_blocking(restart).await.unwrap();
    let back =
        until(&mut discovery, |s| s.leader().is_some_and(|name| name.as_str() == "n1")).await;
    assert_eq!(back.epoch().get(), 3, "etcd has the last word");
    assert_eq!(back.standing(), Standing::OldTimeline, "which is not enough for a write");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_citus_group_is_followed_and_the_others_are_shown() {
    let mut store = Store::new("/service/demo/0/").await;
    let worker = member("w1", "master", 7);
    store.client.put("/service/demo/1/members/w1", worker, None).await.unwrap();
    store.client.put("/service/demo/1/leader", "w1", None).await.unwrap();
    let config = EtcdConfig { group: Some(0), ..store.config() };
    let mut discovery = spawn(Config::Etcd(config), Rules::default(), None).unwrap();
    let first = until(&mut discovery, |s| primary(s) == "n1").await;
    let leader_of = |s: &Snapshot, id: u32| {
        let group = s.groups().iter().find(|group| group.id == id)?;
        Some((group.leader.as_ref()?.to_string(), group.nodes.len()))
    };
    assert_eq!((first.nodes().len(), first.groups().len()), (3, 1), "a group is not its own");
    assert_eq!(leader_of(&first, 1), Some(("w1".into(), 1)));

    store.client.put("/service/demo/1/leader", "w2", None).await.unwrap();
    store.client.put("/service/demo/2/leader", "x1", None).await.unwrap();
    let grown = until(&mut discovery, |s| s.groups().len() == 2).await;
    assert_eq!(
        (leader_of(&grown, 1), leader_of(&grown, 2)),
        (Some(("w2".into(), 1)), Some(("x1".into(), 0)))
    );
    store.put("leader", "n2").await;
    let snapshot = until(&mut discovery, |s| primary(s) == "n2").await;
    assert_eq!((snapshot.epoch().get(), snapshot.nodes().len()), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_with_authentication_is_followed() {
    let mut store = Store::new("/service/demo/").await;
    let client = &mut store.client;
    client.user_add("root", "rootpw", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("pgmesh", "s3cret", None).await.unwrap();
    client.role_add("reader").await.unwrap();
    let range = Permission::new(PermissionType::Read, "/service/demo/").with_prefix();
    client.role_grant_permission("reader", range).await.unwrap();
    client.user_grant_role("pgmesh", "reader").await.unwrap();
    client.auth_enable().await.unwrap();

    let user = |password: &str| Some(("pgmesh".to_owned(), Rotating::new(Secret::new(password))));
    let config = EtcdConfig { credentials: user("s3cret"), ..store.config() };
    let mut discovery = spawn(Config::Etcd(config), Rules::default(), None).unwrap();
    until(&mut discovery, |s| primary(s) == "n1").await;
    let root = ConnectOptions::new().with_user("root", "rootpw");
    store.client = Client::connect([store.etcd.endpoint()], Some(root)).await.unwrap();
    store.put("leader", "n2").await;
    let snapshot = until(&mut discovery, |s| primary(s) == "n2").await;
    assert_eq!(snapshot.nodes()[0].lag, Some(0));

    // While the password is changed, the one before does as well.
    let credentials = user("s3cret");
    credentials.iter().for_each(|(_, password)| password.rotate(Secret::new("not yet")));
    let config = EtcdConfig { credentials, ..store.config() };
    let mut discovery = spawn(Config::Etcd(config), Rules::default(), None).unwrap();
    until(&mut discovery, |s| primary(s) == "n2").await;

    // With a wrong password nothing is known, and it is tried again.
    let (mut link, port) = Link::to(store.etcd.port()).await;
    let endpoints = vec![format!("http://127.0.0.1:{port}")];
    let config = EtcdConfig { credentials: user("wrong"), endpoints, ..store.config() };
    let discovery = spawn(Config::Etcd(config), Rules::default(), None).unwrap();
    link.accepted(4).await;
    assert!(discovery.snapshots.borrow().primary().is_none());
    assert!(!discovery.task.is_finished());
}
