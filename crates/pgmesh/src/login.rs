//! From an accepted socket to a relay.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use frontend::{Client, ClientAddress, Established, Handshake, LoginRequest, Port, fatal};
use pool::{CheckoutError, Pool, Welcome};
use session::{Disposition, Overdue, ParameterSet, Session};
use telemetry::{ClientEnd, ClientGuard, Refusal};
use tokio::time::{Instant, sleep, timeout_at};
use topology::{Access, PoolKey};
use tracing::Instrument as _;
use transport::{MaybeTls, Socket};
use wire::{ErrorMessage, Severity, SqlState};

use crate::app::App;
use crate::cancel::Slot;
use crate::clients::Facts;
use crate::console::{self, Arrival};
use crate::entry::{self, Purpose};
use crate::limits::{ClientPermit, Excess};
use crate::observe;
use crate::rates::Network;
use crate::rejected::Rejected;
use crate::relay::{Bounds, End, Lend as _, Lender, Relay, Run};

/// For settings that a client asks for at its login and that no server has seen yet, the wait for
/// a server included. Half of what is left of the login at most: it can go on without.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that is relayed: a future, and all that a client's task consists of. Small: it
/// outlives the login's buffers by hours.
struct Admitted {
    id: u64,
    relay: Run<MaybeTls<Socket>, Lender>,
    _permit: ClientPermit,
    guard: ClientGuard,
}

/// Serves one connection, which `guard` counts, to its end.
pub(crate) async fn serve(
    app: Arc<App>,
    socket: Socket,
    from: ClientAddress,
    port: Port,
    guard: ClientGuard,
    id: u64,
) {
    let span = tracing::info_span!("client", id, peer = %from);
    // Boxed and over before the relay starts: an idle client does not pay for its login.
    let login = Box::pin(admit(&app, socket, from, port, guard, id).instrument(span.clone()));
    let admitted = match login.await {
        Ok(Some(admitted)) => admitted,
        Ok(None) => return,
        Err(Rejected { reason, detail }) => {
            app.metrics.clients().refusals.inc(reason);
            tracing::info!(parent: &span, event = "client_refused", reason = telemetry::Words::as_str(reason), detail, "client refused");
            return;
        }
    };
    drop(app);
    drop(span);
    // Detached on purpose: it ends with its client, and is counted by its guard.
    tokio::spawn(admitted);
}

impl Future for Admitted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let end = ready!(Pin::new(&mut self.relay).poll(cx));
        let client = self.id;
        self.guard.ended(match &end {
            End::Goodbye => ClientEnd::Goodbye,
            End::ClientLost => ClientEnd::ClientLost,
            End::ServerLost => ClientEnd::ServerLost,
            End::StateLost(_) => ClientEnd::StateLost,
            End::Terminated => ClientEnd::Terminated,
            End::Departed => ClientEnd::Drained,
            End::TimedOut(overdue) => timed_out(*overdue),
            End::Violation(session::Violation::Client(_)) => ClientEnd::ClientViolation,
            End::Violation(session::Violation::Server(_)) => ClientEnd::ServerViolation,
        });
        match &end {
            End::Goodbye | End::ClientLost if self.guard.is_logged() => {
                tracing::info!(event = "client_left", client, ?end, "client left");
            }
            End::Goodbye | End::ClientLost => {}
            End::ServerLost
            | End::StateLost(_)
            | End::Terminated
            | End::Departed
            | End::TimedOut(_)
            | End::Violation(_) => {
                tracing::info!(event = "client_closed", client, ?end, "client closed")
            }
        }
        Poll::Ready(())
    }
}

