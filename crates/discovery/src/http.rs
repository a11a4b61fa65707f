//! One `GET` with a limit on everything.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::is_https;

/// Longest answer that is read, in bytes; a cluster of 256 members has less than 100 KiB.
const BODY_MAX: usize = 256 * 1024;

/// hyper reads heads into a buffer of at most this size, in bytes.
const BUFFER_MAX: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the body is broken off or longer than {BODY_MAX} bytes")]
    Body,
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the endpoint has no usable host name")]
    Name,
    #[error("HTTP status {0}")]
    Status(StatusCode),
}

/// Whom to trust, and under which name.
#[derive(Clone, Debug)]
pub(crate) struct HttpsTrust {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: Option<ServerName<'static>>,
}

/// Asks `base` for `path` on a connection of its own.
///
/// # Errors
/// No connection, no HTTP, a status other than 200, a body that is too long. The caller bounds
/// the time.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub(crate) async fn get(
    base: &Uri,
    path: &'static str,
    trust: Option<&HttpsTrust>,
) -> Result<Bytes, Error> {
    let host = base.host().ok_or(Error::Name)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = base.port_u16().unwrap_or_else(|| if is_https(base) { 443 } else { 80 });
    let stream = TcpStream::connect((bare, port)).await.map_err(Error::Connect)?;
    match trust.filter(|_| is_https(base)) {
        Some(trust) => {
            let name = match &trust.name {
                Some(name) => name.clone(),
                None => ServerName::try_from(bare.to_owned()).map_err(|_| Error::Name)?,
            };
            let connector = TlsConnector::from(Arc::clone(&trust.config));
            let stream = connector.connect(name, stream).await.map_err(Error::Connect)?;
            exchange(stream, base, path).await
        }
        None => exchange(stream, base, path).await,
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    base: &Uri,
    path: &'static str,
) -> Result<Bytes, Error> {
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(BUFFER_MAX).handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = Uri::from_static(path);
    let headers = request.headers_mut();
    let authority = base.authority().and_then(|a| a.as_str().parse().ok()).ok_or(Error::Name)?;
    headers.insert(HOST, authority);
    headers.insert(ACCEPT, hyper::header::HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
    headers.insert(USER_AGENT, hyper::header::HeaderValue::from_static("pgmesh"));

    let answer = async move {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(Error::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|_| Error::Body)
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        done = &mut answer => done,
        // The connection is done with; what it read is still in the answer's hands.
        _ = connection => answer.await,
    }
}
