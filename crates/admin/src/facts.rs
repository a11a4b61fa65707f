//! What the console asks for: facts to show, and somebody who carries orders out.

use std::future::Future;
use std::pin::Pin;

use wire::ErrorMessage;

use crate::order::Command;
use crate::rows::{
    ClientRow, ConfigRow, DatabaseRow, FailoverRow, Lists, MemoryRow, NodeRow, PeerRow, PinRow,
    PoolRow, ServerRow, State, StatementRow, Totals, UserRow,
};

/// What is true at this moment. Asked on the admin thread: each method reads and copies, and
/// never waits for a peer.
pub trait Facts: Send + Sync + 'static {
    /// Clients of pools, not of the console.
    fn clients(&self) -> Vec<ClientRow>;
    /// The nodes.
    fn cluster(&self) -> Vec<NodeRow>;
    /// The settings, none of them secret.
    fn config(&self) -> Vec<ConfigRow>;
    /// The databases.
    fn databases(&self) -> Vec<DatabaseRow>;
    /// The last failovers, oldest first.
    fn failovers(&self) -> Vec<FailoverRow>;
    /// How many there are.
    fn lists(&self) -> Lists;
    /// Memory.
    fn memory(&self) -> Vec<MemoryRow>;
    /// The peers.
    fn peers(&self) -> Vec<PeerRow>;
    /// Servers that stay with their clients.
    fn pins(&self) -> Vec<PinRow>;
    /// The pools.
    fn pools(&self) -> Vec<PoolRow>;
    /// The servers.
    fn servers(&self) -> Vec<ServerRow>;
    /// Paused, draining.
    fn state(&self) -> State;
    /// Prepared statements, at most as many as an operator can read.
    fn statements(&self) -> Vec<StatementRow>;
    /// What each database has done since the start. Asked once per `stats_period`, too.
    fn totals(&self) -> Vec<Totals>;
    /// The users.
    fn users(&self) -> Vec<UserRow>;
}

/// What somebody may do on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Look: `admin.stats_users`.
    Stats,
    /// Look and act: `admin.users`.
    Admin,
}

/// Who has given an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The user, whose password was checked.
    pub user: String,
    /// The number of the console's connection.
    pub client: u64,
    /// Where it came from: address and port.
    pub peer: String,
}

/// An order that was carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// What to tell the operator, a NOTICE each.
    pub notices: Vec<String>,
}

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The operator did not wait for the end; the order stands.
    Abandoned,
    /// It was carried out.
    Done,
    /// The operator may not give it.
    Forbidden,
    /// It cannot be carried out.
    Refused,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Abandoned, Self::Done, Self::Forbidden, Self::Refused];

    /// A word for logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Done => "done",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
        }
    }
}

/// An order that is being carried out. Dropping it stops waiting and takes nothing back.
pub type CarryingOut = Pin<Box<dyn Future<Output = Result<Done, ErrorMessage>> + Send>>;

/// Carries orders out.
pub trait Operate: Send + Sync + 'static {
    /// Carries out `command`, which the console has found `by` to have the right to. The future
    /// resolves when the verb's promise is kept (`PAUSE`: no server is left); it may take long,
    /// and is dropped when the operator goes away.
    fn carry_out(&self, command: Command, by: &Operator) -> CarryingOut;

    /// An order has ended, for to be counted. The audit log has it already.
    fn ended(&self, verb: &'static str, outcome: Outcome);
}
