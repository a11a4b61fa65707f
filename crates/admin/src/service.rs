//! One request, one answer.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use telemetry::Exposition;

use crate::Ready;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What answers are made from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) exposition: Exposition,
    pub(crate) ready: Arc<dyn Ready>,
}

impl Service {
    /// The request's body is not read: no path takes one.
    pub(crate) fn answer(
        &self,
        request: &Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path();
        let known = matches!(path, "/metrics" | "/live" | "/ready");
        if known && !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        Ok(match path {
            "/metrics" => self.metrics(),
            "/live" => plain(StatusCode::OK, TEXT, "ok\n"),
            "/ready" => self.readiness(),
            _ => plain(StatusCode::NOT_FOUND, TEXT, "not found: try /metrics, /live or /ready\n"),
        })
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match self.exposition.text() {
            Ok(text) => plain(StatusCode::OK, Exposition::CONTENT_TYPE, text),
            Err(error) => {
                tracing::error!(event = "metrics_failed", ?error, "metrics cannot be written");
                plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "metrics cannot be written\n")
            }
        }
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let readiness = self.ready.readiness();
        let status = match readiness.is_ready() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        plain(status, JSON, readiness.to_json())
    }
}

fn plain(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
