//! PEM files: certificate chains, private keys and certificate authorities.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use zeroize::Zeroizing;

use crate::Error;

/// Reads a certificate chain, leaf first as in the file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    const WANTED: &str = "certificate";
    let text = read(path, WANTED)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| damaged(path, WANTED, error))?;
    if chain.is_empty() {
        return Err(Error::NothingFound { path: path.to_owned(), wanted: WANTED });
    }
    Ok(chain)
}

/// Reads the first private key: PKCS#8, PKCS#1 or SEC1.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    const WANTED: &str = "private key";
    let text = read(path, WANTED)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| damaged(path, WANTED, error))
}

/// Reads trust anchors, with the certificates they were made of (see `verifier` for why).
pub(crate) fn authorities(
    path: &Path,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
    let certificates = certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|source| Error::Authority { path: path.to_owned(), source })?;
    }
    Ok((roots, certificates))
}

fn damaged(path: &Path, wanted: &'static str, error: pem::Error) -> Error {
    match error {
        pem::Error::NoItemsFound => Error::NothingFound { path: path.to_owned(), wanted },
        error => Error::Pem { path: path.to_owned(), reason: error.to_string() },
    }
}

/// It may be a private key.
fn read(path: &Path, wanted: &'static str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), wanted, source };
    let file = File::open(path).map_err(unreadable)?;
    let len = file.metadata().map_err(unreadable)?.len().min(FILE_BYTES_MAX);
    // In one piece: a text that has to grow leaves copies of itself behind.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or(0)));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::TooLarge { path: path.to_owned(), wanted, limit: FILE_BYTES_MAX });
    }
    Ok(text)
}

/// The whole Mozilla bundle takes a quarter of this.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
