//! A login to the console: that of any client, up to the pool, which it has none of.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use admin::rows::{ClientRow, ClientState, Endpoint};
use admin::{Line, Right};
use frontend::{Client, ClientAddress, Established, LoginRequest, Port};
use telemetry::{ClientEnd, ClientGuard, Refusal};
use tokio::sync::Notify;
use topology::PoolKey;
use transport::Socket;
use wire::{ErrorMessage, SqlState};

use super::Door;
use crate::app::App;
use crate::cancel::Slot;
use crate::clients::Facts;
use crate::entry::Purpose;
use crate::login;
use crate::rejected::Rejected;

/// Who comes, and how.
pub(crate) struct Arrival {
    pub(crate) id: u64,
    pub(crate) from: ClientAddress,
    pub(crate) port: Port,
    pub(crate) guard: ClientGuard,
    /// When its connection was accepted.
    pub(crate) began: tokio::time::Instant,
}

/// What there is of a client outside the console, for as long as it is there.
struct Present {
    _slot: Arc<Slot>,
    guard: ClientGuard,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.guard.ended(ClientEnd::Goodbye);
    }
}

/// Lets a client in whose password is right and who may use the console, and leaves it to that.
/// It is not one of `max_client_connections`.
pub(crate) async fn admit(
    app: &Arc<App>,
    door: &Door,
    request: LoginRequest<Socket>,
    arrival: Arrival,
) -> Result<(), Rejected> {
    let Arrival { id, from, port, mut guard, began } = arrival;
    let deadline = began + app.login_timeout;
    let request = login::knock(app, request, from, deadline).await?;
    let client = login::prove(app, request, from, Purpose::Console, deadline).await?;
    // Told to nobody whose password was not right.
    let Some(right) = door.right(&client.startup().user) else {
        return Err(forbid(client).await);
    };
    let Some(seat) = door.consoles.get().and_then(admin::Consoles::seat) else {
        return Err(crowd(client).await);
    };
    let startup = client.startup();
    let application_name = startup.parameter("application_name").unwrap_or_default().to_owned();
    let facts = Facts {
        id,
        key: PoolKey {
            database: startup.database.as_str().into(),
            user: startup.user.as_str().into(),
            access: login::access(port),
        },
        from,
        via: port,
        tls: client.tls_version(),
        connected: SystemTime::now(),
        settings: app.catalog.parameters([("application_name", application_name.as_str())]),
    };
    let mut shown = row(&facts, application_name);
    let slot = app.cancel_keys.issue(startup.version, facts);
    let cancelled = Arc::new(Notify::new());
    slot.at_console(Arc::clone(&cancelled));
    let statuses = seat.statuses(&shown, right);
    let statuses = statuses.iter().map(|(name, value)| (*name, value.as_str()));
    let established = client.greet(statuses, slot.key()).await?;
    guard.logged_in(began.elapsed());
    let Established { stream, unread, .. } = established;
    shown.local = local(stream.get_ref());
    let user = shown.user.clone();
    tracing::info!(event = "console_entered", user, right = word(right), "client of the console");
    seat.serve(Line {
        stream,
        unread,
        client: shown,
        right,
        cancelled,
        guard: Box::new(Present { _slot: slot, guard }),
    });
    Ok(())
}

fn word(right: Right) -> &'static str {
    match right {
        Right::Admin => "admin",
        Right::Stats => "stats",
    }
}

async fn forbid(client: Client<Socket>) -> Rejected {
    let user = &client.startup().user;
    let message = ErrorMessage::fatal(
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        format!("role \"{user}\" may not use the console"),
    );
    let message = message.with_hint("admin.users and admin.stats_users say who may.");
    client.refuse(&message).await;
    let detail = "neither in admin.users nor in admin.stats_users".to_owned();
    Rejected { reason: Refusal::Authentication, detail }
}

async fn crowd(client: Client<Socket>) -> Rejected {
    let message = ErrorMessage::fatal(
        SqlState::TOO_MANY_CONNECTIONS,
        "sorry, the console has too many clients already",
    );
    client.refuse(&message.with_hint("admin.max_connections says how many it may have.")).await;
    Rejected { reason: Refusal::TooManyClients, detail: "admin.max_connections".to_owned() }
}

fn row(facts: &Facts, application_name: String) -> ClientRow {
    ClientRow {
        id: facts.id,
        user: facts.key.user.to_string(),
        database: facts.key.database.to_string(),
        state: ClientState::Active,
        peer: super::view::endpoint(facts.from),
        local: Endpoint::default(),
        connected: facts.connected,
        requested: facts.connected,
        wait: Duration::ZERO,
        server: None,
        tls: facts.tls.map(str::to_owned),
        application_name,
        prepared_statements: 0,
    }
}

fn local(socket: &Socket) -> Endpoint {
    match socket {
        Socket::Tcp(socket) => socket.local_addr().map(Endpoint::from).unwrap_or_default(),
        Socket::Unix(_) => Endpoint { address: super::view::UNIX.to_owned(), port: 0 },
    }
}
