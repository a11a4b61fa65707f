//! How many clients, in all and per user; and how many descriptors that takes.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use parking_lot::Mutex;

/// Descriptors that are neither a client nor a server: listeners, discovery, metrics, logs.
const DESCRIPTORS_OURS: u64 = 128;

/// Connections that may be logging in, or carry a CancelRequest, beyond
/// `max_client_connections`: those in excess must be told so, and cancels must get through.
pub(crate) const LOGINS_BEYOND: u32 = 256;

/// Clients at this moment.
#[derive(Debug)]
pub(crate) struct ClientLimits {
    max: u32,
    max_per_user: HashMap<Box<str>, u32>,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: u32,
    per_user: HashMap<Box<str>, u32>,
}

/// The right to be a client; given back on drop.
#[derive(Debug)]
pub(crate) struct ClientPermit {
    limits: Arc<ClientLimits>,
    user: Option<Box<str>>,
}

impl ClientLimits {
    /// `max_per_user` holds for the users in it.
    pub(crate) fn new(max: u32, max_per_user: HashMap<Box<str>, u32>) -> Arc<Self> {
        Arc::new(Self { max, max_per_user, used: Mutex::default() })
    }

    /// A permit, unless `max_client_connections` are taken.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<ClientPermit> {
        let mut used = self.used.lock();
        if used.all >= self.max {
            return None;
        }
        used.all += 1;
        Some(ClientPermit { limits: Arc::clone(self), user: None })
    }
}

impl ClientPermit {
    /// Counts the client for its user. False if the user has its `max_connections`.
    pub(crate) fn enter_user(&mut self, user: &str) -> bool {
        let Some(&max) = self.limits.max_per_user.get(user) else { return true };
        let mut used = self.limits.used.lock();
        let count = used.per_user.entry(user.into()).or_default();
        if *count >= max {
            return false;
        }
        *count += 1;
        self.user = Some(user.into());
        true
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        let mut used = self.limits.used.lock();
        used.all -= 1;
        if let Some(user) = &self.user
            && let Some(count) = used.per_user.get_mut(user)
        {
            *count -= 1;
        }
    }
}

/// Raises the limit of open files to what the configuration may need.
///
/// # Errors
/// The limit cannot be raised that far; says what to change.
pub(crate) fn raise_descriptors(clients: u32, servers: usize) -> anyhow::Result<()> {
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

    #[test]
    fn permits_come_back() {
        let limits = ClientLimits::new(2, HashMap::from([("a".into(), 1)]));
        let mut first = limits.enter().unwrap();
        let mut second = limits.enter().unwrap();
        assert!(limits.enter().is_none());
        assert!(first.enter_user("a"));
        assert!(!second.enter_user("a"));
        assert!(second.enter_user("b"));
        drop(first);
        let mut third = limits.enter().unwrap();
        assert!(third.enter_user("a"));
    }

    #[test]
    fn a_limit_that_cannot_be_reached_is_said_with_what_to_do() {
        let error = raise_descriptors(u32::MAX, 0).unwrap_err().to_string();
        assert!(error.contains("max_client_connections"), "{error}");
    }
}
