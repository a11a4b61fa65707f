//! Secrets in files of their own, read again when they change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::{Login, Password, Rotating, Secret};
use config::{Settings, User};
use parking_lot::Mutex;

use crate::credentials::{Credentials, Use};

/// The files that secrets are in, and what they were last seen to hold.
#[derive(Debug)]
pub(crate) struct Rotation {
    credentials: Arc<Credentials>,
    window: Duration,
    prober: Option<Prober>,
    files: Mutex<Vec<SecretFile>>,
}

/// As whom nodes are asked: one of `[[users]]`, or who looks roles up.
#[derive(Debug)]
struct Prober {
    user: String,
    secret: Rotating,
    /// When the secret before counts no more.
    until: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct SecretFile {
    path: PathBuf,
    places: Vec<Place>,
    /// What it said when it was last looked at, good or bad.
    looked: Option<Result<Secret, String>>,
}

/// Where a secret is used.
#[derive(Debug, Clone)]
enum Place {
    /// `users[].password` or `users[].server_password`.
    User(String, Use),
    /// One of our own logins, and when its secret before counts no more.
    Ours(Rotating, Option<Instant>),
    /// The questions to nodes, which cannot be asked with a verifier.
    Prober,
}

/// What looking at a file came to.
#[derive(Debug, PartialEq, Eq)]
enum Looked {
    Changed,
    Unusable(String),
}

impl Rotation {
    /// Reads nothing yet. `prober` is as whom nodes are asked.
    pub(crate) fn new(
        settings: &Settings,
        credentials: Arc<Credentials>,
        prober: Option<&(String, Rotating)>,
    ) -> Arc<Self> {
        let prober =
            prober.cloned().map(|(user, secret)| Prober { user, secret, until: Mutex::default() });
        let mut files = Vec::new();
        add_users(&mut files, &settings.users, prober.as_ref());
        let rotation = &settings.rotation;
        if let Some(secret) = settings.auth_query.as_ref().and_then(|it| it.password.as_ref()) {
            add(&mut files, rotation.query_password.as_ref(), Place::Ours(secret.clone(), None));
        }
        if let discovery::Config::Etcd(etcd) = &settings.discovery
            && let Some((_, secret)) = &etcd.credentials
        {
            add(&mut files, rotation.cluster_password.as_ref(), Place::Ours(secret.clone(), None));
        }
        Arc::new(Self { credentials, window: rotation.window, prober, files: Mutex::new(files) })
    }

    /// Follows the files of these users, which the credentials have taken, and no other user's.
    pub(crate) fn follow_users(&self, users: &BTreeMap<String, User>, now: Instant) {
        let mut files = self.files.lock();
        for file in &mut *files {
            file.places.retain(|place| matches!(place, Place::Ours(..)));
            // Who is new there has yet to be told.
            file.looked = None;
        }
        files.retain(|file| !file.places.is_empty());
        add_users(&mut files, users, self.prober.as_ref());
        drop(files);
        if let Some(prober) = &self.prober
            && let Some(Login::Password { password, .. }) =
                users.get(&prober.user).and_then(User::server_login)
        {
            prober.take(&password, now + self.window);
        }
    }

    /// Whether nodes are asked as this user.
    pub(crate) fn asks_as(&self, user: &str) -> bool {
        self.prober.as_ref().is_some_and(|prober| prober.user == user)
    }

    /// Reads every file, and takes what has changed. A file that cannot be used changes nothing,
    /// and is reported once. Blocks.
    fn refresh(&self, now: Instant) -> Vec<(PathBuf, Looked)> {
        let mut news = Vec::new();
        for file in &mut *self.files.lock() {
            let looked = config::read_secret(&file.path, &config::Process);
            if file.looked.as_ref() != Some(&looked) {
                let taken = looked.clone().and_then(|secret| self.take(file, &secret, now));
                match taken {
                    Ok(true) => news.push((file.path.clone(), Looked::Changed)),
                    Ok(false) => {}
                    Err(problem) => news.push((file.path.clone(), Looked::Unusable(problem))),
                }
                file.looked = Some(looked);
            }
            file.places.iter_mut().for_each(|place| place.settle(now));
        }
        if let Some(prober) = &self.prober {
            settle(&prober.secret, &mut prober.until.lock(), now);
        }
        for user in self.credentials.settle(now) {
            tracing::info!(event = "password_expired", user, "the password before counts no more");
        }
        news
    }

    /// Whether any place had another secret.
    fn take(&self, file: &mut SecretFile, secret: &Secret, now: Instant) -> Result<bool, String> {
        let until = now + self.window;
        let mut has_changed = false;
        for place in &mut file.places {
            has_changed |= match place {
                Place::User(name, of) => {
                    let changed = self.credentials.change(name, *of, secret.clone(), now);
                    changed.map_err(|error| error.to_string())?
                }
                Place::Ours(ours, settles) => rotate(ours, secret, settles, until),
                Place::Prober => match (Password::parse(secret.clone()), &self.prober) {
                    (Ok(Password::Plain(plain)), Some(prober)) => prober.take(&plain, until),
                    (Ok(Password::Plain(_) | Password::Verifier(_)) | Err(_), _) => false,
                },
            };
        }
        Ok(has_changed)
    }

