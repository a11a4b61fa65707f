//! Who may log in, and with what.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::{Challenge, Error, ITERATIONS_DEFAULT, ITERATIONS_MAX, Secret, Seed, Verifier};

/// The length of the salts that we derive, in bytes; Postgres' own length.
const SALT_LENGTH: usize = 16;

/// A user's credential as configured.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// In plain text: clients are checked against it and servers are logged in to
    /// with it.
    Plain(Secret),
    /// A stored verifier: clients are checked against it; servers are logged in to with
    /// the keys that a client's proof discloses, so their role needs the same verifier.
    Verifier(Arc<Verifier>),
}

impl Password {
    /// Tells a verifier from a plain password by its beginning, as Postgres does. A text
    /// that begins like a verifier or an md5 hash and is no usable one is an error here
    /// and not a password.
    pub fn parse(text: Secret) -> Result<Self, Error> {
        if Verifier::looks_like(text.expose()) {
            Ok(Self::Verifier(Arc::new(text.expose().parse()?)))
        } else if is_md5_hash(text.expose()) {
            Err(Error::Md5Hash)
        } else {
            Ok(Self::Plain(text))
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Password::Plain(…)",
            Self::Verifier(_) => "Password::Verifier(…)",
        })
    }
}

#[derive(Debug, Clone)]
struct Entry {
    password: Password,
    /// Derived once, so that a login costs no PBKDF2.
    verifier: Arc<Verifier>,
    /// The password's before, if that is taken, too.
    before: Option<Arc<Verifier>>,
}

/// An immutable table of users.
///
/// The salt of a plain password is derived from the seed and the user's name exactly as
/// the salt of a name that is not in the table, so neither a second attempt nor adding
/// the user later tells which is which. Verifiers given in the configuration keep their
/// own salt, which can tell after the seed changed.
#[derive(Debug, Clone)]
pub struct Users {
    entries: HashMap<String, Entry>,
    seed: Seed,
}

impl Users {
    /// Builds the table; derives a verifier per plain password (about a millisecond
    /// each). A name that appears twice is an error.
    pub fn new(
        users: impl IntoIterator<Item = (String, Password)>,
        seed: Seed,
    ) -> Result<Self, Error> {
        let mut entries = HashMap::new();
        for (name, password) in users {
            let entry = Entry::new(&seed, &name, password, None);
            if entries.insert(name, entry).is_some() {
                return Err(Error::DuplicateUser);
            }
        }
        Ok(Self { entries, seed })
    }

    /// The same table with another password for this user, who is known or becomes so. With
    /// `before` the password before it is taken, too, as far as one exchange can check both: not
    /// if both are verifiers with salts or iteration counts of their own.
    #[must_use]
    pub fn with(mut self, name: &str, password: Password, before: Option<&Password>) -> Self {
        let entry = Entry::new(&self.seed, name, password, before);
        self.entries.insert(name.to_owned(), entry);
        self
    }

    /// The same table without this user.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.entries.remove(name);
        self
    }

    /// The credential of a user, as configured.
    pub fn password(&self, name: &str) -> Option<&Password> {
        self.entries.get(name).map(|entry| &entry.password)
    }

    /// The names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Starts an exchange with a client that says it is `name`, who may not exist.
    /// Does the same work either way.
    pub fn challenge(&self, name: &str) -> Challenge {
        let entry = self.entries.get(name);
        let before = entry.and_then(|entry| entry.before.clone());
        self.challenge_with(name, entry.map(|entry| Arc::clone(&entry.verifier))).or(before)
    }

    /// The same with a client whose verifier was found somewhere else, or was not found.
    pub fn challenge_with(&self, name: &str, verifier: Option<Arc<Verifier>>) -> Challenge {
        let mock = Verifier {
            iterations: ITERATIONS_DEFAULT,
            salt: salt(&self.seed, name),
            stored_key: self.seed.derive("stored key", name),
            server_key: self.seed.derive("server key", name),
        };
        match verifier {
            Some(verifier) => Challenge::known(verifier),
            None => Challenge::mock(Arc::new(mock)),
        }
    }
}

impl Entry {
    fn new(seed: &Seed, name: &str, password: Password, before: Option<&Password>) -> Self {
        let (verifier, before) = match (&password, before) {
            (Password::Verifier(verifier), before) => {
                (Arc::clone(verifier), before.and_then(|before| like(before, verifier)))
            }
            (Password::Plain(_), Some(Password::Verifier(before))) => {
                match like(&password, before) {
                    Some(verifier) => (verifier, Some(Arc::clone(before))),
                    None => (derive(seed, name, &password), None),
                }
            }
            (Password::Plain(_), before) => {
                let verifier = derive(seed, name, &password);
                let before = before.and_then(|before| like(before, &verifier));
                (verifier, before)
            }
        };
        Self { password, verifier, before }
    }
}

/// A password's verifier with the salt and the iteration count of another one.
fn like(password: &Password, other: &Verifier) -> Option<Arc<Verifier>> {
    match password {
        Password::Verifier(verifier) => verifier.is_salted_as(other).then(|| Arc::clone(verifier)),
        Password::Plain(plain) if other.iterations <= ITERATIONS_MAX => {
            Some(Arc::new(Verifier::derive(plain, &other.salt, other.iterations)))
        }
        Password::Plain(_) => None,
    }
}

/// A password's verifier with a salt of ours.
fn derive(seed: &Seed, name: &str, password: &Password) -> Arc<Verifier> {
    match password {
        Password::Verifier(verifier) => Arc::clone(verifier),
        Password::Plain(plain) => {
            Arc::new(Verifier::derive(plain, &salt(seed, name), ITERATIONS_DEFAULT))
        }
    }
}

fn salt(seed: &Seed, name: &str) -> Vec<u8> {
    let mut salt = seed.derive("salt", name).to_vec();
    salt.truncate(SALT_LENGTH);
    salt
}

/// `md5` and 32 hexadecimal digits, as `pg_authid` holds them.
fn is_md5_hash(text: &str) -> bool {
    text.strip_prefix("md5").is_some_and(|digest| {
        digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
