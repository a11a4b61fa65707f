//! `CLIENTS`, `SERVERS` and `SOCKETS`.

use std::time::Duration;

use super::super::value::Value;
use super::{Rows, View, made};
use crate::rows::{ClientRow, ClientState, Fate, ServerRow, ServerState};

/// Which sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Those of clients and servers that are at work.
    Active,
    /// All.
    All,
}

pub(super) fn clients(view: &View<'_>) -> Rows {
    made(all_clients(view), |row| client(row, ""))
}

pub(super) fn servers(view: &View<'_>) -> Rows {
    made(view.facts.servers(), |row| server(row, ""))
}

pub(super) fn sockets(view: &View<'_>, which: Which) -> Rows {
    let clients = all_clients(view).into_iter().filter(move |row| {
        which == Which::All || row.state == ClientState::Active && row.server.is_some()
    });
    let servers = view
        .facts
        .servers()
        .into_iter()
        .filter(move |row| which == Which::All || row.state == ServerState::Active);
    let clients = clients.map(|row| with_buffers(client(row, "cl_")));
    Box::new(clients.chain(servers.map(|row| with_buffers(server(row, "sv_")))))
}

fn all_clients(view: &View<'_>) -> Vec<ClientRow> {
    let mut rows = view.facts.clients();
    rows.extend(view.consoles.iter().cloned());
    rows
}

/// No connection has a buffer while nobody looks at it.
fn with_buffers(mut row: Vec<Value>) -> Vec<Value> {
    row.extend(std::iter::repeat_n(Value::Number(0), 7));
    row
}

/// What stands for a client's address in memory: unlike that, it tells nothing to an attacker.
pub(super) fn client_link(id: u64) -> String {
    format!("c{id}")
}

fn server_link(id: u64) -> String {
    format!("s{id}")
}

fn wait(wait: Duration) -> [Value; 2] {
    [wait.as_secs().into(), u64::from(wait.subsec_micros()).into()]
}

fn client(row: ClientRow, prefix: &str) -> Vec<Value> {
    let state = match row.state {
        ClientState::Active => "active",
        ClientState::Cancelling => "active_cancel_req",
        ClientState::Login => "login",
        ClientState::Waiting => "waiting",
    };
    let [seconds, micros] = wait(row.wait);
    vec![
        "C".into(),
        row.user.into(),
        row.database.into(),
        "none".into(),
        format!("{prefix}{state}").into(),
        row.peer.address.into(),
        row.peer.port.into(),
        row.local.address.into(),
        row.local.port.into(),
        Value::moment(row.connected),
        Value::moment(row.requested),
        seconds,
        micros,
        Value::Number(0),
        client_link(row.id).into(),
        row.server.map(server_link).unwrap_or_default().into(),
        Value::Number(0),
        row.tls.unwrap_or_default().into(),
        row.application_name.into(),
        row.prepared_statements.into(),
        row.id.into(),
    ]
}

fn server(row: ServerRow, prefix: &str) -> Vec<Value> {
    let state = match row.state {
        ServerState::Active => "active",
        ServerState::BeingCancelled => "being_canceled",
        ServerState::Idle => "idle",
        ServerState::Tested => "tested",
        ServerState::Warm => "warm",
    };
    let close_needed = match row.fate {
        Fate::Closes => 1,
        Fate::Stays => 0,
    };
    vec![
        "S".into(),
        row.user.into(),
        row.database.into(),
        "none".into(),
        format!("{prefix}{state}").into(),
        row.peer.address.into(),
        row.peer.port.into(),
        row.local.address.into(),
        row.local.port.into(),
        Value::moment(row.connected),
        Value::moment(row.requested),
        Value::Number(0),
        Value::Number(0),
        Value::Number(close_needed),
        server_link(row.id).into(),
        row.client.map(client_link).unwrap_or_default().into(),
        row.remote_pid.into(),
        row.tls.unwrap_or_default().into(),
        row.application_name.into(),
        row.prepared_statements.into(),
        row.id.into(),
    ]
}
