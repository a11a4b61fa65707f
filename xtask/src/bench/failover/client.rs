//! One client: its connection, which it opens again whenever it is lost, and its record.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testbed::Login;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::record::{Ack, Failure, Moment, Record, Role, Tenure};

/// The longest wait for an answer: twice what pgmesh holds a statement by default.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a statement may still take when the round is over.
const GRACE: Duration = Duration::from_secs(3);

/// For TCP and login.
const LOGIN: Duration = Duration::from_secs(10);

/// Between two attempts, as applications have it, so that those who are turned away do not use up
/// the processors of those who are not.
const RETRY: Duration = Duration::from_millis(100);

/// Where a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nothing has happened yet.
    Steady,
    /// The fault has struck.
    Struck,
    /// A new leader accepts writes, or what was away is back.
    Settled,
    /// Clients end.
    Over,
}

/// What a client shares with the others of its peer.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) login: Login,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Clients that were answered once.
    pub(crate) ready: Arc<AtomicUsize>,
    /// Writers that have written since all was settled.
    pub(crate) served: Arc<AtomicUsize>,
}

/// A client of a peer.
pub(crate) struct Client {
    pub(crate) record: Record,
    seat: Seat,
    connection: Option<Connection>,
    /// Since when it wants an answer.
    wants: Option<Instant>,
    ready: Once,
    served: Once,
}

/// Counts a thing the first time only.
#[derive(Debug, Default)]
struct Once(bool);

/// A logged-in connection.
pub(crate) struct Connection {
    client: tokio_postgres::Client,
    ended: JoinHandle<()>,
    phase: watch::Receiver<Phase>,
    answered: AtomicBool,
}

impl Client {
    pub(crate) fn new(seat: Seat, role: Role, number: i32) -> Self {
        let record = Record::new(role, number);
        let (ready, served) = (Once::default(), Once::default());
        Self { record, seat, connection: None, wants: None, ready, served }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.seat.phase.borrow()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase() == Phase::Over
    }

    /// Its connection, after opening one if there is none; `None` when the round is over.
    pub(crate) async fn connection(&mut self) -> Option<&Connection> {
        while self.connection.is_none() {
            if self.is_over() {
                return None;
            }
            match Connection::open(&self.seat.login, &self.seat.phase).await {
                Ok(connection) => self.connection = Some(connection),
                Err(_) => {
                    self.record.failed_logins += 1;
                    sleep(RETRY).await;
                }
            }
        }
        self.connection.as_ref()
    }

    /// It wants an answer from now on, unless it does already.
    pub(crate) fn want(&mut self) {
        self.wants.get_or_insert_with(Instant::now);
    }

    /// It has what it wanted.
    pub(crate) fn satisfied(&mut self) {
        self.end_pause();
        self.ready.count(&self.seat.ready);
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledged(&mut self, seq: i32, began: Instant, tenure: Tenure) {
        self.record.acks.push(Ack { seq, began, ended: Instant::now(), tenure });
        self.satisfied();
    }

    /// A write that was begun in this phase was acknowledged.
    pub(crate) fn served_in(&mut self, phase: Phase) {
        if phase == Phase::Settled {
            self.served.count(&self.seat.served);
        }
    }

    /// Something failed: counted, and a connection that is of no use is given up.
    pub(crate) async fn failed(&mut self, failure: &Failure, moment: Moment) {
        if self.is_over() && *failure == Failure::Silent {
            // Cut short by us.
            self.connection = None;
            return;
        }
        match self.connection.take() {
            // Let in, and turned away at the first statement: an attempt to connect that failed.
            Some(connection) if !connection.has_answered() && failure.ends_connection() => {
                self.record.failed_logins += 1;
            }
            connection => {
                self.record.note(failure, moment);
                self.connection = connection.filter(|_| !failure.ends_connection());
            }
        }
        sleep(RETRY).await;
    }

    /// Does nothing for a while, or until the phase changes to one of those from `until` on. A
    /// connection that ends meanwhile is a disconnect.
    pub(crate) async fn rest(&mut self, time: Duration, until: Phase) {
        let mut phase = self.seat.phase.clone();
        let changed = async {
            let _ = phase.wait_for(|phase| *phase >= until).await;
        };
        let ended = async {
            match &mut self.connection {
                Some(connection) => connection.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ended => {
                self.record.note(&Failure::Lost(None), Moment::Between);
                self.connection = None;
            }
            () = changed => {}
            () = sleep(time) => {}
        }
    }

    /// Whether it is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// What it has seen, when all is over.
    pub(crate) fn into_record(mut self) -> Record {
        self.end_pause();
        self.record
    }

    fn end_pause(&mut self) {
        if let Some(since) = self.wants.take() {
            self.record.pause = self.record.pause.max(since.elapsed());
        }
    }
}

impl Once {
    fn count(&mut self, counter: &AtomicUsize) {
        if !std::mem::replace(&mut self.0, true) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Connection {
    /// Logs in without TLS.
    pub(crate) async fn open(
        login: &Login,
        phase: &watch::Receiver<Phase>,
    ) -> Result<Self, Failure> {
        let config = configuration(login);
        let opened = timeout(LOGIN, config.connect(NoTls)).await.map_err(|_| Failure::Silent)?;
        let (client, connection) = opened.map_err(|error| Failure::of(&error))?;
        let ended = tokio::spawn(async move {
            // Its error is what the client's next statement fails with.
            let _ = connection.await;
        });
        let answered = AtomicBool::new(false);
        Ok(Self { client, ended, phase: phase.clone(), answered })
    }

    /// Whether it was ever of use.
    fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until it has ended, which must not be waited for again.
    pub(crate) async fn ended(&mut self) {
        // It is our own task, and it does not panic.
        let _ = (&mut self.ended).await;
    }

    /// Runs one statement by the simple protocol; its first value, empty if there is none.
    pub(crate) async fn simple(&self, sql: &str) -> Result<String, Failure> {
        let answer = self.bounded(self.client.simple_query(sql)).await?;
        let value = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(value.unwrap_or_default())
    }

    /// Runs one statement with two integers by the extended protocol, without a named statement:
    /// older poolers have none of them. Its first value, which must be a text.
    pub(crate) async fn extended(&self, sql: &str, values: [i32; 2]) -> Result<String, Failure> {
        let [one, two] = &values;
        let values: [(&(dyn ToSql + Sync), Type); 2] = [(one, Type::INT4), (two, Type::INT4)];
        let rows = self.bounded(self.client.query_typed(sql, &values)).await?;
        Ok(rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default())
    }

    async fn bounded<T>(
        &self,
        run: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        let mut phase = self.phase.clone();
        let over = async {
            let _ = phase.wait_for(|phase| *phase == Phase::Over).await;
            sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            result = run => {
                let result = result.map_err(|error| Failure::of(&error));
                if !result.as_ref().is_err_and(Failure::ends_connection) {
                    self.answered.store(true, Ordering::Relaxed);
                }
                result
            }
            () = sleep(PATIENCE) => Err(Failure::Silent),
            () = over => Err(Failure::Silent),
        }
    }
}

/// For tokio-postgres.
pub(crate) fn configuration(login: &Login) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .host(login.host.to_string())
        .port(login.port)
        .user(&login.user)
        .password(&login.password)
        .dbname(&login.database);
    config
}
