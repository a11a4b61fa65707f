//! Whole messages of bounded size over a stream, for exchanges in which we take part.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use transport::MaybeTls;
use wire::tag::backend as tag;
use wire::{ErrorFields, Header};

use crate::{ProtocolFault, QueryError, Refusal};

/// Reads whole messages, with a budget for all of them together. What it has read and not
/// handed out would be lost with it, so the way out is over [`Channel::is_drained`].
pub(crate) struct Channel<'a, S> {
    stream: &'a mut MaybeTls<S>,
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that were handed out.
    used: usize,
    /// Bytes that may still be read.
    budget: usize,
    budget_whole: usize,
}

/// One message, borrowed from the channel.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Channel<'a, S> {
    /// A channel that reads at most `budget` bytes in its life.
    pub(crate) fn new(stream: &'a mut MaybeTls<S>, budget: usize) -> Self {
        Self { stream, buffer: Vec::new(), used: 0, budget, budget_whole: budget }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    /// Writes and flushes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), QueryError> {
        self.stream.write_all(bytes).await.map_err(QueryError::Lost)?;
        self.stream.flush().await.map_err(QueryError::Lost)
    }

    /// Waits for the next message. An ErrorResponse comes back as [`QueryError::Refused`].
    ///
    /// # Cancel safety
    /// A message that was not returned is still in the channel.
    pub(crate) async fn next(&mut self) -> Result<Message<'_>, QueryError> {
        self.buffer.drain(..std::mem::take(&mut self.used));
        let header = loop {
            match Header::peek(&self.buffer).map_err(ProtocolFault::from)? {
                Some(header) if header.body_len > body_max(header.tag) => {
                    let Header { tag, body_len: len } = header;
                    return Err(ProtocolFault::TooLong { tag, len }.into());
                }
                Some(header) if self.buffer.len() >= header.frame_len() => break header,
                _ => self.fill().await?,
            }
        };
        self.used = header.frame_len();
        let body = self.buffer.get(wire::HEADER_LEN..self.used).unwrap_or_default();
        if header.tag == tag::ERROR_RESPONSE {
            let fields = ErrorFields::parse(body)
                .map_err(|_| ProtocolFault::Malformed { tag: header.tag })?;
            return Err(QueryError::Refused(Refusal::new(&fields)));
        }
        Ok(Message { tag: header.tag, body })
    }

    /// Whether everything that was read has been handed out, TLS' own buffer included.
    pub(crate) fn is_drained(&mut self) -> bool {
        self.used == self.buffer.len() && !self.stream.holds_unread()
    }

    async fn fill(&mut self) -> Result<(), QueryError> {
        if self.budget == 0 {
            return Err(ProtocolFault::TooMuch(self.budget_whole).into());
        }
        self.buffer.reserve(READ_MIN.min(self.budget));
        let mut limited = (&mut *self.stream).take(self.budget as u64);
        match limited.read_buf(&mut self.buffer).await.map_err(QueryError::Lost)? {
            0 => Err(QueryError::Lost(io::ErrorKind::UnexpectedEof.into())),
            read => {
                self.budget = self.budget.saturating_sub(read);
                Ok(())
            }
        }
    }
}

/// The largest body of a message outside the relay: none of them carries user data, and
/// ErrorResponse is cut where libpq cuts it (`MAX_ERRLEN`).
fn body_max(tag: u8) -> u32 {
    match tag {
        tag::ERROR_RESPONSE | tag::NOTICE_RESPONSE => 30_000,
        _ => 64 * 1024,
    }
}

/// Room for a login's ParameterStatus messages at once.
const READ_MIN: usize = 1024;
