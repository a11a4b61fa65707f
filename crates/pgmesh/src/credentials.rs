//! The passwords of `[[users]]` as they are now, and while one is changed the one before.
//!
//! A password in a file and the role's in the database are never changed in the same moment. So
//! for a while clients may log in with either, and servers are logged in to with whichever they
//! take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::{Password, Secret, Seed, Users};
use config::{Settings, User};
use parking_lot::{Mutex, RwLock};
use pool::Outlook;

/// The passwords of `[[users]]`.
#[derive(Debug)]
pub(crate) struct Credentials {
    window: Duration,
    users: RwLock<Arc<Users>>,
    entries: Mutex<BTreeMap<String, Entry>>,
    /// Held by whoever changes `users`, which takes milliseconds.
    changing: Mutex<()>,
}

/// One of `[[users]]` with its password of now, and with the one before as long as that counts.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) newest: Arc<User>,
    pub(crate) before: Option<Arc<User>>,
    /// With which of them to log in to servers first.
    pub(crate) favourite: Which,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Newest,
    Before,
}

/// Which of a user's passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// What clients are checked against.
    Client,
    /// What servers are logged in to with.
    Server,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    /// When the password before counts no more.
    until: Option<Instant>,
    /// What servers make of the newest.
    servers: Servers,
}

#[derive(Debug, Clone, Copy)]
enum Servers {
    /// None has taken it.
    Unknown,
    /// One has.
    Took,
    /// They take it no more, since then.
    Refuse(Instant),
}

impl Credentials {
    pub(crate) fn new(settings: &Settings, seed: Seed) -> Result<Self, auth::Error> {
        let entry = |(name, user): (&String, &User)| (name.clone(), Entry::new(user));
        Ok(Self {
            window: settings.rotation.window,
            users: RwLock::new(Arc::new(Users::new(settings.passwords(), seed)?)),
            entries: Mutex::new(settings.users.iter().map(entry).collect()),
            changing: Mutex::default(),
        })
    }

