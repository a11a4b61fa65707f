//! A client's connection until the login is over: a stream, what was read ahead from it, and
//! what waits to be written to it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use transport::{Acceptor, MaybeTls, Negotiation};
use wire::{ErrorMessage, HEADER_LEN, Header, MAX_STARTUP_PACKET_LEN, StartupPacket};
use zeroize::{Zeroize as _, Zeroizing};

use crate::Refused;

/// Reads whole messages and no more than fits beside one; never drops a byte that it read.
/// Every await is a `read_buf` into a buffer of its own, so that a dropped future loses
/// nothing that the line does not lose with it.
pub(crate) struct Line<S> {
    stream: MaybeTls<S>,
    unread: Vec<u8>,
    /// Written with the next flush, so that one step costs one write.
    pub(crate) out: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: MaybeTls::Plain(stream), unread: Vec::new(), out: Vec::new() }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    pub(crate) fn stream(&self) -> &MaybeTls<S> {
        &self.stream
    }

    /// Whether the client begins with a TLS handshake. A startup packet that began like this
    /// would be far too long.
    pub(crate) async fn begins_with_tls(&mut self) -> Result<bool, Refused> {
        Ok(self.fill(1).await?.first() == Some(&TLS_HANDSHAKE))
    }

    /// Reads the untagged packet that begins a connection or follows an encryption request.
    pub(crate) async fn startup_packet(&mut self) -> Result<StartupPacket, Refused> {
        let field = *self.fill(4).await?.first_chunk().ok_or(Refused::Truncated)?;
        // Postgres holds the length against its cap without the field itself.
        let body_len = u32::from_be_bytes(field).checked_sub(4).ok_or(Refused::PacketLength)?;
        if !(4..=MAX_STARTUP_PACKET_LEN).contains(&body_len) {
            return Err(Refused::PacketLength);
        }
        let packet_len = 4 + body_len as usize;
        let body = self.fill(packet_len).await?.get(4..packet_len).unwrap_or_default();
        let unanswered = UNANSWERED.iter().any(|code| body.starts_with(code));
        let packet = StartupPacket::parse(body)
            .map_err(|_| if unanswered { Refused::PacketLength } else { Refused::Layout })?;
        self.unread.drain(..packet_len);
        Ok(packet)
    }

    /// Reads a message that answers an authentication request, and gives its body, which may be
    /// a password: nothing of it is left here.
    pub(crate) async fn password_message(&mut self) -> Result<Zeroizing<Vec<u8>>, Refused> {
        self.message_up_to(auth::MESSAGE_MAX).await
    }

    /// The same, of a body that has so many bytes at most.
    pub(crate) async fn message_up_to(
        &mut self,
        max: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let tag = self.fill(1).await?.first().copied();
        match tag {
            Some(wire::tag::frontend::PASSWORD) => {}
            // psql leaves like this when it has to ask for the password first.
            Some(wire::tag::frontend::TERMINATE) => return Err(Refused::Closed),
            other => return Err(Refused::MessageType(other.unwrap_or_default())),
        }
        let header = Header::peek(self.fill(HEADER_LEN).await?);
        let Ok(Some(header)) = header else { return Err(Refused::MessageLength) };
        if header.body_len as usize > max {
            return Err(Refused::MessageLength);
        }
        let frame_len = header.frame_len();
        let unread = self.fill(frame_len).await?;
        let body = Zeroizing::new(unread.get(HEADER_LEN..frame_len).unwrap_or_default().to_vec());
        let rest = unread.get(frame_len..).unwrap_or_default().to_vec();
        std::mem::replace(&mut self.unread, rest).zeroize();
        Ok(body)
    }

    /// Answers an encryption request with one byte. Nothing may have come behind it: what
    /// was read before TLS is up must not be taken for something said inside it. `request`
    /// is its name, for the error.
    pub(crate) async fn answer(
        &mut self,
        request: &'static str,
        answer: u8,
    ) -> Result<(), Refused> {
        if !self.unread.is_empty() {
            return Err(Refused::Unencrypted(request));
        }
        self.out.push(answer);
        self.flush().await
    }

    /// Puts TLS around the stream. Only after [`Line::answer`], or as the first thing. What
    /// was read ahead, which is something in direct TLS only, is taken for the handshake's.
    pub(crate) async fn secure(
        self,
        acceptor: &Acceptor,
        negotiation: Negotiation,
    ) -> Result<Self, Refused> {
        match self.stream {
            MaybeTls::Plain(stream) => {
                let accepted = acceptor.accept(stream, negotiation, &self.unread).await;
                let stream = accepted.map_err(Refused::Tls)?;
                Ok(Self { stream, unread: Vec::new(), out: self.out })
            }
            stream => Ok(Self { stream, unread: self.unread, out: self.out }),
        }
    }

    /// Writes what waits, in one write if the socket takes it.
    pub(crate) async fn flush(&mut self) -> Result<(), Refused> {
        self.stream.write_all(&self.out).await.map_err(Refused::Io)?;
        self.out.clear();
        self.stream.flush().await.map_err(Refused::Io)
    }

    /// Tells the client why, if there is something to tell, and closes the connection. Takes
    /// at most [`REFUSAL_TIMEOUT`], whatever the client does.
    pub(crate) async fn refuse(mut self, message: Option<&ErrorMessage>) {
        let Some(message) = message else { return };
        message.put(&mut self.out);
        let _ = timeout(REFUSAL_TIMEOUT, self.say_and_linger()).await;
    }

    /// Closing a socket with unread bytes resets the connection, and the client's system may
    /// then discard our last words. So what still comes is read, up to a bound.
    async fn say_and_linger(&mut self) -> Result<(), Refused> {
        self.flush().await?;
        self.stream.shutdown().await.map_err(Refused::Io)?;
        let mut discarded = 0;
        while discarded < LINGER_BYTES_MAX {
            self.unread.clear();
            self.unread.reserve(READ_LEN);
            match self.stream.read_buf(&mut self.unread).await.map_err(Refused::Io)? {
                0 => break,
                read => discarded += read,
            }
        }
        Ok(())
    }

    /// The stream, and what was read ahead from it.
    pub(crate) fn into_parts(self) -> (MaybeTls<S>, Vec<u8>) {
        // An empty Vec made anew holds no memory; an emptied one does.
        let unread = if self.unread.is_empty() { Vec::new() } else { self.unread };
        (self.stream, unread)
    }

    /// Reads until `want` bytes are there; gives all that are.
    async fn fill(&mut self, want: usize) -> Result<&[u8], Refused> {
        while self.unread.len() < want {
            let room = want.max(READ_LEN);
            if self.unread.capacity() < room {
                // By hand: a buffer that grows by itself leaves a copy of what it held behind.
                let mut larger = Vec::with_capacity(room);
                larger.extend_from_slice(&self.unread);
                std::mem::replace(&mut self.unread, larger).zeroize();
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) => return Err(self.ended()),
                Ok(_) => {}
                Err(error) if is_end(&error) => return Err(self.ended()),
                Err(error) => return Err(Refused::Io(error)),
            }
        }
        Ok(&self.unread)
    }

    fn ended(&self) -> Refused {
        if self.unread.is_empty() { Refused::Closed } else { Refused::Truncated }
    }
}

/// Ways to leave without saying goodbye: a reset, as health checks do, and TLS without
/// close_notify.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof)
}

/// The codes of a CancelRequest and of a peer's hello; a broken one gets no answer, for there
/// is nobody who would read it.
const UNANSWERED: [[u8; 4]; 2] = [[0x04, 0xd2, 0x16, 0x2e], *b"pgme"];

/// The first byte of a TLS record that holds a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Room for a usual startup packet or SASL message.
const READ_LEN: usize = 512;

/// How long a refused client may take to hear why.
pub(crate) const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// What a refused client may still send before the connection is reset.
const LINGER_BYTES_MAX: usize = 64 * 1024;
