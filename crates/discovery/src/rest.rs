//! Patroni's REST interface, polled: as the source, or as the second hand while etcd is away.
//!
//! A node that is cut off from its store may answer with the cluster of before; timelines tell:
//! an answer whose leader is on an older one than was already seen is not taken.

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use rustls::pki_types::ServerName;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use topology::{Event, Revision, Snapshot, SourceState};
use tracing::{info, warn};

use crate::config::{Error, RestConfig, endpoints, is_https};
use crate::http::{self, HttpsTrust};
use crate::patroni::{self, Malformed};
use crate::publisher::Publisher;

/// Asks one endpoint after the other.
#[derive(Debug)]
pub(crate) struct Poller {
    endpoints: Vec<Uri>,
    trust: Option<HttpsTrust>,
    request_timeout: Duration,
    poll_interval: Duration,
    /// The endpoint that answered last.
    current: usize,
    answered: bool,
    left_out: Vec<Malformed>,
}

/// Why a poll of one endpoint gave nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Document(#[from] Malformed),
    #[error("{0}")]
    Http(#[from] http::Error),
    #[error("the answer is older than what is known")]
    Stale,
    #[error("no answer in time")]
    Timeout,
}

/// Follows the cluster by polling alone.
pub(crate) async fn run(mut poller: Poller, mut publisher: Publisher) {
    let seen = publisher.subscribe();
    for poll in 1.. {
        if let Some(state) = publisher.drive(poller.poll(&seen)).await {
            publisher.apply(Event::Resync { revision: Revision(poll), state });
        }
        publisher.drive(sleep(poller.poll_interval)).await;
    }
}

impl Poller {
    pub(crate) fn new(config: RestConfig) -> Result<Self, Error> {
        let endpoints = endpoints(&config.endpoints)?;
        let trust = if endpoints.iter().any(is_https) {
            let name = config.tls.server_name.clone().map(ServerName::try_from).transpose();
            let name = name.map_err(|_| Error::ServerName)?;
            Some(HttpsTrust { config: config.tls.for_rustls()?, name })
        } else {
            None
        };
        Ok(Self {
            endpoints,
            trust,
            request_timeout: config.request_timeout,
            poll_interval: config.poll_interval,
            current: 0,
            answered: true,
            left_out: Vec::new(),
        })
    }

    /// From one answer to the next question.
    pub(crate) const fn interval(&self) -> Duration {
        self.poll_interval
    }

    /// Asks the endpoint that answered last, then each other one once. `None` if none had an
    /// answer that is not older than what is `seen`.
    pub(crate) async fn poll(
        &mut self,
        seen: &watch::Receiver<Arc<Snapshot>>,
    ) -> Option<SourceState> {
        let count = self.endpoints.len();
        for at in (0..count).map(|n| (self.current + n) % count) {
            let Some(endpoint) = self.endpoints.get(at).cloned() else { continue };
            match self.ask(&endpoint).await.and_then(|answer| fresh(answer, seen)) {
                Ok((state, left_out)) => {
                    if at != self.current || !self.answered {
                        info!(event = "patroni_reachable", %endpoint, "Patroni answers");
                    }
                    (self.current, self.answered) = (at, true);
                    if left_out != self.left_out {
                        left_out.iter().for_each(
                            |reason| warn!(event = "node_unusable", %endpoint, %reason, "left out"),
                        );
                        self.left_out = left_out;
                    }
                    return Some(state);
                }
                Err(error) if self.answered => {
                    warn!(event = "patroni_unreachable", %endpoint, %error, "Patroni does not answer")
                }
                Err(_) => {}
            }
        }
        // Said once per outage; the snapshot stays as it is.
        self.answered = false;
        None
    }

    async fn ask(&self, endpoint: &Uri) -> Result<(SourceState, Vec<Malformed>), Failure> {
        let request = http::get(endpoint, "/cluster", self.trust.as_ref());
        let answer = timeout(self.request_timeout, request).await;
        let body = answer.map_err(|_| Failure::Timeout)??;
        Ok(patroni::cluster(&body)?)
    }
}

fn fresh(
    (state, left_out): (SourceState, Vec<Malformed>),
    seen: &watch::Receiver<Arc<Snapshot>>,
) -> Result<(SourceState, Vec<Malformed>), Failure> {
    let leader = state.leader.as_ref().and_then(|name| state.members.get(name));
    let timeline = leader.and_then(|member| member.timeline);
    if timeline.is_some() && timeline < seen.borrow().timeline() {
        return Err(Failure::Stale);
    }
    Ok((state, left_out))
}