/// Handshake, cancel or login, up to the first ReadyForQuery. `None` if that was all.
async fn admit(
    app: &Arc<App>,
    socket: Socket,
    from: ClientAddress,
    port: Port,
    mut guard: ClientGuard,
    id: u64,
) -> Result<Option<Admitted>, Rejected> {
    let began = Instant::now();
    let deadline = began + app.login_timeout;
    if app.acceptor.is_available() && !app.gate.tls_turn(&socket, deadline).await {
        let detail = "proxy.tls_handshakes_per_second".to_owned();
        return Err(Rejected { reason: Refusal::TlsRate, detail });
    }
    let request = match frontend::handshake(socket, from, &app.acceptor, deadline).await? {
        Handshake::Client(request) => request,
        Handshake::Cancel(call) => {
            let outcome = app.peers.cancel(&call.key, &app.cancel_keys, &app.pools).await;
            app.metrics.clients().cancels.inc(outcome);
            call.close().await;
            return Ok(None);
        }
        Handshake::Peer(call) => {
            let outcome = app.peers.serve(call, &app.cancel_keys, &app.pools).await;
            outcome.into_iter().for_each(|outcome| app.metrics.clients().cancels.inc(outcome));
            return Ok(None);
        }
    };
    if let Some(door) = app.console.as_ref().filter(|it| it.is_at(&request.startup().database)) {
        let arrival = Arrival { id, from, port, guard, began };
        return console::admit(app, door, request, arrival).await.map(|()| None);
    }
    let (client, permit) = authenticate(app, request, from, deadline).await?;
    let startup = client.startup();
    let key = PoolKey {
        database: startup.database.as_str().into(),
        user: startup.user.as_str().into(),
        access: access(port),
    };
    let pool = app.pools.get(&key);
    let (welcome, settings) = match open(app, &pool, &startup.parameters, deadline).await {
        Ok(opened) => opened,
        Err(mut error) => {
            error.severity = Severity::Fatal;
            client.refuse(&error).await;
            return Err(Rejected::by_server(error.state));
        }
    };
    let facts = Facts {
        id,
        key: key.clone(),
        from,
        via: port,
        tls: client.tls_version(),
        connected: SystemTime::now(),
        settings: Arc::clone(&settings),
    };
    let slot = app.cancel_keys.issue(startup.version, facts);
    let statuses = welcome
        .reported
        .iter()
        .map(|(name, value)| (name.as_str(), settings.get(name).unwrap_or(value)));
    let established = client.greet(statuses, slot.key()).await?;
    guard.logged_in(began.elapsed());
    if guard.is_logged() {
        slot.facts().log_connected();
    }
    let relay = relay(app, pool, settings, slot, established, Network::of(from));
    Ok(Some(Admitted { id, relay: Run::Relaying(relay), _permit: permit, guard }))
}

fn relay(
    app: &App,
    pool: Arc<Pool>,
    settings: Arc<ParameterSet>,
    slot: Arc<Slot>,
    established: Established<Socket>,
    network: Network,
) -> Relay<MaybeTls<Socket>, Lender> {
    let (id, key) = (slot.facts().id, pool.key());
    let session = session(app, &pool, settings, slot.key().pid);
    let metrics = app.metrics.pool(observe::labels(key));
    let quota = app.gate.quota(&key.user, network, id);
    let lender = Lender::new(pool, Arc::clone(&app.hubs));
    let bounds = Bounds { timer: app.timer(lender.timeouts(), id), quota };
    let Established { stream, unread, .. } = established;
    Relay::new(stream, unread, session, lender, slot, metrics, bounds)
}

fn session(app: &App, pool: &Pool, settings: Arc<ParameterSet>, pid: i32) -> Session {
    let rules = pool.settings();
    let session = Session::new(Arc::clone(&app.catalog), settings, rules.mode)
        .known_as(pid)
        .under(rules.state);
    match pool.key().access {
        Access::ReadWrite => session.sharing_channels(),
        // LISTEN is refused on a standby.
        Access::ReadOnly | Access::Any => session,
    }
}

fn timed_out(overdue: Overdue) -> ClientEnd {
    match overdue {
        Overdue::ClientIdle => ClientEnd::ClientIdleTimeout,
        Overdue::IdleTransaction => ClientEnd::IdleTransactionTimeout,
        Overdue::Transaction => ClientEnd::TransactionTimeout,
        Overdue::Cancel | Overdue::Query | Overdue::Wait => ClientEnd::QueryTimeout,
    }
}

/// Limits, and whatever the client has to prove.
async fn authenticate(
    app: &App,
    request: LoginRequest<Socket>,
    from: ClientAddress,
    deadline: Instant,
) -> Result<(Client<Socket>, ClientPermit), Rejected> {
    let request = knock(app, request, from, deadline).await?;
    let Some(mut permit) = app.limits.enter() else {
        request.refuse(&fatal::too_many_clients()).await;
        let detail = "proxy.max_client_connections".to_owned();
        return Err(Rejected { reason: Refusal::TooManyClients, detail });
    };
    let client = prove(app, request, from, Purpose::Pool, deadline).await?;
    let (user, database) = (&client.startup().user, &client.startup().database);
    if let Err(excess) = permit.log_in(user, database) {
        let (message, detail) = match excess {
            Excess::User => {
                (format!("too many connections for role \"{user}\""), "limit of the user")
            }
            Excess::Database => (
                format!("too many connections for database \"{database}\""),
                "limit of the database",
            ),
        };
        client.refuse(&ErrorMessage::fatal(SqlState::TOO_MANY_CONNECTIONS, message)).await;
        return Err(Rejected { reason: Refusal::TooManyClients, detail: detail.to_owned() });
    }
    if let Some(keys) = client.keys() {
        app.server_logins.learn(user, keys);
    }
    if let Some(password) = client.password() {
        app.server_logins.keep(user, password);
    }
    Ok((client, permit))
}

