//! Logging in to servers with credentials that may change while a pool lives.

use backend::{ConnectError, Ready, RequiredRole, Startup, Target};

use crate::Pool;

/// Knows with what servers are logged in to, which may change while a pool lives: new servers
/// get the new, those that are logged in stay. Does not wait.
pub trait Passwords: std::fmt::Debug + Send + Sync {
    /// Brings a user's credentials up to date. A password that is still right stays as it is,
    /// with what earlier logins have derived from it.
    fn renew(&self, credentials: &mut backend::Credentials);
    /// A server has taken these.
    fn accepted(&self, credentials: &backend::Credentials);
    /// A server does not take these.
    fn refused(&self, credentials: &backend::Credentials) -> Outlook;
}

/// What to make of credentials that a server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// It will refuse them again.
    Final,
    /// They are being changed: others will be there soon.
    Passing,
}

/// A login that failed.
pub(crate) struct Failed {
    pub(crate) error: ConnectError,
    /// Whether those who wait for it wait in vain.
    pub(crate) is_definite: bool,
}

/// What a server is logged in to for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// To be lent.
    Lend,
    /// To be lent when its node has become the primary.
    Wait,
    /// For something else, with settings of its own.
    Apart(&'a Startup),
}

impl Pool {
    /// Logs in to a server as the pool does; once more if its credentials are refused and others
    /// are to be had by then.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(crate) async fn log_in(
        &self,
        target: &Target,
        purpose: Purpose<'_>,
    ) -> Result<Ready, Failed> {
        let with = self.next_login(purpose);
        let failed = match self.try_login(target, &with).await {
            Ok(ready) => return Ok(ready),
            Err(failed) => failed,
        };
        if !failed.error.is_of_credentials() {
            return Err(failed);
        }
        let next = self.next_login(purpose);
        let are_there = next.credentials.login.is_some();
        if !are_there || next.credentials.prove_the_same(&with.credentials) {
            return Err(failed);
        }
        self.try_login(target, &next).await
    }

    /// As whom and with what the next server is logged in to.
    fn next_login(&self, purpose: Purpose<'_>) -> backend::Login {
        let mut login = self.login.lock();
        self.passwords.renew(&mut login.credentials);
        let login = login.clone();
        match purpose {
            Purpose::Lend => login,
            Purpose::Wait => backend::Login { role: RequiredRole::Any, ..login },
            Purpose::Apart(startup) => backend::Login { startup: startup.clone(), ..login },
        }
    }

    async fn try_login(&self, target: &Target, with: &backend::Login) -> Result<Ready, Failed> {
        match self.shared.dialer.connect(target, with).await {
            Ok(mut ready) => {
                self.login.lock().remember(ready.scram_keys.take(), with);
                self.passwords.accepted(&with.credentials);
                Ok(ready)
            }
            Err(error) => {
                let outlook = if error.is_of_credentials() {
                    self.passwords.refused(&with.credentials)
                } else {
                    Outlook::Final
                };
                let passes = outlook == Outlook::Passing && error.is_wrong_password();
                Err(Failed { is_definite: error.is_definite() && !passes, error })
            }
        }
    }
}
