//! One byte stream, whether or not there is TLS around it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::CommonState;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{client, server};

/// A stream that is plain or inside TLS. The TLS session is boxed, so that a plain connection
/// pays one word for the choice.
///
/// Inside TLS, `poll_write` may take bytes that it could not yet pass on: only `poll_flush`
/// tells when all have gone to the socket.
#[derive(Debug)]
pub enum MaybeTls<S> {
    /// No TLS.
    Plain(S),
    /// TLS that a client asked us for.
    Accepted(Box<server::TlsStream<S>>),
    /// TLS that we asked a server for.
    Connected(Box<client::TlsStream<S>>),
}

impl<S> MaybeTls<S> {
    /// The stream below TLS. Do not read from or write to it while there is TLS.
    pub fn get_ref(&self) -> &S {
        match self {
            Self::Plain(stream) => stream,
            Self::Accepted(tls) => tls.get_ref().0,
            Self::Connected(tls) => tls.get_ref().0,
        }
    }

    /// Whether there is TLS.
    pub fn is_tls(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// The negotiated protocol, named as in `pg_stat_ssl`: `TLSv1.2` or `TLSv1.3`.
    pub fn tls_version(&self) -> Option<&'static str> {
        match self.session()?.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            rustls::ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            _ => None,
        }
    }

    /// The negotiated cipher suite, by the name that rustls has for it.
    pub fn cipher(&self) -> Option<&'static str> {
        self.session()?.negotiated_cipher_suite()?.suite().as_str()
    }

    /// The certificate that the peer showed, if any. Whether it was verified is a matter of
    /// the mode.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.session()?.peer_certificates()?.first()
    }

    /// Whether the TLS session holds decrypted bytes that were not read yet, which no look at
    /// the socket would show. A session that failed counts as holding some: either way the
    /// connection must not be reused.
    pub fn holds_unread(&mut self) -> bool {
        let state = match self {
            Self::Plain(_) => return false,
            Self::Accepted(tls) => tls.get_mut().1.process_new_packets(),
            Self::Connected(tls) => tls.get_mut().1.process_new_packets(),
        };
        state.map_or(true, |state| state.plaintext_bytes_to_read() > 0)
    }

    fn session(&self) -> Option<&CommonState> {
        match self {
            Self::Plain(_) => None,
            Self::Accepted(tls) => Some(tls.get_ref().1),
            Self::Connected(tls) => Some(tls.get_ref().1),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTls<S> {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Accepted(tls) => Pin::new(tls).poll_read(cx, buf),
            Self::Connected(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTls<S> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Accepted(tls) => Pin::new(tls).poll_write(cx, buf),
            Self::Connected(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Accepted(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
            Self::Connected(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Accepted(tls) => tls.is_write_vectored(),
            Self::Connected(tls) => tls.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Accepted(tls) => Pin::new(tls).poll_flush(cx),
            Self::Connected(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Accepted(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::Connected(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
