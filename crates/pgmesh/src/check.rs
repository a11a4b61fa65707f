//! What only building the parts can check.

use anyhow::Context as _;
use config::Settings;
use control::ldap::Directory;

use crate::rules::RuleBook;

/// Checks what only building the parts can check: the TLS files, and the rules of pg_hba.conf.
///
/// # Errors
/// A file that is missing or unfit.
pub fn check(settings: &Settings) -> anyhow::Result<()> {
    settings.frontend.tls.acceptor().context("[proxy.tls]")?;
    settings.backend.tls.connector().context("[server.tls]")?;
    RuleBook::load(settings).context("who may log in")?;
    if let Some(oauth) = &settings.access.oauth {
        oauth.keys.check().context("[auth.oauth]")?;
    }
    Directory::new(settings.ldap.clone()).context("auth.ldap_ca")?;
    Ok(())
}
