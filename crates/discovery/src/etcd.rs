//! Patroni's keys in etcd v3: a whole read, then a watch from its revision, then both for ever.
//!
//! One endpoint at a time: the next one is taken when it fails. Reads are linearizable and the
//! watch asks for a leader, so a member that is cut off from its cluster fails instead of showing
//! the past. What keeps a silent connection from going unnoticed: HTTP/2 pings, and a whole read
//! at intervals whose result must already be known.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use etcd_client::{
    Client, ConnectOptions, GetOptions, KvClient, TlsOptions, WatchOptions, WatchResponse,
    WatchStream,
};
use tokio::time::{sleep, timeout};
use topology::{Event, Revision, SourceState};
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::config::{Error, EtcdConfig, endpoints, is_https};
use crate::patroni::{self, Malformed};
use crate::publisher::Publisher;

/// etcd refuses pings more often than every 5 s (`grpc-keepalive-min-time`).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// An unanswered ping ends the connection after this time.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Most keys that a whole read fetches: 256 members and the rest, with room for Citus groups.
const KEYS_MAX: i64 = 4096;

/// The follower of one scope.
pub(crate) struct Source {
    config: EtcdConfig,
    keys: Keyspace,
    tls: Option<TlsOptions>,
    current: usize,
    /// Attempts that failed since the last whole read.
    failures: usize,
    /// Goes up with every connection that failed to follow.
    attempt: usize,
    /// What the last whole read left out: each reason is said once.
    left_out: Vec<LeftOut>,
}

/// Why following one endpoint ended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("etcd ended the watch: {0}")]
    Cancelled(String),
    #[error("etcd closed the watch")]
    Closed,
    #[error("{0}")]
    Etcd(#[from] etcd_client::Error),
    #[error("the answer has no revision")]
    NoRevision,
    #[error("more than {KEYS_MAX} keys under the scope")]
    TooManyKeys,
    #[error("no answer in time")]
    Timeout,
}

/// A key whose value could not be used.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    key: String,
    reason: Malformed,
}

/// A whole read.
struct Read {
    revision: i64,
    state: SourceState,
    /// The other Citus groups.
    groups: BTreeMap<u32, SourceState>,
    left_out: Vec<LeftOut>,
}

/// Which of the keys below the scope are looked at, and whose they are.
#[derive(Clone, Debug)]
struct Keyspace {
    prefix: String,
    /// The Citus group that is followed.
    group: Option<u32>,
}

/// Whose a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The cluster's that is followed.
    Ours,
    /// Another Citus group's.
    Group(u32),
}

/// The wait for, and the making of, the next whole read.
type NextRead = Pin<Box<dyn Future<Output = Result<Read, Failure>> + Send>>;

/// What came first.
enum Step {
    Read(Result<Read, Failure>),
    Watch(Result<Option<WatchResponse>, etcd_client::Error>),
}

/// Why a watch is opened anew on the connection that there is.
enum Reopen {
    /// Its revision is compacted away: read again first.
    Compacted,
    /// A whole read knew something that the watch had not said.
    Silent,
}

impl Source {
    pub(crate) fn new(config: EtcdConfig) -> Result<Self, Error> {
        let uris = endpoints(&config.endpoints)?;
        let tls = if uris.iter().any(is_https) { Some(config.tls.for_etcd()?) } else { None };
        let keys = Keyspace { prefix: config.prefix()?, group: config.group };
        Ok(Self { keys, config, tls, current: 0, failures: 0, attempt: 0, left_out: Vec::new() })
    }

    pub(crate) async fn run(mut self, mut publisher: Publisher) {
        let mut backoff = Backoff::new();
        loop {
            backoff.begin();
            let endpoint = self.config.endpoints.get(self.current).cloned().unwrap_or_default();
            // Boxed: it is large, and made once per connection.
            let Err(error) = Box::pin(self.follow(&endpoint, &mut publisher)).await;
            let delay = backoff.after_failure();
            // Said once per endpoint and outage.
            if self.failures < self.config.endpoints.len() {
                warn!(
                    event = "etcd_lost",
                    endpoint,
                    error = error.to_string(),
                    "etcd failed; the cluster stays as it was last seen"
                );
            } else {
                debug!(
                    event = "etcd_lost",
                    endpoint,
                    error = error.to_string(),
                    ?delay,
                    "etcd failed again"
                );
            }
            self.failures = self.failures.saturating_add(1);
            self.attempt = self.attempt.wrapping_add(1);
            self.current = (self.current + 1) % self.config.endpoints.len();
            publisher.drive(sleep(delay)).await;
        }
    }

