//! What all clients share.

use std::collections::HashMap;
use std::sync::Arc;

use auth::{ScramKeys, Users};
use parking_lot::Mutex;
use pool::Pools;
use session::{Catalog, ParameterSet};
use telemetry::Metrics;
use tokio::time::Duration;
use topology::PoolKey;
use transport::Acceptor;

use crate::cancel::CancelKeys;
use crate::follow::Snapshots;
use crate::limits::ClientLimits;
use crate::peers::Peers;

/// What all clients share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) acceptor: Acceptor,
    pub(crate) login_timeout: Duration,
    pub(crate) users: Users,
    pub(crate) limits: Arc<ClientLimits>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) snapshots: Snapshots,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) cancel_keys: Arc<CancelKeys>,
    pub(crate) peers: Peers,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) accepted_settings: AcceptedSettings,
    pub(crate) client_keys: Arc<ClientKeys>,
}

/// Startup settings that a server has accepted, with the values that it then reported: a
/// client that asks for the same ones need not be tried again.
#[derive(Debug, Default)]
pub(crate) struct AcceptedSettings(Mutex<HashMap<Asked, Arc<ParameterSet>>>);

/// Where, and what.
type Asked = (PoolKey, Vec<(String, String)>);

/// More kinds of clients than this are tried again now and then.
const ACCEPTED_MAX: usize = 1024;

/// What the logins of users disclosed who have only a verifier configured: with it their
/// servers are logged in to.
#[derive(Debug, Default)]
pub(crate) struct ClientKeys(Mutex<HashMap<Box<str>, ScramKeys>>);

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

impl ClientKeys {
    /// Remembers the keys of a user who is in the configuration: their number is bounded.
    pub(crate) fn learn(&self, user: &str, keys: &ScramKeys) {
        self.0.lock().insert(user.into(), keys.clone());
    }

    pub(crate) fn get(&self, user: &str) -> Option<ScramKeys> {
        self.0.lock().get(user).cloned()
    }
}
