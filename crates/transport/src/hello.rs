//! The first message of a handshake, read before anything is computed for it.

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::HandshakeError;

/// Registered with IANA for the Postgres frontend/backend protocol.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// Reads a ClientHello, of which `ahead` was read from the stream before.
///
/// # Errors
/// The connection ended, or this is no TLS; the client has been told by an alert then.
pub(crate) async fn read_hello<S>(
    mut stream: S,
    mut ahead: &[u8],
) -> Result<StartHandshake<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut acceptor = Acceptor::default();
    while !ahead.is_empty() {
        acceptor.read_tls(&mut ahead)?;
    }
    match acceptor.accept() {
        Ok(Some(accepted)) => Ok(StartHandshake::from_parts(accepted, stream)),
        Ok(None) => Ok(LazyConfigAcceptor::new(acceptor, stream).await?),
        Err((error, mut alert)) => {
            let mut bytes = Vec::new();
            alert.write_all(&mut bytes)?;
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            Err(HandshakeError::Tls(error))
        }
    }
}