/// What keeps everybody out who comes from there, and how long they have to wait.
pub(crate) async fn knock(
    app: &App,
    request: LoginRequest<Socket>,
    from: ClientAddress,
    deadline: Instant,
) -> Result<LoginRequest<Socket>, Rejected> {
    let (network, now) = (Network::of(from), std::time::Instant::now());
    if let Err(shut) = app.gate.try_login(network, now) {
        request.refuse(&shut.message()).await;
        return Err(shut.into());
    }
    // Before a place is taken: who waits here keeps nobody out.
    let wait = app.gate.delay(network, now).min(deadline.saturating_duration_since(Instant::now()));
    if !wait.is_zero() {
        sleep(wait).await;
    }
    Ok(request)
}

/// Whatever the client has to prove, and how often it may.
pub(crate) async fn prove(
    app: &App,
    request: LoginRequest<Socket>,
    from: ClientAddress,
    purpose: Purpose,
    deadline: Instant,
) -> Result<Client<Socket>, Rejected> {
    let client = match entry::prove(app, request, from, purpose, deadline).await {
        Ok(client) => client,
        Err(denied) => {
            if denied.is_failed_proof() {
                app.gate.login_failed(Network::of(from), std::time::Instant::now());
            }
            return Err(denied.into());
        }
    };
    if let Err(shut) = app.gate.log_in(&client.startup().user, std::time::Instant::now()) {
        client.refuse(&shut.message()).await;
        return Err(shut.into());
    }
    Ok(client)
}

/// Why a login has no server.
enum NoServer {
    Checkout(CheckoutError),
    /// The time is over that the login has for it.
    Deadline,
}

