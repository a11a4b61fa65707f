//! One byte stream, whether or not there is TLS around it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use rustls::{CommonState, HandshakeKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{client, server};

use crate::{CertificateError, Subject};

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
    Accepted {
        /// The session.
        tls: Box<server::TlsStream<S>>,
        /// Our own certificate in it, which may be another one in the next session.
        certificate: Arc<CertificateDer<'static>>,
    },
    /// TLS that we asked a server for.
    Connected(Box<client::TlsStream<S>>),
}

impl<S> MaybeTls<S> {
    /// The stream below TLS. Do not read from or write to it while there is TLS.
    pub fn get_ref(&self) -> &S {
        match self {
            Self::Plain(stream) => stream,
            Self::Accepted { tls, .. } => tls.get_ref().0,
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

    /// The certificate that the peer showed, if any. A client's was verified: it is not asked
    /// for one otherwise. Whether a server's was is a matter of the mode.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.session()?.peer_certificates()?.first()
    }

    /// Whom the certificate names that the client showed, verified against the authority of
    /// client certificates; `None` if it showed none. Read anew at each call.
    ///
    /// # Errors
    /// A name of it cannot be relied on: the client must not be let in by it.
    pub fn client_subject(&self) -> Result<Option<Subject>, CertificateError> {
        match self {
            Self::Plain(_) | Self::Connected(_) => Ok(None),
            Self::Accepted { .. } => {
                self.peer_certificate().map(|certificate| Subject::of(certificate)).transpose()
            }
        }
    }

    /// The certificate that the server of this session showed, in DER: our own towards clients,
    /// the peer's towards servers. It is what SCRAM binds a login to (RFC 5929,
    /// `tls-server-end-point`).
    pub fn server_certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Accepted { certificate, .. } => Some(certificate),
            Self::Connected(_) => self.peer_certificate().map(|certificate| certificate.as_ref()),
        }
    }

    /// Whether the session goes on from an earlier one, without certificates sent or checked.
    pub fn is_resumed(&self) -> bool {
        let kind = self.session().and_then(CommonState::handshake_kind);
        kind == Some(HandshakeKind::Resumed)
    }

    /// Whether the TLS session holds decrypted bytes that were not read yet, which no look at
    /// the socket would show. A session that failed counts as holding some: either way the
    /// connection must not be reused.
    pub fn holds_unread(&mut self) -> bool {
        let state = match self {
            Self::Plain(_) => return false,
            Self::Accepted { tls, .. } => tls.get_mut().1.process_new_packets(),
            Self::Connected(tls) => tls.get_mut().1.process_new_packets(),
        };
        state.map_or(true, |state| state.plaintext_bytes_to_read() > 0)
    }

    fn session(&self) -> Option<&CommonState> {
        match self {
            Self::Plain(_) => None,
            Self::Accepted { tls, .. } => Some(tls.get_ref().1),
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
            Self::Accepted { tls, .. } => Pin::new(tls).poll_read(cx, buf),
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
            Self::Accepted { tls, .. } => Pin::new(tls).poll_write(cx, buf),
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
            Self::Accepted { tls, .. } => Pin::new(tls).poll_write_vectored(cx, bufs),
            Self::Connected(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Accepted { tls, .. } => tls.is_write_vectored(),
            Self::Connected(tls) => tls.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Accepted { tls, .. } => Pin::new(tls).poll_flush(cx),
            Self::Connected(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Accepted { tls, .. } => Pin::new(tls).poll_shutdown(cx),
            Self::Connected(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
