//! Who may enter and how: the rules as they are at the moment, and the files that they come from.

use std::fmt;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use auth::hba::{LineError, Maps, Method, Network, Rules};
use config::{Access, Cleartext, Settings, Written};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use parking_lot::{Mutex, RwLock};

/// More than a file of rules ever has, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

/// Rules and ident maps that were read together. A login uses one from its beginning to its end.
#[derive(Debug)]
pub(crate) struct EntryRules {
    pub(crate) rules: Rules,
    pub(crate) maps: Maps,
    interfaces: Vec<Network>,
}

/// The newest [`EntryRules`], and what it is made of.
#[derive(Debug)]
pub(crate) struct RuleBook {
    client_map: Option<String>,
    certificates: Certificates,
    groups: Groups,
    current: RwLock<Arc<EntryRules>>,
    cleartext: RwLock<Cleartext>,
    looked: Mutex<Looked>,
}

/// What the rules are made of.
#[derive(Debug)]
struct Looked {
    access: Access,
    /// What the files said when they were last looked at, good or bad.
    texts: Texts,
}

/// Other rules than those there are, found good.
#[derive(Debug)]
pub(crate) struct NewRules {
    looked: Looked,
    rules: EntryRules,
}

/// Whether TLS asks clients for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certificates {
    AskedFor,
    Never,
}

/// Whether anybody can be asked who is in which group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Groups {
    LookedUp,
    /// Roles are looked up, and what they are in is not: no rule asked for it at start.
    NotLookedUp,
    Unknown,
}

/// The texts of the files, or why they cannot be read; `None` for what is in proxy.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Texts {
    rules: Text,
    maps: Text,
}

type Text = Option<Result<String, String>>;

/// Lines that cannot be used, with the place that their numbers count from.
#[derive(Debug, Default)]
struct Faults(Vec<String>);

// === impl EntryRules ===

impl EntryRules {
    /// The addresses of this machine, if a rule asks for them.
    pub(crate) fn interfaces(&self) -> &[Network] {
        &self.interfaces
    }
}

// === impl RuleBook ===

impl RuleBook {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read, or every line that cannot be used.
    pub(crate) fn load(settings: &Settings) -> anyhow::Result<Self> {
        let access = settings.access.clone();
        let certificates = match settings.frontend.tls.client_ca {
            Some(_) => Certificates::AskedFor,
            None => Certificates::Never,
        };
        let groups = match settings.auth_query {
            Some(_) => Groups::LookedUp,
            None => Groups::Unknown,
        };
        let texts = Texts::read(&access);
        let rules = build(&access, certificates, groups, &texts)?;
        let groups = match groups {
            Groups::LookedUp if !may_ask_for_groups(&access, &rules) => Groups::NotLookedUp,
            groups => groups,
        };
        Ok(Self {
            client_map: access.client_map.clone(),
            certificates,
            groups,
            current: RwLock::new(Arc::new(rules)),
            cleartext: RwLock::new(access.cleartext),
            looked: Mutex::new(Looked { access, texts }),
        })
    }

    /// What `access` would make of it, for [`RuleBook::take`]. Blocks.
    ///
    /// # Errors
    /// As [`RuleBook::load`].
    pub(crate) fn read(&self, access: &Access) -> anyhow::Result<NewRules> {
        let texts = Texts::read(access);
        let rules = build(access, self.certificates, self.groups, &texts)?;
        Ok(NewRules { looked: Looked { access: access.clone(), texts }, rules })
    }

    /// New logins go by these from now on.
    pub(crate) fn take(&self, rules: NewRules) {
        let NewRules { looked, rules } = rules;
        // Under this lock, as whoever follows the files.
        let mut last = self.looked.lock();
        *self.cleartext.write() = looked.access.cleartext;
        *last = looked;
        *self.current.write() = Arc::new(rules);
    }

    pub(crate) fn current(&self) -> Arc<EntryRules> {
        Arc::clone(&self.current.read())
    }

    /// The map between names in client certificates and roles, where TLS verifies them in full.
    pub(crate) fn client_map(&self) -> Option<&str> {
        self.client_map.as_deref()
    }

    /// Whether a login may depend on who is in which group, now or when a file has changed.
    pub(crate) fn may_ask_for_groups(&self) -> bool {
        self.groups == Groups::LookedUp
    }

    /// Where clients may be asked to show their passwords.
    pub(crate) fn cleartext(&self) -> Cleartext {
        *self.cleartext.read()
    }

    /// Reads the files again, and takes them if they have changed; `None` if they have not. A bad
    /// file changes nothing, and is an error once per change. Blocks.
    fn refresh(&self) -> Option<anyhow::Result<()>> {
        let mut looked = self.looked.lock();
        let texts = Texts::read(&looked.access);
        if texts == looked.texts {
            self.look_at_interfaces();
            return None;
        }
        looked.texts = texts;
        let built = build(&looked.access, self.certificates, self.groups, &looked.texts);
        Some(built.map(|rules| *self.current.write() = Arc::new(rules)))
    }

