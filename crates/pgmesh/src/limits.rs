//! How many clients, in all, per user and per database; and how many descriptors that takes.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use config::{Database, Settings, User};
use parking_lot::{Mutex, RwLock};

use crate::peers;

/// Descriptors that are neither a client nor a server: listeners, discovery, metrics, logs.
const DESCRIPTORS_OURS: u64 = 128;

/// Connections that may be logging in, or carry a CancelRequest, beyond
/// `max_client_connections`: those in excess must be told so, and cancels must get through.
pub(crate) const LOGINS_BEYOND: u32 = 256;

/// Clients at this moment.
#[derive(Debug)]
pub(crate) struct ClientLimits {
    allowed: RwLock<Arc<Allowed>>,
    used: Mutex<Used>,
}

/// How many there may be.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    /// In all.
    pub(crate) max: u32,
    pub(crate) per_user: Caps,
    pub(crate) per_database: Caps,
}

/// Limits by name.
#[derive(Debug, Default)]
pub(crate) struct Caps {
    /// For names without one of their own.
    pub(crate) default: Option<u32>,
    /// For these names.
    pub(crate) named: HashMap<Box<str>, u32>,
}

#[derive(Debug, Default)]
struct Used {
    all: u32,
    users: Seats,
    databases: Seats,
}

/// Who has a seat under each name: as many as there are clones of the name's.
#[derive(Debug, Default)]
struct Seats(HashMap<Box<str>, Arc<()>>);

/// The right to be a client; given back on drop.
#[derive(Debug)]
pub(crate) struct ClientPermit {
    limits: Arc<ClientLimits>,
    user: Option<Arc<()>>,
    database: Option<Arc<()>>,
}

/// The limit that a client is in excess of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Of its user.
    User,
    /// Of its database.
    Database,
}

/// Names without a client are forgotten when there are so many: a client chooses the name of
/// its database.
const NAMES_KEPT: usize = 1024;

impl ClientLimits {
    /// No clients yet.
    pub(crate) fn new(allowed: Allowed) -> Arc<Self> {
        Arc::new(Self { allowed: RwLock::new(Arc::new(allowed)), used: Mutex::default() })
    }

    /// Allows another number. Nobody is sent away: those there are count until they leave.
    pub(crate) fn set(&self, allowed: Allowed) {
        *self.allowed.write() = Arc::new(allowed);
    }

    /// Clients in all.
    pub(crate) fn max(&self) -> u32 {
        self.allowed.read().max
    }

    /// A permit, unless `max_client_connections` are taken.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<ClientPermit> {
        let mut used = self.used.lock();
        if used.all >= self.max() {
            return None;
        }
        used.all += 1;
        Some(ClientPermit { limits: Arc::clone(self), user: None, database: None })
    }
}

impl Allowed {
    pub(crate) fn of(settings: &Settings) -> Self {
        let of_user =
            |(name, user): (&String, &User)| Some((name.as_str().into(), user.max_connections?));
        let of_database = |(name, database): (&String, &Database)| {
            Some((name.as_str().into(), database.max_db_client_connections?))
        };
        let limits = &settings.limits;
        let per_user = Caps {
            default: limits.max_user_client_connections,
            named: settings.users.iter().filter_map(of_user).collect(),
        };
        let per_database = Caps {
            default: limits.max_db_client_connections,
            named: settings.databases.iter().filter_map(of_database).collect(),
        };
        Self { max: settings.max_client_connections, per_user, per_database }
    }
}

impl Caps {
    fn of(&self, name: &str) -> Option<u32> {
        self.named.get(name).copied().or(self.default)
    }
}

impl Seats {
    /// A seat, unless `max` are taken. Those without a limit have one, too: a limit may come.
    fn take(&mut self, name: &str, max: Option<u32>) -> Option<Arc<()>> {
        if self.0.len() >= NAMES_KEPT {
            self.0.retain(|_, seat| Arc::strong_count(seat) > 1);
        }
        let seat = self.0.entry(name.into()).or_default();
        let taken = Arc::strong_count(seat) - 1;
        let is_free = max.is_none_or(|max| u32::try_from(taken).is_ok_and(|taken| taken < max));
        is_free.then(|| Arc::clone(seat))
    }
}

impl ClientPermit {
    /// Counts the client for its user and database.
    ///
    /// # Errors
    /// One of them has as many clients as it may have.
    pub(crate) fn log_in(&mut self, user: &str, database: &str) -> Result<(), Excess> {
        let limits = &*self.limits;
        let allowed = Arc::clone(&limits.allowed.read());
        let mut used = limits.used.lock();
        let max = allowed.per_user.of(user);
        self.user = Some(used.users.take(user, max).ok_or(Excess::User)?);
        let max = allowed.per_database.of(database);
        self.database = Some(used.databases.take(database, max).ok_or(Excess::Database)?);
        Ok(())
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.limits.used.lock().all -= 1;
    }
}

