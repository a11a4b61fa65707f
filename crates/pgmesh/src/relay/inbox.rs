//! Reads into the thread's buffer, and behind what a connection has left over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::scratch::Scratch;

/// Where the bytes of a turn come from.
pub(super) enum Source {
    /// The thread's buffer, filled by this read.
    Scratch(usize),
    /// The connection's own, together with what was cut off before.
    Kept(Vec<u8>),
}

/// How much a connection's own buffer grows at a time.
const GROW_MAX: usize = 64 * 1024;

impl Source {
    #[inline]
    pub(super) fn bytes<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Scratch(len) => input.get(..*len).unwrap_or_default(),
            Self::Kept(bytes) => bytes,
        }
    }
}

/// What was not taken: nothing as a rule, and then it allocates nothing.
#[inline]
pub(super) fn rest_of(chunk: &[u8], consumed: usize) -> Vec<u8> {
    chunk.get(consumed..).unwrap_or_default().to_vec()
}

/// The next chunk: what is unread if another look at it is worth while, otherwise a read.
/// `None` at the end of the stream. A stream that is `dry` is not read: it has been pending in this
/// very poll of the task, which is woken when it no longer is.
#[inline]
pub(super) fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    unread: &mut Vec<u8>,
    needed: usize,
    dry: &mut bool,
    scratch: &mut Scratch,
) -> Poll<io::Result<Option<Source>>> {
    if *dry && (unread.is_empty() || unread.len() < needed) {
        return Poll::Pending;
    }
    if unread.is_empty() {
        let mut buf = ReadBuf::new(&mut scratch.input);
        return match Pin::new(stream).poll_read(cx, &mut buf) {
            Poll::Pending => {
                *dry = true;
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let len = buf.filled().len();
                Poll::Ready(Ok((len > 0).then_some(Source::Scratch(len))))
            }
        };
    }
    while unread.len() < needed {
        match read_behind(stream, cx, unread, needed) {
            Poll::Pending => {
                *dry = true;
                return Poll::Pending;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(None)),
            Poll::Ready(Ok(_)) => {}
        }
    }
    Poll::Ready(Ok(Some(Source::Kept(std::mem::take(unread)))))
}

/// Reads behind what is in `unread`, which grows no faster than the peer sends. The bytes
/// read; 0 at the end of the stream.
pub(super) fn read_behind<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    unread: &mut Vec<u8>,
    needed: usize,
) -> Poll<io::Result<usize>> {
    let len = unread.len();
    let grow = needed.saturating_sub(len).clamp(4096, GROW_MAX);
    unread.resize(len + grow, 0);
    let mut buf = ReadBuf::new(unread.get_mut(len..).unwrap_or_default());
    let polled = Pin::new(stream).poll_read(cx, &mut buf);
    let read = buf.filled().len();
    unread.truncate(len + read);
    polled.map_ok(|()| read)
}
