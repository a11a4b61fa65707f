//! A certificate authority in a temporary directory.

#![allow(dead_code, reason = "each test binary compiles this module and uses its part of it")]

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use transport::{ClientTls, ServerTls, TlsMode};

/// An authority and the files it made; gone when dropped.
pub(crate) struct Authority {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// Writes `<stem>.crt` and `<stem>.key`, signed by this authority, for one host name.
    pub(crate) fn sign(&self, stem: &str, host: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(stem, &certificate.pem(), &key.serialize_pem())
    }

    /// The same, signed by itself and marked as an authority, as `openssl req -x509` does.
    pub(crate) fn self_sign(&self, stem: &str, host: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        self.write(stem, &certificate.pem(), &key.serialize_pem())
    }

    fn write(&self, stem: &str, certificate: &str, key: &str) -> (PathBuf, PathBuf) {
        let paths = (self.path(&format!("{stem}.crt")), self.path(&format!("{stem}.key")));
        std::fs::write(&paths.0, certificate).unwrap();
        std::fs::write(&paths.1, key).unwrap();
        paths
    }
}

pub(crate) fn server(mode: TlsMode, (certificate, key): (PathBuf, PathBuf)) -> ServerTls {
    ServerTls { mode, certificate: Some(certificate), key: Some(key), client_ca: None }
}

pub(crate) fn client(mode: TlsMode, ca: Option<PathBuf>) -> ClientTls {
    ClientTls { mode, ca, certificate: None, key: None }
}
