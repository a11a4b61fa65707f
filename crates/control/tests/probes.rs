//! Probing a real Postgres through promotion, restart and loss.

use std::sync::Arc;
use std::time::Duration;

use auth::Secret;
use control::Config;
use testbed::{APP_DATABASE, APP_USER, Postgres, PostgresOptions, Stop};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use topology::{
    Address, Authority, Change, Event, Lsn, Machine, Member, NodeName, NodeState, Outcome, Probe,
    Replay, Revision, Role, Snapshot, Timeline,
};

/// More than a probe takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Snapshots of a machine that the test feeds.
struct Cluster {
    machine: Machine,
    snapshots: watch::Sender<Arc<Snapshot>>,
    revision: u64,
}

impl Cluster {
    fn new() -> Self {
        let machine = Machine::new(Authority::Probes);
        let (snapshots, _) = watch::channel(Arc::clone(machine.snapshot()));
        Self { machine, snapshots, revision: 0 }
    }

    fn member(&mut self, name: &str, port: Option<u16>) {
        let member = port.map(|port| Member {
            address: Address::new("127.0.0.1", port).expect("an address"),
            role: Role::Other,
            state: NodeState::Unknown,
            timeline: None,
            replay: Replay::Unknown,
            noloadbalance: false,
        });
        let name = NodeName::new(name).expect("a name");
        self.revision += 1;
        let change = Change::Member(name, member);
        let event = Event::Change { revision: Revision(self.revision), change };
        self.snapshots.send_replace(self.machine.apply(event).expect("a change"));
    }
}

fn config(password: &str) -> Config {
    Config {
        interval: Duration::from_millis(20),
        ..Config::new(APP_USER.user, Some(Secret::new(password)), APP_DATABASE)
    }
}

async fn until(probes: &mut mpsc::Receiver<Probe>, condition: impl Fn(&Probe) -> bool) -> Probe {
    let found = async {
        loop {
            let probe = probes.recv().await.expect("the prober runs");
            if condition(&probe) {
                return probe;
            }
        }
    };
    tokio::time::timeout(LIMIT, found).await.expect("the probe never came")
}

async fn answered(probes: &mut mpsc::Receiver<Probe>, recovering: bool, on: u32) -> Option<Lsn> {
    let probe = until(probes, |probe| {
        matches!(probe.outcome, Outcome::Answered { in_recovery, timeline, .. }
            if in_recovery == recovering && timeline == Some(Timeline(on)))
    })
    .await;
    match probe.outcome {
        Outcome::Answered { position, .. } => position,
        Outcome::Unreachable => None,
    }
}

async fn unreachable(probes: &mut mpsc::Receiver<Probe>, name: &str) {
    until(probes, |p| p.node.as_str() == name && p.outcome == Outcome::Unreachable).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_followed_through_recovery_promotion_and_loss() {
    let mut postgres = Postgres::start(PostgresOptions::default()).expect("Postgres starts");
    let mut cluster = Cluster::new();
    cluster.member("n1", Some(postgres.port()));
    let (sender, mut probes) = mpsc::channel(1);
    let prober = control::spawn(config(APP_USER.password), cluster.snapshots.subscribe(), sender);

    let written = answered(&mut probes, false, 1).await.expect("a position");
    let activity = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgmesh-probe'";
    assert_eq!(postgres.psql(activity).unwrap().trim(), "1");

    postgres.stop(Stop::Fast).unwrap();
    unreachable(&mut probes, "n1").await;
    std::fs::write(postgres.data().join("standby.signal"), "").unwrap();
    postgres.restart().unwrap();
    let replayed = answered(&mut probes, true, 1).await.expect("a position");
    assert!(replayed >= written);

    postgres.psql("SELECT pg_promote()").unwrap();
    let position = answered(&mut probes, false, 2).await.expect("a position");
    assert!(position >= replayed);

    drop(cluster);
    tokio::time::timeout(LIMIT, prober.task).await.expect("ends with its source").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_and_go_and_a_silent_one_holds_up_nobody() {
    let postgres = Postgres::start(PostgresOptions::default()).expect("Postgres starts");
    // Accepts and never answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut cluster = Cluster::new();
    cluster.member("silent", Some(silent.local_addr().unwrap().port()));
    let (sender, mut probes) = mpsc::channel(1);
    let config = Config { timeout: Duration::from_millis(200), ..config(APP_USER.password) };
    let _prober = control::spawn(config, cluster.snapshots.subscribe(), sender);
    unreachable(&mut probes, "silent").await;

    cluster.member("n1", Some(postgres.port()));
    until(&mut probes, |p| p.node.as_str() == "n1" && p.outcome != Outcome::Unreachable).await;
    unreachable(&mut probes, "silent").await;

    cluster.member("silent", None);
    // While it was asked, it was heard of every 220 ms, or 11 probes of n1.
    let mut in_a_row = 0;
    while in_a_row < 40 {
        let probe = until(&mut probes, |_| true).await;
        in_a_row = if probe.node.as_str() == "n1" { in_a_row + 1 } else { 0 };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_unreachable() {
    let postgres = Postgres::start(PostgresOptions::default()).expect("Postgres starts");
    let mut cluster = Cluster::new();
    cluster.member("n1", Some(postgres.port()));
    let (sender, mut probes) = mpsc::channel(1);
    let _prober = control::spawn(config("wrong"), cluster.snapshots.subscribe(), sender);
    unreachable(&mut probes, "n1").await;
}
