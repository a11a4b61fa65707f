//! What operators have ordered: part of the snapshot, so that pools learn of it as of everything
//! else, and no later than of a new primary.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{Fence, NodeName, Snapshot};

/// Orders that stand. Immutable: each change makes new ones with a higher revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    revision: u64,
    all: Order,
    databases: BTreeMap<Arc<str>, Order>,
    drained: BTreeSet<NodeName>,
}

/// What is ordered for a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// No transaction begins, and servers are closed as their transactions end.
    pub is_paused: bool,
    /// No client is let in.
    pub is_disabled: bool,
    /// Servers from before this revision are closed as their transactions end.
    pub renew: u64,
    /// Servers from before this revision are closed at once.
    pub kill: u64,
}

/// Which databases a command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All, also those that come later.
    All,
    /// This one.
    Database(Arc<str>),
}

/// A change of the orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// No new clients.
    Disable(Arc<str>),
    /// New clients again.
    Enable(Arc<str>),
    /// Lend no more servers of this node; never the primary.
    Drain(NodeName),
    /// Lend them again.
    Undrain(NodeName),
    /// Pause, and close all servers at once.
    Kill(Target),
    /// Begin no more transactions.
    Pause(Target),
    /// Replace each server when its transaction ends.
    Reconnect(Target),
    /// Undo a pause or a kill of the same target.
    Resume(Target),
}

/// Why a command changes nothing. The `Display` text is PgBouncer's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// All databases are paused already.
    #[error("already suspended/paused")]
    AlreadyPaused,
    /// Not all databases are paused; single ones may be.
    #[error("pooler is not paused/suspended")]
    NotPaused,
    /// This database is not paused by itself.
    #[error("database {0} is not paused")]
    DatabaseNotPaused(Arc<str>),
    /// No node of this name is known.
    #[error("no such node: {0}")]
    NoNode(NodeName),
    /// The primary cannot be drained.
    #[error("node {0} is the primary")]
    IsPrimary(NodeName),
    /// The node is not drained.
    #[error("node {0} is not drained")]
    NotDrained(NodeName),
    /// More databases have orders of their own than are remembered.
    #[error("too many databases have orders of their own")]
    TooMany,
}

impl Order {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What becomes of a server from revision `born` that the cluster wants to `fence`.
    pub fn fence(&self, born: u64, fence: Fence) -> Fence {
        match fence {
            _ if born < self.kill => Fence::Close,
            Fence::Open | Fence::Held if self.is_paused || born < self.renew => Fence::Retire,
            fence => fence,
        }
    }
}

impl Orders {
    /// Most databases that have orders of their own.
    pub const DATABASES_MAX: usize = 1024;

    /// Goes up with every change.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// What is ordered for all databases.
    pub const fn of_all(&self) -> Order {
        self.all
    }

    /// What is ordered for this database: what is for all, and what is for it alone.
    pub fn of(&self, database: &str) -> Order {
        let Some(own) = self.databases.get(database) else { return self.all };
        Order {
            is_paused: self.all.is_paused || own.is_paused,
            is_disabled: self.all.is_disabled || own.is_disabled,
            renew: self.all.renew.max(own.renew),
            kill: self.all.kill.max(own.kill),
        }
    }

    /// Whether the node is to serve nothing that another can.
    pub fn is_drained(&self, node: &NodeName) -> bool {
        self.drained.contains(node)
    }

    /// Nodes that are drained, by name.
    pub fn drained(&self) -> impl Iterator<Item = &NodeName> {
        self.drained.iter()
    }

    /// The orders after `command`, in the cluster as `snapshot` shows it.
    ///
    /// # Errors
    /// The command would change nothing, or cannot be carried out.
    pub fn after(&self, command: Command, snapshot: &Snapshot) -> Result<Self, OrderError> {
        let mut next = self.clone();
        next.revision += 1;
        let revision = next.revision;
        match command {
            Command::Disable(name) => next.own(name)?.is_disabled = true,
            Command::Enable(name) => next.own(name)?.is_disabled = false,
            Command::Pause(Target::All) if self.all.is_paused => {
                return Err(OrderError::AlreadyPaused);
            }
            Command::Pause(target) => next.order(target)?.is_paused = true,
            Command::Kill(target) => {
                let order = next.order(target)?;
                *order = Order { is_paused: true, kill: revision, ..*order };
            }
            Command::Reconnect(target) => next.order(target)?.renew = revision,
            Command::Resume(target) => next.resume(target)?,
            Command::Drain(node) => {
                if snapshot.primary().is_some_and(|primary| primary.name == node) {
                    return Err(OrderError::IsPrimary(node));
                }
                if !snapshot.nodes().iter().any(|known| known.name == node) {
                    return Err(OrderError::NoNode(node));
                }
                next.drained.insert(node);
            }
            Command::Undrain(node) => {
                if !next.drained.remove(&node) {
                    return Err(OrderError::NotDrained(node));
                }
            }
        }
        next.databases.retain(|_, order| !order.is_nothing());
        Ok(next)
    }

    fn resume(&mut self, target: Target) -> Result<(), OrderError> {
        let (order, error) = match target {
            Target::All => (Some(&mut self.all), OrderError::NotPaused),
            Target::Database(name) => {
                (self.databases.get_mut(&name), OrderError::DatabaseNotPaused(name))
            }
        };
        let order = order.filter(|order| order.is_paused).ok_or(error)?;
        order.is_paused = false;
        Ok(())
    }

    fn order(&mut self, target: Target) -> Result<&mut Order, OrderError> {
        match target {
            Target::All => Ok(&mut self.all),
            Target::Database(name) => self.own(name),
        }
    }

    fn own(&mut self, name: Arc<str>) -> Result<&mut Order, OrderError> {
        if self.databases.len() >= Self::DATABASES_MAX && !self.databases.contains_key(&name) {
            return Err(OrderError::TooMany);
        }
        Ok(self.databases.entry(name).or_default())
    }
}