    /// Follows the files. Never ends.
    pub(crate) async fn follow(self: Arc<Self>, period: Duration) {
        loop {
            tokio::time::sleep(period).await;
            let rotation = Arc::clone(&self);
            // A file system that hangs must not take a thread of the runtime with it.
            let looked = tokio::task::spawn_blocking(move || rotation.refresh(Instant::now()));
            match looked.await {
                Ok(news) => news.iter().for_each(|(path, looked)| self.say(path, looked)),
                Err(error) => {
                    tracing::error!(event = "secret_unreadable", %error, "secrets in files cannot be looked at")
                }
            }
        }
    }

    fn say(&self, path: &std::path::Path, looked: &Looked) {
        let (file, window) = (path.display(), self.window);
        match looked {
            Looked::Changed => tracing::info!(event = "secret_changed",
                %file,
                ?window,
                "a secret has changed; the one before counts for the window"
            ),
            Looked::Unusable(problem) => tracing::error!(event = "secret_unreadable",
                %file,
                problem,
                "a secret has changed and cannot be used; the one before stays"
            ),
        }
    }
}

impl Place {
    fn settle(&mut self, now: Instant) {
        if let Self::Ours(secret, settles) = self {
            settle(secret, settles, now);
        }
    }
}

impl Prober {
    fn take(&self, secret: &Secret, until: Instant) -> bool {
        rotate(&self.secret, secret, &mut self.until.lock(), until)
    }
}

/// Ends the secret before, if it is time.
fn settle(secret: &Rotating, settles: &mut Option<Instant>, now: Instant) {
    if settles.is_some_and(|at| at <= now) {
        *settles = None;
        secret.settle();
    }
}

fn add_users(files: &mut Vec<SecretFile>, users: &BTreeMap<String, User>, prober: Option<&Prober>) {
    for (name, user) in users {
        add(files, user.password_file.as_ref(), Place::User(name.clone(), Use::Client));
        let server = user.server_password_file.as_ref();
        add(files, server, Place::User(name.clone(), Use::Server));
        if prober.is_some_and(|prober| prober.user == *name) {
            add(files, user.server_login_file(), Place::Prober);
        }
    }
}

fn add(files: &mut Vec<SecretFile>, path: Option<&PathBuf>, place: Place) {
    let Some(path) = path else { return };
    match files.iter_mut().find(|file| file.path == *path) {
        Some(file) => file.places.push(place),
        None => {
            files.push(SecretFile { path: path.clone(), places: vec![place], looked: None });
        }
    }
}

fn rotate(ours: &Rotating, secret: &Secret, settles: &mut Option<Instant>, until: Instant) -> bool {
    if ours.candidates().first() == Some(secret) {
        return false;
    }
    ours.rotate(secret.clone());
    *settles = Some(until);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::Seed;

    #[test]
    fn every_place_of_a_file_follows_it_and_a_bad_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("first\n");
        let file = format!("{{ file = '{}' }}", path.display());
        let text = format!(
            "[cluster]\nscope = 's'\nendpoints = ['http://e:1']\nuser = 'u'\npassword = {file}\n\
             [auth]\nquery_user = 'q'\nquery_password = {file}\n\
             [[users]]\nname = 'a'\npassword = 'x'\nserver_password = {file}\n\
             [[users]]\nname = 'b'\npassword = {file}\n"
        );
        let settings = config::parse("proxy.toml", &text, &config::Process).unwrap();
        let credentials = Credentials::new(&settings, Seed::new([1; 32])).unwrap();
        let credentials = Arc::new(credentials);
        let prober = ("a".to_owned(), Rotating::new(Secret::new("first")));
        let rotation = Rotation::new(&settings, Arc::clone(&credentials), Some(&prober));
        let now = Instant::now();
        assert_eq!(rotation.refresh(now), []);

        write("second\n");
        assert_eq!(rotation.refresh(now), [(path.clone(), Looked::Changed)]);
        assert_eq!(rotation.refresh(now), []);
        let texts = |secret: &Rotating| -> Vec<String> {
            secret.candidates().iter().map(|it| it.expose().to_owned()).collect()
        };
        let discovery::Config::Etcd(etcd) = &settings.discovery else { panic!("not etcd") };
        let ours = [
            &prober.1,
            &etcd.credentials.as_ref().unwrap().1,
            settings.auth_query.as_ref().unwrap().password.as_ref().unwrap(),
        ];
        ours.iter().for_each(|secret| assert_eq!(texts(secret), ["second", "first"]));
        let server = credentials.get("a").unwrap().newest.server_password.clone().unwrap();
        assert_eq!(server.expose(), "second");
        assert!(credentials.get("b").unwrap().before.is_some());

        write("");
        let news = rotation.refresh(now);
        let [(_, Looked::Unusable(problem))] = &news[..] else { panic!("{news:?}") };
        assert!(problem.contains("is empty") && !problem.contains("second"), "{problem}");
        assert_eq!(rotation.refresh(now), [], "said once");
        write("second\n");
        assert_eq!(rotation.refresh(now), [], "as it is");
        let late = now + Duration::from_secs(60);
        assert_eq!(rotation.refresh(late), []);
        ours.iter().for_each(|secret| assert_eq!(texts(secret), ["second"]));
        assert!(credentials.get("b").unwrap().before.is_none());
    }
}
