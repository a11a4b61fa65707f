//! rustls configurations for both sides, built once and shared by every connection.
//!
//! ring is named explicitly, so nothing depends on a process-wide default. TLS 1.2 and 1.3.
//! Both sides offer the ALPN protocol `postgresql`, as libpq and Postgres 17 do: a peer that
//! speaks ALPN but means another protocol is refused, one that does not speak it is not.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::verifier::{Trust, Verifier};
use crate::{Error, HandshakeError, MaybeTls, TlsMode, pem};

/// TLS towards clients, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTls {
    /// How much TLS is asked of clients.
    pub mode: TlsMode,
    /// Our certificate chain (PEM), leaf first. Without it the default mode takes no TLS.
    pub certificate: Option<PathBuf>,
    /// The private key of the certificate (PEM).
    pub key: Option<PathBuf>,
    /// The authority of client certificates (PEM). With it a client's certificate is checked
    /// when the client has one; `verify-ca` and `verify-full` insist on one.
    pub client_ca: Option<PathBuf>,
}

/// TLS towards servers, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// How much TLS is asked of servers.
    pub mode: TlsMode,
    /// The authority of server certificates (PEM). With it, and as libpq has it, every mode
    /// with TLS checks the chain.
    pub ca: Option<PathBuf>,
    /// Our client certificate chain (PEM), for servers that ask for one.
    pub certificate: Option<PathBuf>,
    /// The private key of the client certificate (PEM).
    pub key: Option<PathBuf>,
}

/// Accepts TLS from clients. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    mode: TlsMode,
    inner: Option<TlsAcceptor>,
}

/// Asks servers for TLS. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    mode: TlsMode,
    inner: Option<TlsConnector>,
}

// === impl ServerTls ===

impl ServerTls {
    /// Reads the files and builds what accepts connections. Call it again on a reload:
    /// sessions that exist keep the old one.
    ///
    /// # Errors
    /// A file that is missing, unreadable or unfit; a mode that needs a file not named.
    pub fn acceptor(&self) -> Result<Acceptor, Error> {
        let needs = |option| Error::MissingOption { mode: self.mode, option };
        let inner = match (self.mode, &self.certificate, &self.key) {
            (TlsMode::Disable, _, _) => None,
            (mode, None, None) if !mode.is_required() => None,
            (_, Some(certificate), Some(key)) => Some(self.config(certificate, key)?),
            (_, None, _) => return Err(needs("certificate")),
            (_, Some(_), None) => return Err(needs("key")),
        };
        Ok(Acceptor { mode: self.mode, inner: inner.map(|config| Arc::new(config).into()) })
    }

    /// An idle session costs what rustls keeps for it: a read buffer of 4 KiB, the cipher
    /// states, and no more, since nothing of a session outlives it. Tickets stay off as in
    /// Postgres (libpq would not use them), which also spares the client's first read two
    /// records and keeps client certificates from being resumed past a change of the CA.
    fn config(&self, certificate: &Path, key: &Path) -> Result<ServerConfig, Error> {
        let provider = provider();
        let verifier = self.client_verifier(&provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Refused)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(pem::certificates(certificate)?, pem::private_key(key)?)
            .map_err(|source| unfit_pair(certificate, key, source))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn client_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let Some(path) = &self.client_ca else {
            if self.mode.verifies() {
                return Err(Error::MissingOption { mode: self.mode, option: "client_ca" });
            }
            return Ok(Arc::new(NoClientAuth));
        };
        let (roots, _) = pem::authorities(path)?;
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = if self.mode.verifies() { builder } else { builder.allow_unauthenticated() };
        let verifier = builder
            .build()
            .map_err(|error| Error::Refused(rustls::Error::General(error.to_string())))?;
        Ok(verifier)
    }
}

// === impl ClientTls ===

