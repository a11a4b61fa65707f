//! The proxies beside this one: a CancelRequest that has come to the wrong one finds its way.
//!
//! Which proxy gave a key stands in the key, and each proxy says which it is when it is asked.
//! So nothing about the others is remembered but where they listen, and a proxy that is new or
//! was restarted is found like any other. All are asked at once, and only the one that says to
//! be the key's owner sees more than a hello.
//!
//! A request that came from a peer goes to our own clients or nowhere: nothing leads from
//! [`Peers::serve`] to [`Peers::forward`], so nothing can go round in circles.

mod names;
mod talk;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::Secret;
use frontend::PeerCall;
use pool::Pools;
use rand::Rng as _;
use telemetry::Cancel;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use wire::{CancelKey, KeyOwner, PeerChallenge, PeerHello};

use self::names::{Addresses, Names, PEERS_MAX};
use self::talk::{Asked, Heard};
use crate::cancel::{CancelKeys, Slot};
use crate::takeover::Predecessor;

const _: () = assert!(config::Peers::ID_MAX == KeyOwner::MAX, "every id has its place in a key");

/// Requests under way to peers at one time. One takes a round trip or two, or the timeout if a
/// peer is down; who sends invented keys must not use up our sockets.
const FORWARDS_MAX: usize = 32;

/// Sockets that requests to peers may take.
pub(crate) const SOCKETS_MAX: usize = FORWARDS_MAX * PEERS_MAX;

/// The proxies beside this one.
#[derive(Debug)]
pub(crate) struct Peers {
    line: Arc<Line>,
    addresses: watch::Receiver<Addresses>,
    forwards: Semaphore,
    timeout: Duration,
    predecessor: Predecessor,
    _names: AbortOnDropHandle<()>,
}

/// What every conversation needs.
#[derive(Debug)]
struct Line {
    /// Told apart from a peer that happens to have our number.
    process: [u8; 8],
    /// Without one no peer is believed, and none is asked.
    secret: Option<Secret>,
}

/// The number that a configuration gives us, or any.
pub(crate) fn owner(config: &config::Peers) -> KeyOwner {
    let mut random = rand::rng();
    loop {
        let number = config.id.unwrap_or_else(|| random.random_range(1..=KeyOwner::MAX));
        if let Some(owner) = KeyOwner::new(number) {
            return owner;
        }
    }
}

impl Peers {
    /// Begins to look the peers' names up. Must be called inside a tokio runtime. Clients of the
    /// process whose place this one has taken are with `predecessor`.
    pub(crate) fn new(config: &config::Peers, predecessor: Predecessor) -> Self {
        let names = Names::new(&config.names);
        let (sender, addresses) = watch::channel(names.addresses());
        let names = tokio::spawn(names.watch(config.resolve_interval, sender));
        let line = Line { process: rand::rng().random(), secret: config.secret.clone() };
        Self {
            line: Arc::new(line),
            addresses,
            forwards: Semaphore::new(FORWARDS_MAX),
            timeout: config.timeout,
            predecessor,
            _names: AbortOnDropHandle::new(names),
        }
    }

    /// Where the others listen, as far as that is known.
    pub(crate) fn addresses(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.addresses.borrow())
    }

    /// The process whose place this one has taken.
    pub(crate) fn predecessor(&self) -> &Predecessor {
        &self.predecessor
    }

    /// Carries out a CancelRequest of a client, here or wherever its key is from.
    pub(crate) async fn cancel(&self, key: &CancelKey, keys: &CancelKeys, pools: &Pools) -> Cancel {
        match keys.find(key.pid, |own| own == key) {
            Some(slot) => slot.cancel(pools).await,
            None if self.predecessor.cancel(key).await => Cancel::Forwarded,
            None => self.forward(key).await,
        }
    }

    /// Hears a peer, and carries out what it asks for. `None` if that was nothing.
    pub(crate) async fn serve<S>(
        &self,
        call: PeerCall<S>,
        keys: &CancelKeys,
        pools: &Pools,
    ) -> Option<Cancel>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match timeout(self.timeout, self.line.hear(call, keys)).await {
            Ok(Ok(Heard::Taken(slot))) => Some(slot.cancel(pools).await),
            Ok(Ok(Heard::Unknown)) => Some(Cancel::UnknownKey),
            Ok(Ok(Heard::Left)) => None,
            // As it does when another peer was the one and it need not wait for us.
            Ok(Err(error)) => {
                tracing::debug!(event = "peer_left", %error, "peer left");
                None
            }
            Ok(Ok(Heard::Refused)) => {
                tracing::info!(
                    event = "peer_refused",
                    "peer refused: it does not know the secret of [peers]"
                );
                Some(Cancel::PeerRefused)
            }
            Err(_) => {
                tracing::info!(event = "peer_refused", "peer refused: it took too long");
                Some(Cancel::PeerRefused)
            }
        }
    }

    /// Asks all peers at once. The first that takes the request ends the search.
    ///
    /// They are asked even if the number in the key is ours: a number that was drawn may be
    /// drawn twice, and one that was configured may have been copied.
    async fn forward(&self, key: &CancelKey) -> Cancel {
        let addresses = Arc::clone(&self.addresses.borrow());
        if addresses.is_empty() || KeyOwner::of(key.pid).is_none() {
            return Cancel::UnknownKey;
        }
        let Ok(_permit) = self.forwards.try_acquire() else {
            tracing::info!(
                event = "peer_overloaded",
                limit = FORWARDS_MAX,
                "too many cancel requests for peers at one time"
            );
            return Cancel::Failed;
        };
        let mut asking = JoinSet::new();
        for &address in addresses.iter() {
            let (line, key, limit) = (Arc::clone(&self.line), key.clone(), self.timeout);
            asking.spawn(async move {
                let asked = timeout(limit, line.ask(address, &key)).await;
                (address, asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
            });
        }
        let mut outcome = Cancel::UnknownKey;
        while let Some(asked) = asking.join_next().await {
            match asked {
                Ok((peer, Ok(Asked::Taken))) => {
                    tracing::debug!(event = "cancel_forwarded", %peer, "cancel request forwarded");
                    return Cancel::Forwarded;
                }
                Ok((_, Ok(Asked::NotTaken | Asked::Ourselves))) => {}
                Ok((peer, Err(error))) => {
                    tracing::info!(event = "peer_unreachable", %peer, %error, "peer cannot be asked");
                    outcome = Cancel::Failed;
                }
                Err(_) => outcome = Cancel::Failed,
            }
        }
        outcome
    }
}

impl Line {
    async fn ask(&self, address: SocketAddr, key: &CancelKey) -> io::Result<Asked> {
        let Some(secret) = &self.secret else { return Ok(Asked::NotTaken) };
        let stream = transport::connect(address, &transport::Config::default()).await?;
        let hello = PeerHello { nonce: rand::rng().random() };
        talk::ask(stream, hello, key, self.process, secret).await
    }

    async fn hear<S>(&self, call: PeerCall<S>, keys: &CancelKeys) -> io::Result<Heard<Arc<Slot>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let PeerCall { mut stream, hello } = call;
        let Some(secret) = &self.secret else { return Ok(Heard::Refused) };
        let nonce = rand::rng().random();
        let challenge = PeerChallenge { process: self.process, owner: keys.owner(), nonce };
        talk::hear(&mut stream, hello, challenge, secret, |pid, knows| keys.find(pid, knows)).await
    }
}
