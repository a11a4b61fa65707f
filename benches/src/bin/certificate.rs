//! Writes `server.crt` and `server.key` for 127.0.0.1 into a directory.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(std::env::args().nth(1).ok_or("usage: certificate DIRECTORY")?);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&key)?;
    fs::write(directory.join("server.crt"), certificate.pem())?;
    fs::write(directory.join("server.key"), key.serialize_pem())?;
    Ok(())
}
