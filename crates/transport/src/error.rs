//! What can go wrong before a byte of Postgres is spoken.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::TlsMode;

/// A TLS configuration that cannot be built. Always the operator's to mend, so each text names
/// the file or the option and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate and the private key are fine each, but not as a pair.
    #[error(
        "certificate {certificate} and private key {key} do not fit: check that the key is the \
         one the certificate was made for"
    )]
    CertificateAndKey {
        /// The file of the certificate chain.
        certificate: PathBuf,
        /// The file of the private key.
        key: PathBuf,
        /// What rustls says about them.
        source: rustls::Error,
    },
    /// A certificate authority that cannot serve as a trust anchor.
    #[error(
        "{path}: not usable as a certificate authority: check that it holds X.509 v3 certificates"
    )]
    Authority {
        /// The file of the authority.
        path: PathBuf,
        /// What rustls says about it.
        source: rustls::Error,
    },
    /// Direct TLS with a mode that might have to do without TLS.
    #[error("TLS mode {0} may not be used with direct negotiation: use require or more")]
    DirectMode(TlsMode),
    /// The mode needs an option that was not given.
    #[error("TLS mode {mode} needs {option}: set it, or choose another mode")]
    MissingOption {
        /// The mode asked for.
        mode: TlsMode,
        /// The option's name in the configuration.
        option: &'static str,
    },
    /// A file without what was looked for in it.
    #[error("{path}: no {wanted} found: expected a PEM file with a BEGIN line for it")]
    NothingFound {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// The system trusts nobody.
    #[error(
        "the system has no certificate authorities: install them (ca-certificates), or name a file"
    )]
    NoSystemAuthorities,
    /// A file that is not PEM.
    #[error("{path}: not a valid PEM file: {reason}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Where the reading of it stopped.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {path} ({wanted}): check that it exists and that pgmesh may read it")]
    Read {
        /// The file.
        path: PathBuf,
        /// What was to be read from it.
        wanted: &'static str,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// A file far larger than any certificate bundle.
    #[error("{path}: larger than {limit} bytes: this is not a file of {wanted}s")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What was to be read from it.
        wanted: &'static str,
        /// The limit, in bytes.
        limit: u64,
    },
    /// rustls refuses the combination.
    #[error("TLS configuration refused")]
    Refused(#[source] rustls::Error),
}

impl Error {
    pub(crate) fn unfit_pair(certificate: &Path, key: &Path, source: rustls::Error) -> Self {
        Self::CertificateAndKey { certificate: certificate.to_owned(), key: key.to_owned(), source }
    }

    /// The error with all that it came from, for a log.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}

/// A TLS handshake that did not end in a session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection broke, or the peer closed it.
    #[error("connection lost during the TLS handshake: {0}")]
    Io(#[source] io::Error),
    /// The peer's host name is neither a DNS name nor an address, so nothing can be checked.
    #[error("host {0:?} is not a name that a certificate can carry")]
    Name(String),
    /// The peers do not agree, or a certificate does not satisfy the mode.
    #[error("TLS handshake refused: {0}")]
    Tls(#[source] rustls::Error),
}

impl HandshakeError {
    /// Whether this side refused the peer's certificate, which no retry will change.
    pub fn is_certificate(&self) -> bool {
        matches!(self, Self::Tls(rustls::Error::InvalidCertificate(_)))
    }
}

/// tokio-rustls hands TLS faults over inside an io error; they are told apart once, here.
impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Tls(tls.clone()),
            None => Self::Io(error),
        }
    }
}
