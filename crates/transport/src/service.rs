//! TLS towards services that are not Postgres: an LDAP server.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::renew::{Recipe, Renewed};
use crate::verifier::{Trust, Verifier};
use crate::{Error, HandshakeError, MaybeTls, Policy, Renewal, pem};

/// TLS towards a service. Its certificate is always verified, the name in it included: there is
/// no mode that does less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTls {
    /// The authority of its certificate (PEM); the system's authorities without one.
    pub ca: Option<PathBuf>,
}

/// Makes handshakes with a service. Cheap to clone; every clone has the newest files.
#[derive(Clone)]
pub struct ServiceConnector(Arc<Renewed<ServiceTls>>);

impl ServiceTls {
    /// Reads the authorities. Blocks on the file system.
    ///
    /// # Errors
    /// A file that is missing, unreadable or unfit, or a system without authorities.
    pub fn connector(&self) -> Result<ServiceConnector, Error> {
        Ok(ServiceConnector(Arc::new(Renewed::new(self.clone())?)))
    }

    fn trust(&self) -> Result<Trust, Error> {
        let (roots, pinned) = match &self.ca {
            Some(path) => pem::authorities(path)?,
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(Error::NoSystemAuthorities);
                }
                (roots, Vec::new())
            }
        };
        Ok(Trust::Authority { roots, pinned, names: true })
    }
}

impl Recipe for ServiceTls {
    type Product = TlsConnector;

    fn make(&self) -> Result<TlsConnector, Error> {
        let policy = Policy::default();
        let provider = policy.provider();
        let verifier = Verifier::new(Arc::clone(&provider), self.trust()?);
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&policy.versions())
            .map_err(Error::Refused)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Arc::new(config).into())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.ca.iter().cloned().collect()
    }
}

impl ServiceConnector {
    /// What reads the authority again; `section` is where it is configured, for the log.
    pub fn renewal(&self, section: &'static str) -> Renewal {
        Renewal::new(section, Arc::clone(&self.0))
    }

    /// Runs the client's side of the handshake with a service that is known by `host`, a DNS name
    /// or an address. No ALPN protocol is offered. There is no time limit here.
    ///
    /// # Errors
    /// The connection ended, the peers do not agree, or the certificate is not the host's; the
    /// stream is gone then.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn connect<S>(&self, host: &str, stream: S) -> Result<MaybeTls<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| HandshakeError::Name(host.to_owned()))?;
        let tls = self.0.current().connect(name, stream).await?;
        Ok(MaybeTls::Connected(Box::new(tls)))
    }
}

impl std::fmt::Debug for ServiceConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceConnector").finish_non_exhaustive()
    }
}
