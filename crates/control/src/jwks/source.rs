//! A file or a URL, read into keys.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use auth::oauth::{KeySet, KeySetError};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use transport::{Renewal, ServiceConnector, ServiceTls};

use super::http::{self, HttpError};
use super::{Config, FETCH_TIMEOUT, JwksUrl};

/// The longest text that is read, in bytes; a key has less than 2 KiB.
pub(super) const TEXT_MAX: usize = 256 * 1024;

/// Files that cannot be used. Always the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of keys cannot be read.
    #[error("cannot read {path}: check that it exists and that pgmesh may read it")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// It is no set of keys.
    #[error("{path}")]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeySetError,
    },
    /// The authority of the URL's certificate.
    #[error(transparent)]
    Tls(#[from] transport::Error),
}

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] Error),
    /// The URL has not answered.
    #[error("{url}")]
    Http {
        /// The URL.
        url: JwksUrl,
        /// Why not.
        source: HttpError,
    },
    /// The URL has answered with something else.
    #[error("{url}")]
    Keys {
        /// The URL.
        url: JwksUrl,
        /// What is wrong with it.
        source: KeySetError,
    },
    /// The URL has not answered in time.
    #[error("{0}: no answer in time")]
    Timeout(JwksUrl),
    /// The process ends.
    #[error("interrupted")]
    Interrupted,
}

/// A file or a URL, and what it last said.
pub(super) struct Source {
    place: Place,
    text: Vec<u8>,
}

enum Place {
    File(PathBuf),
    Url(JwksUrl, ServiceConnector),
}

impl Source {
    /// With the keys, if they are in a file. Blocks on the file system.
    pub(super) fn new(config: &Config) -> Result<(Self, Option<KeySet>), Error> {
        match config {
            Config::File(path) => {
                let text = read(path)?;
                let keys = parse(path, &text)?;
                Ok((Self { place: Place::File(path.clone()), text }, Some(keys)))
            }
            Config::Url { url, ca, .. } => {
                let tls = ServiceTls { ca: ca.clone() }.connector()?;
                Ok((Self { place: Place::Url(url.clone(), tls), text: Vec::new() }, None))
            }
        }
    }

    /// What follows the authority of the URL's certificate.
    pub(super) fn renewal(&self) -> Option<Renewal> {
        match &self.place {
            Place::File(_) => None,
            Place::Url(_, tls) => Some(tls.renewal("[auth.oauth]")),
        }
    }

    /// The keys, if they are others than before.
    ///
    /// # Errors
    /// Nothing can be read, or it is no set of keys.
    pub(super) async fn fetch(&mut self) -> Result<Option<KeySet>, FetchError> {
        let text = self.read().await?;
        if text == self.text {
            return Ok(None);
        }
        let keys = match &self.place {
            Place::File(path) => parse(path, &text)?,
            Place::Url(url, _) => KeySet::parse(&text)
                .map_err(|source| FetchError::Keys { url: url.clone(), source })?,
        };
        self.text = text;
        Ok(Some(keys))
    }

    async fn read(&self) -> Result<Vec<u8>, FetchError> {
        match &self.place {
            Place::File(path) => {
                let path = path.clone();
                // A file system that hangs must not take a thread of the runtime with it.
                let read = spawn_blocking(move || read(&path)).await;
                Ok(read.map_err(|_| FetchError::Interrupted)??)
            }
            Place::Url(url, tls) => match timeout(FETCH_TIMEOUT, http::get(url, tls)).await {
                Ok(Ok(body)) => Ok(body.into()),
                Ok(Err(source)) => Err(FetchError::Http { url: url.clone(), source }),
                Err(_) => Err(FetchError::Timeout(url.clone())),
            },
        }
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<KeySet, Error> {
    KeySet::parse(text).map_err(|source| Error::Keys { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(TEXT_MAX as u64 + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() > TEXT_MAX {
        return Err(unreadable(io::Error::other("longer than 256 KiB")));
    }
    Ok(text)
}
