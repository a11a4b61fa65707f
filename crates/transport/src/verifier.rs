//! The check of a server's certificate as libpq's modes ask for it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Takes the certificates that its [`Trust`] takes.
#[derive(Debug)]
pub(crate) struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
}

/// Which certificates are taken.
#[derive(Debug)]
pub(crate) enum Trust {
    /// Any, as libpq does below `verify-ca` when it has no CA file. Such a session is safe from
    /// listeners but not from an impostor, so the handshake's signature proves nothing either
    /// and is not looked at: X.509 v1 certificates, which webpki cannot read, then work too.
    Anyone,
    /// Those that chain to the CA and, with `names`, carry the host's name.
    Authority {
        /// The CA file's trust anchors.
        roots: RootCertStore,
        /// The CA file's certificates. A server certificate that is itself among them is
        /// trusted: OpenSSL takes a self-signed certificate as its own root, and so the recipe
        /// of Postgres' manual works, but webpki takes no CA certificate for a server's.
        pinned: Vec<CertificateDer<'static>>,
        /// Whether names are compared.
        names: bool,
    },
}

impl Verifier {
    pub(crate) fn new(provider: Arc<CryptoProvider>, trust: Trust) -> Self {
        Self { provider, trust }
    }

    /// What `check` says of a signature, where signatures count.
    fn signature(
        &self,
        check: impl FnOnce() -> Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.trust {
            Trust::Anyone => Ok(HandshakeSignatureValid::assertion()),
            Trust::Authority { .. } => check(),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Authority { roots, pinned, names } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        if !pinned.iter().any(|certificate| certificate == end_entity) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if *names {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.signature(|| verify_tls12_signature(message, cert, dss, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.signature(|| verify_tls13_signature(message, cert, dss, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
