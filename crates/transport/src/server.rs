//! TLS towards clients: what accepts it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::certificate::not_after;
use crate::hello::{ALPN, read_hello};
use crate::renew::{Recipe, Renewed};
use crate::timing::Timing;
use crate::turns::Turns;
use crate::{Error, HandshakeError, MaybeTls, Negotiation, Policy, Renewal, TlsMode, pem};

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
    /// Versions, ciphers and groups.
    pub policy: Policy,
}

/// Accepts TLS from clients. Cheap to clone; every clone has the newest files.
#[derive(Clone)]
pub struct Acceptor {
    renewed: Arc<Renewed<ServerTls>>,
    turns: Turns,
    timing: Timing,
}

/// What a handshake needs of the files.
pub(crate) struct Identity {
    config: Arc<ServerConfig>,
    /// Our own certificate, which a client sees.
    certificate: Arc<CertificateDer<'static>>,
    not_after: Option<i64>,
}

// === impl ServerTls ===

impl ServerTls {
    /// Reads the files and builds what accepts connections.
    ///
    /// # Errors
    /// A file that is missing, unreadable or unfit; a mode that needs a file not named.
    pub fn acceptor(&self) -> Result<Acceptor, Error> {
        Ok(Acceptor::over(Renewed::new(self.clone())?))
    }

    fn identity(&self, certificate: &Path, key: &Path) -> Result<Identity, Error> {
        let chain = pem::certificates(certificate)?;
        let own = chain.first().cloned().ok_or_else(|| Error::NothingFound {
            path: certificate.to_owned(),
            wanted: "certificate",
        })?;
        let provider = self.policy.provider();
        let verifier = self.client_verifier(&provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.policy.versions())
            .map_err(Error::Refused)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, pem::private_key(key)?)
            .map_err(|source| Error::unfit_pair(certificate, key, source))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // As Postgres has it (ssl_prefer_server_ciphers).
        config.ignore_client_order = true;
        self.set_resumption(&mut config)?;
        let not_after = not_after(&own);
        Ok(Identity { config: Arc::new(config), certificate: Arc::new(own), not_after })
    }

    /// What a session can be resumed with lies in a ticket at the client, so that nothing is
    /// kept here. New files come with a new key for the tickets: none outlives the certificate
    /// it was given under. There are none where client certificates are checked: a resumed
    /// session would have the certificate's names without a look at whether it still holds.
    fn set_resumption(&self, config: &mut ServerConfig) -> Result<(), Error> {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if self.client_ca.is_none() {
            config.ticketer = ring::Ticketer::new().map_err(Error::Refused)?;
            config.send_tls13_tickets = 1;
        }
        Ok(())
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

impl Recipe for ServerTls {
    /// `None` takes no TLS, which the files have no say in.
    type Product = Option<Identity>;

    fn make(&self) -> Result<Option<Identity>, Error> {
        let needs = |option| Error::MissingOption { mode: self.mode, option };
        match (self.mode, &self.certificate, &self.key) {
            (TlsMode::Disable, _, _) => Ok(None),
            (mode, None, None) if !mode.is_required() => Ok(None),
            (_, Some(certificate), Some(key)) => self.identity(certificate, key).map(Some),
            (_, None, _) => Err(needs("certificate")),
            (_, Some(_), None) => Err(needs("key")),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        if self.mode == TlsMode::Disable {
            return Vec::new();
        }
        [&self.certificate, &self.key, &self.client_ca].into_iter().flatten().cloned().collect()
    }
}

// === impl Acceptor ===

impl Acceptor {
    /// An acceptor that takes no TLS.
    pub fn disabled() -> Self {
        let recipe = ServerTls { mode: TlsMode::Disable, ..ServerTls::default() };
        Self::over(Renewed::fixed(recipe, None))
    }

    fn over(renewed: Renewed<ServerTls>) -> Self {
        Self { renewed: Arc::new(renewed), turns: Turns::new(), timing: Timing::default() }
    }

    /// The configured mode: whether a client may stay without TLS.
    pub fn mode(&self) -> TlsMode {
        self.renewed.recipe().mode
    }

    /// Whether an SSLRequest is answered with `S`.
    pub fn is_available(&self) -> bool {
        self.renewed.current().is_some()
    }

    /// When our certificate ends: seconds since 1970.
    pub fn certificate_not_after(&self) -> Option<i64> {
        self.renewed.current().as_ref().as_ref()?.not_after
    }

    /// Tells `told` how long each handshake took that came to an end, this acceptor's and those of
    /// its clones: from the first byte of TLS, the wait for a processor included. Only the first
    /// call counts.
    pub fn time_handshakes(&self, told: impl Fn(Duration) + Send + Sync + 'static) {
        self.timing.tell(told);
    }

    /// What reads our files again.
    pub fn renewal(&self) -> Renewal {
        Renewal::new("[proxy.tls]", Arc::clone(&self.renewed))
    }

    /// Runs the server's side of the handshake; without a certificate the stream stays plain.
    /// `ahead` is what was read from the stream already: nothing behind an SSLRequest, the
    /// first bytes of the handshake in direct TLS. There a client must offer the ALPN protocol
    /// `postgresql`; behind an SSLRequest it must if it offers any. There is no time limit here.
    ///
    /// # Errors
    /// The connection ended or the peers do not agree; the stream is gone then.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn accept<S>(
        &self,
        stream: S,
        negotiation: Negotiation,
        ahead: &[u8],
    ) -> Result<MaybeTls<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let current = self.renewed.current();
        let Some(identity) = current.as_ref() else { return Ok(MaybeTls::Plain(stream)) };
        let began = Instant::now();
        let hello = read_hello(stream, ahead).await?;
        if negotiation == Negotiation::Direct && hello.client_hello().alpn().is_none() {
            return Err(HandshakeError::Tls(rustls::Error::NoApplicationProtocol));
        }
        let handshake = {
            let _turn = self.turns.next().await;
            // Here the key exchange is made and signed.
            hello.into_stream(Arc::clone(&identity.config))
        };
        let tls = Box::new(handshake.await?);
        self.timing.done(began);
        Ok(MaybeTls::Accepted { tls, certificate: Arc::clone(&identity.certificate) })
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor")
            .field("mode", &self.mode())
            .field("available", &self.is_available())
            .finish()
    }
}
