//! The console: who is let in to it, what it shows, and who carries its orders out. What is said
//! and how is in `admin`.

mod login;
mod operate;
mod view;

use std::sync::{Arc, OnceLock};

use admin::{AdminHandle, Consoles, Right};
use anyhow::Context as _;
use config::{Console, Settings};

pub(crate) use self::login::{Arrival, admit};
use self::operate::Operations;
use self::view::View;
pub(crate) use self::view::{node_rows, pool_row};
use crate::app::App;
use crate::departure::Departure;
use crate::failovers::Failovers;
use crate::reload::Reloader;

/// The way in to the console.
#[derive(Debug)]
pub(crate) struct Door {
    console: Console,
    settings: Arc<Settings>,
    /// Empty until it is open: it is opened before the first client is taken.
    consoles: OnceLock<Consoles>,
}

impl Door {
    /// None if nobody may use the console.
    pub(crate) fn new(settings: &Arc<Settings>) -> Option<Self> {
        let console = settings.console.clone()?;
        Some(Self { console, settings: Arc::clone(settings), consoles: OnceLock::new() })
    }

    /// Whether this database is the console.
    pub(crate) fn is_at(&self, database: &str) -> bool {
        self.console.is_at(database, &self.settings.databases)
    }

    /// Clients that it may have at one time.
    pub(crate) fn seats(&self) -> u64 {
        self.console.config.connections_max as u64
    }

    fn right(&self, user: &str) -> Option<Right> {
        self.console.right(user)
    }
}

/// What the console shows and acts with, beside what clients share.
#[derive(Clone)]
pub(crate) struct Reach {
    failovers: Arc<Failovers>,
    departure: Departure,
    reloader: Arc<Reloader>,
}

impl Reach {
    pub(crate) fn new(
        failovers: &Arc<Failovers>,
        departure: &Departure,
        reloader: Arc<Reloader>,
    ) -> Self {
        Self { failovers: Arc::clone(failovers), departure: departure.clone(), reloader }
    }
}

/// Opens the console, if anybody may use it. Must be called on the runtime of the clients.
pub(crate) fn open(admin: &AdminHandle, app: &Arc<App>, reach: Reach) -> anyhow::Result<()> {
    let Some(door) = &app.console else { return Ok(()) };
    let view = View::new(app, reach.clone());
    let operations = Arc::new(Operations::new(app, reach));
    let consoles = admin.console(
        door.console.config.clone(),
        Arc::new(view),
        Arc::clone(&operations) as Arc<dyn admin::Operate>,
    );
    let shown = consoles.clone();
    app.metrics
        .observe_console(move || telemetry::Console {
            clients: shown.clients() as u64,
            commands: operations.counted(),
        })
        .context("metrics of the console")?;
    // Opened once: by the composition root.
    let _ = door.consoles.set(consoles);
    Ok(())
}
