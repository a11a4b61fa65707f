//! A certificate authority in a temporary directory.

#![allow(dead_code, reason = "each test binary compiles this module and uses its part of it")]

use std::io;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use transport::{Acceptor, ClientTls, Connector, HandshakeError, MaybeTls, ServerTls, TlsMode};

pub(crate) type Stream = MaybeTls<DuplexStream>;
pub(crate) type Side = Result<Stream, HandshakeError>;

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
        self.sign_params(stem, CertificateParams::new(vec![host.to_owned()]).unwrap())
    }

    /// The same with everything that a certificate may say.
    pub(crate) fn sign_params(&self, stem: &str, params: CertificateParams) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
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
    ServerTls { mode, certificate: Some(certificate), key: Some(key), ..ServerTls::default() }
}

pub(crate) fn client(mode: TlsMode, ca: Option<PathBuf>) -> ClientTls {
    ClientTls { mode, ca, ..ClientTls::default() }
}

/// Both sides of a handshake in memory.
pub(crate) async fn meet(acceptor: &Acceptor, connector: &Connector, host: &str) -> (Side, Side) {
    let (ours, theirs) = duplex(64 * 1024);
    let accepted = acceptor.accept(ours, connector.negotiation(), &[]);
    tokio::join!(accepted, connector.connect(host, theirs))
}

/// Sends a byte each way; a client certificate that TLS 1.3 refuses shows only here.
pub(crate) async fn exchange(accepted: &mut Stream, connected: &mut Stream) -> io::Result<()> {
    connected.write_all(b"?").await?;
    connected.flush().await?;
    assert_eq!(accepted.read_u8().await?, b'?');
    accepted.write_all(b"!").await?;
    accepted.flush().await?;
    assert_eq!(connected.read_u8().await?, b'!');
    Ok(())
}
