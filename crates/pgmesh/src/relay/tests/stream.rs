//! A connection to a server that breaks after so many bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

pub(super) struct FakeStream {
    inner: DuplexStream,
    /// It takes so many bytes more, and then fails.
    takes: usize,
    pub(super) is_tls: bool,
}

impl FakeStream {
    pub(super) fn new(inner: DuplexStream) -> Self {
        Self { inner, takes: usize::MAX, is_tls: false }
    }

    pub(super) fn breaks_after(inner: DuplexStream, takes: usize) -> Self {
        Self { inner, takes, is_tls: false }
    }

    /// What it says of what it has taken is not to be relied on.
    pub(super) fn with_tls(self) -> Self {
        Self { is_tls: true, ..self }
    }
}

impl AsyncRead for FakeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for FakeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = &bytes[..bytes.len().min(self.takes)];
        if taken.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let polled = Pin::new(&mut self.inner).poll_write(cx, taken);
        if let Poll::Ready(Ok(written)) = polled {
            self.takes -= written;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
