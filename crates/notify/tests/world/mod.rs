//! Hubs over pools over servers on loopback, and a topology that the test is the source of.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backend::{Credentials, Dialer, RequiredRole, Startup};
use notify::{Config, Event, HubError, Hubs, Notification, Subscriber};
use pool::{Closed, HoldLimits, Observe, Outlook, Passwords, Pools, Report, Settings};
use session::{Catalog, Mode, StateRules, Timeouts};
use tokio::sync::watch;
use topology::{
    Access, Address, Authority, Epoch, Event as Seen, Machine, Member, NodeName, NodeState, Now,
    PoolKey, Replay, Revision, Role, Snapshot, SourceState, Timeline,
};

/// Nothing here takes so long, but on a machine that is very busy.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) hubs: Arc<Hubs>,
    machine: Machine,
    snapshots: watch::Sender<Arc<Snapshot>>,
    revision: u64,
}

#[derive(Debug)]
struct Known(auth::Secret);

#[derive(Debug)]
struct Silent;

impl Passwords for Known {
    fn renew(&self, credentials: &mut Credentials) {
        *credentials = Credentials::password(&*credentials.user, self.0.clone());
    }
    fn accepted(&self, _: &Credentials) {}
    fn refused(&self, _: &Credentials) -> Outlook {
        Outlook::Final
    }
}

impl Observe for Silent {
    fn connected(&self) {}
    fn recalled(&self, _: usize) {}
    fn connect_failed(&self, _: &backend::ConnectError) {}
    fn reset(&self, _: session::ResetKind) {}
    fn closed(&self, _: Closed) {}
}

impl Report for Silent {
    fn refused(&self, _: Epoch) {}
    fn began(&self, _: Epoch) {}
}

impl World {
    /// Nobody is the primary yet.
    pub(crate) fn new(config: Config, hold_timeout: Duration) -> Self {
        let machine = Machine::new(Authority::LeaderKey, topology::Config::default());
        let (snapshots, receiver) = watch::channel(Arc::clone(machine.snapshot()));
        let resolve = move |key: &PoolKey| Settings {
            config: pool::Config { hold_timeout, ..pool::Config::default() },
            mode: Mode::Transaction,
            state: StateRules::default(),
            timeouts: Timeouts::default(),
            max_packet_size: u32::MAX,
            login: backend::Login {
                credentials: Credentials::trusted(&*key.user),
                startup: Startup::new(&*key.database),
                role: RequiredRole::Primary,
            },
            passwords: Arc::new(Known(auth::Secret::new(testbed::APP_USER.password))),
            observer: Arc::new(Silent),
        };
        let dialer = Dialer::new(backend::Config::default()).unwrap();
        let limits = HoldLimits::default();
        let catalog = Arc::new(Catalog::default());
        let report = Arc::new(Silent);
        let pools = Pools::new(dialer, catalog, receiver, limits, report, Box::new(resolve));
        let hubs = Hubs::new(pools, config);
        Self { hubs, machine, snapshots, revision: 0 }
    }

    /// This node, on this port, is the primary from now on.
    pub(crate) fn promote(&mut self, node: &str, port: u16) {
        self.revision += 1;
        let name = NodeName::new(node).unwrap();
        let member = Member {
            address: Address::new("127.0.0.1", port).unwrap(),
            role: Role::Primary,
            state: NodeState::Running,
            timeline: Some(Timeline(u32::try_from(self.revision).unwrap())),
            replay: Replay::Unknown,
            noloadbalance: false,
            nofailover: false,
        };
        let members = [(name.clone(), member)].into();
        let state = SourceState { leader: Some(name), members, ..SourceState::default() };
        let read = Seen::Resync { revision: Revision(self.revision), state };
        let now =
            Now { monotonic: Duration::from_secs(self.revision), wall: SystemTime::UNIX_EPOCH };
        let snapshot = self.machine.apply(read, now).unwrap();
        self.snapshots.send(snapshot).unwrap();
    }

    pub(crate) fn subscriber(&self) -> Subscriber {
        self.hubs.subscriber(&key(), "UTF8").unwrap()
    }
}

pub(crate) fn key() -> PoolKey {
    PoolKey {
        database: testbed::APP_DATABASE.into(),
        user: testbed::APP_USER.user.into(),
        access: Access::Any,
    }
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("in time")
}

pub(crate) async fn ready(subscriber: &mut Subscriber) -> Result<(), HubError> {
    within(poll_fn(|cx| subscriber.poll_ready(cx))).await
}

pub(crate) async fn next(subscriber: &mut Subscriber) -> Event {
    within(poll_fn(|cx| subscriber.poll_next(cx))).await
}

/// The next event, which is a notification.
pub(crate) async fn heard(subscriber: &mut Subscriber) -> Notification {
    match next(subscriber).await {
        Event::Notification(notification) => notification,
        other => panic!("{other:?}"),
    }
}

/// A client of its own, straight to the server.
pub(crate) async fn direct(login: &testbed::Login) -> tokio_postgres::Client {
    let connected = tokio_postgres::connect(&login.uri(), tokio_postgres::NoTls).await;
    let (client, connection) = connected.unwrap();
    tokio::spawn(connection);
    client
}

/// How many sessions of hubs a server has.
pub(crate) async fn sessions(client: &tokio_postgres::Client) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgmesh listen'";
    client.query_one(count, &[]).await.unwrap().get(0)
}
