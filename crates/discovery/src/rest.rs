//! Patroni's REST interface, polled.
//!
//! A node that is cut off from its store may answer with the cluster of before; timelines tell:
//! an answer whose leader is on an older one than was already seen is not taken.

use hyper::Uri;
use rustls::pki_types::ServerName;
use tokio::time::{sleep, timeout};
use topology::{Event, Revision, SourceState};
use tracing::{info, warn};

use crate::config::{Error, RestConfig, endpoints, is_https};
use crate::http::{self, HttpsTrust};
use crate::patroni::{self, Malformed};
use crate::publisher::Publisher;

/// The poller.
#[derive(Debug)]
pub(crate) struct Source {
    config: RestConfig,
    endpoints: Vec<Uri>,
    trust: Option<HttpsTrust>,
    /// The endpoint that answered last.
    current: usize,
    polls: u64,
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

impl Source {
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
            config,
            endpoints,
            trust,
            current: 0,
            polls: 0,
            answered: true,
            left_out: Vec::new(),
        })
    }

    pub(crate) async fn run(mut self, mut publisher: Publisher) {
        loop {
            self.poll(&mut publisher).await;
            publisher.drive(sleep(self.config.poll_interval)).await;
        }
    }

    /// Asks the endpoint that answered last, then each other one once.
    async fn poll(&mut self, publisher: &mut Publisher) {
        let count = self.endpoints.len();
        for at in (0..count).map(|n| (self.current + n) % count) {
            let Some(endpoint) = self.endpoints.get(at).cloned() else { continue };
            match publisher.drive(self.ask(&endpoint)).await.and_then(|a| fresh(a, publisher)) {
                Ok((state, left_out)) => {
                    if at != self.current || !self.answered {
                        info!(%endpoint, "Patroni answers");
                    }
                    (self.current, self.answered) = (at, true);
                    self.polls += 1;
                    if left_out != self.left_out {
                        left_out.iter().for_each(|reason| warn!(%endpoint, %reason, "left out"));
                        self.left_out = left_out;
                    }
                    publisher.apply(Event::Resync { revision: Revision(self.polls), state });
                    return;
                }
                Err(error) if self.answered => warn!(%endpoint, %error, "Patroni does not answer"),
                Err(_) => {}
            }
        }
        // Said once per outage; the snapshot stays as it is.
        self.answered = false;
    }

    async fn ask(&self, endpoint: &Uri) -> Result<(SourceState, Vec<Malformed>), Failure> {
        let request = http::get(endpoint, "/cluster", self.trust.as_ref());
        let answer = timeout(self.config.request_timeout, request).await;
        let body = answer.map_err(|_| Failure::Timeout)??;
        Ok(patroni::cluster(&body)?)
    }
}

fn fresh(
    (state, left_out): (SourceState, Vec<Malformed>),
    publisher: &Publisher,
) -> Result<(SourceState, Vec<Malformed>), Failure> {
    let leader = state.leader.as_ref().and_then(|name| state.members.get(name));
    let timeline = leader.and_then(|member| member.timeline);
    if timeline.is_some() && timeline < publisher.snapshot().timeline() {
        return Err(Failure::Stale);
    }
    Ok((state, left_out))
}
