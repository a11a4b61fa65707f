//! Probing a real Postgres through promotion, restart and loss.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth::Secret;
use control::Config;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testbed::{APP_DATABASE, APP_USER, Postgres, PostgresOptions, ServerTls, Stop};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use topology::{
    Address, Authority, Change, Event, Lsn, Machine, Member, NodeName, NodeState, Now, Outcome,
    Probe, Proof, Replay, Revision, Role, Snapshot, Standing, Timeline,
};
use transport::{ClientTls, TlsMode};

/// More than a probe takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Snapshots of a machine that the test feeds.
struct Cluster {
    machine: Machine,
    snapshots: watch::Sender<Arc<Snapshot>>,
    revision: u64,
}

impl Cluster {
    /// Nobody leads, and nothing has to be proven.
    fn new() -> Self {
        Self::with(Proof::ByLogin)
    }

    fn with(proof: Proof) -> Self {
        let rules = topology::Config { proof, ..topology::Config::default() };
        let machine = Machine::new(Authority::LeaderKey, rules);
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
            nofailover: false,
        });
        self.change(Change::Member(node(name), member));
    }

    fn change(&mut self, change: Change) {
        self.revision += 1;
        self.apply(Event::Change { revision: Revision(self.revision), change });
    }

    fn apply(&mut self, event: Event) {
        let now = Now { monotonic: Duration::from_secs(self.revision), wall: SystemTime::now() };
        if let Some(snapshot) = self.machine.apply(event, now) {
            self.snapshots.send_replace(snapshot);
        }
    }

    /// Takes events until the primary stands so.
    async fn stands(&mut self, events: &mut mpsc::Receiver<Event>, standing: Standing) {
        while self.machine.snapshot().standing() != standing {
            let event = tokio::time::timeout(LIMIT, events.recv()).await;
            self.apply(event.expect("the prober asks").expect("the prober runs"));
        }
    }
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).expect("a name")
}

fn config(password: &str) -> Config {
    Config {
        interval: Duration::from_millis(20),
        ..Config::new(APP_USER.user, Some(Secret::new(password)), APP_DATABASE)
    }
}

async fn until(events: &mut mpsc::Receiver<Event>, condition: impl Fn(&Probe) -> bool) -> Probe {
    let found = async {
        loop {
            let Event::Probe(probe) = events.recv().await.expect("the prober runs") else {
                panic!("no probe")
            };
            if condition(&probe) {
                return probe;
            }
        }
    };
    tokio::time::timeout(LIMIT, found).await.expect("the probe never came")
}

async fn answered(probes: &mut mpsc::Receiver<Event>, recovering: bool, on: u32) -> Option<Lsn> {
    let probe = until(probes, |probe| {
        matches!(probe.outcome, Outcome::Answered { in_recovery, timeline, .. }
            if in_recovery == recovering && timeline == Some(Timeline(on)))
    })
    .await;
    match probe.outcome {
        Outcome::Answered { position, .. } => position,
        Outcome::Gone | Outcome::Refused | Outcome::Unreachable => None,
    }
}

async fn unreachable(probes: &mut mpsc::Receiver<Event>, name: &str) {
    until(probes, |p| p.node.as_str() == name && is_silent(p)).await;
}

