//! The method `ldap`: passwords that an LDAP server checks.
//!
//! As PostgreSQL does it: a bind with the user's password, on a connection of its own, either
//! under a name made of prefix, user and suffix, or under that of the one entry which a search has
//! found. The messages are few and written here (`ber`, `message`, `filter`): see
//! docs/decisions/0011-ldap.md. Referrals are not followed.
//!
//! What makes a bind succeed without a password is refused before a server is asked: RFC 4513
//! takes a name with an empty password for somebody who wants to stay anonymous.

mod ber;
mod conversation;
mod failure;
mod filter;
mod message;
mod name;

use std::path::PathBuf;
use std::time::Duration;

use auth::Secret;
use auth::hba::{Ldap, LdapBind, LdapSearch, LdapSecurity};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;
use transport::{Renewal, ServiceConnector, ServiceTls};

pub use failure::{Failure, LdapResult};
pub use filter::FilterFault;

use conversation::{Conversation, Found, Wanted, connect};
use filter::{put_equality, put_filter};

/// Most passwords that are checked at one time. More wait; what a directory does in a few
/// milliseconds is quick enough for all, and one that hangs does not take everything with it.
const CHECKS_MAX: usize = 64;

/// How LDAP servers are asked; which, and for what, is in the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Longest wait for a verdict, over all servers of a rule.
    pub timeout: Duration,
    /// The authority of their certificates (PEM); the system's authorities without one.
    pub ca: Option<PathBuf>,
}

/// What became of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the user's.
    Accepted,
    /// It does not let the user in.
    Refused(Refusal),
}

/// Why a password lets nobody in. For the log: the client is told the same in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none. A server was not asked.
    #[error("the password is empty")]
    EmptyPassword,
    /// The name has a meaning of its own in LDAP. A server was not asked.
    #[error("the user name has a character that has a meaning in LDAP")]
    UnfitName,
    /// The search found nobody.
    #[error("LDAP has no such user")]
    NoEntry,
    /// The search found more than one.
    #[error("LDAP has several such users")]
    SeveralEntries,
    /// The server refused the bind.
    #[error("LDAP refused the password: {0}")]
    Password(LdapResult),
}

/// Checks passwords with LDAP servers.
#[derive(Debug)]
pub struct Directory {
    config: Config,
    /// The system's authorities are read when a rule first needs them: most have none that does.
    tls: OnceCell<ServiceConnector>,
    turns: Semaphore,
}

/// What is wrong with a rule that only shows when its filter is read.
///
/// # Errors
/// The fault of its filter or attribute.
pub fn check_rule(ldap: &Ldap) -> Result<(), FilterFault> {
    match &ldap.bind {
        LdapBind::Simple { .. } => Ok(()),
        LdapBind::Search { search, .. } => put_search(&mut Vec::new(), search, "user"),
    }
}

impl Config {
    /// The default of [`Config::timeout`].
    pub const TIMEOUT: Duration = Duration::from_secs(5);
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout: Self::TIMEOUT, ca: None }
    }
}

impl Directory {
    /// Reads the authority, if one is configured. Blocks on the file system.
    ///
    /// # Errors
    /// It is missing or unfit.
    pub fn new(config: Config) -> Result<Self, transport::Error> {
        let tls = match &config.ca {
            Some(_) => OnceCell::new_with(Some(service(&config).connector()?)),
            None => OnceCell::new(),
        };
        Ok(Self { config, tls, turns: Semaphore::new(CHECKS_MAX) })
    }

    /// What reads the authority again, if one is configured.
    pub fn renewal(&self) -> Option<Renewal> {
        let _configured = self.config.ca.as_ref()?;
        self.tls.get().map(|tls| tls.renewal("[auth] ldap_ca"))
    }

    /// Asks the servers of a rule, one after the other, until one has an answer.
    ///
    /// # Errors
    /// None had one. Each has been logged.
    ///
    /// # Cancel safety
    /// Cancel safe: the connection is closed.
    pub async fn check(
        &self,
        ldap: &Ldap,
        user: &str,
        password: &Secret,
    ) -> Result<Verdict, Failure> {
        if password.expose().is_empty() {
            return Ok(Verdict::Refused(Refusal::EmptyPassword));
        }
        let deadline = Instant::now() + self.config.timeout;
        let Ok(turn) = timeout_at(deadline, self.turns.acquire()).await else {
            return Err(Failure::Busy);
        };
        let _turn = turn.map_err(|_| Failure::Busy)?;
        let servers: Vec<&str> = ldap.server.split_whitespace().collect();
        let mut failed = Failure::NoServer;
        for (server, behind) in servers.iter().zip((1..=servers.len()).rev()) {
            // One that hangs leaves time for those behind it.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(behind).unwrap_or(u32::MAX);
            let asked = timeout(share, self.ask(server, share, ldap, user, password)).await;
            failed = match asked.unwrap_or(Err(Failure::Timeout)) {
                Ok(verdict) => return Ok(verdict),
                Err(failure) => failure,
            };
            warn!(event = "ldap_failed", server, error = %failed, "an LDAP server cannot check a password");
        }
        Err(failed)
    }

