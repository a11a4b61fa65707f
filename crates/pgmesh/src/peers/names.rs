//! From the names of the peers to their addresses, again and again.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use topology::Address;

/// The peers as they are known at any moment.
pub(super) type Addresses = Arc<[SocketAddr]>;

/// More peers than this are not asked: each costs a connection per request.
pub(super) const PEERS_MAX: usize = config::Peers::NAMES_MAX;

/// For one name. What was found before holds meanwhile.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The names of a configuration, and what they stand for.
#[derive(Debug)]
pub(super) struct Names(Vec<Known>);

#[derive(Debug)]
struct Known {
    name: Address,
    /// As of the last success.
    found: Vec<SocketAddr>,
    last: Lookup,
}

/// How the last look at a name went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    Failed,
    Found,
    /// It is an address: there is nothing to look up.
    Needless,
    Pending,
}

impl Names {
    /// Those that are addresses are known from here on.
    pub(super) fn new(names: &[Address]) -> Self {
        Self(names.iter().map(Known::new).collect())
    }

    /// What is known, each address once.
    pub(super) fn addresses(&self) -> Addresses {
        let mut all: Vec<_> = self.0.iter().flat_map(|known| known.found.iter().copied()).collect();
        all.sort();
        all.dedup();
        all.truncate(PEERS_MAX);
        all.into()
    }

    /// Looks the names up, and again after each `interval`; ends when nobody wants to know any
    /// more, or there are none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves what was sent last.
    pub(super) async fn watch(mut self, interval: Duration, sender: watch::Sender<Addresses>) {
        while !sender.is_closed() && self.0.iter().any(|known| known.last != Lookup::Needless) {
            for known in &mut self.0 {
                known.look_up().await;
            }
            let addresses = self.addresses();
            sender.send_if_modified(|current| {
                let changed = *current != addresses;
                if changed {
                    tracing::info!(event = "peers_changed", peers = ?addresses, "peers have changed");
                    *current = addresses;
                }
                changed
            });
            sleep(interval).await;
        }
    }
}

impl Known {
    fn new(name: &Address) -> Self {
        let literal = name.host().parse::<IpAddr>().ok();
        let last = if literal.is_some() { Lookup::Needless } else { Lookup::Pending };
        let found = literal.map(|ip| SocketAddr::new(ip, name.port()));
        Self { name: name.clone(), found: found.into_iter().collect(), last }
    }

    async fn look_up(&mut self) {
        if self.last == Lookup::Needless {
            return;
        }
        let host_port = (self.name.host(), self.name.port());
        let error = match timeout(LOOKUP_TIMEOUT, lookup_host(host_port)).await {
            Ok(Ok(found)) => {
                self.found = found.take(PEERS_MAX).collect();
                self.last = Lookup::Found;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        // Once, and not every few seconds for as long as it lasts.
        if self.last != Lookup::Failed {
            tracing::warn!(event = "peers_unknown", name = %self.name, error, "name of peers cannot be looked up");
            self.last = Lookup::Failed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Names {
        Names::new(&names.iter().map(|name| Address::parse(name).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_are_known_at_once_and_each_but_once() {
        let names = names(&["127.0.0.2:2", "localhost:1", "127.0.0.1:1", "[::1]:1", "127.0.0.2:2"]);
        let known: Vec<String> = names.addresses().iter().map(ToString::to_string).collect();
        assert_eq!(known, ["127.0.0.1:1", "127.0.0.2:2", "[::1]:1"]);
    }

    #[test]
    fn no_more_are_asked_than_the_limit_says() {
        let all: Vec<String> = (1..=99).map(|n| format!("127.0.0.{n}:1")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(names(&all).addresses().len(), PEERS_MAX);
    }

    #[tokio::test]
    async fn names_are_looked_up_and_one_that_fails_spoils_no_other() {
        let names = names(&["127.0.0.9:1", "no-such-name.invalid:1", "localhost:1"]);
        let (sender, mut receiver) = watch::channel(names.addresses());
        assert_eq!(receiver.borrow().len(), 1);
        let watching = tokio::spawn(names.watch(Duration::from_millis(1), sender));
        let found = receiver.wait_for(|addresses| addresses.len() > 1).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        drop(found);
        drop(receiver);
        watching.await.unwrap();
    }

    #[tokio::test]
    async fn what_was_found_stays_while_nothing_is() {
        let mut known = Known::new(&Address::parse("no-such-name.invalid:1").unwrap());
        known.found = vec!["127.0.0.1:1".parse().unwrap()];
        known.last = Lookup::Found;
        known.look_up().await;
        assert_eq!((known.found.len(), known.last), (1, Lookup::Failed));
    }

    #[tokio::test]
    async fn addresses_alone_need_nobody_to_watch_them() {
        let names = names(&["127.0.0.1:1"]);
        let (sender, _receiver) = watch::channel(names.addresses());
        names.watch(Duration::from_secs(3600), sender).await;
    }
}
