//! TLS towards servers: what asks for it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::certificate::not_after;
use crate::hello::ALPN;
use crate::renew::{Recipe, Renewed};
use crate::timing::Timing;
use crate::verifier::{Trust, Verifier};
use crate::{Error, HandshakeError, MaybeTls, Negotiation, Policy, Renewal, TlsMode, pem};

/// TLS towards servers, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// How much TLS is asked of servers.
    pub mode: TlsMode,
    /// How it begins.
    pub negotiation: Negotiation,
    /// The authority of server certificates (PEM). With it, and as libpq has it, every mode
    /// with TLS checks the chain.
    pub ca: Option<PathBuf>,
    /// Our client certificate chain (PEM), for servers that ask for one.
    pub certificate: Option<PathBuf>,
    /// The private key of the client certificate (PEM).
    pub key: Option<PathBuf>,
    /// Versions, ciphers and groups.
    pub policy: Policy,
}

/// Asks servers for TLS. Cheap to clone; every clone has the newest files.
#[derive(Clone)]
pub struct Connector {
    renewed: Arc<Renewed<ClientTls>>,
    timing: Timing,
}

/// What a handshake needs of the files.
pub(crate) struct Credentials {
    connector: TlsConnector,
    not_after: Option<i64>,
}

// === impl ClientTls ===

impl ClientTls {
    /// Reads the files and builds what connects to servers.
    ///
    /// # Errors
    /// A file that is missing, unreadable or unfit; a mode that needs a file not named, or that
    /// might stay without TLS where the negotiation cannot.
    pub fn connector(&self) -> Result<Connector, Error> {
        if self.negotiation == Negotiation::Direct && !self.mode.is_required() {
            return Err(Error::DirectMode(self.mode));
        }
        Ok(Connector::over(Renewed::new(self.clone())?))
    }

    fn credentials(&self) -> Result<Credentials, Error> {
        let needs = |option| Error::MissingOption { mode: self.mode, option };
        let provider = self.policy.provider();
        let trust = match &self.ca {
            Some(path) => {
                let (roots, pinned) = pem::authorities(path)?;
                Trust::Authority { roots, pinned, names: self.mode == TlsMode::VerifyFull }
            }
            None if self.mode.verifies() => return Err(needs("ca")),
            None => Trust::Anyone,
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.policy.versions())
            .map_err(Error::Refused)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(provider, trust)));
        let (mut config, not_after) = match (&self.certificate, &self.key) {
            (None, None) => (builder.with_no_client_auth(), None),
            (Some(certificate), Some(key)) => {
                let chain = pem::certificates(certificate)?;
                let not_after = chain.first().and_then(|own| not_after(own));
                let config = builder
                    .with_client_auth_cert(chain, pem::private_key(key)?)
                    .map_err(|source| Error::unfit_pair(certificate, key, source))?;
                (config, not_after)
            }
            (None, Some(_)) => return Err(needs("certificate")),
            (Some(_), None) => return Err(needs("key")),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        // New files come with a new store: no session outlives the authority that it was
        // checked against.
        config.resumption = Resumption::in_memory_sessions(RESUMABLE_SERVERS_MAX);
        Ok(Credentials { connector: Arc::new(config).into(), not_after })
    }
}

impl Recipe for ClientTls {
    /// `None` never asks for TLS, which the files have no say in.
    type Product = Option<Credentials>;

    fn make(&self) -> Result<Option<Credentials>, Error> {
        match self.mode {
            TlsMode::Disable => Ok(None),
            _ => self.credentials().map(Some),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        if self.mode == TlsMode::Disable {
            return Vec::new();
        }
        [&self.ca, &self.certificate, &self.key].into_iter().flatten().cloned().collect()
    }
}

// === impl Connector ===

impl Connector {
    /// A connector that never asks for TLS.
    pub fn disabled() -> Self {
        let recipe = ClientTls { mode: TlsMode::Disable, ..ClientTls::default() };
        Self::over(Renewed::fixed(recipe, None))
    }

    fn over(renewed: Renewed<ClientTls>) -> Self {
        Self { renewed: Arc::new(renewed), timing: Timing::default() }
    }

    /// The configured mode: when to ask for TLS and what to make of the answer.
    pub fn mode(&self) -> TlsMode {
        self.renewed.recipe().mode
    }

    /// How TLS begins: behind an SSLRequest or with the first byte.
    pub fn negotiation(&self) -> Negotiation {
        self.renewed.recipe().negotiation
    }

    /// When our own certificate ends, if we have one: seconds since 1970.
    pub fn certificate_not_after(&self) -> Option<i64> {
        self.renewed.current().as_ref().as_ref()?.not_after
    }

    /// Tells `told` how long each handshake took that came to an end, this connector's and those
    /// of its clones. Only the first call counts.
    pub fn time_handshakes(&self, told: impl Fn(Duration) + Send + Sync + 'static) {
        self.timing.tell(told);
    }

    /// What reads our files again.
    pub fn renewal(&self) -> Renewal {
        Renewal::new("[server.tls]", Arc::clone(&self.renewed))
    }

    /// Runs the client's side of the handshake with a server that is known by `host`, a DNS
    /// name or an address; in mode `disable` the stream stays plain. No byte behind the
    /// server's `S` may have been read. In direct TLS the server must agree on the ALPN protocol
    /// `postgresql`, as libpq has it. There is no time limit here.
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
        let current = self.renewed.current();
        let Some(credentials) = current.as_ref() else { return Ok(MaybeTls::Plain(stream)) };
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            Err(_) if self.mode() == TlsMode::VerifyFull => {
                return Err(HandshakeError::Name(host.to_owned()));
            }
            // Nobody will compare it, and an address is never sent as SNI.
            Err(_) => ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        };
        let began = Instant::now();
        let tls = credentials.connector.connect(name, stream).await?;
        if self.negotiation() == Negotiation::Direct && tls.get_ref().1.alpn_protocol().is_none() {
            return Err(HandshakeError::Tls(rustls::Error::NoApplicationProtocol));
        }
        self.timing.done(began);
        Ok(MaybeTls::Connected(Box::new(tls)))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("mode", &self.mode()).finish_non_exhaustive()
    }
}

/// Postgres hands out no tickets, other TLS terminators before it may. The store is allocated
/// at once and keyed by host, of which a cluster has a few.
const RESUMABLE_SERVERS_MAX: usize = 32;
