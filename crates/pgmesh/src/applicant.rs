//! A client that says who it is, and what is known of that role: from `[[users]]`, or else from
//! the database.

use std::cell::Cell;
use std::sync::Arc;

use auth::hba::{Facts, Mismatch, Network, Rule};
use auth::{Challenge, ScramKeys};
use control::auth_query::{Found, LookupError, RolePassword};
use tokio::time::{Instant, timeout_at};
use wire::{ErrorMessage, SqlState};

use crate::app::App;
use crate::rules::EntryRules;

/// A client that says it is `user`. The database is asked about the role when something depends
/// on the answer, and once.
#[derive(Debug)]
pub(crate) struct Applicant<'a> {
    app: &'a App,
    rules: &'a EntryRules,
    user: &'a str,
    deadline: Instant,
    found: Option<Found>,
}

/// Why nothing is known of a role. It says nothing about the role.
#[derive(Debug)]
pub(crate) enum Unknown {
    /// There is no answer.
    Lookup(LookupError),
    /// `client_login_timeout`.
    Deadline,
}

impl<'a> Applicant<'a> {
    /// Nobody is asked yet. The login ends at `deadline`.
    pub(crate) fn new(
        app: &'a App,
        rules: &'a EntryRules,
        user: &'a str,
        deadline: Instant,
    ) -> Self {
        Self { app, rules, user, deadline, found: None }
    }

    /// Answers what depends on who is in which group. The role is looked up only if it does, and
    /// then `question` is put again.
    ///
    /// # Errors
    /// The role could not be looked up.
    pub(crate) async fn ask<T>(
        &mut self,
        question: impl Fn(&dyn Facts) -> T,
    ) -> Result<T, Unknown> {
        let (answer, counts) = self.answer(&question);
        if counts {
            return Ok(answer);
        }
        self.look_up().await?;
        Ok(self.answer(&question).0)
    }

    /// Whether somebody whom the rule's method has found to be `system_user` may log in as this
    /// role.
    ///
    /// # Errors
    /// The role could not be looked up.
    pub(crate) async fn admits(
        &mut self,
        rule: &Rule,
        system_user: &str,
    ) -> Result<Result<(), Mismatch>, Unknown> {
        let (user, rules) = (self.user, self.rules);
        self.ask(|facts| rule.admits(system_user, user, &rules.maps, facts)).await
    }

    /// What the client's password is checked against: `[[users]]`, or else the database. Somebody
    /// who has no password there gets a challenge that nobody passes.
    ///
    /// # Errors
    /// The role could not be looked up.
    pub(crate) async fn challenge(&mut self) -> Result<Challenge, Unknown> {
        let users = self.app.credentials.users();
        if self.is_configured() || self.app.auth_query.is_none() {
            return Ok(users.challenge(self.user));
        }
        let verifier = match self.look_up().await? {
            Found::Role(role) => match &role.password {
                RolePassword::Verifier(verifier) => Some(Arc::clone(verifier)),
                RolePassword::Missing
                | RolePassword::Expired
                | RolePassword::Md5
                | RolePassword::Unusable(_) => None,
            },
            Found::Absent => None,
        };
        Ok(users.challenge_with(self.user, verifier))
    }

    /// The challenge was not passed, or the client left it: the role may have changed. Says, for
    /// the log, why nobody could have passed it.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        let found = self.found.as_ref().filter(|_| !self.is_configured())?;
        if let Some(auth_query) = &self.app.auth_query {
            auth_query.doubt(self.user, found);
        }
        match found {
            Found::Absent => Some("no such role"),
            Found::Role(role) => match role.password {
                RolePassword::Verifier(_) => None,
                RolePassword::Missing => Some("the role has no password"),
                RolePassword::Expired => Some("the role's password has expired"),
                RolePassword::Md5 => Some("the role's password is an md5 hash"),
                RolePassword::Unusable(_) => Some("the role's verifier is none"),
            },
        }
    }

    /// The challenge was passed with these keys: servers are opened with them from now on.
    pub(crate) fn passed(&self, keys: &ScramKeys) {
        if let Some(Found::Role(role)) = &self.found
            && !self.is_configured()
        {
            self.app.server_logins.learn_role(self.user, keys, role);
        }
    }

    /// Whether servers may be asked to let in whom this login has disclosed nothing of. They decide
    /// about roles of `[[users]]`, and about all if the database is not asked. One that is looked up
    /// must be there, and have no password or one that was disclosed: servers that were logged in
    /// to before the role was dropped, or got another, would let it in.
    ///
    /// # Errors
    /// The role could not be looked up.
    pub(crate) async fn may_ask_servers(&mut self) -> Result<bool, Unknown> {
        if self.is_configured() || self.app.auth_query.is_none() {
            return Ok(true);
        }
        let is_bare = match self.look_up().await? {
            Found::Role(role) => matches!(role.password, RolePassword::Missing),
            Found::Absent => false,
        };
        Ok(is_bare || self.app.server_logins.get(self.user).is_some())
    }

    fn is_configured(&self) -> bool {
        self.app.credentials.get(self.user).is_some()
    }

    /// What is known of the role; of nobody's if nobody is asked.
    async fn look_up(&mut self) -> Result<&Found, Unknown> {
        let found = match (self.found.take(), &self.app.auth_query) {
            (Some(found), _) => found,
            (None, None) => Found::Absent,
            (None, Some(auth_query)) => {
                let lookup = timeout_at(self.deadline, auth_query.lookup(self.user));
                let found = lookup.await.map_err(|_| Unknown::Deadline)?;
                let found = found.map_err(Unknown::Lookup)?;
                self.app.server_logins.found(self.user, &found);
                found
            }
        };
        Ok(self.found.insert(found))
    }

    /// An answer, and whether it counts.
    fn answer<T>(&self, question: impl Fn(&dyn Facts) -> T) -> (T, bool) {
        let facts = ApplicantFacts { applicant: self, is_missing: Cell::new(false) };
        let answer = question(&facts);
        (answer, !facts.is_missing.get())
    }
}

/// What is known of an applicant, and whether something was asked that is not.
struct ApplicantFacts<'a> {
    applicant: &'a Applicant<'a>,
    is_missing: Cell<bool>,
}

impl Facts for ApplicantFacts<'_> {
    /// `role` is the applicant's: rules ask about nobody else.
    fn is_member(&self, _: &str, group: &str) -> bool {
        match &self.applicant.found {
            Some(Found::Role(role)) => role.is_member(group),
            Some(Found::Absent) => false,
            None => {
                self.is_missing.set(true);
                false
            }
        }
    }

    fn interfaces(&self) -> &[Network] {
        self.applicant.rules.interfaces()
    }
}

impl Unknown {
    /// For everybody the same, whether there is such a role or not: `57P03`.
    pub(crate) fn fatal() -> ErrorMessage {
        ErrorMessage::fatal(
            SqlState::CANNOT_CONNECT_NOW,
            "pgmesh cannot find out at the moment who may log in",
        )
        .with_hint("Try again later. The log of pgmesh has the reason.")
    }
}
