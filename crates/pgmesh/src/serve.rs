//! The composition root: builds every part, hands each what it needs, and waits for the end.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use admin::AdminHandle;
use anyhow::Context as _;
use auth::Seed;
use backend::Dialer;
use config::Settings;
use control::auth_query::{AuthQuery, Groups};
use control::ldap::Directory;
use notify::Hubs;
use pool::Pools;
use rand::Rng as _;
use session::Catalog;
use telemetry::{Build, CertificateExpiries, Exposition, Metrics, Registry};
use tokio_util::task::AbortOnDropHandle;
use topology::Access;
use transport::{Acceptor, Connector, Renewal};

use crate::app::{AcceptedSettings, App};
use crate::attend::attend;
use crate::bearer::Tokens;
use crate::cancel::CancelKeys;
use crate::console::{self, Door, Reach};
use crate::credentials::Credentials;
use crate::departure::Departure;
use crate::entrance::{Beginning, Entrance};
use crate::failovers::Failovers;
use crate::follow::{Following, Snapshots};
use crate::gate::{Gate, watch_memory};
use crate::limits::{Allowed, ClientLimits, raise_for};
use crate::live::{Live, Ringing, resolve};
use crate::observe::{self, Observers};
use crate::os_users::OsUsers;
use crate::peers::{self, Peers};
use crate::reload::{Origin, Parts, Reloader};
use crate::rotation::Rotation;
use crate::rules::RuleBook;
use crate::server_logins::ServerLogins;
use crate::status::Status;

const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    commit: match option_env!("PGMESH_COMMIT") {
        Some(commit) => commit,
        None => "unknown",
    },
};

/// How soon a new certificate or new rules are seen; looking takes a few system calls.
const FILES_PERIOD: Duration = Duration::from_secs(5);

/// What to start with.
#[derive(Debug)]
pub struct Start {
    /// What was read from `origin`.
    pub settings: Settings,
    /// Where it is read again.
    pub origin: Origin,
    /// Changes what is logged.
    pub log: telemetry::log::Handle,
    /// Whose listeners it takes.
    pub beginning: Beginning,
}

