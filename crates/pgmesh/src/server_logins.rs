//! With what servers are logged in to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use auth::{KeyRing, Login, Password, ScramKeys, Secret};
use config::User;
use control::auth_query::{AuthQuery, Found, Role, RolePassword};
use parking_lot::Mutex;
use pool::{Outlook, Passwords};

use crate::credentials::{Credentials, Known, Which};

/// With what servers are logged in to. Where only a verifier is known, be it from `[[users]]` or
/// from the database, with the keys that the user's own login has disclosed; where nothing is known,
/// with the password that the user had to show.
#[derive(Debug)]
pub(crate) struct ServerLogins {
    credentials: Arc<Credentials>,
    auth_query: Option<AuthQuery>,
    learnt: Mutex<Learnt>,
    /// Of users whom LDAP knows, until a server does not take them: at most one per role.
    shown: Mutex<HashMap<Box<str>, Secret>>,
}

/// Keys of those who have logged in.
#[derive(Debug, Default)]
struct Learnt {
    keys: KeyRing,
    /// What the database has last said of those who are not in `[[users]]`.
    roles: HashMap<Box<str>, Arc<Role>>,
}

impl ServerLogins {
    pub(crate) fn new(credentials: &Arc<Credentials>, auth_query: Option<&AuthQuery>) -> Arc<Self> {
        let (credentials, auth_query) = (Arc::clone(credentials), auth_query.cloned());
        let (learnt, shown) = (Mutex::default(), Mutex::default());
        Arc::new(Self { credentials, auth_query, learnt, shown })
    }

    /// Remembers what a login has disclosed, if nothing better is known of a user of `[[users]]`.
    pub(crate) fn learn(&self, user: &str, keys: &ScramKeys) {
        if self.credentials.get(user).is_some_and(|it| it.newest.server_login().is_none()) {
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

    /// Remembers the password that a user had to show, in the place of the one before, if none is
    /// configured. It has been found right; whether servers take it is theirs to say.
    pub(crate) fn keep(&self, user: &str, password: &Secret) {
        if self.credentials.get(user).is_none_or(|it| it.newest.server_login().is_none()) {
            self.shown.lock().insert(user.into(), password.clone());
        }
    }

    /// A user is not in `[[users]]` any more: nothing that its logins have disclosed counts.
    pub(crate) fn forget(&self, user: &str) {
        let mut learnt = self.learnt.lock();
        learnt.keys.forget(user);
        learnt.roles.remove(user);
        drop(learnt);
        self.shown.lock().remove(user);
    }

    /// How to log in as `user`, if that is known.
    pub(crate) fn get(&self, user: &str) -> Option<Login> {
        let shown = || {
            let password = self.shown.lock().get(user).cloned()?;
            Some(Login::Password { password, cached: None })
        };
        self.known(user).or_else(shown)
    }

    /// Servers do not take this one. Whether it was shown; one that was shown since then stays.
    fn forget_shown(&self, credentials: &backend::Credentials) -> bool {
        let Some(Login::Password { password, .. }) = &credentials.login else { return false };
        let mut shown = self.shown.lock();
        let is_shown = shown.get(&*credentials.user) == Some(password);
        if is_shown {
            shown.remove(&*credentials.user);
        }
        is_shown
    }

    /// The same without what was shown. Keys count only with the verifier that they
    /// were learnt under.
    fn known(&self, user: &str) -> Option<Login> {
        let Some(known) = self.credentials.get(user) else {
            let Learnt { keys, roles } = &*self.learnt.lock();
            return role_keys(keys, user, roles.get(user)?).cloned().map(Login::Keys);
        };
        let (first, second) = match known.favourite {
            Which::Newest => (Which::Newest, Which::Before),
            Which::Before => (Which::Before, Which::Newest),
        };
        self.login(user, &known, first).or_else(|| self.login(user, &known, second))
    }

    fn login(&self, name: &str, known: &Known, which: Which) -> Option<Login> {
        let configured: &User = match which {
            Which::Newest => &known.newest,
            Which::Before => known.before.as_deref()?,
        };
        configured.server_login().or_else(|| {
            let Password::Verifier(verifier) = &configured.password else { return None };
            self.learnt.lock().keys.get(name, verifier).cloned().map(Login::Keys)
        })
    }

    /// Which of a user's passwords these credentials are.
    fn which(&self, used: &backend::Credentials) -> Option<Which> {
        let known = self.credentials.get(&used.user)?;
        [Which::Newest, Which::Before].into_iter().find(|which| {
            let login = self.login(&used.user, &known, *which);
            let user = used.user.clone();
            login.is_some() && backend::Credentials { user, login }.prove_the_same(used)
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
        let (user, login) = (credentials.user.clone(), self.get(&credentials.user));
        let known = backend::Credentials { user, login };
        if !known.prove_the_same(credentials) {
            *credentials = known;
        }
    }

    fn accepted(&self, credentials: &backend::Credentials) {
        if let Some(which) = self.which(credentials) {
            self.credentials.accepted(&credentials.user, which);
        }
    }

    /// The password of a role that was looked up may have changed in the database: the next login
    /// asks.
    fn refused(&self, credentials: &backend::Credentials) -> Outlook {
        let user = credentials.user.as_str();
        if self.forget_shown(credentials) {
            // Somebody may have shown another one.
            return if self.get(user).is_some() { Outlook::Passing } else { Outlook::Final };
        }
        let role = self.learnt.lock().roles.get(user).cloned();
        if let (Some(auth_query), Some(role)) = (&self.auth_query, role) {
            auth_query.doubt(user, &Found::Role(role));
        }
        if self.credentials.get(user).is_none() {
            return Outlook::Final;
        }
        match self.which(credentials) {
            Some(which) => self.credentials.refused(user, which, Instant::now()),
            // Changed while it was tried.
            None if self.get(user).is_some() => Outlook::Passing,
            None => Outlook::Final,
        }
    }
}
