//! Writes straight from where bytes lie, and keeps what the peer does not take.
//!
//! As long as anything is kept, nothing more is read in that direction: so what is kept is
//! bounded by one chunk and what was inserted in it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// The peer has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// The stream has taken nothing of what was to be written.
    Untouched,
    /// It has taken some or all of it.
    Partly,
}

/// Writes `bytes`; what the peer does not take now is kept in `unsent`, which is empty.
///
/// # Errors
/// The peer has gone.
#[inline]
pub(super) fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    mut bytes: &[u8],
    unsent: &mut Vec<u8>,
) -> Result<(), Gone> {
    let mut gone = Gone::Untouched;
    while !bytes.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(0) | Err(_)) => return Err(gone),
            Poll::Ready(Ok(written)) => {
                gone = Gone::Partly;
                bytes = bytes.get(written..).unwrap_or_default();
            }
            Poll::Pending => {
                unsent.extend_from_slice(bytes);
                return Ok(());
            }
        }
    }
    // With TLS, written is not yet sent. What a flush leaves over is sent by the next call
    // of `flush`, which the relay makes on every turn.
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(result) => result.map_err(|_| Gone::Partly),
        Poll::Pending => Ok(()),
    }
}

/// Writes what was kept. Ready when nothing is left.
///
/// # Errors
/// The peer has gone.
#[inline]
pub(super) fn flush<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    unsent: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    let mut sent = 0;
    while let Some(bytes) = unsent.get(sent..).filter(|bytes| !bytes.is_empty()) {
        match Pin::new(&mut *stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => sent += written,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {
                unsent.drain(..sent);
                return Poll::Pending;
            }
        }
    }
    if sent > 0 {
        *unsent = Vec::new();
    }
    ready!(Pin::new(stream).poll_flush(cx))?;
    Poll::Ready(Ok(()))
}
