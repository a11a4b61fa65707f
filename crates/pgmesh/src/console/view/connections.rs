//! `SHOW CLIENTS`, `SHOW SERVERS` and `SHOW PINS`: who has which server.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use admin::rows::{ClientRow, ClientState, Endpoint, Fate, PinRow, ServerRow, ServerState};
use frontend::{ClientAddress, Port};
use pool::{Doing, Outcome, ServerView};

use super::{UNIX, endpoint, role};
use crate::app::App;
use crate::cancel::Slot;
use crate::clients::{Activity, View};

/// Both clocks at one moment.
#[derive(Clone, Copy)]
struct Now {
    monotonic: Instant,
    wall: SystemTime,
}

/// A client that has a server.
struct Holder {
    id: u64,
    application_name: String,
    asked: SystemTime,
}

impl Now {
    fn read() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn since(self, at: Instant) -> Duration {
        self.monotonic.saturating_duration_since(at)
    }

    fn wall_at(self, at: Instant) -> SystemTime {
        self.wall.checked_sub(self.since(at)).unwrap_or(self.wall)
    }
}

/// The clients of pools. Each is locked for as long as it takes to copy what it does, all of them
/// together for as long as it takes to list them.
pub(super) fn clients(app: &App, listen: &frontend::Config) -> Vec<ClientRow> {
    let slots = app.cancel_keys.all();
    let now = Now::read();
    slots.iter().filter_map(|slot| client(slot, listen, now)).collect()
}

fn client(slot: &Slot, listen: &frontend::Config, now: Now) -> Option<ClientRow> {
    let (facts, View { activity, asked }) = (slot.facts(), slot.view());
    let (state, wait, server) = match activity {
        Activity::Console => return None,
        Activity::Idle => (ClientState::Active, Duration::ZERO, None),
        Activity::Leased(server) => (ClientState::Active, Duration::ZERO, Some(server)),
        Activity::Waiting => (ClientState::Waiting, now.since(asked), None),
    };
    Some(ClientRow {
        id: facts.id,
        user: facts.key.user.to_string(),
        database: facts.key.database.to_string(),
        state,
        peer: endpoint(facts.from),
        local: local(facts.from, facts.via, listen),
        connected: facts.connected,
        requested: now.wall_at(asked),
        wait,
        server,
        tls: facts.tls.map(str::to_owned),
        application_name: application_name(slot),
        prepared_statements: 0,
    })
}

fn application_name(slot: &Slot) -> String {
    slot.facts().settings.get("application_name").unwrap_or_default().to_owned()
}

/// The socket that a client came in by: the one that is listened on for its kind of address.
fn local(from: ClientAddress, via: Port, listen: &frontend::Config) -> Endpoint {
    let mut ports = listen.endpoints().filter(|(kind, _)| *kind == via).map(|(_, at)| at);
    match from {
        ClientAddress::Local { .. } => {
            Endpoint { address: UNIX.to_owned(), port: ports.next().map_or(0, |at| at.port()) }
        }
        ClientAddress::Host(peer) => {
            let is_its = |at: &SocketAddr| match (at.ip(), peer.ip().to_canonical()) {
                (IpAddr::V6(it), _) if it.is_unspecified() => true,
                (at, peer) => at.is_ipv4() == peer.is_ipv4(),
            };
            ports.find(is_its).map(Endpoint::from).unwrap_or_default()
        }
    }
}

/// Who has a server, by its number.
fn holders(app: &App, now: Now) -> HashMap<u64, Holder> {
    let holder = |slot: &Arc<Slot>| match slot.view() {
        View { activity: Activity::Leased(server), asked } => Some((
            server,
            Holder {
                id: slot.facts().id,
                application_name: application_name(slot),
                asked: now.wall_at(asked),
            },
        )),
        View { activity: Activity::Console | Activity::Idle | Activity::Waiting, .. } => None,
    };
    app.cancel_keys.all().iter().filter_map(holder).collect()
}

pub(super) fn servers(app: &App) -> Vec<ServerRow> {
    let mut holders = holders(app, Now::read());
    let mut rows = Vec::new();
    for pool in app.pools.all() {
        let key = pool.key();
        let views = pool.server_views().into_iter();
        rows.extend(views.map(|view| {
            let holder = holders.remove(&view.facts.id);
            server(&key.user, &key.database, view, holder)
        }));
    }
    rows
}

fn server(user: &str, database: &str, view: ServerView, holder: Option<Holder>) -> ServerRow {
    let state = match (view.doing, &holder) {
        (Doing::BeingCancelled, _) => ServerState::BeingCancelled,
        (Doing::Idle, _) => ServerState::Idle,
        (Doing::Warm, _) => ServerState::Warm,
        (Doing::Lent, Some(_)) => ServerState::Active,
        (Doing::Lent, None) => ServerState::Tested,
    };
    let holder = holder.filter(|_| view.doing != Doing::Idle);
    ServerRow {
        id: view.facts.id,
        user: user.to_owned(),
        database: database.to_owned(),
        state,
        peer: view.facts.peer.map(Endpoint::from).unwrap_or_default(),
        local: view.facts.local.map(Endpoint::from).unwrap_or_default(),
        connected: view.facts.connected,
        requested: holder.as_ref().map_or(view.used, |holder| holder.asked),
        fate: match view.outcome {
            Outcome::Closes => Fate::Closes,
            Outcome::Stays => Fate::Stays,
        },
        client: holder.as_ref().map(|holder| holder.id),
        // A process id is positive.
        remote_pid: view.facts.pid.and_then(|pid| u64::try_from(pid).ok()).unwrap_or(0),
        tls: view.facts.tls.map(str::to_owned),
        application_name: holder.map(|holder| holder.application_name).unwrap_or_default(),
        prepared_statements: view.statements.into(),
    }
}

pub(super) fn pins(app: &App) -> Vec<PinRow> {
    let holders = holders(app, Now::read());
    let mut rows = Vec::new();
    for pool in app.pools.all() {
        let key = pool.key();
        for view in pool.server_views().into_iter().filter(|view| !view.pins.is_empty()) {
            let reasons: Vec<_> = view.pins.iter().map(session::Pin::as_str).collect();
            rows.push(PinRow {
                database: key.database.to_string(),
                user: key.user.to_string(),
                role: role(key.access),
                reason: reasons.join(","),
                client: holders.get(&view.facts.id).map(|holder| holder.id),
                server: view.facts.id,
                since: view.pinned,
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_shown_the_socket_that_is_listened_on() {
        let listen = frontend::Config {
            listen: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            replica_port: Some(5433),
            ..frontend::Config::default()
        };
        let at = |from: &str, via| {
            let Endpoint { address, port } =
                local(ClientAddress::Host(from.parse().unwrap()), via, &listen);
            format!("{address} {port}")
        };
        assert_eq!(at("10.0.0.9:1", Port::Replica), "10.0.0.1 5433");
        assert_eq!(at("[fd00::9]:1", Port::Primary), "fd00::1 5432");
        assert_eq!(at("10.0.0.9:1", Port::Any), " 0");
        let unix = local(ClientAddress::Local { uid: 0 }, Port::Primary, &listen);
        assert_eq!((unix.address.as_str(), unix.port), ("unix", 5432));
    }
}
