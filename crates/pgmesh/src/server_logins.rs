//! With what servers are logged in to.

use std::collections::HashMap;
use std::sync::Arc;

use auth::{KeyRing, Login, Password, ScramKeys};
use config::Settings;
use control::auth_query::{AuthQuery, Found, Role, RolePassword};
use parking_lot::Mutex;
use pool::Passwords;

/// With what servers are logged in to. Where only a verifier is known, be it from `[[users]]` or
/// from the database, with the keys that the user's own login has disclosed.
#[derive(Debug)]
pub(crate) struct ServerLogins {
    settings: Arc<Settings>,
    auth_query: Option<AuthQuery>,
    learnt: Mutex<Learnt>,
}

/// Keys of those who have logged in.
#[derive(Debug, Default)]
struct Learnt {
    keys: KeyRing,
    /// What the database has last said of those who are not in `[[users]]`.
    roles: HashMap<Box<str>, Arc<Role>>,
}

impl ServerLogins {
    pub(crate) fn new(settings: &Arc<Settings>, auth_query: Option<&AuthQuery>) -> Arc<Self> {
        let settings = Arc::clone(settings);
        Arc::new(Self { settings, auth_query: auth_query.cloned(), learnt: Mutex::default() })
    }

    /// Remembers what a login has disclosed, if nothing better is known of a user of `[[users]]`.
    pub(crate) fn learn(&self, user: &str, keys: &ScramKeys) {
        if self.settings.users.get(user).is_some_and(|it| it.server_login().is_none()) {
            self.learnt.lock().keys.learn(user, keys.clone());
        }
    }

    /// Remembers what a login has disclosed that was checked against `role`, of a user who is not
    /// in `[[users]]`.
    pub(crate) fn learn_role(&self, user: &str, keys: &ScramKeys, role: &Arc<Role>) {
        let mut learnt = self.learnt.lock();
        learnt.keys.learn(user, keys.clone());
        learnt.roles.insert(user.into(), Arc::clone(role));
    }

    /// The database has said this of a user: keys that were learnt under another verifier are
    /// dropped.
    pub(crate) fn found(&self, user: &str, found: &Found) {
        let mut learnt = self.learnt.lock();
        let Learnt { keys, roles } = &mut *learnt;
        let Some(known) = roles.get_mut(user) else { return };
        match found {
            Found::Role(role) if role_keys(keys, user, role).is_some() => *known = Arc::clone(role),
            Found::Role(_) | Found::Absent => {
                roles.remove(user);
                keys.forget(user);
            }
        }
    }

    /// Whether there are keys of a user who is not in `[[users]]`.
    pub(crate) fn is_looked_up(&self, user: &str) -> bool {
        self.learnt.lock().roles.contains_key(user)
    }

    /// How to log in as `user`, if that is known. Keys count only with the verifier that they
    /// were learnt under.
    pub(crate) fn get(&self, user: &str) -> Option<Login> {
        let Some(configured) = self.settings.users.get(user) else {
            let Learnt { keys, roles } = &*self.learnt.lock();
            return role_keys(keys, user, roles.get(user)?).cloned().map(Login::Keys);
        };
        configured.server_login().or_else(|| {
            let Password::Verifier(verifier) = &configured.password else { return None };
            self.learnt.lock().keys.get(user, verifier).cloned().map(Login::Keys)
        })
    }
}

fn role_keys<'a>(keys: &'a KeyRing, user: &str, role: &Role) -> Option<&'a ScramKeys> {
    match &role.password {
        RolePassword::Verifier(verifier) => keys.get(user, verifier),
        RolePassword::Missing
        | RolePassword::Expired
        | RolePassword::Md5
        | RolePassword::Unusable(_) => None,
    }
}

impl Passwords for ServerLogins {
    fn renew(&self, credentials: &mut backend::Credentials) {
        let known = self.get(&credentials.user);
        if !is_same(credentials.login.as_ref(), known.as_ref()) {
            credentials.login = known;
        }
    }

    /// The password of a role may have changed in the database: the next login asks.
    fn refused(&self, credentials: &backend::Credentials) {
        let role = self.learnt.lock().roles.get(credentials.user.as_str()).cloned();
        if let (Some(auth_query), Some(role)) = (&self.auth_query, role) {
            auth_query.doubt(&credentials.user, &Found::Role(role));
        }
    }
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
