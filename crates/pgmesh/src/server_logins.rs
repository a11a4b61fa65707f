//! With what servers are logged in to.

use std::sync::Arc;

use auth::{KeyRing, Login, Password, ScramKeys};
use config::{Settings, User};
use parking_lot::Mutex;
use pool::Passwords;

/// With what servers are logged in to. Where only a verifier is known, with the keys that the
/// user's own login has disclosed.
#[derive(Debug)]
pub(crate) struct ServerLogins {
    settings: Arc<Settings>,
    keys: Mutex<KeyRing>,
}

impl ServerLogins {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, keys: Mutex::default() }
    }

    /// Remembers what a login has disclosed, if nothing better is known of the user.
    pub(crate) fn learn(&self, user: &str, keys: &ScramKeys) {
        if self.settings.users.get(user).is_some_and(|it| it.server_login().is_none()) {
            self.keys.lock().learn(user, keys.clone());
        }
    }

    /// How to log in as `user`, if that is known. Keys count only with the verifier that they
    /// were learnt under.
    pub(crate) fn get(&self, user: &str) -> Option<Login> {
        let configured = self.settings.users.get(user)?;
        configured.server_login().or_else(|| self.learnt(user, configured).map(Login::Keys))
    }

    fn learnt(&self, name: &str, user: &User) -> Option<ScramKeys> {
        let Password::Verifier(verifier) = &user.password else { return None };
        self.keys.lock().get(name, verifier).cloned()
    }
}

impl Passwords for ServerLogins {
    fn renew(&self, credentials: &mut backend::Credentials) {
        let known = self.get(&credentials.user);
        if !is_same(credentials.login.as_ref(), known.as_ref()) {
            credentials.login = known;
        }
    }

    fn refused(&self, _: &backend::Credentials) {}
}

/// Whether both prove the same, whatever was derived from a password.
fn is_same(one: Option<&Login>, other: Option<&Login>) -> bool {
    match (one, other) {
        (
            Some(Login::Password { password: one, .. }),
            Some(Login::Password { password: other, .. }),
        ) => one == other,
        (Some(Login::Keys(one)), Some(Login::Keys(other))) => one == other,
        (None, None) => true,
        _ => false,
    }
}
