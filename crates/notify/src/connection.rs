//! The connection of a hub: requests out, whole messages in, both at once.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use transport::MaybeTls;
use wire::tag::frontend;
use wire::{FrameError, Header, message};

/// Bytes of a message at the most. The longest are errors; a notification has 8000 bytes of
/// payload, and four times that in another encoding.
const FRAME_MAX: usize = 64 * 1024;

/// Bytes that are read at once.
const READ: usize = 8 * 1024;

/// Room that stays between two reads.
const KEPT: usize = 2 * READ;

/// For the goodbye to a server.
const GOODBYE: Duration = Duration::from_secs(1);

/// A session of ours. While it reads it writes what is unsent: a server that is stuck with its
/// notifications would not read a request first.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: MaybeTls<S>,
    inbox: Vec<u8>,
    /// Bytes at the front of `inbox` that were handed out.
    used: usize,
    outbox: Vec<u8>,
    /// Bytes at the front of `outbox` that the stream has taken.
    taken: usize,
}

/// A whole message, header included.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) tag: u8,
    pub(crate) frame: &'a [u8],
}

/// A message that no server of ours sends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameFault {
    #[error(transparent)]
    Length(#[from] FrameError),
    #[error("message of type {tag:#04x} with {len} bytes")]
    TooLong { tag: u8, len: usize },
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// An idle session.
    pub(crate) fn new(stream: MaybeTls<S>) -> Self {
        Self { stream, inbox: Vec::new(), used: 0, outbox: Vec::new(), taken: 0 }
    }

    /// Puts a simple query down, to be sent by [`Connection::read`].
    pub(crate) fn send(&mut self, text: &[u8]) {
        message::put(&mut self.outbox, frontend::QUERY, |out| message::put_c_bytes(out, text));
    }

    /// Waits until something was read.
    ///
    /// # Errors
    /// The connection is lost.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn read(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = self.poll_write(cx) {
                return Poll::Ready(Err(error));
            }
            self.poll_read(cx)
        })
        .await
    }

    /// The next whole message of those that were read.
    pub(crate) fn next(&mut self) -> Result<Option<Message<'_>>, FrameFault> {
        let unread = self.inbox.get(self.used..).unwrap_or_default();
        let Some(header) = Header::peek(unread)? else {
            self.compact();
            return Ok(None);
        };
        let (tag, len) = (header.tag, header.frame_len());
        if len > FRAME_MAX {
            return Err(FrameFault::TooLong { tag, len });
        }
        if unread.len() < len {
            self.compact();
            return Ok(None);
        }
        let start = self.used;
        self.used += len;
        let frame = self.inbox.get(start..self.used).unwrap_or_default();
        Ok(Some(Message { tag, frame }))
    }

    /// Ends the session as libpq does.
    pub(crate) async fn close(mut self) {
        let goodbye = async {
            self.stream.write_all(message::TERMINATE).await?;
            self.stream.shutdown().await
        };
        // Either way it is dropped next.
        let _ = timeout(GOODBYE, goodbye).await;
    }

    fn compact(&mut self) {
        self.inbox.drain(..std::mem::take(&mut self.used));
        if self.inbox.is_empty() && self.inbox.capacity() > KEPT {
            self.inbox = Vec::new();
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(unsent) = self.outbox.get(self.taken..).filter(|it| !it.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.taken += taken,
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        (self.outbox, self.taken) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [MaybeUninit::uninit(); READ];
        let mut buf = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        if buf.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.inbox.extend_from_slice(buf.filled());
        Poll::Ready(Ok(()))
    }
}
