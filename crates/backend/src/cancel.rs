//! Cancelling a statement from outside its session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use transport::MaybeTls;
use wire::CancelKey;

use crate::{ConnectError, Dialer, ProtocolFault, Stage};

/// What is needed to cancel the statements of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelTarget {
    /// The host as the session named it.
    pub host: Arc<str>,
    /// The address that the session is connected to: a name may mean another server by now.
    pub address: SocketAddr,
    /// Whether the session is inside TLS. The key travels as the session does.
    pub is_tls: bool,
    /// The key that the server gave to the session.
    pub key: CancelKey,
}

impl Dialer {
    /// Asks the server to cancel whatever the session is running, and waits until the server
    /// has closed the request's connection. Postgres signals the session before it closes, so
    /// after `Ok` no cancel is under way any more: the next statement cannot be hit.
    ///
    /// # Errors
    /// Whatever keeps the request from being seen through within `limit`. It may still take
    /// effect then, at any time: a session that is to be reused must be closed instead.
    ///
    /// # Cancel safety
    /// A dropped call counts as one that failed.
    pub async fn cancel(&self, target: &CancelTarget, limit: Duration) -> Result<(), ConnectError> {
        let request = async {
            let mut stream = self.open_again(target).await?;
            let mut packet = Vec::new();
            wire::put_cancel_request(&mut packet, &target.key);
            stream.write_all(&packet).await.map_err(ConnectError::Lost)?;
            stream.flush().await.map_err(ConnectError::Lost)?;
            wait_for_close(&mut stream).await
        };
        match timeout(limit, request).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout(Stage::Cancelling)),
        }
    }
}

/// Reads to the end. Postgres answers nothing and ends TLS without close_notify.
async fn wait_for_close<S>(stream: &mut MaybeTls<S>) -> Result<(), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut scratch = [0; 256];
    let mut total = 0;
    loop {
        match stream.read(&mut scratch).await {
            Ok(0) => return Ok(()),
            Ok(read) => total += read,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(ConnectError::Lost(error)),
        }
        if total > ANSWER_BYTES_MAX {
            return Err(ProtocolFault::TooMuch(ANSWER_BYTES_MAX).into());
        }
    }
}

/// An ErrorResponse would fit, if a server ever sent one.
const ANSWER_BYTES_MAX: usize = 32 * 1024;