    /// Follows one endpoint until it fails.
    async fn follow(
        &mut self,
        endpoint: &str,
        publisher: &mut Publisher,
    ) -> Result<Infallible, Failure> {
        let options = self.options(endpoint);
        let connect = Client::connect([endpoint], Some(options));
        let limit = self.config.request_timeout;
        let client =
            publisher.drive(timeout(limit, connect)).await.map_err(|_| Failure::Timeout)??;
        let mut following = false;
        loop {
            let read = publisher.drive(read(client.kv_client(), self.keys.clone(), limit)).await?;
            let revision = read.revision;
            self.apply(publisher, read);
            if !following {
                info!(
                    event = "etcd_followed",
                    endpoint,
                    revision,
                    prefix = self.keys.prefix,
                    group = self.keys.group,
                    "following etcd"
                );
                (following, self.failures) = (true, 0);
            }
            match self.watch(&client, revision, publisher).await? {
                Reopen::Compacted => {
                    info!(event = "etcd_watch_reopened", endpoint, "watch compacted; reading again")
                }
                Reopen::Silent => info!(
                    event = "etcd_watch_reopened",
                    endpoint, "a read was ahead of the watch; opening another"
                ),
            }
        }
    }

    /// Watches from after `revision`, with whole reads beside it.
    async fn watch(
        &mut self,
        client: &Client,
        revision: i64,
        publisher: &mut Publisher,
    ) -> Result<Reopen, Failure> {
        let mut watch = publisher.drive(self.open(client, revision)).await?;
        let mut next_read = self.next_read(client);
        loop {
            let step = publisher.drive(step(&mut watch, &mut next_read)).await;
            match step {
                Step::Read(read) => {
                    if self.apply(publisher, read?) {
                        return Ok(Reopen::Silent);
                    }
                    next_read = self.next_read(client);
                }
                Step::Watch(response) => {
                    let response = response?.ok_or(Failure::Closed)?;
                    if response.compact_revision() != 0 {
                        return Ok(Reopen::Compacted);
                    }
                    if response.canceled() {
                        return Err(Failure::Cancelled(response.cancel_reason().to_owned()));
                    }
                    self.take(&response, publisher);
                }
            }
        }
    }

    async fn open(&self, client: &Client, revision: i64) -> Result<WatchStream, Failure> {
        let options =
            WatchOptions::new().with_prefix().with_start_revision(revision.saturating_add(1));
        let mut client = client.watch_client();
        let open = client.watch(self.keys.prefix.as_str(), Some(options));
        Ok(timeout(self.config.request_timeout, open).await.map_err(|_| Failure::Timeout)??)
    }

    /// Whether the read said anything new.
    fn apply(&mut self, publisher: &mut Publisher, read: Read) -> bool {
        if read.left_out != self.left_out {
            for LeftOut { key, reason } in &read.left_out {
                warn!(event = "etcd_key_unusable", key, %reason, "key left out");
            }
            self.left_out = read.left_out;
        }
        publisher.heard();
        let revision = Revision(u64::try_from(read.revision).unwrap_or_default());
        let others = self.keys.group.is_some()
            && publisher.apply(Event::Groups { revision, states: read.groups });
        publisher.apply(Event::Resync { revision, state: read.state }) || others
    }