fn is_silent(probe: &Probe) -> bool {
    matches!(probe.outcome, Outcome::Gone | Outcome::Unreachable)
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
    until(&mut probes, |p| p.node.as_str() == "n1" && !is_silent(p)).await;
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
async fn a_node_that_will_not_be_asked_is_not_an_unreachable_one() {
    let postgres = Postgres::start(PostgresOptions::default()).expect("Postgres starts");
    let mut cluster = Cluster::new();
    cluster.member("n1", Some(postgres.port()));
    let missing = Config { database: "missing".into(), ..config(APP_USER.password) };
    let unarmed = Config { password: None, ..config(APP_USER.password) };
    for config in [config("wrong"), missing, unarmed] {
        let (sender, mut probes) = mpsc::channel(1);
        let _prober = control::spawn(config, cluster.snapshots.subscribe(), sender);
        let first = until(&mut probes, |_| true).await;
        assert_eq!(first.outcome, Outcome::Refused);
    }
}

/// Nothing but urgency makes the prober ask twice.
fn unhurried() -> Config {
    Config { interval: Duration::from_secs(3600), ..config(APP_USER.password) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_is_asked_until_it_is_proven_and_again_when_it_is_suspect() {
    let mut postgres = Postgres::start(PostgresOptions::default()).expect("Postgres starts");
    postgres.stop(Stop::Fast).unwrap();
    std::fs::write(postgres.data().join("standby.signal"), "").unwrap();
    postgres.restart().unwrap();

    let mut cluster = Cluster::with(Proof::Required);
    cluster.member("n1", Some(postgres.port()));
    let (sender, mut events) = mpsc::channel(1);
    let _prober = control::spawn(unhurried(), cluster.snapshots.subscribe(), sender);
    until(&mut events, |p| !is_silent(p)).await;
    cluster.change(Change::Leader(Some(node("n1"))));
    assert_eq!(cluster.machine.snapshot().standing(), Standing::Unproven);
    cluster.stands(&mut events, Standing::Promoting).await;
    let connections = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgmesh-probe'";
    let before = postgres.psql(connections).unwrap();

    postgres.psql("SELECT pg_promote()").unwrap();
    cluster.stands(&mut events, Standing::Proven).await;
    assert_eq!(cluster.machine.snapshot().epoch().get(), 1);
    assert_eq!(postgres.psql(connections).unwrap(), before, "it needed no login to say so");

    cluster.apply(Event::Suspect { epoch: cluster.machine.snapshot().epoch() });
    assert_eq!(cluster.machine.snapshot().standing(), Standing::Suspect);
    cluster.stands(&mut events, Standing::Proven).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_and_a_restart_in_place_are_one_tenure() {
    let mut postgres = Postgres::start(PostgresOptions::default()).expect("Postgres starts");
    let mut cluster = Cluster::with(Proof::Required);
    cluster.member("n1", Some(postgres.port()));
    cluster.change(Change::Leader(Some(node("n1"))));
    let (sender, mut events) = mpsc::channel(1);
    let _prober = control::spawn(unhurried(), cluster.snapshots.subscribe(), sender);
    cluster.stands(&mut events, Standing::Proven).await;
    // Nothing is asked for an hour; the connection tells.
    postgres.stop(Stop::Crash).unwrap();
    cluster.stands(&mut events, Standing::Unproven).await;
    postgres.restart().unwrap();
    cluster.stands(&mut events, Standing::Proven).await;
    assert_eq!(cluster.machine.snapshot().epoch().get(), 1);
}

/// Writes an authority and a certificate for 127.0.0.1.
fn certificates(directory: &Path) -> ServerTls {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let ca = ca.expect("an authority");
    std::fs::write(directory.join("ca.crt"), ca.pem()).expect("written");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".into()]).expect("params");
    let certificate = params.signed_by(&key, &ca).expect("a certificate");
    ServerTls { certificate: certificate.pem(), key: key.serialize_pem(), client_ca: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_insists_on_tls_is_asked_over_tls() {
    let files = tempfile::tempdir().unwrap();
    let options = PostgresOptions {
        tls: Some(certificates(files.path())),
        hba: vec!["hostnossl all all 127.0.0.1/32 reject".into()],
        ..PostgresOptions::default()
    };
    let postgres = Postgres::start(options).expect("Postgres starts");
    let mut cluster = Cluster::new();
    cluster.member("n1", Some(postgres.port()));
    let ca = Some(files.path().join("ca.crt"));
    let modes = [
        (TlsMode::Disable, None, Outcome::Refused),
        (TlsMode::Allow, None, answered_first()),
        (TlsMode::Prefer, None, answered_first()),
        (TlsMode::VerifyFull, ca, answered_first()),
    ];
    for (mode, ca, expected) in modes {
        let (first, _) = first_answer(&cluster, &postgres, mode, ca).await;
        let same = std::mem::discriminant(&first) == std::mem::discriminant(&expected);
        assert!(same, "{mode}: {first:?}");
    }
}

/// What the first probe comes to, and whether it is plain (`f`) or over TLS (`t`).
async fn first_answer(
    cluster: &Cluster,
    postgres: &Postgres,
    mode: TlsMode,
    ca: Option<PathBuf>,
) -> (Outcome, String) {
    let tls = ClientTls { mode, ca, ..ClientTls::default() }.connector().expect("a connector");
    let config = Config { tls, ..config(APP_USER.password) };
    let (sender, mut probes) = mpsc::channel(1);
    let prober = control::spawn(config, cluster.snapshots.subscribe(), sender);
    let outcome = until(&mut probes, |_| true).await.outcome;
    // Of those before, what is left is going.
    let kind = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'pgmesh-probe' ORDER BY backend_start DESC LIMIT 1";
    let kind = postgres.psql(kind).expect("psql answers");
    drop(prober);
    (outcome, kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_as_libpq_would_ask_it() {
    let files = tempfile::tempdir().unwrap();
    let tls = Some(certificates(files.path()));
    for (hba, of_allow, of_prefer) in [
        (None, "f", "t"),
        (Some("hostssl all app_user 127.0.0.1/32 reject"), "f", "f"),
        (Some("hostnossl all app_user 127.0.0.1/32 reject"), "t", "t"),
    ] {
        let hba = hba.map(str::to_owned).into_iter().collect();
        let options = PostgresOptions { tls: tls.clone(), hba, ..PostgresOptions::default() };
        let postgres = Postgres::start(options).expect("Postgres starts");
        let mut cluster = Cluster::new();
        cluster.member("n1", Some(postgres.port()));
        for (mode, kind) in [(TlsMode::Allow, of_allow), (TlsMode::Prefer, of_prefer)] {
            let (outcome, asked) = first_answer(&cluster, &postgres, mode, None).await;
            assert!(matches!(outcome, Outcome::Answered { .. }), "{mode}: {outcome:?}");
            assert_eq!(asked, kind, "{mode}");
        }
    }
}

fn answered_first() -> Outcome {
    Outcome::Answered { in_recovery: false, timeline: None, position: None }
}
