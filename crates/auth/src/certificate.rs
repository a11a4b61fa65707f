//! What is read in a certificate: the data that SCRAM binds to (RFC 5929, `tls-server-end-point`).
//!
//! Nothing here decides whether a certificate is trusted: that is TLS's work, done before.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::Oid;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::AlgorithmIdentifier;

/// Why a certificate is of no use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not one certificate in DER.
    #[error("malformed X.509 certificate")]
    Malformed,
    /// Its signature algorithm (Ed25519, Ed448) uses no hash of its own, and RFC 5929 says nothing
    /// of such certificates. OpenSSL finds none either, so libpq fails where it would have to bind.
    #[error("the certificate's signature algorithm names no hash: SCRAM cannot bind to it")]
    NoHash,
    /// Its signature algorithm is not known here.
    #[error("unknown signature algorithm of the certificate: SCRAM cannot bind to it")]
    UnknownAlgorithm,
}

/// The channel-binding data of a TLS connection: the hash of the server's certificate. No secret.
/// A clone costs no copy.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerEndPoint(Arc<[u8]>);

impl ServerEndPoint {
    /// Hashes the certificate that the TLS server has sent, the first of its chain, in DER.
    ///
    /// The hash is the one of the certificate's signature algorithm, with RSA-PSS the one in its
    /// parameters; MD5 and SHA-1 count as SHA-256.
    ///
    /// # Errors
    /// All of [`CertificateError`]: there is nothing to bind to.
    pub fn of_certificate(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse(der)?;
        let hash = Hash::of(&certificate.signature_algorithm)?;
        Ok(Self(match hash {
            Hash::Sha224 => Sha224::digest(der).as_slice().into(),
            Hash::Sha256 => Sha256::digest(der).as_slice().into(),
            Hash::Sha384 => Sha384::digest(der).as_slice().into(),
            Hash::Sha512 => Sha512::digest(der).as_slice().into(),
        }))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ServerEndPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerEndPoint(…)")
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Malformed),
    }
}

#[derive(Debug, Clone, Copy)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn of(signature: &AlgorithmIdentifier<'_>) -> Result<Self, CertificateError> {
        let algorithm = &signature.algorithm;
        if *algorithm == oid::OID_PKCS1_RSASSAPSS {
            return Self::of_pss(signature);
        }
        if *algorithm == oid::OID_SIG_ED25519 || *algorithm == oid::OID_SIG_ED448 {
            return Err(CertificateError::NoHash);
        }
        let known = SIGNATURES.into_iter().find(|(known, _)| known == algorithm);
        known.map(|(_, hash)| hash).ok_or(CertificateError::UnknownAlgorithm)
    }

    /// RFC 4055, section 3.1: without parameters, SHA-1.
    fn of_pss(signature: &AlgorithmIdentifier<'_>) -> Result<Self, CertificateError> {
        let Some(parameters) = &signature.parameters else { return Ok(Self::Sha256) };
        let parameters =
            RsaSsaPssParams::try_from(parameters).map_err(|_| CertificateError::Malformed)?;
        let known = HASHES.into_iter().find(|(known, _)| known == parameters.hash_algorithm_oid());
        known.map(|(_, hash)| hash).ok_or(CertificateError::UnknownAlgorithm)
    }
}

