//! What all clients share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use control::auth_query::AuthQuery;
use control::ldap::Directory;
use notify::Hubs;
use parking_lot::Mutex;
use pool::Pools;
use session::{Catalog, ParameterSet, Timeouts};
use telemetry::Metrics;
use tokio::time::Duration;
use topology::PoolKey;
use transport::Acceptor;

use crate::alarms::Alarms;
use crate::bearer::Tokens;
use crate::cancel::CancelKeys;
use crate::console::Door;
use crate::credentials::Credentials;
use crate::follow::Snapshots;
use crate::gate::Gate;
use crate::limits::ClientLimits;
use crate::order_desk::OrderDesk;
use crate::os_users::OsUsers;
use crate::peers::Peers;
use crate::relay::Timer;
use crate::rules::RuleBook;
use crate::server_logins::ServerLogins;

/// What all clients share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) acceptor: Acceptor,
    pub(crate) login_timeout: Duration,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) auth_query: Option<AuthQuery>,
    pub(crate) directory: Directory,
    pub(crate) rule_book: Arc<RuleBook>,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) os_users: OsUsers,
    pub(crate) limits: Arc<ClientLimits>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) hubs: Arc<Hubs>,
    pub(crate) snapshots: Snapshots,
    pub(crate) orders: OrderDesk,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) cancel_keys: Arc<CancelKeys>,
    pub(crate) peers: Peers,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) accepted_settings: AcceptedSettings,
    pub(crate) server_logins: Arc<ServerLogins>,
    pub(crate) console: Option<Door>,
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) gate: Arc<Gate>,
}

impl App {
    /// What a client needs whose time is limited.
    pub(crate) fn timer(&self, limits: &Timeouts, client: u64) -> Option<Box<Timer>> {
        limits.shortest()?;
        Some(Box::new(Timer::new(&self.alarms, limits, client, Instant::now())))
    }
}

/// Startup settings that a server has accepted, with the values that it then reported: a
/// client that asks for the same ones need not be tried again.
#[derive(Debug, Default)]
pub(crate) struct AcceptedSettings(Mutex<HashMap<Asked, Arc<ParameterSet>>>);

/// Where, and what.
type Asked = (PoolKey, Vec<(String, String)>);

/// More kinds of clients than this are tried again now and then.
const ACCEPTED_MAX: usize = 1024;

impl AcceptedSettings {
    pub(crate) fn get(&self, asked: &Asked) -> Option<Arc<ParameterSet>> {
        self.0.lock().get(asked).cloned()
    }

    pub(crate) fn insert(&self, asked: Asked, settings: Arc<ParameterSet>) {
        let mut accepted = self.0.lock();
        if accepted.len() >= ACCEPTED_MAX {
            accepted.clear();
        }
        accepted.insert(asked, settings);
    }
}
