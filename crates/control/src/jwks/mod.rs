//! The public keys of an issuer of tokens: from a file that is followed, or from a URL that is
//! asked at intervals, and when a token names a key that is not known.
//!
//! A task of its own fetches. Whoever needs keys has those that there are, at once; only a login
//! whose key is missing waits, all such logins for one and the same fetch, and no more than one
//! begins in [`DEMAND_INTERVAL`] for them: who invents keys must not decide how often the issuer
//! is asked. While it cannot be asked the keys before stay.

mod http;
mod pace;
mod source;
mod url;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth::oauth::KeySet;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};
use transport::Renewal;

pub use http::HttpError;
pub use source::{Error, FetchError};
pub use url::{JwksUrl, JwksUrlError};

use crate::error::chain;
use pace::{Pace, Want};
use source::Source;

/// Between two fetches that a missing key asks for.
pub const DEMAND_INTERVAL: Duration = Duration::from_secs(10);

/// How often a file is looked at, which costs nobody anything.
const FILE_PERIOD: Duration = Duration::from_secs(5);

/// After a fetch that has failed, if that is sooner than the next would be.
const RETRY: Duration = Duration::from_secs(10);

/// For an answer of the issuer, with the connection.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// For a fetch that was asked for, the one under way included.
const PATIENCE: Duration = FETCH_TIMEOUT.saturating_add(Duration::from_secs(1));

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// A file with a JSON Web Key Set.
    File(PathBuf),
    /// A URL that has one.
    Url {
        /// The URL.
        url: JwksUrl,
        /// The authority of its certificate (PEM); the system's authorities without one.
        ca: Option<PathBuf>,
        /// From one fetch to the next.
        refresh: Duration,
    },
}

impl Config {
    /// The default of `refresh`.
    pub const REFRESH: Duration = Duration::from_secs(300);

    /// Looks at the files that it names. Blocks.
    ///
    /// # Errors
    /// A file that is missing or unfit.
    pub fn check(&self) -> Result<(), Error> {
        Source::new(self).map(drop)
    }
}

/// What a fetch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Keys, new or the same.
    Done,
    /// None: those before stay.
    Failed,
}

/// The keys of an issuer. Cheap to clone; the last clone takes the task with it.
#[derive(Clone, Debug)]
pub struct Jwks {
    keys: watch::Receiver<Option<Arc<KeySet>>>,
    /// Changes when a fetch has ended, however.
    ended: watch::Receiver<u64>,
    demand: Arc<Demand>,
    tls: Option<Renewal>,
    _task: Arc<AbortOnDropHandle<()>>,
}

/// Who asks for a fetch, and the task that makes it.
#[derive(Debug)]
struct Demand {
    pace: Mutex<Pace>,
    asked: Notify,
    /// What the pace counts its time from.
    origin: Instant,
}

/// What the task owns.
struct Fetcher<R> {
    source: Source,
    period: Duration,
    keys: watch::Sender<Option<Arc<KeySet>>>,
    ended: watch::Sender<u64>,
    demand: Arc<Demand>,
    report: R,
    last: Option<Fetch>,
}

impl Jwks {
    /// Reads the file, or begins to ask the URL: an issuer that is away keeps nobody from
    /// starting. `report` is told of every fetch. Blocks on the file system. Must be used inside
    /// a tokio runtime.
    ///
    /// # Errors
    /// A file that is missing or unfit.
    pub fn start(
        config: &Config,
        report: impl Fn(Fetch) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let (source, first) = Source::new(config)?;
        let period = match config {
            Config::File(_) => FILE_PERIOD,
            Config::Url { refresh, .. } => *refresh,
        };
        let tls = source.renewal();
        let demand = Arc::new(Demand {
            pace: Mutex::default(),
            asked: Notify::new(),
            origin: Instant::now(),
        });
        let begin = if first.is_some() { period } else { Duration::ZERO };
        let (keys, ended) = (watch::Sender::new(first.map(Arc::new)), watch::Sender::new(0));
        let subscribed = (keys.subscribe(), ended.subscribe());
        let last = None;
        let fetcher =
            Fetcher { source, period, keys, ended, demand: Arc::clone(&demand), report, last };
        let task = Arc::new(AbortOnDropHandle::new(tokio::spawn(fetcher.run(begin))));
        Ok(Self { keys: subscribed.0, ended: subscribed.1, demand, tls, _task: task })
    }

    /// The keys there are; `None` if there never were any.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.keys.borrow().clone()
    }

    /// The keys after a fetch, because one is missing among those there are: of the one that is
    /// under way, or of one that begins now, unless another has begun a moment ago. Takes six
    /// seconds at most.
    ///
    /// # Cancel safety
    /// Cancel safe: the fetch goes on for those who come next.
    pub async fn refreshed(&self) -> Option<Arc<KeySet>> {
        let mut ended = self.ended.clone();
        ended.mark_unchanged();
        let now = self.demand.origin.elapsed();
        match self.demand.pace.lock().want(now) {
            Want::Begin => self.demand.asked.notify_one(),
            Want::Join => {}
            Want::Nothing => return self.current(),
        }
        let _ = timeout(PATIENCE, ended.changed()).await;
        self.current()
    }

    /// What reads the authority of the URL's certificate again, if there is one.
    pub fn renewal(&self) -> Option<Renewal> {
        self.tls.clone()
    }
}

impl<R: Fn(Fetch)> Fetcher<R> {
    /// Never ends.
    async fn run(mut self, begin: Duration) {
        let mut next = Instant::now() + begin;
        let demand = Arc::clone(&self.demand);
        loop {
            let is_due = tokio::select! {
                () = sleep_until(next) => true,
                () = demand.asked.notified() => false,
            };
            let now = demand.origin.elapsed();
            if !demand.pace.lock().begin(now, is_due) {
                continue;
            }
            let fetched = self.fetch().await;
            demand.pace.lock().end();
            self.ended.send_modify(|count| *count = count.wrapping_add(1));
            (self.report)(fetched);
            next = Instant::now() + if fetched == Fetch::Done { self.period } else { self.retry() };
        }
    }

    async fn fetch(&mut self) -> Fetch {
        let (fetched, before) = match self.source.fetch().await {
            Ok(Some(keys)) => {
                info!(
                    event = "token_keys_changed",
                    keys = keys.len(),
                    "the keys of the tokens' issuer are new"
                );
                self.keys.send_replace(Some(Arc::new(keys)));
                (Fetch::Done, self.last.replace(Fetch::Done))
            }
            Ok(None) => (Fetch::Done, self.last.replace(Fetch::Done)),
            Err(error) => {
                let before = self.last.replace(Fetch::Failed);
                // Once, not every few seconds.
                if before != Some(Fetch::Failed) {
                    let error = chain(&error);
                    warn!(
                        event = "token_keys_unavailable",
                        error, "the keys of the tokens' issuer cannot be had; those before stay"
                    );
                }
                (Fetch::Failed, before)
            }
        };
        if (before, fetched) == (Some(Fetch::Failed), Fetch::Done) {
            info!(
                event = "token_keys_available",
                "the keys of the tokens' issuer can be had again"
            );
        }
        fetched
    }

    fn retry(&self) -> Duration {
        RETRY.min(self.period)
    }
}