/// Raises the limit of open files to what these settings need.
///
/// # Errors
/// See [`raise_descriptors`].
pub(crate) fn raise_for(settings: &Settings) -> anyhow::Result<()> {
    let peers = if settings.peers.names.is_empty() { 0 } else { peers::SOCKETS_MAX };
    // Without a limit (0) there are as many as clients that have one each.
    let clients = usize::try_from(settings.max_client_connections).unwrap_or(usize::MAX);
    let servers = settings.pool.config.max_db_connections.min(clients);
    let listening = settings.notifications.max_connections;
    let consoles = settings.console.as_ref().map_or(0, |it| it.config.connections_max);
    let ours = servers + listening + peers + consoles;
    raise_descriptors(settings.max_client_connections, ours)
}

/// Raises the limit of open files to what the configuration may need.
///
/// # Errors
/// The limit cannot be raised that far; says what to change.
fn raise_descriptors(clients: u32, servers: usize) -> anyhow::Result<()> {
    let needed = u64::from(clients) + u64::from(LOGINS_BEYOND) + servers as u64 + DESCRIPTORS_OURS;
    let (soft, hard) = rlimit::Resource::NOFILE.get().context("reading the limit of open files")?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        bail!(
            "proxy.max_client_connections = {clients} needs {needed} open files, and the hard \
             limit is {hard}: raise it (ulimit -Hn, LimitNOFILE= in systemd) or lower \
             proxy.max_client_connections"
        );
    }
    rlimit::Resource::NOFILE.set(needed, hard).context("raising the limit of open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(default: Option<u32>, named: &[(&str, u32)]) -> Caps {
        Caps { default, named: named.iter().map(|(name, max)| ((*name).into(), *max)).collect() }
    }

    fn limits(max: u32, per_user: Caps, per_database: Caps) -> Arc<ClientLimits> {
        ClientLimits::new(Allowed { max, per_user, per_database })
    }

    #[test]
    fn a_limit_that_comes_later_counts_those_who_are_there() {
        let limits = limits(2, Caps::default(), Caps::default());
        let mut first = limits.enter().unwrap();
        assert_eq!(first.log_in("a", "d"), Ok(()));
        let per_user = caps(Some(1), &[]);
        limits.set(Allowed { max: 3, per_user, per_database: Caps::default() });
        let mut second = limits.enter().unwrap();
        assert_eq!(second.log_in("a", "d"), Err(Excess::User));
        assert_eq!(second.log_in("b", "d"), Ok(()));
        limits.set(Allowed { max: 1, ..Allowed::default() });
        assert!(limits.enter().is_none());
        drop(first);
        assert!(limits.enter().is_none(), "one is still there");
    }

    #[test]
    fn permits_come_back() {
        let limits = limits(2, caps(None, &[("a", 1)]), Caps::default());
        let mut first = limits.enter().unwrap();
        let mut second = limits.enter().unwrap();
        assert!(limits.enter().is_none());
        assert_eq!(first.log_in("a", "d"), Ok(()));
        assert_eq!(second.log_in("a", "d"), Err(Excess::User));
        assert_eq!(second.log_in("b", "d"), Ok(()));
        drop(first);
        let mut third = limits.enter().unwrap();
        assert_eq!(third.log_in("a", "d"), Ok(()));
    }

    #[test]
    fn a_name_without_a_limit_has_everybodys() {
        let limits = limits(9, caps(Some(2), &[("many", 3)]), caps(Some(4), &[]));
        let mut clients: Vec<_> = (0..7).map(|_| limits.enter().unwrap()).collect();
        let mut log_in = |user, database| clients.pop().unwrap().log_in_kept(user, database);
        let kept = [log_in("a", "d"), log_in("a", "d"), log_in("many", "d"), log_in("many", "d")];
        assert_eq!(kept.iter().filter(|kept| kept.is_ok()).count(), 4);
        assert_eq!(log_in("a", "e").unwrap_err(), Excess::User);
        assert_eq!(log_in("many", "d").unwrap_err(), Excess::Database);
        drop(kept);
        assert!(log_in("a", "d").is_ok());
    }

    #[test]
    fn names_that_nobody_uses_are_forgotten() {
        let limits = limits(2, Caps::default(), caps(Some(1), &[]));
        for name in 0..NAMES_KEPT * 2 {
            assert_eq!(limits.enter().unwrap().log_in("a", &name.to_string()), Ok(()));
        }
        assert!(limits.used.lock().databases.0.len() <= NAMES_KEPT);
    }

    impl ClientPermit {
        fn log_in_kept(mut self, user: &str, database: &str) -> Result<Self, Excess> {
            self.log_in(user, database).map(|()| self)
        }
    }

    #[test]
    fn a_limit_that_cannot_be_reached_is_said_with_what_to_do() {
        let error = raise_descriptors(u32::MAX, 0).unwrap_err().to_string();
        assert!(error.contains("max_client_connections"), "{error}");
    }
}