    /// What clients are checked against now.
    pub(crate) fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users.read())
    }

    /// What is known of one of `[[users]]`.
    pub(crate) fn get(&self, name: &str) -> Option<Known> {
        self.entries.lock().get(name).map(|entry| entry.known.clone())
    }

    /// Takes another password of a user; what it was until now counts for the window. Whether it
    /// is another one. Costs milliseconds.
    ///
    /// # Errors
    /// The text is no password.
    pub(crate) fn change(
        &self,
        name: &str,
        of: Use,
        text: Secret,
        now: Instant,
    ) -> Result<bool, auth::Error> {
        let password = Password::parse(text.clone())?;
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(name) else { return Ok(false) };
        let mut user = User::clone(&entry.known.newest);
        match of {
            Use::Client if user.password == password => return Ok(false),
            Use::Server if user.server_password.as_ref() == Some(&text) => return Ok(false),
            Use::Client => user.password = password,
            Use::Server => user.server_password = Some(text),
        }
        entry.change(user, self.window, now);
        drop(entries);
        self.check_clients([name]);
        Ok(true)
    }

    /// Takes other users, of which those that are there keep what they have; a password that has
    /// changed counts for the window, as in [`Self::change`]. The names of those who are gone.
    /// Costs milliseconds for each that is new.
    pub(crate) fn replace(&self, users: &BTreeMap<String, User>, now: Instant) -> Vec<String> {
        let mut entries = self.entries.lock();
        let gone = entries.keys().filter(|name| !users.contains_key(*name));
        let gone: Vec<String> = gone.cloned().collect();
        entries.retain(|name, _| users.contains_key(name));
        let mut others: Vec<&str> = gone.iter().map(String::as_str).collect();
        for (name, user) in users {
            match entries.get_mut(name) {
                Some(entry) if entry.has_password_of(user) => {
                    entry.known.newest = Arc::new(user.clone());
                    continue;
                }
                Some(entry) => entry.change(user.clone(), self.window, now),
                None => drop(entries.insert(name.clone(), Entry::new(user))),
            }
            others.push(name);
        }
        drop(entries);
        self.check_clients(others);
        gone
    }

    /// Ends what is over. The names of those whose password before counts no more.
    pub(crate) fn settle(&self, now: Instant) -> Vec<String> {
        let mut settled = Vec::new();
        for (name, entry) in &mut *self.entries.lock() {
            if entry.until.is_some_and(|until| until <= now) {
                entry.until = None;
                entry.known.before = None;
                entry.known.favourite = Which::Newest;
                settled.push(name.clone());
            }
        }
        self.check_clients(settled.iter().map(String::as_str));
        settled
    }

    /// A server has taken this password of the user.
    pub(crate) fn accepted(&self, name: &str, which: Which) {
        if let (Some(entry), Which::Newest) = (self.entries.lock().get_mut(name), which) {
            entry.servers = Servers::Took;
        }
    }

    /// A server refuses this password of the user. While the password is changed, the other one
    /// is tried next. One that is in a file and was taken before is likely being changed: the
    /// role's password already is.
    pub(crate) fn refused(&self, name: &str, which: Which, now: Instant) -> Outlook {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(name) else { return Outlook::Final };
        if entry.known.before.is_some() {
            entry.known.favourite = match which {
                Which::Newest => Which::Before,
                Which::Before => Which::Newest,
            };
            return Outlook::Passing;
        }
        let since = match entry.servers {
            Servers::Took if entry.known.newest.server_login_file().is_some() => now,
            Servers::Took | Servers::Unknown => return Outlook::Final,
            Servers::Refuse(since) => since,
        };
        entry.servers = Servers::Refuse(since);
        let is_over = now.saturating_duration_since(since) >= self.window;
        if is_over { Outlook::Final } else { Outlook::Passing }
    }

    /// Checks clients of these names against what is known of them now.
    fn check_clients<'n>(&self, names: impl IntoIterator<Item = &'n str>) {
        let _alone = self.changing.lock();
        let mut users = Users::clone(&self.users());
        for name in names {
            users = match self.get(name) {
                None => users.without(name),
                Some(known) => {
                    let before = known.before.as_ref().map(|before| &before.password);
                    users.with(name, known.newest.password.clone(), before)
                }
            };
        }
        *self.users.write() = Arc::new(users);
    }
}

impl Entry {
    fn new(user: &User) -> Self {
        let newest = Arc::new(user.clone());
        let known = Known { newest, before: None, favourite: Which::Newest };
        Self { known, until: None, servers: Servers::Unknown }
    }

    fn has_password_of(&self, user: &User) -> bool {
        let newest = &self.known.newest;
        newest.password == user.password && newest.server_password == user.server_password
    }

    /// Takes another password; the one before counts for the window.
    fn change(&mut self, user: User, window: Duration, now: Instant) {
        let before = std::mem::replace(&mut self.known.newest, Arc::new(user));
        self.known.before = (!window.is_zero()).then_some(before);
        self.known.favourite = Which::Newest;
        self.until = Some(now + window);
        self.servers = Servers::Unknown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn credentials(keys: &str) -> (Credentials, Instant, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "first").unwrap();
        let text = format!(
            "[[users]]\nname = 'a'\npassword = {{ file = '{}' }}\n[cluster]\n\
             discovery = 'static'\nnodes = ['127.0.0.1']\n{keys}",
            file.display()
        );
        let settings = config::parse("proxy.toml", &text, &config::Process).unwrap();
        let credentials = Credentials::new(&settings, Seed::new([1; 32])).unwrap();
        (credentials, Instant::now(), directory)
    }

    fn plain(user: &User) -> &str {
        match &user.password {
            Password::Plain(secret) => secret.expose(),
            Password::Verifier(_) => "",
        }
    }