impl ClientTls {
    /// Reads the files and builds what connects to servers. Call it again on a reload.
    ///
    /// # Errors
    /// A file that is missing, unreadable or unfit; a mode that needs a file not named.
    pub fn connector(&self) -> Result<Connector, Error> {
        let inner = match self.mode {
            TlsMode::Disable => None,
            _ => Some(Arc::new(self.config()?).into()),
        };
        Ok(Connector { mode: self.mode, inner })
    }

    fn config(&self) -> Result<ClientConfig, Error> {
        let needs = |option| Error::MissingOption { mode: self.mode, option };
        let provider = provider();
        let trust = match &self.ca {
            Some(path) => {
                let (roots, pinned) = pem::authorities(path)?;
                Trust::Authority { roots, pinned, names: self.mode == TlsMode::VerifyFull }
            }
            None if self.mode.verifies() => return Err(needs("ca")),
            None => Trust::Anyone,
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Error::Refused)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(provider, trust)));
        let mut config = match (&self.certificate, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(pem::certificates(certificate)?, pem::private_key(key)?)
                .map_err(|source| unfit_pair(certificate, key, source))?,
            (None, Some(_)) => return Err(needs("certificate")),
            (Some(_), None) => return Err(needs("key")),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::in_memory_sessions(RESUMABLE_SERVERS_MAX);
        Ok(config)
    }
}

// === impl Acceptor ===

impl Acceptor {
    /// An acceptor that takes no TLS.
    pub fn disabled() -> Self {
        Self { mode: TlsMode::Disable, inner: None }
    }

    /// The configured mode: whether a client may stay without TLS.
    pub fn mode(&self) -> TlsMode {
        self.mode
    }

    /// Whether an SSLRequest is answered with `S`.
    pub fn is_available(&self) -> bool {
        self.inner.is_some()
    }

    /// Runs the server's side of the handshake; without a certificate the stream stays plain.
    /// No byte behind the SSLRequest may have been read. There is no time limit here.
    ///
    /// # Errors
    /// The connection ended or the peers do not agree; the stream is gone then.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn accept<S>(&self, stream: S) -> Result<MaybeTls<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match &self.inner {
            Some(inner) => Ok(MaybeTls::Accepted(Box::new(inner.accept(stream).await?))),
            None => Ok(MaybeTls::Plain(stream)),
        }
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor")
            .field("mode", &self.mode)
            .field("available", &self.is_available())
            .finish()
    }
}

// === impl Connector ===

impl Connector {
    /// A connector that never asks for TLS.
    pub fn disabled() -> Self {
        Self { mode: TlsMode::Disable, inner: None }
    }

    /// The configured mode: when to send an SSLRequest and what to make of the answer.
    pub fn mode(&self) -> TlsMode {
        self.mode
    }

    /// Runs the client's side of the handshake with a server that is known by `host`, a DNS
    /// name or an address; in mode `disable` the stream stays plain. No byte behind the
    /// server's `S` may have been read. There is no time limit here.
    ///
    /// # Errors
    /// The connection ended, the peers do not agree, or the certificate does not satisfy the
    /// mode; the stream is gone then.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn connect<S>(&self, host: &str, stream: S) -> Result<MaybeTls<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(inner) = &self.inner else { return Ok(MaybeTls::Plain(stream)) };
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            Err(_) if self.mode == TlsMode::VerifyFull => {
                return Err(HandshakeError::Name(host.to_owned()));
            }
            // Nobody will compare it, and an address is never sent as SNI.
            Err(_) => ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        };
        Ok(MaybeTls::Connected(Box::new(inner.connect(name, stream).await?)))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("mode", &self.mode).finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn unfit_pair(certificate: &Path, key: &Path, source: rustls::Error) -> Error {
    Error::CertificateAndKey { certificate: certificate.to_owned(), key: key.to_owned(), source }
}

/// Registered with IANA for the Postgres frontend/backend protocol.
const ALPN: &[u8] = b"postgresql";

/// Postgres hands out no tickets, other TLS terminators before it may. The store is allocated
/// at once and keyed by host, of which a cluster has a few.
const RESUMABLE_SERVERS_MAX: usize = 32;
