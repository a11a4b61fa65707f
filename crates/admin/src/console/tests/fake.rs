//! Facts that are all different, somebody who notes orders down, and a client's end of a line.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{ErrorMessage, SqlState};

use super::super::{ConsoleConfig, Consoles, Desk, Line, serve};
use crate::facts::{CarryingOut, Done, Facts, Operate, Operator, Outcome, Right};
use crate::order::{Command, Target};
use crate::rows::*;

/// Longer than anything takes that works.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) orders: Mutex<Vec<(Command, String)>>,
    pub(super) ended: Mutex<Vec<(&'static str, Outcome)>>,
    /// Notified when an order begins that never ends.
    pub(super) stuck: Notify,
}

pub(super) fn moment(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn endpoint(last: u16) -> Endpoint {
    Endpoint { address: format!("10.0.0.{last}"), port: 5000 + last }
}

pub(super) fn client(id: u64) -> ClientRow {
    ClientRow {
        id,
        user: "ada".into(),
        database: "app".into(),
        state: ClientState::Waiting,
        peer: endpoint(1),
        local: endpoint(2),
        connected: moment(1),
        requested: moment(2),
        wait: Duration::new(3, 4_000),
        server: Some(5),
        tls: Some("TLSv1.3".into()),
        application_name: "loader".into(),
        prepared_statements: 6,
    }
}

impl Facts for Fake {
    fn clients(&self) -> Vec<ClientRow> {
        vec![client(7)]
    }

    fn cluster(&self) -> Vec<NodeRow> {
        vec![NodeRow {
            group: Some(0),
            node: "n1".into(),
            role: "primary".into(),
            state: "running".into(),
            leader: Flag::Yes,
            address: "10.0.0.9:5432".into(),
            timeline: Some(3),
            lag_bytes: None,
            sync: Flag::No,
            epoch: Some(4),
            standing: Some("proven".into()),
            proof: Some("probe".into()),
            drained: Flag::No,
            switchover: None,
        }]
    }

    fn config(&self) -> Vec<ConfigRow> {
        vec![ConfigRow {
            key: "max_client_conn".into(),
            value: "10000".into(),
            default: Some("1000".into()),
            changeable: Flag::Yes,
        }]
    }

    fn databases(&self) -> Vec<DatabaseRow> {
        vec![DatabaseRow {
            name: "app".into(),
            host: Some("10.0.0.9".into()),
            port: 5432,
            database: "app_1".into(),
            force_user: None,
            pool_size: 1,
            min_pool_size: 2,
            reserve_pool_size: 3,
            server_lifetime: Duration::from_secs(3600),
            mode: None,
            max_connections: 4,
            current_connections: 5,
            max_client_connections: 6,
            current_client_connections: 7,
            paused: Flag::Yes,
            disabled: Flag::No,
        }]
    }

    fn failovers(&self) -> Vec<FailoverRow> {
        vec![FailoverRow {
            started: moment(9),
            kind: "failover".into(),
            from: Some("n1".into()),
            to: Some("n2".into()),
            epoch: 5,
            timeline: Some(4),
            detect: Some(Duration::from_millis(1_371)),
            hold: Some(Duration::from_millis(1_527)),
            first_success: None,
            clients_held: 8,
            outcome: "over".into(),
        }]
    }

    fn lists(&self) -> Lists {
        Lists {
            databases: 1,
            users: 2,
            peers: 3,
            pools: 4,
            used_clients: 5,
            login_clients: 6,
            free_servers: 7,
            used_servers: 8,
        }
    }

    fn memory(&self) -> Vec<MemoryRow> {
        vec![MemoryRow { name: "clients".into(), size: 1, used: 2, free: 3, total: 4 }]
    }

    fn peers(&self) -> Vec<PeerRow> {
        vec![PeerRow { id: 1, peer: endpoint(3), cancelling: 2 }]
    }

    fn pins(&self) -> Vec<PinRow> {
        vec![PinRow {
            database: "app".into(),
            user: "ada".into(),
            role: "primary".into(),
            reason: "temporary_table".into(),
            client: Some(7),
            server: 5,
            since: moment(3),
        }]
    }

    fn pools(&self) -> Vec<PoolRow> {
        vec![PoolRow {
            database: "app".into(),
            user: "ada".into(),
            role: "primary".into(),
            clients_active: 1,
            clients_waiting: 2,
            clients_cancelling: 3,
            clients_waiting_to_cancel: 4,
            servers_active: 5,
            servers_cancelling: 6,
            servers_being_cancelled: 7,
            servers_idle: 8,
            servers_tested: 9,
            servers_login: 10,
            max_wait: Duration::new(11, 12_000),
            mode: PoolMode::Transaction,
            servers_warm: 13,
            clients_held: 14,
            servers_pinned: 15,
        }]
    }

    fn servers(&self) -> Vec<ServerRow> {
        vec![ServerRow {
            id: 5,
            user: "ada".into(),
            database: "app".into(),
            state: ServerState::Active,
            peer: endpoint(4),
            local: endpoint(5),
            connected: moment(4),
            requested: moment(5),
            fate: Fate::Closes,
            client: Some(7),
            remote_pid: 4711,
            tls: None,
            application_name: "loader".into(),
            prepared_statements: 2,
        }]
    }

    fn state(&self) -> State {
        State { paused: Flag::No, draining: Flag::Yes }
    }

    fn statements(&self) -> Vec<StatementRow> {
        let query = "SELECT secret".into();
        vec![StatementRow { name: "pgmesh_1".into(), query, bytes: 14, holders: 2 }]
    }

    fn totals(&self) -> Vec<Totals> {
        vec![Totals {
            database: "app".into(),
            server_assignments: 1,
            transactions: 2,
            queries: 3,
            received: 4,
            sent: 5,
            transaction_us: 6,
            query_us: 7,
            wait_us: 8,
            client_parses: 9,
            server_parses: 10,
            binds: u64::MAX,
        }]
    }

    fn users(&self) -> Vec<UserRow> {
        vec![UserRow {
            name: "ada".into(),
            pool_size: Some(1),
            reserve_pool_size: None,
            mode: Some(PoolMode::Session),
            max_connections: 2,
            current_connections: 3,
            max_client_connections: 4,
            current_client_connections: 5,
        }]
    }
}

/// Notes orders down and puts their ends off.
struct Notes(Arc<Fake>);

impl Operate for Notes {
    fn carry_out(&self, command: Command, by: &Operator) -> CarryingOut {
        self.0.orders.lock().push((command.clone(), by.user.clone()));
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            match command {
                Command::Pause(Target::All) => {
                    fake.stuck.notify_one();
                    std::future::pending().await
                }
                Command::Resume(Target::All) => Err(ErrorMessage::error(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "pooler is not paused/suspended",
                )),
                Command::Reload => Ok(Done { notices: vec!["one".into(), "two".into()] }),
                _ => Ok(Done::default()),
            }
        })
    }

    fn ended(&self, verb: &'static str, outcome: Outcome) {
        self.0.ended.lock().push((verb, outcome));
    }
}