/// The hash of each signature algorithm.
const SIGNATURES: [(Oid<'static>, Hash); 12] = [
    (oid::OID_PKCS1_MD5WITHRSAENC, Hash::Sha256),
    (oid::OID_PKCS1_SHA1WITHRSA, Hash::Sha256),
    (oid::OID_PKCS1_SHA224WITHRSA, Hash::Sha224),
    (oid::OID_PKCS1_SHA256WITHRSA, Hash::Sha256),
    (oid::OID_PKCS1_SHA384WITHRSA, Hash::Sha384),
    (oid::OID_PKCS1_SHA512WITHRSA, Hash::Sha512),
    (oid::OID_SHA1_WITH_RSA, Hash::Sha256),
    (ECDSA_WITH_SHA1, Hash::Sha256),
    (oid::OID_SIG_ECDSA_WITH_SHA224, Hash::Sha224),
    (oid::OID_SIG_ECDSA_WITH_SHA256, Hash::Sha256),
    (oid::OID_SIG_ECDSA_WITH_SHA384, Hash::Sha384),
    (oid::OID_SIG_ECDSA_WITH_SHA512, Hash::Sha512),
];

/// What the hashes in the parameters of RSA-PSS count as.
const HASHES: [(Oid<'static>, Hash); 5] = [
    (oid::OID_HASH_SHA1, Hash::Sha256),
    (oid::OID_NIST_HASH_SHA256, Hash::Sha256),
    (oid::OID_NIST_HASH_SHA384, Hash::Sha384),
    (oid::OID_NIST_HASH_SHA512, Hash::Sha512),
    (SHA224, Hash::Sha224),
];

const ECDSA_WITH_SHA1: Oid<'static> = x509_parser::der_parser::oid!(1.2.840.10045.4.1);
const SHA224: Oid<'static> = x509_parser::der_parser::oid!(2.16.840.1.101.3.4.2.4);

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    /// Made with `openssl req -x509`, subject `CN=alice, O=pgmesh`.
    macro_rules! certificate {
        ($name:literal) => {
            der(include_str!(concat!("../testdata/", $name, ".pem")))
        };
    }

    fn der(pem: &str) -> Vec<u8> {
        let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(lines).unwrap()
    }

    /// The beginnings of the hashes are `openssl dgst`'s of the same file.
    #[test]
    fn the_hash_is_the_one_of_the_signature_algorithm() {
        let cases = [
            (certificate!("rsa_sha1"), 32, [0x8f, 0xf4, 0x60, 0x1d]),
            (certificate!("rsa_sha256"), 32, [0xfb, 0x81, 0x81, 0x2a]),
            (certificate!("rsa_sha512"), 64, [0xa5, 0xea, 0x19, 0x16]),
            (certificate!("rsa_pss_sha1"), 32, [0xf8, 0xe1, 0x62, 0x36]),
            (certificate!("rsa_pss_sha384"), 48, [0x29, 0xf0, 0x7b, 0x4d]),
            (certificate!("ecdsa_sha1"), 32, [0xee, 0x7c, 0xae, 0xfd]),
            (certificate!("ecdsa_sha256"), 32, [0x3d, 0x1d, 0x2b, 0xc2]),
            (certificate!("ecdsa_sha384"), 48, [0x9a, 0x3a, 0xaa, 0xd9]),
        ];
        for (der, length, beginning) in cases {
            let end_point = ServerEndPoint::of_certificate(&der).unwrap();
            assert_eq!(end_point.as_bytes().len(), length);
            assert_eq!(end_point.as_bytes()[..4], beginning);
        }
    }

    #[test]
    fn a_certificate_without_a_hash_is_an_error_and_no_guess() {
        let ed25519 = ServerEndPoint::of_certificate(&certificate!("ed25519"));
        assert_eq!(ed25519, Err(CertificateError::NoHash));
        // The last arc of the outer algorithm's OID, ecdsa-with-SHA256, becomes one that is not
        // given out.
        let mut unknown = certificate!("ecdsa_sha256");
        let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        let at = unknown.windows(8).rposition(|window| window == oid).unwrap();
        unknown[at + 7] = 0x7f;
        let unknown = ServerEndPoint::of_certificate(&unknown);
        assert_eq!(unknown, Err(CertificateError::UnknownAlgorithm));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            mut der in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                Just(certificate!("rsa_pss_sha384")),
            ],
            at in any::<prop::sample::Index>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            let at = if der.is_empty() { 0 } else { at.index(der.len()) };
            let end = (at + bytes.len()).min(der.len());
            der.splice(at..end, bytes);
            let _ = ServerEndPoint::of_certificate(&der);
        }

        #[test]
        fn a_certificate_that_is_cut_or_goes_on_is_malformed(cut in 1..500usize, more in any::<u8>()) {
            let mut der = certificate!("ecdsa_sha256");
            der.push(more);
            prop_assert_eq!(ServerEndPoint::of_certificate(&der), Err(CertificateError::Malformed));
            der.truncate(der.len().saturating_sub(1 + cut));
            prop_assert_eq!(ServerEndPoint::of_certificate(&der), Err(CertificateError::Malformed));
        }
    }
}
