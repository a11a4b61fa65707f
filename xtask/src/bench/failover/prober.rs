//! When a new leader accepts writes, seen from beside the proxies: a connection straight to each node
//! that asks every two milliseconds.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use testbed::{APP_DATABASE, APP_USER, Cluster, Interrupt, Login};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::client::configuration;
use super::record::Tenure;
use super::table;

/// Between two questions.
const EVERY: Duration = Duration::from_millis(2);

/// For one answer: short, because a node that hangs must not hide that it is back.
const ANSWER: Duration = Duration::from_secs(1);

/// Between two looks at the interrupt.
const STEP: Duration = Duration::from_millis(20);

/// The prober's own rows.
const CLIENT: i32 = -1;

/// A leader took over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handover {
    /// When it had taken its first write.
    pub(crate) writable: Instant,
    pub(crate) tenure: Tenure,
}

/// Looks at all nodes until one of them is a new leader. Ends when dropped.
pub(crate) struct Prober {
    found: Receiver<Handover>,
    // Dropped to end the thread.
    _ask: tokio::sync::oneshot::Sender<()>,
}

impl Prober {
    /// Starts to look, and returns when every node has answered once.
    pub(crate) fn start(cluster: &Cluster, leader: &str) -> anyhow::Result<Self> {
        let nodes: Vec<(Login, bool)> = cluster
            .nodes()
            .iter()
            .map(|node| {
                let login = Login::at(node.address(), APP_USER, APP_DATABASE);
                (login, node.name() == leader)
            })
            .collect();
        let (sender, found) = sync_channel(nodes.len());
        let (answered, first) = sync_channel(nodes.len());
        let (ask, end) = tokio::sync::oneshot::channel::<()>();
        let count = nodes.len();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            runtime.block_on(async move {
                let mut all = JoinSet::new();
                for (login, is_leader) in nodes {
                    let (sender, answered) = (sender.clone(), answered.clone());
                    all.spawn(async move {
                        let first = || {
                            let _ = answered.try_send(());
                        };
                        let _ = sender.try_send(look(&login, is_leader, first).await);
                    });
                }
                // Resolves when the prober is dropped.
                let _ = end.await;
            });
        });
        for _ in 0..count {
            first.recv_timeout(Duration::from_secs(10)).context("a node does not answer")?;
        }
        Ok(Self { found, _ask: ask })
    }

    /// Waits for a new leader; `None` if there is none within the time.
    pub(crate) fn wait(
        &self,
        within: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<Handover>> {
        let started = Instant::now();
        loop {
            match self.found.recv_timeout(STEP) {
                Ok(handover) => return Ok(Some(handover)),
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the prober has ended"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if interrupt.raised() {
                return Err(testbed::Error::Interrupted.into());
            }
            if started.elapsed() >= within {
                return Ok(None);
            }
        }
    }
}

/// Asks one node until it has taken a write as a new leader. `is_leader`: it is the old one, and
/// counts only after it was seen to fail.
async fn look(login: &Login, is_leader: bool, first: impl Fn()) -> Handover {
    let mut may_count = !is_leader;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let opened = timeout(ANSWER, configuration(login).connect(NoTls)).await;
        let Ok(Ok((client, connection))) = opened else {
            may_count = true;
            continue;
        };
        let driver = tokio::spawn(connection);
        while let Some(answer) = ask(&client, "SELECT pg_is_in_recovery()").await {
            first();
            if may_count && answer == "f" {
                let written = ask(&client, &table::insert(CLIENT, 0)).await;
                if let Some(tenure) = written.as_deref().and_then(Tenure::parse) {
                    return Handover { writable: Instant::now(), tenure };
                }
            }
            ticks.tick().await;
        }
        may_count = true;
        driver.abort();
    }
}

/// The first value of the answer; `None` if there is no answer.
async fn ask(client: &tokio_postgres::Client, sql: &str) -> Option<String> {
    let answer = timeout(ANSWER, client.simple_query(sql)).await.ok()?.ok()?;
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}