    async fn ask(
        &self,
        server: &str,
        limit: Duration,
        ldap: &Ldap,
        user: &str,
        password: &Secret,
    ) -> Result<Verdict, Failure> {
        let unfit = |_| Verdict::Refused(Refusal::UnfitName);
        match &ldap.bind {
            LdapBind::Simple { prefix, suffix } => {
                let name = match name::bound(prefix, user, suffix).map_err(unfit) {
                    Ok(name) => name,
                    Err(verdict) => return Ok(verdict),
                };
                let conversation = self.begin(server, ldap).await?;
                bind(conversation, &name, password).await
            }
            LdapBind::Search { base_dn, scope, bind_dn, bind_password, search } => {
                let user = match name::searched(user).map_err(unfit) {
                    Ok(user) => user,
                    Err(verdict) => return Ok(verdict),
                };
                let mut conversation = self.begin(server, ldap).await?;
                let searcher = bind_password.as_ref().map(Secret::expose).unwrap_or_default();
                let done = conversation.bind(bind_dn, searcher).await?;
                if done.code != 0 {
                    return Err(Failure::operation("the bind of ldapbinddn", done));
                }
                let seconds = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX).max(1);
                let wanted = Wanted { base: base_dn, scope: *scope, seconds };
                let found = conversation.search(&wanted, |out| put_search(out, search, user));
                let refusal = match found.await? {
                    Found::One(name) if !name.is_empty() => {
                        return bind(conversation, &name, password).await;
                    }
                    Found::One(_) | Found::Nobody => Refusal::NoEntry,
                    Found::Several => Refusal::SeveralEntries,
                };
                conversation.end().await;
                Ok(Verdict::Refused(refusal))
            }
        }
    }

    async fn begin(&self, host: &str, ldap: &Ldap) -> Result<Conversation<TcpStream>, Failure> {
        let port = ldap.port.unwrap_or(match ldap.security {
            LdapSecurity::None | LdapSecurity::StartTls => PORT,
            LdapSecurity::Tls => PORT_TLS,
        });
        let conversation = Conversation::new(connect(host, port).await?);
        match ldap.security {
            LdapSecurity::None => Ok(conversation),
            LdapSecurity::StartTls => conversation.start_tls(host, self.tls().await?).await,
            LdapSecurity::Tls => conversation.secure(host, self.tls().await?).await,
        }
    }

    async fn tls(&self) -> Result<&ServiceConnector, Failure> {
        let read = || async {
            let service = service(&self.config);
            let read = tokio::task::spawn_blocking(move || service.connector()).await;
            read.map_err(|_| Failure::Timeout)?.map_err(Failure::Authorities)
        };
        self.tls.get_or_try_init(read).await
    }
}

fn service(config: &Config) -> ServiceTls {
    ServiceTls { ca: config.ca.clone() }
}

fn put_search(out: &mut Vec<u8>, search: &LdapSearch, user: &str) -> Result<(), FilterFault> {
    match search {
        LdapSearch::Attribute(attribute) => put_equality(out, attribute, user),
        LdapSearch::Filter(filter) => put_filter(out, filter, user),
    }
}

/// The bind that everything is about.
async fn bind(
    mut conversation: Conversation<TcpStream>,
    name: &str,
    password: &Secret,
) -> Result<Verdict, Failure> {
    let done = conversation.bind(name, password.expose()).await?;
    let result = LdapResult::from(done.clone());
    if result.is_no_answer() {
        return Err(Failure::operation("the bind", done));
    }
    conversation.end().await;
    Ok(match result.code {
        0 => Verdict::Accepted,
        _ => Verdict::Refused(Refusal::Password(result)),
    })
}

const PORT: u16 = 389;
const PORT_TLS: u16 = 636;

#[cfg(test)]
mod tests {
    use auth::hba::{Method, Rules};

    use super::*;

    fn rule(options: &str) -> Ldap {
        let rules = Rules::parse(&format!("host all all all ldap {options}")).unwrap();
        match &rules.iter().next().unwrap().method {
            Method::Ldap(ldap) => ldap.as_ref().clone(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn who_gets_no_turn_in_time_is_told_that_it_is_busy() {
        let config = Config { timeout: Duration::from_millis(1), ca: None };
        let directory = Directory::new(config).unwrap();
        let most = u32::try_from(CHECKS_MAX).unwrap();
        let _taken = directory.turns.acquire_many(most).await.unwrap();
        let ldap = rule("ldapserver=127.0.0.1 ldapprefix=uid=");
        let checked = directory.check(&ldap, "bob", &Secret::new("pw")).await;
        assert!(matches!(checked, Err(Failure::Busy)), "{checked:?}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_a_fault_of_its_rule() {
        let check = |options: &str| check_rule(&rule(&format!("ldapserver=a {options}")));
        assert_eq!(check("ldapprefix=x"), Ok(()));
        assert_eq!(check("ldapbasedn=x ldapsearchattribute=sAMAccountName"), Ok(()));
        assert_eq!(check("ldapbasedn=x \"ldapsearchfilter=(uid=$username)\""), Ok(()));
        let fault = check("ldapbasedn=x \"ldapsearchfilter=(uid=$username\"");
        assert_eq!(fault, Err(FilterFault::Form));
        let fault = check("ldapbasedn=x \"ldapsearchattribute=u id\"");
        assert_eq!(fault, Err(FilterFault::Attribute));
    }
}