/// What a server of this pool reports, and the client's settings, checked by a server if
/// none has seen them yet and one can be had. Costs a server only the first time.
async fn open(
    app: &App,
    pool: &Arc<Pool>,
    parameters: &[(String, String)],
    deadline: Instant,
) -> Result<(Arc<Welcome>, Arc<ParameterSet>), ErrorMessage> {
    let database = &pool.key().database;
    if app.snapshots.borrow().orders().of(database).is_disabled {
        let message = format!("database \"{database}\" is not currently accepting connections");
        return Err(ErrorMessage::fatal(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
    }
    let welcome = match pool.welcome() {
        Some(welcome) => welcome,
        None => {
            let lease = checkout(pool, deadline).await?;
            lease.release(Disposition::Clean, std::time::Instant::now());
            pool.welcome().ok_or_else(fatal::starting_up)?
        }
    };
    let wanted = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let wanted = app.catalog.changed(&welcome.carried, wanted);
    if parameters.iter().all(|(name, value)| is_harmless(name, value)) {
        return Ok((welcome, wanted));
    }
    let asked = (pool.key().clone(), parameters.to_vec());
    if let Some(settings) = app.accepted_settings.get(&asked) {
        return Ok((welcome, settings));
    }
    // Nobody can say now: the first statement's server will.
    if pool.is_holding() {
        return Ok((welcome, wanted));
    }
    let deadline = check_deadline(Instant::now(), deadline);
    let mut lease = match checkout(pool, deadline).await {
        Ok(lease) => lease,
        Err(none) if none.will_pass() => return Ok((welcome, wanted)),
        Err(none) => return Err(none.into()),
    };
    let before = Arc::clone(lease.state.parameters());
    let sql = wanted.sql_from(&before);
    let mut reported = Vec::new();
    let server = &mut *lease;
    let left = deadline.saturating_duration_since(Instant::now());
    let applied = backend::run(&mut server.stream, &sql, left, |name, value| {
        reported.push((name.to_owned(), value.to_owned()));
    });
    if let Err(error) = applied.await {
        // Dropped, the lease closes the server.
        return refused_settings(&error).map_or(Ok((welcome, wanted)), Err);
    }
    lease.state.distrust();
    lease.release(Disposition::NeedsReset, std::time::Instant::now());
    let reported = reported.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let reported = reported.filter(|(name, _)| session::is_carried(name));
    // What a server reports is written its way, be it that it changed or that it did not.
    let unchanged = welcome.carried.iter();
    let unchanged = unchanged.filter_map(|(name, _)| Some((name, before.get(name)?)));
    let settings = app.catalog.changed(&wanted, unchanged.chain(reported));
    app.accepted_settings.insert(asked, Arc::clone(&settings));
    Ok((welcome, settings))
}

/// When a check of settings is given up that begins `now`, in a login that ends at `deadline`.
fn check_deadline(now: Instant, deadline: Instant) -> Instant {
    now + SETTINGS_TIMEOUT.min(deadline.saturating_duration_since(now) / 2)
}

/// What a server says against the settings; `None` if it was lost before it said anything.
fn refused_settings(error: &backend::QueryError) -> Option<ErrorMessage> {
    match error {
        // Class 57, operator intervention: it is shut down.
        backend::QueryError::Refused(refusal) if !refusal.sqlstate.starts_with("57") => {
            Some(refusal.settings_error())
        }
        _ => None,
    }
}

/// Most clients set their name and nothing else; no server need be asked about that.
fn is_harmless(name: &str, value: &str) -> bool {
    name.eq_ignore_ascii_case("application_name")
        && value.len() < 64
        && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

async fn checkout(pool: &Arc<Pool>, deadline: Instant) -> Result<pool::Lease, NoServer> {
    if let Some(lease) = pool.try_checkout() {
        return Ok(lease);
    }
    match timeout_at(deadline, pool.checkout()).await {
        Ok(checkout) => checkout.map_err(NoServer::Checkout),
        Err(_) => Err(NoServer::Deadline),
    }
}

impl NoServer {
    /// Whether there may be one when the first statement asks for it.
    fn will_pass(&self) -> bool {
        matches!(
            self,
            Self::Deadline
                | Self::Checkout(
                    CheckoutError::Timeout { .. }
                        | CheckoutError::Held { .. }
                        | CheckoutError::HeldTooMany
                )
        )
    }
}

impl From<NoServer> for ErrorMessage {
    fn from(none: NoServer) -> Self {
        match none {
            NoServer::Checkout(CheckoutError::Login(error)) => Self::clone(&error),
            NoServer::Checkout(error) => error.statement_error(),
            NoServer::Deadline => Self::fatal(
                SqlState::CANNOT_CONNECT_NOW,
                "client_login_timeout: no server became available in time",
            ),
        }
    }
}

pub(crate) fn access(port: Port) -> Access {
    match port {
        Port::Primary => Access::ReadWrite,
        Port::Replica => Access::ReadOnly,
        Port::Any => Access::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sqlstate: &str) -> backend::QueryError {
        backend::QueryError::Refused(backend::Refusal {
            severity: "ERROR".to_owned(),
            sqlstate: sqlstate.to_owned(),
            message: "invalid value".to_owned(),
        })
    }

    #[test]
    fn only_a_refusal_of_the_settings_ends_a_login() {
        let refusal = refused_settings(&refused("22023")).unwrap();
        assert_eq!(
            (refusal.state, refusal.severity),
            (SqlState::INVALID_PARAMETER_VALUE, Severity::Fatal)
        );
        let reset = std::io::ErrorKind::ConnectionReset.into();
        for error in
            [refused("57P01"), backend::QueryError::Lost(reset), backend::QueryError::Timeout]
        {
            assert_eq!(refused_settings(&error), None, "{error}");
        }
    }

    #[test]
    fn a_login_goes_on_without_a_server_that_may_come_yet() {
        for error in [
            CheckoutError::Timeout { detail: None },
            CheckoutError::Held { detail: None },
            CheckoutError::HeldTooMany,
        ] {
            assert!(NoServer::Checkout(error).will_pass());
        }
        assert!(!NoServer::Checkout(CheckoutError::ShuttingDown).will_pass());
        assert!(NoServer::Deadline.will_pass());
    }

    #[test]
    fn a_check_of_settings_leaves_time_for_the_rest_of_the_login() {
        let now = Instant::now();
        for (left, check) in [(60, 10), (20, 10), (8, 4), (0, 0)]
            .map(|(left, check)| (Duration::from_secs(left), Duration::from_secs(check)))
        {
            assert_eq!(check_deadline(now, now + left), now + check);
        }
        assert_eq!(check_deadline(now + Duration::from_secs(1), now), now + Duration::from_secs(1));
    }

    /// The bar is 2 KB for a plain client, its socket's registration and the allocator's
    /// share included.
    #[test]
    fn an_idle_client_costs_a_small_task() {
        let size = size_of::<Admitted>();
        assert!(size <= 464, "{size} bytes");
    }
}