/// A console.
pub(super) struct Bench {
    pub(super) consoles: Consoles,
    pub(super) fake: Arc<Fake>,
    pub(super) stop: CancellationToken,
}

/// The client's end.
pub(super) struct Peer {
    pub(super) stream: DuplexStream,
    pub(super) cancelled: Arc<Notify>,
    /// Ends without a panic, whatever is sent.
    pub(super) task: JoinHandle<()>,
}

pub(super) fn bench() -> Bench {
    bench_with(ConsoleConfig { version: "1.2.3", ..ConsoleConfig::default() })
}

pub(super) fn bench_with(config: ConsoleConfig) -> Bench {
    let fake = Arc::new(Fake::default());
    let stop = CancellationToken::new();
    let runtime = (Handle::current(), stop.clone(), TaskTracker::new());
    let operate = Arc::new(Notes(Arc::clone(&fake)));
    Bench { consoles: Consoles::open(config, Arc::clone(&fake) as _, operate, runtime), fake, stop }
}

/// A client of the console.
pub(super) fn console_client() -> ClientRow {
    ClientRow {
        user: "root".into(),
        database: "pgbouncer".into(),
        state: ClientState::Active,
        server: None,
        wait: Duration::ZERO,
        ..client(99)
    }
}

impl Bench {
    pub(super) fn desk(&self) -> &Desk {
        &self.consoles.desk
    }

