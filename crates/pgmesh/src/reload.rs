//! The configuration is read again: all of it counts, or nothing has changed.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use auth::Secret;
use config::{Change, Errors, Overrides, Process, Reload, Settings, diff};
use parking_lot::Mutex;
use telemetry::{Metrics, ReloadOutcome};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;
use topology::{Command, Target};

use crate::app::App;
use crate::check::check;
use crate::limits::{Allowed, raise_for};
use crate::live::{Live, Ringing, in_force};
use crate::observe;
use crate::rotation::Rotation;
use crate::rules::NewRules;
use crate::systemd;

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// No file: one server at this address.
    Upstream(String),
}

/// What a configuration is taken by.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) app: Arc<App>,
    pub(crate) live: Arc<Live>,
    pub(crate) log: telemetry::log::Handle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ringing: Ringing,
    pub(crate) rotation: Arc<Rotation>,
}

/// Reads the configuration again. One per process.
#[derive(Debug)]
pub(crate) struct Reloader {
    origin: Origin,
    /// What counts until the process ends, of what needs a restart.
    started: Arc<Settings>,
    parts: Parts,
    /// Locked while the configuration is read: one after the other.
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    over: Overrides,
    /// The text that was looked at last, good or bad.
    looked: Text,
}

/// There may be passwords in it; `None` for a file that cannot be read.
type Text = Option<Secret>;

/// A configuration that can be used.
struct Read {
    settings: Settings,
    rules: NewRules,
}

/// What came of a configuration that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// What counts from now on, or for new connections.
    pub(crate) changes: Vec<Change>,
    /// What is written and waits for a restart, from this time or before.
    pub(crate) waiting: Vec<Change>,
    /// What the operator should know besides.
    pub(crate) notes: Vec<String>,
    /// Databases whose servers are replaced as their transactions end.
    renewed: BTreeSet<Arc<str>>,
}

/// Why nothing was taken: every reason, one line each. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused(Vec<String>);

/// A file is looked at again so long after it was seen to change: whoever writes it may not have
/// come to its end.
const SETTLES: Duration = Duration::from_millis(500);

/// A file that changes all the time is taken as it is after so many looks.
const LOOKS_MAX: u32 = 10;

// === impl Origin ===

impl Origin {
    /// Reads the configuration, with `over` over it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self, over: &Overrides) -> Result<Settings, Errors> {
        match self {
            Self::File(path) => config::load_over(path, &Process, over),
            Self::Upstream(address) => Settings::for_single_node_over(address, &Process, over),
        }
    }

    fn text(&self) -> Text {
        match self {
            Self::File(path) => std::fs::read_to_string(path).ok().map(Secret::new),
            Self::Upstream(_) => None,
        }
    }
}

// === impl Reloader ===

impl Reloader {
    /// Begins to follow; `started` was read at start. From now on SIGHUP ends nothing. Must be
    /// called on a tokio runtime.
    ///
    /// # Errors
    /// The signal cannot be heard.
    pub(crate) fn begin(
        origin: Origin,
        started: &Arc<Settings>,
        parts: Parts,
        period: Duration,
    ) -> io::Result<(Arc<Self>, AbortOnDropHandle<()>)> {
        let hangup = signal(SignalKind::hangup())?;
        parts.ringing.ring(started.shortest_timeout());
        let last = Last { over: Overrides::default(), looked: origin.text() };
        let (started, last) = (Arc::clone(started), Mutex::new(last));
        let reloader = Arc::new(Self { origin, started, parts, last });
        let following = tokio::spawn(Arc::clone(&reloader).follow(period, hangup));
        Ok((reloader, AbortOnDropHandle::new(following)))
    }

