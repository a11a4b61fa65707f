//! One request, one answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use telemetry::Exposition;

use crate::Page;
use crate::status::{Door, Html, Hub, Verdict, at, cluster, pools};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const EVENTS: &str = "text/event-stream";

const NOT_FOUND: &str = "not found: try /metrics, /live, /ready, /cluster, /pools or /\n";

/// What is answered with.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What answers are made from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) exposition: Exposition,
    pub(crate) hub: Arc<Hub>,
    pub(crate) door: Arc<Door>,
    pub(crate) page: Page,
    pub(crate) html: Arc<Html>,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Cluster,
    Events,
    Live,
    Metrics,
    Page,
    Pools,
    Ready,
}

impl Path {
    fn of(path: &str, page: Page) -> Option<Self> {
        Some(match (path, page) {
            ("/cluster", _) => Self::Cluster,
            ("/events", Page::On) => Self::Events,
            ("/live", _) => Self::Live,
            ("/metrics", _) => Self::Metrics,
            ("/", Page::On) => Self::Page,
            ("/pools", _) => Self::Pools,
            ("/ready", _) => Self::Ready,
            _ => return None,
        })
    }

    /// Whether it is for people, who can give a password, or for machines that look after us.
    fn is_guarded(self) -> bool {
        match self {
            Self::Cluster | Self::Events | Self::Page | Self::Pools => true,
            Self::Live | Self::Metrics | Self::Ready => false,
        }
    }
}

impl Service {
    /// The request's body is not read: no path takes one. `streams` is called when the answer is
    /// a stream, which may take longer than a request may.
    pub(crate) async fn answer(
        &self,
        request: &Request<Incoming>,
        streams: impl FnOnce(),
    ) -> Response<Body> {
        let Some(path) = Path::of(request.uri().path(), self.page) else {
            return plain(StatusCode::NOT_FOUND, TEXT, NOT_FOUND);
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let response = plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n");
            return with(response, ALLOW, "GET, HEAD");
        }
        if path.is_guarded() {
            let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
            match self.door.judge(authorization).await {
                Verdict::Open => {}
                Verdict::Unknown => return unknown(),
                Verdict::Busy => return busy("too many wrong passwords at the moment\n"),
            }
        }
        let now = SystemTime::now();
        match path {
            Path::Cluster => {
                let ready = self.hub.ready.readiness();
                json(StatusCode::OK, &at(now, cluster(&self.hub.look.cluster(), &ready)))
            }
            Path::Events if *request.method() == Method::HEAD => plain(StatusCode::OK, EVENTS, ""),
            Path::Events => match self.hub.seat() {
                None => busy("too many readers; /cluster and /pools have the same\n"),
                Some(seat) => {
                    streams();
                    let body = StreamBody::new(seat.events());
                    with_type(StatusCode::OK, EVENTS, UnsyncBoxBody::new(body))
                }
            },
            Path::Live => plain(StatusCode::OK, TEXT, "ok\n"),
            Path::Metrics => self.metrics(),
            Path::Page => self.page(),
            Path::Pools => json(StatusCode::OK, &at(now, pools(&self.hub.look.pools()))),
            Path::Ready => self.readiness(),
        }
    }

    fn metrics(&self) -> Response<Body> {
        match self.exposition.text() {
            Ok(text) => plain(StatusCode::OK, Exposition::CONTENT_TYPE, text),
            Err(error) => {
                tracing::error!(event = "metrics_failed", ?error, "metrics cannot be written");
                plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "metrics cannot be written\n")
            }
        }
    }

    fn page(&self) -> Response<Body> {
        let response = plain(StatusCode::OK, HTML, self.html.text.clone());
        let response = with(response, REFERRER_POLICY, "no-referrer");
        with(response, CONTENT_SECURITY_POLICY, &self.html.policy)
    }

    fn readiness(&self) -> Response<Body> {
        let readiness = self.hub.ready.readiness();
        let status = match readiness.is_ready() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        plain(status, JSON, readiness.to_json())
    }
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    plain(status, JSON, format!("{value}\n"))
}

fn unknown() -> Response<Body> {
    let response = plain(StatusCode::UNAUTHORIZED, TEXT, "metrics.user and its password, please\n");
    with(response, WWW_AUTHENTICATE, "Basic realm=\"pgmesh\", charset=\"UTF-8\"")
}

fn busy(why: &'static str) -> Response<Body> {
    with(plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, why), RETRY_AFTER, "15")
}

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    with_type(status, content_type, Full::new(body.into()).boxed_unsync())
}

fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let response = with(response, CONTENT_TYPE, content_type);
    let response = with(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    with(response, CACHE_CONTROL, "no-store")
}

/// What is no header's value is left out; ours all are.
fn with(mut response: Response<Body>, name: HeaderName, value: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