    /// A client that has been greeted.
    pub(super) fn connect(&self, right: Right) -> Peer {
        let (stream, theirs) = duplex(4096);
        let cancelled = Arc::new(Notify::new());
        let task = self.spawn(theirs, right, Arc::clone(&cancelled));
        Peer { stream, cancelled, task }
    }

    fn spawn(&self, stream: DuplexStream, right: Right, cancelled: Arc<Notify>) -> JoinHandle<()> {
        let seat = self.consoles.seat().unwrap();
        let line = Line {
            stream,
            unread: Vec::new(),
            client: console_client(),
            right,
            cancelled,
            guard: Box::new(()),
        };
        tokio::spawn(serve(Arc::clone(&self.consoles.desk), line, seat.permit))
    }

    /// A client by tokio-postgres.
    pub(super) async fn driver(&self, right: Right) -> tokio_postgres::Client {
        let (stream, mut theirs) = duplex(4096);
        let greeting = {
            let seat = self.consoles.seat().unwrap();
            let mut out = wire::message::AUTHENTICATION_OK.to_vec();
            for (name, value) in seat.statuses(&console_client(), right) {
                wire::message::put_parameter_status(&mut out, name, &value);
            }
            wire::message::put_ready_for_query(&mut out, wire::message::TransactionStatus::Idle);
            out
        };
        let greeted = async {
            let len = theirs.read_u32().await.unwrap();
            let mut startup = vec![0; len as usize - 4];
            theirs.read_exact(&mut startup).await.unwrap();
            theirs.write_all(&greeting).await.unwrap();
            self.spawn(theirs, right, Arc::new(Notify::new()));
        };
        let mut config = tokio_postgres::Config::new();
        config.user("root").dbname("pgbouncer");
        let (connected, ()) =
            tokio::join!(config.connect_raw(stream, tokio_postgres::NoTls), greeted);
        let (client, connection) = connected.unwrap();
        tokio::spawn(connection);
        client
    }
}

/// A message: its type, and its body.
pub(super) type Message = (u8, Vec<u8>);

/// Cuts bytes into messages.
pub(super) fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while let Some(header) = wire::Header::peek(bytes).unwrap() {
        let (frame, rest) = bytes.split_at(header.frame_len());
        found.push((header.tag, frame[5..].to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a message: {bytes:?}");
    found
}

/// A message's bytes.
pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::message::put(&mut out, tag, |out| out.extend_from_slice(body));
    out
}

/// The tags alone, as text.
pub(super) fn tags(messages: &[Message]) -> String {
    messages.iter().map(|(tag, _)| char::from(*tag)).collect()
}

/// SQLSTATE and text of the first error.
pub(super) fn error(messages: &[Message]) -> (String, String) {
    let (_, body) = messages.iter().find(|(tag, _)| *tag == b'E').expect("an error");
    let fields = wire::ErrorFields::parse(body).unwrap();
    (fields.code.to_owned(), fields.message.to_owned())
}

impl Peer {
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("taken").unwrap();
    }

    /// What comes up to ReadyForQuery.
    pub(super) async fn receive(&mut self) -> Vec<Message> {
        let mut found: Vec<Message> = Vec::new();
        while found.last().is_none_or(|(tag, _)| *tag != b'Z') {
            found.push(self.receive_one().await);
        }
        found
    }

    pub(super) async fn receive_one(&mut self) -> Message {
        let read = async {
            let tag = self.stream.read_u8().await.unwrap();
            let len = self.stream.read_u32().await.unwrap();
            let mut body = vec![0; len as usize - 4];
            self.stream.read_exact(&mut body).await.unwrap();
            (tag, body)
        };
        timeout(PATIENCE, read).await.expect("an answer in time")
    }

    pub(super) async fn query(&mut self, text: &str) -> Vec<Message> {
        let mut out = Vec::new();
        wire::message::put_query(&mut out, text);
        self.send(&out).await;
        self.receive().await
    }

    /// What comes until the console closes the connection; its task must not have panicked.
    pub(super) async fn rest(mut self) -> Vec<Message> {
        let mut bytes = Vec::new();
        timeout(PATIENCE, self.stream.read_to_end(&mut bytes)).await.expect("closed").unwrap();
        timeout(PATIENCE, self.task).await.expect("ended").expect("no panic");
        messages(&bytes)
    }
}