    /// Addresses come and go; only `samehost` and `samenet` mind.
    fn look_at_interfaces(&self) {
        let current = self.current();
        let interfaces = interfaces(&current.rules).unwrap_or_default();
        if interfaces != current.interfaces {
            let (rules, maps) = (current.rules.clone(), current.maps.clone());
            *self.current.write() = Arc::new(EntryRules { rules, maps, interfaces });
        }
    }

    /// Follows the files. Never ends.
    pub(crate) async fn follow(self: Arc<Self>, period: Duration) {
        loop {
            tokio::time::sleep(period).await;
            let rule_book = Arc::clone(&self);
            // A file system that hangs must not take a thread of the runtime with it.
            match tokio::task::spawn_blocking(move || rule_book.refresh()).await {
                Ok(None) => {}
                Ok(Some(Ok(()))) => {
                    tracing::info!(
                        event = "hba_changed",
                        "the rules of pg_hba.conf have changed; new logins go by them"
                    );
                }
                Ok(Some(Err(error))) => tracing::error!(
                    event = "hba_unusable",
                    error = format!("{error:#}"),
                    "the rules of pg_hba.conf have changed and cannot be used; those before stay"
                ),
                Err(error) => {
                    tracing::error!(event = "hba_unusable", %error, "pg_hba.conf cannot be looked at")
                }
            }
        }
    }
}

/// Whether a login may depend on who is in which group, now or when a file has changed.
fn may_ask_for_groups(access: &Access, now: &EntryRules) -> bool {
    matches!(access.rules, Written::File(_))
        || matches!(access.maps, Written::File(_))
        || !now.rules.ask_for_groups().is_empty()
        || !now.maps.ask_for_groups().is_empty()
}

fn build(
    access: &Access,
    certificates: Certificates,
    groups: Groups,
    texts: &Texts,
) -> anyhow::Result<EntryRules> {
    let mut faults = Faults::default();
    let (here, map_here) = (place(&access.rules, "[[hba]]"), place(&access.maps, "[[ident]]"));
    let rules = faults.take(&here, read(&access.rules, &texts.rules, Rules::read));
    let maps = faults.take(&map_here, read(&access.maps, &texts.maps, Maps::read));
    if let Some(rules) = &rules {
        if groups == Groups::Unknown {
            faults.add(&here, rules.ask_for_groups());
        }
        if groups == Groups::NotLookedUp {
            faults.add_groups(&here, rules.ask_for_groups());
        }
        faults.add(&here, rules.without_tokens(access.token_issuer()));
        faults.add_filters(&here, rules);
        if certificates == Certificates::Never {
            faults.add(&here, rules.without_certificates());
        }
        faults.add(&here, maps.as_ref().map(|maps| rules.unknown_maps(maps)).unwrap_or_default());
    }
    if let Some(maps) = &maps {
        if groups == Groups::Unknown {
            faults.add(&map_here, maps.ask_for_groups());
        }
        if groups == Groups::NotLookedUp {
            faults.add_groups(&map_here, maps.ask_for_groups());
        }
        if let Some(map) = access.client_map.as_ref().filter(|map| !maps.contains(map)) {
            faults.0.push(format!("proxy.tls.client_map: no line of {map_here} is of \"{map}\""));
        }
    }
    match (rules, maps) {
        (Some(rules), Some(maps)) if faults.0.is_empty() => {
            let interfaces = interfaces(&rules).context("asking for this machine's addresses")?;
            Ok(EntryRules { rules, maps, interfaces })
        }
        _ => bail!("{faults}"),
    }
}

/// What can be used of what is written, and what cannot.
///
/// # Errors
/// The file cannot be read.
fn read<T: Clone>(
    written: &Written<T>,
    text: &Text,
    read: impl Fn(&str) -> (T, Vec<LineError>),
) -> Result<(T, Vec<LineError>), String> {
    match (written, text) {
        (Written::Here(value), _) => Ok((value.clone(), Vec::new())),
        (Written::File(_), Some(Ok(text))) => Ok(read(text)),
        (Written::File(_), Some(Err(error))) => Err(error.clone()),
        (Written::File(_), None) => Err("not read".to_owned()),
    }
}

fn place<T>(written: &Written<T>, here: &str) -> String {
    match written {
        Written::Here(_) => here.to_owned(),
        Written::File(path) => path.display().to_string(),
    }
}

// === impl Texts ===

impl Texts {
    fn read(access: &Access) -> Self {
        Self { rules: text(&access.rules), maps: text(&access.maps) }
    }
}

fn text<T>(written: &Written<T>) -> Text {
    match written {
        Written::Here(_) => None,
        Written::File(path) => Some(read_file(path).map_err(|error| error.to_string())),
    }
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_MAX {
        return Err(std::io::Error::other("longer than 1 MiB"));
    }
    Ok(text)
}

