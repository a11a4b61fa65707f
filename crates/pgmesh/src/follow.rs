//! What keeps the cluster known: a source, and the nodes' own answers.

use std::sync::Arc;

use anyhow::Context as _;
use auth::Rotating;
use config::{Settings, User};
use control::Prober;
use discovery::Discovery;
use tokio::sync::{mpsc, watch};
use topology::{Epoch, Event, Proof, Snapshot};
use transport::Connector;

use crate::order_desk::OrderDesk;

/// The cluster as it is known at any moment.
pub(crate) type Snapshots = watch::Receiver<Arc<Snapshot>>;

/// Answers of nodes that may wait to be taken.
const EVENTS_WAITING: usize = 64;

/// The tasks that keep the cluster known, and how to reach them.
pub(crate) struct Following {
    pub(crate) snapshots: Snapshots,
    /// As whom the nodes are asked.
    pub(crate) prober: Option<(String, Rotating)>,
    events: mpsc::Sender<Event>,
    _discovery: Discovery,
    _prober: Option<Prober>,
}

impl Following {
    /// Starts to follow. The nodes are asked whenever somebody can log in to them with a
    /// password, over TLS as the pools have it; otherwise each login of a pool proves its own
    /// server.
    pub(crate) fn start(settings: &Settings, tls: &Connector) -> anyhow::Result<Self> {
        let login = prober_login(settings);
        let (fixed, single) = match &settings.discovery {
            discovery::Config::Fixed(fixed) => (true, fixed.nodes.len() == 1),
            discovery::Config::Etcd(_) | discovery::Config::Rest(_) => (false, false),
        };
        // A list of several nodes has nothing else to find its primary by.
        let asks = !single && (fixed || login.is_some());
        let rules = topology::Config {
            proof: if asks { Proof::Required } else { Proof::ByLogin },
            routes: settings.routes,
            drain_timeout: settings.failover.drain_timeout,
        };
        let (events, receiver) = mpsc::channel(EVENTS_WAITING);
        let discovery = discovery::spawn(settings.discovery.clone(), rules, Some(receiver))
            .context("[cluster]")?;
        let snapshots = discovery.snapshots.clone();
        let mut known = None;
        let prober = if asks {
            let (user, password) = login.unwrap_or_else(|| ("pgmesh".to_owned(), None));
            known = password.clone().map(|password| (user.clone(), password));
            let config = control::Config {
                tls: tls.clone(),
                password,
                ..control::Config::new(user, None, "postgres")
            };
            Some(control::spawn(config, snapshots.clone(), events.clone()))
        } else {
            None
        };
        Ok(Self { snapshots, prober: known, events, _discovery: discovery, _prober: prober })
    }

    /// Where operators' orders are given.
    pub(crate) fn orders(&self) -> OrderDesk {
        OrderDesk::new(self.events.clone(), self.snapshots.clone())
    }

    /// Tells the topology of an epoch whose primary has refused a write.
    pub(crate) fn suspect(&self) -> Box<dyn Fn(Epoch) + Send + Sync> {
        let events = self.events.clone();
        Box::new(move |epoch| {
            // With a full queue somebody else's news are about to be heard.
            if events.try_send(Event::Suspect { epoch }).is_err() {
                tracing::debug!(
                    event = "suspicion_dropped",
                    "a suspicion is not told: too many events wait"
                );
            }
        })
    }
}

/// Any role will do: the question needs no privilege.
fn prober_login(settings: &Settings) -> Option<(String, Option<Rotating>)> {
    let looks_up = settings.auth_query.as_ref().filter(|config| config.password.is_some());
    let looks_up = looks_up.map(|config| (config.user.clone(), config.password.clone()));
    let user = settings.users.iter().find_map(|(name, user)| match User::server_login(user) {
        Some(auth::Login::Password { password, .. }) => Some((name.clone(), Some(password.into()))),
        Some(auth::Login::Keys(_)) | None => None,
    });
    user.or(looks_up)
}
