//! One `GET` of a set of keys, with a limit on everything but the time.

use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use transport::{HandshakeError, MaybeTls, ServiceConnector};

use super::JwksUrl;
use super::source::TEXT_MAX;

/// hyper reads heads into a buffer of at most this size, in bytes.
const BUFFER_MAX: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Broken off, or too long.
    #[error("the body is broken off or longer than {TEXT_MAX} bytes")]
    Body,
    /// No connection.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// The answer is no HTTP.
    #[error("HTTP failed")]
    Http(#[from] hyper::Error),
    /// Not 200. Redirections are not followed.
    #[error("HTTP status {0}")]
    Status(StatusCode),
    /// The certificate is not the host's, or the peers do not agree.
    #[error("TLS failed")]
    Tls(#[from] HandshakeError),
}

/// Fetches what is at `url`; by `https` the certificate must be the host's.
///
/// # Errors
/// No connection, no HTTP, a status other than 200, a body that is too long. The caller bounds
/// the time.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub(super) async fn get(url: &JwksUrl, tls: &ServiceConnector) -> Result<Bytes, HttpError> {
    let address = (url.host(), url.port());
    let stream = TcpStream::connect(address).await.map_err(HttpError::Connect)?;
    let stream = match url.is_https() {
        true => tls.connect(url.host(), stream).await?,
        false => MaybeTls::Plain(stream),
    };
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(BUFFER_MAX).handshake(io).await?;
    let request = request(url.uri());
    let answer = async move {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(HttpError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), TEXT_MAX).collect().await;
        body.map(Collected::to_bytes).map_err(|_| HttpError::Body)
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        done = &mut answer => done,
        // The connection is done with; what it read is still in the answer's hands.
        _ = connection => answer.await,
    }
}

fn request(uri: &Uri) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    let path = uri.path_and_query().and_then(|path| path.as_str().parse().ok());
    *request.uri_mut() = path.unwrap_or_else(|| Uri::from_static("/"));
    let headers = request.headers_mut();
    if let Some(host) = uri.authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok()) {
        headers.insert(HOST, host);
    }
    let accepted = "application/jwk-set+json, application/json";
    headers.insert(ACCEPT, HeaderValue::from_static(accepted));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(USER_AGENT, HeaderValue::from_static("pgmesh"));
    request
}