    #[test]
    fn what_was_before_counts_until_the_window_ends() {
        let (credentials, now, _directory) = credentials("");
        let change = |text: &str| credentials.change("a", Use::Client, Secret::new(text), now);
        assert_eq!(change("first"), Ok(false));
        assert!(change("md5d41d8cd98f00b204e9800998ecf8427e").is_err());
        assert_eq!(change("second"), Ok(true));
        let known = credentials.get("a").unwrap();
        assert_eq!((plain(&known.newest), plain(&known.before.unwrap())), ("second", "first"));
        assert!(credentials.settle(now + WINDOW / 2).is_empty());
        assert_eq!(credentials.settle(now + WINDOW), ["a"]);
        assert!(credentials.get("a").unwrap().before.is_none());
        assert!(credentials.get("b").is_none());
    }

    #[test]
    fn without_a_window_nothing_is_kept() {
        let (credentials, now, _directory) = credentials("[auth]\nrotation_window = '0s'");
        credentials.change("a", Use::Server, Secret::new("second"), now).unwrap();
        assert!(credentials.get("a").unwrap().before.is_none());
    }

    #[test]
    fn servers_are_offered_the_other_one_while_there_are_two() {
        let (credentials, now, _directory) = credentials("");
        let favourite = || credentials.get("a").unwrap().favourite;
        credentials.change("a", Use::Client, Secret::new("second"), now).unwrap();
        assert_eq!(favourite(), Which::Newest);
        assert_eq!(credentials.refused("a", Which::Newest, now), Outlook::Passing);
        assert_eq!(favourite(), Which::Before);
        // A second login that was under way.
        assert_eq!(credentials.refused("a", Which::Newest, now), Outlook::Passing);
        assert_eq!(favourite(), Which::Before);
        assert_eq!(credentials.refused("a", Which::Before, now), Outlook::Passing);
        assert_eq!(favourite(), Which::Newest);
        credentials.settle(now + WINDOW);
        assert_eq!(credentials.refused("a", Which::Newest, now), Outlook::Final, "never taken");
    }

    #[test]
    fn what_servers_take_no_more_is_waited_for_as_long_as_the_window() {
        let (credentials, now, _directory) = credentials("");
        assert_eq!(credentials.refused("a", Which::Newest, now), Outlook::Final);
        credentials.accepted("a", Which::Newest);
        assert_eq!(credentials.refused("a", Which::Newest, now), Outlook::Passing);
        let late = now + WINDOW;
        assert_eq!(credentials.refused("a", Which::Newest, late - WINDOW / 2), Outlook::Passing);
        assert_eq!(credentials.refused("a", Which::Newest, late), Outlook::Final);
        credentials.accepted("a", Which::Newest);
        assert_eq!(credentials.refused("a", Which::Newest, late), Outlook::Passing);
    }

    #[test]
    fn users_come_and_go_and_change() {
        let (credentials, now, _directory) = credentials("");
        let users = |text: &str| {
            let text = format!("[cluster]\ndiscovery = 'static'\nnodes = ['127.0.0.1']\n{text}");
            config::parse("proxy.toml", &text, &config::Process).unwrap().users
        };
        let a = "[[users]]\nname = 'a'\npassword = 'first'\n";
        let b = "[[users]]\nname = 'b'\npassword = 'x'\n";
        let names = || {
            let users = credentials.users();
            let mut names: Vec<_> = users.names().map(str::to_owned).collect();
            names.sort_unstable();
            names
        };
        assert!(credentials.replace(&users(&format!("{a}pool_size = 3\n{b}")), now).is_empty());
        assert_eq!(names(), ["a", "b"]);
        let known = credentials.get("a").unwrap();
        assert!(known.before.is_none(), "the same password");
        assert_eq!(known.newest.pool_size, Some(3));
        let changed = users(&a.replace("first", "second"));
        assert_eq!(credentials.replace(&changed, now), ["b"]);
        assert_eq!(names(), ["a"]);
        assert!(credentials.get("b").is_none());
        let known = credentials.get("a").unwrap();
        assert_eq!((plain(&known.newest), plain(&known.before.unwrap())), ("second", "first"));
        assert_eq!(credentials.settle(now + WINDOW), ["a"]);
    }
}