    fn take(&self, response: &WatchResponse, publisher: &mut Publisher) {
        publisher.heard();
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let Some((owner, key)) = self.keys.own(kv.key()) else { continue };
            // A deletion has version 0: `Event::event_type` would panic on a type it does not know.
            let value = (kv.version() != 0).then(|| kv.value());
            let (change, malformed) = patroni::change(key, value);
            if let Some(reason) = malformed {
                warn!(event = "etcd_key_unusable", key, %reason, "key left out");
            }
            let revision = Revision(u64::try_from(kv.mod_revision()).unwrap_or_default());
            if let Some(change) = change {
                debug!(event = "etcd_key_changed", key, ?owner, %revision, deleted = value.is_none(), "key changed");
                publisher.apply(match owner {
                    Owner::Ours => Event::Change { revision, change },
                    Owner::Group(group) => Event::GroupChange { group, revision, change },
                });
            }
        }
    }

    fn next_read(&self, client: &Client) -> NextRead {
        let (kv, keys) = (client.kv_client(), self.keys.clone());
        let (interval, limit) = (self.config.refresh_interval, self.config.request_timeout);
        Box::pin(async move {
            sleep(interval).await;
            read(kv, keys, limit).await
        })
    }

    fn options(&self, endpoint: &str) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.config.request_timeout)
            .with_keep_alive(KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT)
            .with_keep_alive_while_idle(true)
            .with_tcp_keepalive(KEEPALIVE_INTERVAL)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((user, password)) = &self.config.credentials {
            // While it is changed, etcd may know either: the next attempt has the other one.
            let candidates = password.candidates();
            if let Some(password) = candidates.get(self.attempt % candidates.len()) {
                options = options.with_user(user, password.expose());
            }
        }
        match &self.tls {
            Some(tls) if endpoint.starts_with("https://") => options.with_tls(tls.clone()),
            Some(_) | None => options,
        }
    }
}

/// # Cancel safety
/// Cancel safe: the watch keeps what it has read, the read is owned by the caller.
async fn step(watch: &mut WatchStream, next_read: &mut NextRead) -> Step {
    tokio::select! {
        biased;
        response = watch.message() => Step::Watch(response),
        read = next_read => Step::Read(read),
    }
}

/// Reads everything under the prefix at one revision.
async fn read(mut kv: KvClient, keys: Keyspace, limit: Duration) -> Result<Read, Failure> {
    let options = GetOptions::new().with_prefix().with_limit(KEYS_MAX);
    let request = kv.get(keys.prefix.as_str(), Some(options));
    let response = timeout(limit, request).await.map_err(|_| Failure::Timeout)??;
    if response.more() {
        return Err(Failure::TooManyKeys);
    }
    let revision = response.header().ok_or(Failure::NoRevision)?.revision();
    let (mut state, mut left_out) = (SourceState::default(), Vec::new());
    let mut groups: BTreeMap<_, SourceState> = BTreeMap::new();
    for kv in response.kvs() {
        let Some((owner, key)) = keys.own(kv.key()) else { continue };
        let (change, malformed) = patroni::change(key, Some(kv.value()));
        if let Some(reason) = malformed {
            left_out.push(LeftOut { key: key.to_owned(), reason });
        }
        let Some(change) = change else { continue };
        match owner {
            Owner::Ours => state.apply(change),
            Owner::Group(group) => groups.entry(group).or_default().apply(change),
        }
    }
    Ok(Read { revision, state, groups, left_out })
}

impl Keyspace {
    /// Whose a key is and what it is called there, if it is one that is looked at.
    fn own<'a>(&self, key: &'a [u8]) -> Option<(Owner, &'a str)> {
        let key = std::str::from_utf8(key.strip_prefix(self.prefix.as_bytes())?).ok()?;
        let (owner, key) = match self.group {
            None => (Owner::Ours, key),
            Some(ours) => {
                let (digits, key) = key.split_once('/')?;
                // Patroni knows a group by its digits alone.
                let group =
                    digits.parse().ok().filter(|group: &u32| group.to_string() == digits)?;
                (if group == ours { Owner::Ours } else { Owner::Group(group) }, key)
            }
        };
        patroni::is_etcd_key(key).then_some((owner, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_owners() {
        let own = |group, key: &'static str| {
            Keyspace { prefix: "/service/demo/".into(), group }.own(key.as_bytes())
        };
        assert_eq!(own(None, "/service/demo/leader"), Some((Owner::Ours, "leader")));
        assert_eq!(own(None, "/service/demo/0/leader"), None);
        assert_eq!(own(None, "/service/demo2/leader"), None);
        assert_eq!(own(Some(0), "/service/demo/0/members/a"), Some((Owner::Ours, "members/a")));
        assert_eq!(own(Some(0), "/service/demo/12/leader"), Some((Owner::Group(12), "leader")));
        for key in ["leader", "00/leader", "+1/leader", "-1/leader", "x/leader", "1/history", "1"] {
            let key = format!("/service/demo/{key}");
            assert_eq!(
                Keyspace { prefix: "/service/demo/".into(), group: Some(0) }.own(key.as_bytes()),
                None
            );
        }
    }
}