    /// The settings as they are now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.parts.live.get()
    }

    /// Reads everything again, and forgets what was set.
    ///
    /// # Errors
    /// Something cannot be used; nothing has changed.
    ///
    /// # Cancel safety
    /// Dropped, it is done all the same.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<Done, Refused> {
        self.in_background(|this| {
            let mut last = this.last.lock();
            let mut done = this.take(&mut last, Overrides::default());
            if let Ok(done) = &mut done {
                let over = std::mem::take(&mut last.over);
                let dropped = over.paths().map(|path| format!("{path} is as in the file again"));
                done.notes.extend(dropped);
            }
            this.say(&done);
            done
        })
        .await
    }

    /// Sets a key until the next reload; `key` is its path, or PgBouncer's name. An error says
    /// what to do.
    ///
    /// # Errors
    /// The key needs a restart or is secret, or it cannot have this value; nothing has changed.
    ///
    /// # Cancel safety
    /// Dropped, it is done all the same.
    pub(crate) async fn set(self: &Arc<Self>, key: &str, value: &str) -> Result<Done, Refused> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.in_background(move |this| {
            let mut last = this.last.lock();
            let mut over = last.over.clone();
            over.set(&key, &value).map_err(|problem| Refused(vec![problem]))?;
            let done = this.take(&mut last, over.clone());
            if done.is_ok() {
                last.over = over;
            }
            this.say(&done);
            done
        })
        .await
    }

    /// Logs by this level or filter (as in [`telemetry::log::FILTER_VARIABLE`]) until the next
    /// reload.
    ///
    /// # Errors
    /// It is neither; nothing has changed.
    pub(crate) fn log_by(&self, filter: &str) -> Result<(), telemetry::Error> {
        self.parts.log.set(filter)
    }

    /// Reads again at every SIGHUP, and when the file has changed. Never ends.
    async fn follow(self: Arc<Self>, period: Duration, mut hangup: Signal) {
        loop {
            let is_due = tokio::select! {
                _ = hangup.recv() => {
                    tracing::info!(event = "reload_signal", "SIGHUP: reading the configuration again");
                    true
                }
                () = tokio::time::sleep(period) => self.has_changed().await,
            };
            if is_due {
                systemd::reloading();
                // What came of it is in the log.
                let _ = self.reload().await;
                systemd::reloaded();
            }
        }
    }

    /// Whether the file says something else than when it was read, and has come to rest.
    async fn has_changed(&self) -> bool {
        let look = async || {
            let origin = self.origin.clone();
            // A file system that hangs must not take a thread of the runtime with it.
            tokio::task::spawn_blocking(move || origin.text()).await.unwrap_or_default()
        };
        let mut text = look().await;
        if text == self.last.lock().looked {
            return false;
        }
        for _ in 0..LOOKS_MAX {
            tokio::time::sleep(SETTLES).await;
            let next = look().await;
            if next == text {
                break;
            }
            text = next;
        }
        text != self.last.lock().looked
    }

    async fn in_background(
        self: &Arc<Self>,
        run: impl FnOnce(&Self) -> Result<Done, Refused> + Send + 'static,
    ) -> Result<Done, Refused> {
        let this = Arc::clone(self);
        let orders = self.parts.app.orders.clone();
        // A task: who waits for it may go.
        let done = tokio::spawn(async move {
            let done = tokio::task::spawn_blocking(move || run(&this)).await;
            let done = done.unwrap_or_else(|error| Err(Refused(vec![error.to_string()])))?;
            for database in &done.renewed {
                let renew = Command::Reconnect(Target::Database(Arc::clone(database)));
                if let Err(error) = orders.give(renew).await {
                    let database = &**database;
                    tracing::error!(
                        event = "order_failed", database, %error, "servers are not replaced"
                    );
                }
            }
            Ok(done)
        });
        done.await.unwrap_or_else(|error| Err(Refused(vec![error.to_string()])))
    }

    /// Reads and takes the configuration with `over` over it. Blocks.
    fn take(&self, last: &mut Last, over: Overrides) -> Result<Done, Refused> {
        // Before it is read: what is written meanwhile is a change.
        last.looked = self.origin.text();
        let taken = self.read(&over).map(|read| self.adopt(read, &over));
        let outcome = match &taken {
            Ok(done) if done.changes.is_empty() => ReloadOutcome::Unchanged,
            Ok(_) => ReloadOutcome::Changed,
            Err(_) => ReloadOutcome::Failed,
        };
        self.parts.metrics.reloads().ended(outcome, SystemTime::now());
        taken
    }

    /// Changes nothing yet.
    fn read(&self, over: &Overrides) -> Result<Read, Refused> {
        let settings = self.origin.read(over)?;
        check(&settings)?;
        let settings = in_force(&self.started, settings);
        let rules = self.parts.app.rule_book.read(&settings.access).map_err(|error| {
            error.context("who may log in, with all that needs a restart as it was")
        })?;
        raise_for(&settings)?;
        Ok(Read { settings, rules })
    }

    /// From here on nothing fails.
    fn adopt(&self, read: Read, over: &Overrides) -> Done {
        let Parts { app, live, log, metrics, ringing, rotation } = &self.parts;
        let Read { settings, rules } = read;
        let (before, now) = (live.get(), Instant::now());
        let changes = diff(&before.values, &settings.values);
        let settings = live.set(settings);
        let gone = app.credentials.replace(&settings.users, now);
        gone.iter().for_each(|user| app.server_logins.forget(user));
        rotation.follow_users(&settings.users, now);
        app.rule_book.take(rules);
        app.limits.set(Allowed::of(&settings));
        app.gate.set(&settings.limits);
        ringing.ring(settings.shortest_timeout());
        let renewed = app.pools.renew();
        if over.paths().any(|path| path == "log.level") {
            // A level is always a filter.
            let _ = log.set(settings.log.level.as_str());
        } else {
            log.follow(settings.log.level);
        }
        observe::log(metrics, &settings.log);
        let asks = gone.iter().filter(|user| rotation.asks_as(user));
        let notes = asks.map(|user| format!("nodes are asked as {user:?} until a restart"));
        let mut notes: Vec<_> = notes.collect();
        if settings.warnings != before.warnings {
            notes.extend(settings.warnings.iter().map(ToString::to_string));
        }
        notes.extend(
            renewed.iter().map(|name| format!("servers of database {name:?} are replaced")),
        );
        Done { changes, waiting: settings.values.waiting(), notes, renewed }
    }

    fn say(&self, done: &Result<Done, Refused>) {
        match done {
            Ok(done) => {
                for notice in done.notices() {
                    tracing::info!(
                        event = "config_reloaded",
                        notice,
                        "the configuration was read again"
                    );
                }
            }
            Err(Refused(reasons)) => {
                for reason in reasons {
                    tracing::error!(
                        event = "config_refused",
                        reason,
                        "the configuration cannot be used; nothing changes"
                    );
                }
            }
        }
    }
}

// === impl Done ===

impl Done {
    /// One line for each thing to tell; there is always one.
    pub(crate) fn notices(&self) -> Vec<String> {
        let when = |reload| match reload {
            Reload::Now | Reload::Restart => "",
            Reload::NewConnections => "; for new connections",
        };
        let changes = self.changes.iter().map(|it| format!("{it}{}", when(it.reload)));
        let waiting = self.waiting.iter().map(|it| format!("needs a restart: {it}"));
        let mut notices: Vec<_> = changes.chain(waiting).chain(self.notes.clone()).collect();
        if self.changes.is_empty() {
            notices.insert(0, "nothing has changed".to_owned());
        }
        notices
    }
}

// === impl Refused ===

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl From<Errors> for Refused {
    fn from(errors: Errors) -> Self {
        let source = errors.source();
        Self(errors.iter().map(|error| format!("{source}: {error}")).collect())
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self(format!("{error:#}").lines().map(|line| line.trim().to_owned()).collect())
    }
}
