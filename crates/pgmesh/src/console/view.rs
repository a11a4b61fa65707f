//! What the console shows, from what the parts count anyway. Nothing here waits.

mod cluster;
mod connections;
mod pools;
mod settings;

use std::sync::Arc;

use admin::Facts;
use admin::rows::{
    ClientRow, ConfigRow, DatabaseRow, Endpoint, FailoverRow, Lists, MemoryRow, NodeRow, PeerRow,
    PinRow, PoolRow, ServerRow, State, StatementRow, Totals, UserRow,
};
use config::Settings;
use frontend::ClientAddress;
use topology::Access;

pub(crate) use self::cluster::nodes as node_rows;
pub(crate) use self::pools::row as pool_row;
use super::Reach;
use crate::app::App;
use crate::cancel::Slot;

/// What a client of a Unix socket has in the place of an address.
pub(super) const UNIX: &str = "unix";

/// Prepared statements that are shown.
const STATEMENTS_MAX: usize = 10_000;

/// Reads the parts.
pub(super) struct View {
    app: Arc<App>,
    reach: Reach,
}

impl View {
    pub(super) fn new(app: &Arc<App>, reach: Reach) -> Self {
        Self { app: Arc::clone(app), reach }
    }

    fn settings(&self) -> Arc<Settings> {
        self.reach.reloader.settings()
    }

    fn memory(&self) -> Vec<MemoryRow> {
        let of_one_size = |name: &str, size: usize, used: usize| {
            let (size, used) = (size as u64, used as u64);
            MemoryRow { name: name.to_owned(), size, used, free: 0, total: size * used }
        };
        let clients = self.app.metrics.clients();
        let logged_in = clients.connected().saturating_sub(clients.logging_in());
        let servers = self.app.pools.all().iter().map(|pool| pools::servers(&pool.counts())).sum();
        let statements = self.app.catalog.statements(STATEMENTS_MAX);
        let texts: usize = statements.iter().map(|(statement, _)| statement.size()).sum();
        let whole = |name: &str, used: usize, total: u64| MemoryRow {
            name: name.to_owned(),
            size: 0,
            used: used as u64,
            free: 0,
            total,
        };
        vec![
            of_one_size("client", size_of::<Slot>(), usize::try_from(logged_in).unwrap_or(0)),
            of_one_size("server", size_of::<pool::Server>(), servers),
            whole("prepared_statement", statements.len(), texts as u64),
            whole("resident", 1, telemetry::resident_bytes().unwrap_or(0)),
        ]
    }

    fn peers(&self) -> Vec<PeerRow> {
        let addresses = self.app.peers.addresses();
        let numbered = (1..).zip(addresses.iter().copied());
        numbered.map(|(id, at)| PeerRow { id, peer: at.into(), cancelling: 0 }).collect()
    }
}

impl Facts for View {
    fn clients(&self) -> Vec<ClientRow> {
        connections::clients(&self.app, &self.settings().frontend)
    }

    fn cluster(&self) -> Vec<NodeRow> {
        cluster::nodes(&self.app.snapshots.borrow())
    }

    fn config(&self) -> Vec<ConfigRow> {
        settings::rows(&self.settings())
    }

    fn databases(&self) -> Vec<DatabaseRow> {
        pools::databases(&self.app, &self.settings())
    }

    fn failovers(&self) -> Vec<FailoverRow> {
        self.reach.failovers.rows(&self.app.pools)
    }

    fn lists(&self) -> Lists {
        let (pools, settings) = (self.app.pools.all(), self.settings());
        let counts: Vec<_> = pools.iter().map(|pool| pool.counts()).collect();
        let clients = self.app.metrics.clients();
        let sum = |of: fn(&pool::Counts) -> usize| counts.iter().map(of).sum::<usize>() as u64;
        Lists {
            databases: pools::names_of_databases(&pools, &settings).len() as u64,
            users: pools::names_of_users(&pools, &settings).len() as u64,
            peers: self.app.peers.addresses().len() as u64,
            pools: pools.len() as u64,
            used_clients: clients.connected().saturating_sub(clients.logging_in()),
            login_clients: clients.logging_in(),
            free_servers: sum(|counts| counts.idle + counts.warm),
            used_servers: sum(|counts| counts.active + counts.kept),
        }
    }

    fn memory(&self) -> Vec<MemoryRow> {
        self.memory()
    }

    fn peers(&self) -> Vec<PeerRow> {
        self.peers()
    }

    fn pins(&self) -> Vec<PinRow> {
        connections::pins(&self.app)
    }

    fn pools(&self) -> Vec<PoolRow> {
        self.app.pools.all().iter().map(|pool| pools::row(pool)).collect()
    }

    fn servers(&self) -> Vec<ServerRow> {
        connections::servers(&self.app)
    }

    fn state(&self) -> State {
        let is_paused = self.app.snapshots.borrow().orders().of_all().is_paused;
        State { paused: is_paused.into(), draining: self.reach.departure.is_asked_for().into() }
    }

    fn statements(&self) -> Vec<StatementRow> {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let statements = self.app.catalog.statements(STATEMENTS_MAX);
        let row = |(statement, holders): (Arc<session::Statement>, usize)| StatementRow {
            name: lossy(statement.name()),
            query: lossy(statement.text()),
            bytes: statement.size() as u64,
            holders: holders as u64,
        };
        statements.into_iter().map(row).collect()
    }

    fn totals(&self) -> Vec<Totals> {
        pools::totals(&self.app)
    }

    fn users(&self) -> Vec<UserRow> {
        pools::users(&self.app, &self.settings())
    }
}

/// Where a client comes from.
pub(super) fn endpoint(from: ClientAddress) -> Endpoint {
    match from {
        ClientAddress::Host(address) => address.into(),
        ClientAddress::Local { .. } => Endpoint { address: UNIX.to_owned(), port: 0 },
    }
}

/// The part of the cluster that a pool uses, as metrics call it.
fn role(access: Access) -> String {
    let role = match access {
        Access::Any => "any",
        Access::ReadOnly => "replica",
        Access::ReadWrite => "primary",
    };
    role.to_owned()
}
