//! The settings as they are now, and what asks for them while clients are at work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::{Login, RequiredRole, Startup};
use config::{Pool, Settings};
use parking_lot::{Mutex, RwLock};
use pool::{Passwords, Resolve};
use session::Timeouts;
use tokio_util::task::AbortOnDropHandle;
use topology::{Access, PoolKey};

use crate::alarms::{self, Alarms};
use crate::follow::Snapshots;
use crate::observe::Observers;
use crate::server_logins::ServerLogins;

/// The settings as they are now.
#[derive(Debug)]
pub(crate) struct Live(RwLock<Arc<Settings>>);

impl Live {
    pub(crate) fn new(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(settings)))
    }

    pub(crate) fn get(&self) -> Arc<Settings> {
        Arc::clone(&self.0.read())
    }

    pub(crate) fn set(&self, settings: Settings) -> Arc<Settings> {
        let settings = Arc::new(settings);
        *self.0.write() = Arc::clone(&settings);
        settings
    }
}

/// What holds once `read` was read again by a process that began with `started`: what needs a
/// restart stays as it was. [`config::reload_class`] has the list of it.
pub(crate) fn in_force(started: &Settings, read: Settings) -> Settings {
    let cancel_wait = started.pool.timeouts.cancel_wait;
    let timeouts = Timeouts { cancel_wait, ..read.pool.timeouts };
    let access = config::Access {
        client_map: started.access.client_map.clone(),
        oauth: started.access.oauth.clone(),
        ..read.access
    };
    Settings {
        max_client_connections: read.max_client_connections,
        limits: read.limits,
        pool: Pool { timeouts, ..read.pool },
        users: read.users,
        databases: read.databases,
        access,
        log: telemetry::log::Config {
            level: read.log.level,
            connections: read.log.connections,
            min_duration: read.log.min_duration,
            ..started.log
        },
        values: started.values.changed_to(&read.values),
        warnings: read.warnings,
        ..started.clone()
    }
}

/// What a pool is made with: the settings of its user and database.
pub(crate) fn resolve(
    live: &Arc<Live>,
    logins: &Arc<ServerLogins>,
    observers: &Arc<Observers>,
) -> Resolve {
    let (live, logins, observers) = (Arc::clone(live), Arc::clone(logins), Arc::clone(observers));
    Box::new(move |key: &PoolKey| {
        let settings = live.get();
        let pool = settings.pool_for(&key.database, &key.user);
        pool::Settings {
            config: pool.config,
            mode: pool.mode,
            state: pool.state,
            timeouts: pool.timeouts,
            max_packet_size: settings.limits.max_packet_size.unwrap_or(u32::MAX),
            login: Login {
                // With what, they ask before each login.
                credentials: backend::Credentials::trusted(&*key.user),
                startup: Startup::new(&*key.database),
                role: match key.access {
                    Access::ReadWrite => RequiredRole::Primary,
                    Access::ReadOnly | Access::Any => RequiredRole::Any,
                },
            },
            passwords: Arc::clone(&logins) as Arc<dyn Passwords>,
            observer: observers.add(key),
        }
    })
}

/// Rings alarms while there is any limit in time.
#[derive(Debug)]
pub(crate) struct Ringing {
    alarms: Arc<Alarms>,
    snapshots: Snapshots,
    task: Mutex<Option<(Duration, AbortOnDropHandle<()>)>>,
}

impl Ringing {
    /// No alarms, and no deadline before `start`.
    pub(crate) fn new(snapshots: Snapshots, start: Instant) -> Self {
        Self { alarms: Arc::new(Alarms::new(start)), snapshots, task: Mutex::default() }
    }

    pub(crate) fn alarms(&self) -> &Arc<Alarms> {
        &self.alarms
    }

    /// Rings often enough for a limit of `shortest`, and for all that there were before: clients
    /// keep theirs. Must be called on a tokio runtime.
    pub(crate) fn ring(&self, shortest: Option<Duration>) {
        let Some(shortest) = shortest else { return };
        let mut task = self.task.lock();
        if task.as_ref().is_some_and(|(known, _)| *known <= shortest) {
            return;
        }
        let ringing = alarms::run(Arc::clone(&self.alarms), shortest, self.snapshots.clone());
        *task = Some((shortest, AbortOnDropHandle::new(tokio::spawn(ringing))));
    }
}
