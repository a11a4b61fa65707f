//! PEM files into what etcd's and the REST client's TLS take.

use std::path::Path;
use std::sync::Arc;

use etcd_client::{Certificate, Identity, TlsOptions};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Error, Tls};

impl Tls {
    /// For etcd-client, whose files are checked here first so that a bad one fails at start.
    pub(crate) fn for_etcd(&self) -> Result<TlsOptions, Error> {
        self.for_rustls()?;
        let mut options = TlsOptions::new();
        options = match &self.ca {
            Some(path) => options.ca_certificate(Certificate::from_pem(read(path)?)),
            None => options.with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            options = options.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        if let Some(name) = &self.server_name {
            options = options.domain_name(name);
        }
        Ok(options)
    }

    pub(crate) fn for_rustls(&self) -> Result<Arc<ClientConfig>, Error> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .with_root_certificates(self.roots()?);
        let config = match &self.identity {
            Some((certificate, key)) => {
                let pem = |path: &Path| Error::Pem { path: path.to_owned() };
                let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| pem(key))?;
                builder
                    .with_client_auth_cert(certificates(certificate)?, secret)
                    .map_err(Error::Tls)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(Error::Tls)?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(Error::NoRoots);
                }
            }
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = || Error::Pem { path: path.to_owned() };
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    found.ok().filter(|list| !list.is_empty()).ok_or_else(pem)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}