/// Serves clients until a signal comes, and then until they have left.
///
/// # Errors
/// Anything that keeps it from starting.
pub fn run(start: Start) -> anyhow::Result<()> {
    raise_for(&start.settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("pgmesh")
        .build()
        .context("starting the runtime")?;
    let served = runtime.block_on(serve(start));
    // Clients that are left are closed with the process.
    runtime.shutdown_background();
    served
}

async fn serve(start: Start) -> anyhow::Result<()> {
    let Start { settings, origin, log, beginning } = start;
    let settings = Arc::new(settings);
    let mut entrance = Entrance::open(&settings, beginning).await?;
    let live = Live::new(Arc::clone(&settings));
    let registry = Registry::new();
    let metrics = Arc::new(Metrics::new(&registry, BUILD)?);

    let acceptor = settings.frontend.tls.acceptor().context("[proxy.tls]")?;
    let dialer = Dialer::new(settings.backend.clone()).context("[server.tls]")?;
    let (rule_book, _rules) = rule_book(&settings).context("who may log in")?;
    let directory = Directory::new(settings.ldap.clone()).context("auth.ldap_ca")?;
    let tokens = Tokens::start(&settings, &metrics).context("[auth.oauth]")?;
    let others = tokens.as_ref().and_then(Tokens::renewal).into_iter().chain(directory.renewal());
    observe::handshakes(&metrics, &acceptor, dialer.tls());
    let _telling = observe::bounds(&metrics, &live, &log)?;
    let _renewal = renew_tls(&acceptor, dialer.tls(), others, &metrics)?;
    let following = Following::start(&settings, dialer.tls())?;
    let snapshots = following.snapshots.clone();
    let catalog = Arc::new(Catalog::default());
    let (credentials, rotation, _rotating) = credentials(&settings, &following)?;
    let auth_query = auth_query(&settings, &rule_book, dialer.tls(), &snapshots, &metrics)?;
    let server_logins = ServerLogins::new(&credentials, auth_query.as_ref());
    let observers = Arc::new(Observers::default());
    let resolve = resolve(&live, &server_logins, &observers);
    let failovers = Failovers::new(Arc::clone(&metrics), following.suspect());
    let (hold, seen, report) = (settings.failover.hold, snapshots.clone(), Arc::clone(&failovers));
    let pools = Pools::new(dialer, Arc::clone(&catalog), seen, hold, report, resolve);
    observe::pools(&metrics, &pools, observers)?;
    let hubs = hubs(&settings, &pools, &metrics)?;

    let ringing = Ringing::new(snapshots.clone(), Instant::now());
    let (gate, _memory) = gate(&settings);
    let app = Arc::new(App {
        acceptor,
        login_timeout: settings.frontend.login_timeout,
        credentials,
        auth_query,
        directory,
        rule_book,
        tokens,
        os_users: OsUsers::new(settings.frontend.login_timeout),
        limits: ClientLimits::new(Allowed::of(&settings)),
        pools,
        hubs,
        snapshots: snapshots.clone(),
        orders: following.orders(),
        catalog,
        cancel_keys: cancel_keys(&settings),
        peers: Peers::new(&settings.peers, entrance.predecessor()),
        metrics: Arc::clone(&metrics),
        accepted_settings: AcceptedSettings::default(),
        server_logins,
        console: Door::new(&settings),
        alarms: Arc::clone(ringing.alarms()),
        gate,
    });
    let parts = Parts { app: Arc::clone(&app), live, log, metrics, ringing, rotation };
    let (reloader, _reloads) = Reloader::begin(origin, &settings, parts, FILES_PERIOD)?;
    let departure = Departure::new();
    let listener = entrance.metrics(&settings.admin).context("[metrics]")?;
    let admin = show(&settings, listener, registry, &app, &failovers, departure.clone())?;
    console::open(&admin, &app, Reach::new(&failovers, &departure, reloader))?;
    let _leader = show_leader(Arc::clone(&app), failovers, snapshots);
    attend(&app, &settings, admin, &departure, entrance).await
}

/// Shows operators how it goes.
fn show(
    settings: &Settings,
    listener: TcpListener,
    registry: Registry,
    app: &Arc<App>,
    failovers: &Arc<Failovers>,
    departure: Departure,
) -> anyhow::Result<AdminHandle> {
    let (exposition, snapshots) = (Exposition::new(registry), app.snapshots.clone());
    let ready = move || readiness(&snapshots, &departure);
    let status = Arc::new(Status::new(app, failovers));
    admin::spawn_at(listener, settings.admin.clone(), exposition, ready, status)
        .context("[metrics]")
}

/// Follows the TLS files, and shows when their certificates end.
fn renew_tls(
    acceptor: &Acceptor,
    connector: &Connector,
    others: impl Iterator<Item = Renewal>,
    metrics: &Metrics,
) -> anyhow::Result<AbortOnDropHandle<()>> {
    let mut renewals = vec![acceptor.renewal(), connector.renewal()];
    renewals.extend(others);
    let (acceptor, connector) = (acceptor.clone(), connector.clone());
    metrics.observe_certificates(move || CertificateExpiries {
        client: acceptor.certificate_not_after(),
        server: connector.certificate_not_after(),
    })?;
    Ok(AbortOnDropHandle::new(tokio::spawn(transport::renew(renewals, FILES_PERIOD))))
}

fn cancel_keys(settings: &Settings) -> Arc<CancelKeys> {
    let owner = peers::owner(&settings.peers);
    Arc::new(CancelKeys::new(owner, settings.pool.timeouts.cancel_wait))
}

/// Who may enter and how, and the task that follows the files of it.
fn rule_book(settings: &Settings) -> anyhow::Result<(Arc<RuleBook>, AbortOnDropHandle<()>)> {
    let rule_book = Arc::new(RuleBook::load(settings)?);
    let following = tokio::spawn(Arc::clone(&rule_book).follow(FILES_PERIOD));
    Ok((rule_book, AbortOnDropHandle::new(following)))
}

/// What else clients must pass, and the task that looks at the memory.
fn gate(settings: &Settings) -> (Arc<Gate>, AbortOnDropHandle<()>) {
    let gate = Arc::new(Gate::new(&settings.limits, Instant::now()));
    let watching = tokio::spawn(watch_memory(Arc::clone(&gate)));
    (gate, AbortOnDropHandle::new(watching))
}

fn hubs(
    settings: &Settings,
    pools: &Arc<Pools>,
    metrics: &Metrics,
) -> Result<Arc<Hubs>, telemetry::Error> {
    let hubs = Hubs::new(Arc::clone(pools), settings.notifications);
    observe::listening(metrics, &hubs)?;
    Ok(hubs)
}

/// Looks up who is not in `[[users]]`, over TLS as the pools have it.
fn auth_query(
    settings: &Settings,
    rule_book: &RuleBook,
    tls: &Connector,
    snapshots: &Snapshots,
    metrics: &Metrics,
) -> anyhow::Result<Option<AuthQuery>> {
    let Some(mut config) = settings.auth_query.clone() else { return Ok(None) };
    if rule_book.may_ask_for_groups() {
        config.groups = Groups::Fetch;
    }
    let auth_query = AuthQuery::new(config, tls.clone(), snapshots.clone());
    observe::lookups(metrics, &auth_query)?;
    Ok(Some(auth_query))
}

/// The passwords of `[[users]]`, and what follows the files of all secrets, with its task.
fn credentials(
    settings: &Settings,
    following: &Following,
) -> anyhow::Result<(Arc<Credentials>, Arc<Rotation>, AbortOnDropHandle<()>)> {
    let seed: [u8; 32] = rand::rng().random();
    let credentials = Arc::new(Credentials::new(settings, Seed::new(seed)).context("[[users]]")?);
    let rotation = Rotation::new(settings, Arc::clone(&credentials), following.prober.as_ref());
    let following = tokio::spawn(Arc::clone(&rotation).follow(FILES_PERIOD));
    Ok((credentials, rotation, AbortOnDropHandle::new(following)))
}

fn readiness(snapshots: &Snapshots, departure: &Departure) -> admin::Readiness {
    let snapshot = snapshots.borrow();
    let route = snapshot.route(Access::ReadWrite).ok();
    let primary =
        route.and_then(|route| Some((route.nodes.first()?.name.to_string(), route.epoch.get())));
    admin::Readiness { primary, draining: departure.is_asked_for() }
}

/// Keeps the metrics of epoch, leader and failovers.
fn show_leader(
    app: Arc<App>,
    failovers: Arc<Failovers>,
    mut snapshots: Snapshots,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            failovers.look(&snapshot, &app.pools);
            app.metrics.set_cluster(observe::cluster(&snapshot));
            if snapshots.changed().await.is_err() {
                return;
            }
        }
    }))
}