// === impl Faults ===

impl Faults {
    fn add(&mut self, place: &str, errors: Vec<LineError>) {
        self.0.extend(errors.iter().map(|error| format!("{place}: {error}")));
    }

    /// Rules that are good, but not before a restart.
    fn add_groups(&mut self, place: &str, rules: Vec<LineError>) {
        self.0.extend(rules.iter().map(|rule| {
            let line = rule.line;
            format!("{place}: line {line}: it is the first to ask for a group; restart pgmesh")
        }));
    }

    /// What is wrong with the searches of LDAP.
    fn add_filters(&mut self, place: &str, rules: &Rules) {
        for rule in rules.iter() {
            if let Method::Ldap(ldap) = &rule.method
                && let Err(fault) = control::ldap::check_rule(ldap)
            {
                let option = "ldapsearchfilter or ldapsearchattribute";
                self.0.push(format!("{place}: line {}: {option} {fault}", rule.line));
            }
        }
    }

    fn take<T>(&mut self, place: &str, read: Result<(T, Vec<LineError>), String>) -> Option<T> {
        match read {
            Ok((value, errors)) => {
                self.add(place, errors);
                Some(value)
            }
            Err(error) => {
                self.0.push(format!("{place}: {error}"));
                None
            }
        }
    }
}

/// Each on a line of its own.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n  "))
    }
}

/// The addresses of this machine, if a rule asks for them.
fn interfaces(rules: &Rules) -> nix::Result<Vec<Network>> {
    if !rules.ask_for_interfaces() {
        return Ok(Vec::new());
    }
    let ip = |address: &SockaddrStorage| -> Option<IpAddr> {
        let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    };
    let networks = getifaddrs()?.filter_map(|interface| {
        let (address, mask) = (ip(interface.address.as_ref()?)?, ip(interface.netmask.as_ref()?)?);
        Network::with_mask(address, mask)
    });
    Ok(networks.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(directory: &Path, more: &str) -> Settings {
        let file = directory.join("pg_hba.conf");
        let text = format!(
            "{more}\nauth.hba_file = '{}'\n[[users]]\nname = 'a'\npassword = 'p'\n[cluster]\n\
             discovery = 'static'\nnodes = ['127.0.0.1']\n",
            file.display()
        );
        config::parse("proxy.toml", &text, &config::Process).unwrap()
    }

    #[test]
    fn a_file_is_taken_when_it_changes_and_when_it_is_good() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pg_hba.conf");
        std::fs::write(&file, "local all all trust").unwrap();
        let rule_book = RuleBook::load(&settings(directory.path(), "")).unwrap();
        let shown =
            || rule_book.current().rules.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(rule_book.refresh().is_none());
        std::fs::write(&file, "local all all peer").unwrap();
        assert!(matches!(rule_book.refresh(), Some(Ok(()))));
        assert_eq!(shown(), ["local all all peer"]);

        std::fs::write(&file, "local all all peer map=m\nlocal all").unwrap();
        let error = rule_book.refresh().unwrap().unwrap_err().to_string();
        assert!(error.contains("pg_hba.conf: line 1: no ident map \"m\""), "{error}");
        assert!(error.contains("pg_hba.conf: line 2: the line ends before the user"), "{error}");
        assert!(rule_book.refresh().is_none(), "said once");
        std::fs::remove_file(&file).unwrap();
        assert!(rule_book.refresh().unwrap().is_err());
        assert_eq!(shown(), ["local all all peer"]);
        std::fs::write(&file, "host all all samenet trust").unwrap();
        assert!(matches!(rule_book.refresh(), Some(Ok(()))));
        assert!(!rule_book.current().interfaces().is_empty(), "loopback at least");
    }

    #[test]
    fn every_line_is_reported_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pg_hba.conf");
        let rules = "local all +staff peer\nhost all all all ldap ldapserver=x ldapbasedn=y ldapsearchfilter=(uid=\n\
                     hostssl all all all cert map=none";
        std::fs::write(&file, rules).unwrap();
        let error = RuleBook::load(&settings(directory.path(), "")).unwrap_err().to_string();
        for (line, text) in [
            (1, "set auth.query_user"),
            (2, "ldapsearchfilter or ldapsearchattribute is not a filter such as (uid=$username)"),
            (3, "set proxy.tls.client_ca"),
            (3, "no ident map \"none\""),
        ] {
            let expected = format!("{}: line {line}: ", file.display());
            let found = error.lines().any(|it| it.contains(&expected) && it.contains(text));
            assert!(found, "{line} {text}: {error}");
        }
        let looking_up = settings(directory.path(), "auth.query_user = 'lookup'");
        let error = RuleBook::load(&looking_up).unwrap_err().to_string();
        assert!(!error.contains("line 1: "), "{error}");
        std::fs::remove_file(&file).unwrap();
        let error = RuleBook::load(&settings(directory.path(), "")).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
