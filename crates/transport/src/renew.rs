//! TLS files, read again while connections use what was made of them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Error;
use crate::files::Look;

/// What is made of configured files.
pub(crate) trait Recipe: Send + Sync + 'static {
    /// What every new connection uses.
    type Product: Send + Sync + 'static;

    /// Reads the files and makes it. Blocks.
    fn make(&self) -> Result<Self::Product, Error>;

    /// The files that are read.
    fn files(&self) -> Vec<PathBuf>;
}

/// The newest product of a recipe: connections take it as they begin and keep what they took.
pub(crate) struct Renewed<R: Recipe> {
    recipe: R,
    product: watch::Sender<Arc<R::Product>>,
    /// The files just before they were last read, so that a change during the reading shows. The
    /// lock is held while they are read: of two callers the second sees the first one's.
    looked: Mutex<Look>,
}

/// Reads the files of one side of the proxy again. A clone stands for the same side.
///
/// What is made of them serves the connections that begin afterwards; those that exist keep
/// what they have. Files that cannot be used change nothing.
#[derive(Clone)]
pub struct Renewal {
    /// Where the files are configured, for the log.
    section: &'static str,
    renewed: Arc<dyn Renew>,
}

/// Whatever the recipe.
trait Renew: Send + Sync {
    fn if_changed(&self) -> Option<Result<(), Error>>;
    fn always(&self) -> Result<(), Error>;
}

// === impl Renewed ===

impl<R: Recipe> Renewed<R> {
    pub(crate) fn new(recipe: R) -> Result<Self, Error> {
        let looked = Look::at(&recipe.files());
        let product = recipe.make()?;
        Ok(Self::with(recipe, product, looked))
    }

    /// For a recipe that reads no file.
    pub(crate) fn fixed(recipe: R, product: R::Product) -> Self {
        Self::with(recipe, product, Look::default())
    }

    fn with(recipe: R, product: R::Product, looked: Look) -> Self {
        let product = watch::Sender::new(Arc::new(product));
        Self { recipe, product, looked: Mutex::new(looked) }
    }

    pub(crate) fn recipe(&self) -> &R {
        &self.recipe
    }

    pub(crate) fn current(&self) -> Arc<R::Product> {
        Arc::clone(&self.product.borrow())
    }

    fn make(&self, look: Look, looked: &mut Look) -> Result<(), Error> {
        *looked = look;
        let product = self.recipe.make()?;
        self.product.send_replace(Arc::new(product));
        Ok(())
    }
}

impl<R: Recipe> Renew for Renewed<R> {
    fn if_changed(&self) -> Option<Result<(), Error>> {
        let mut looked = self.looked.lock();
        let look = Look::at(&self.recipe.files());
        (look != *looked).then(|| self.make(look, &mut looked))
    }

    fn always(&self) -> Result<(), Error> {
        let mut looked = self.looked.lock();
        self.make(Look::at(&self.recipe.files()), &mut looked)
    }
}

// === impl Renewal ===

impl Renewal {
    pub(crate) fn new<R: Recipe>(section: &'static str, renewed: Arc<Renewed<R>>) -> Self {
        Self { section, renewed }
    }

    /// Where the files are configured: `[proxy.tls]` or `[server.tls]`.
    pub fn section(&self) -> &'static str {
        self.section
    }

    /// Reads the files again if one of them has changed since they were last read; `None` if
    /// none has. So a bad file is an error once per change. Blocks on the file system.
    ///
    /// # Errors
    /// The file that cannot be used, and why; nothing has changed then.
    pub fn refresh(&self) -> Option<Result<(), Error>> {
        self.renewed.if_changed()
    }

    /// Reads the files again whether they have changed or not. Blocks on the file system.
    ///
    /// # Errors
    /// The file that cannot be used, and why; nothing has changed then.
    pub fn reload(&self) -> Result<(), Error> {
        self.renewed.always()
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("section", &self.section).finish_non_exhaustive()
    }
}

/// Looks at the files of all `renewals` every `period`, and logs what came of a change. Never
/// ends.
///
/// # Cancel safety
/// Dropping the future leaves every side with what it has.
pub async fn renew(renewals: Vec<Renewal>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        for renewal in &renewals {
            let one = renewal.clone();
            // A file system that hangs must not take a thread of the runtime with it.
            let looked = tokio::task::spawn_blocking(move || one.refresh()).await;
            let section = renewal.section;
            match looked {
                Ok(None) => {}
                Ok(Some(Ok(()))) => {
                    tracing::info!(
                        event = "tls_changed",
                        section,
                        "TLS files have changed; new connections use them"
                    );
                }
                Ok(Some(Err(error))) => tracing::error!(event = "tls_unusable",
                    section,
                    error = %error.chain(),
                    "TLS files have changed and cannot be used; the ones before stay in use"
                ),
                Err(error) => {
                    tracing::error!(event = "tls_unusable", section, %error, "TLS files cannot be looked at")
                }
            }
        }
    }
}
