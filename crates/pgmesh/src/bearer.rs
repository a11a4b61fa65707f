//! Clients that show a bearer token: whose tokens are taken, and what becomes of each.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use auth::hba::{Oauth, Rule};
use auth::oauth::{Exchange, Issuer, Policy, Rejection, verify};
use config::Settings;
use control::jwks::{Fetch, Jwks};
use frontend::{Client, LoginRequest, Refused};
use telemetry::{KeyFetch, Metrics, Token};
use tokio::io::{AsyncRead, AsyncWrite};
use transport::Renewal;
use wire::{ErrorMessage, SqlState};

use crate::app::App;
use crate::applicant::{Applicant, Unknown};
use crate::entry::Denied;

/// What tokens are judged by.
#[derive(Debug)]
pub(crate) struct Tokens {
    settings: config::Oauth,
    keys: Jwks,
}

/// What one rule asks of tokens.
struct Wanted<'a> {
    issuer: Issuer,
    scope: &'a str,
}

/// Makes a client show a token, and lets it in if that is the user's. Where it does not do, the
/// client has been told.
pub(crate) async fn ask<S>(
    app: &App,
    request: LoginRequest<S>,
    rule: &Rule,
    options: &Oauth,
    applicant: &mut Applicant<'_>,
) -> Result<Client<S>, Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Both are said by the rules when they are read.
    let wanted = app.tokens.as_ref().and_then(|tokens| Some((tokens, tokens.wanted(options)?)));
    let Some((tokens, wanted)) = wanted else {
        let failed = rule.method.failed(&request.startup().user);
        request.refuse(&failed).await;
        return Err(Denied::Reason(format!("line {}: no issuer of tokens", rule.line)));
    };
    if !request.is_tls() {
        request.refuse(&outside_tls()).await;
        return Err(Denied::Reason(format!("line {}: oauth outside TLS", rule.line)));
    }
    let count = |outcome| app.metrics.clients().tokens.inc(outcome);
    let shown = match request.ask_for_token(Exchange::new(&wanted.issuer, wanted.scope)).await {
        Ok(shown) => shown,
        Err(refused) => {
            outcome_of(&refused).into_iter().for_each(count);
            return Err(Denied::Exchange(refused, None));
        }
    };
    let judged = match tokens.user(shown.token(), &wanted).await {
        Err(why) => Err(why),
        Ok(user) => match applicant.admits(rule, &user).await {
            Ok(admits) => admits.map_err(Rejection::User),
            Err(unknown) => {
                shown.admit().deny(&Unknown::fatal()).await;
                return Err(unknown.into());
            }
        },
    };
    match judged {
        Ok(()) => {
            count(Token::Accepted);
            Ok(shown.admit())
        }
        Err(why) => {
            count(outcome(&why));
            // The client may go before it has heard of it; what it tried counts all the same.
            shown.refuse(why.clone()).await;
            Err(Denied::Exchange(Refused::Token(why), None))
        }
    }
}

impl Tokens {
    /// `None` if nobody's tokens are taken. Blocks on the file system; must be used inside a
    /// runtime.
    ///
    /// # Errors
    /// A file that is missing or unfit.
    pub(crate) fn start(
        settings: &Settings,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Self>, control::jwks::Error> {
        let Some(settings) = settings.access.oauth.clone() else { return Ok(None) };
        let metrics = Arc::clone(metrics);
        let keys = Jwks::start(&settings.keys, move |fetch| {
            metrics.clients().key_fetches.inc(match fetch {
                Fetch::Done => KeyFetch::Done,
                Fetch::Failed => KeyFetch::Failed,
            });
        })?;
        Ok(Some(Self { settings, keys }))
    }

    /// What follows the authority of the issuer's certificate, if there is one.
    pub(crate) fn renewal(&self) -> Option<Renewal> {
        self.keys.renewal()
    }

    /// `None` if nobody says whose tokens are taken.
    fn wanted<'a>(&'a self, options: &'a Oauth) -> Option<Wanted<'a>> {
        let issuer = match &options.issuer {
            Some(issuer) => Issuer::new(issuer).ok()?,
            None => self.settings.issuer.clone()?,
        };
        Some(Wanted { issuer, scope: options.scope.as_deref().unwrap_or(&self.settings.scope) })
    }

    /// Whose the token is. One with a key that is not known waits for new keys, if nobody has
    /// just asked for some.
    async fn user(&self, token: &str, wanted: &Wanted<'_>) -> Result<String, Rejection> {
        let policy = Policy {
            issuer: wanted.issuer.identifier(),
            audience: &self.settings.audience,
            scope: wanted.scope,
            claim: &self.settings.claim,
            clock_skew: self.settings.clock_skew,
        };
        if let Some(keys) = self.keys.current() {
            match verify(token, &keys, &policy, since_1970()) {
                Err(Rejection::UnknownKey) => {}
                judged => return judged,
            }
        }
        let keys = self.keys.refreshed().await.ok_or(Rejection::NoKeys)?;
        verify(token, &keys, &policy, since_1970())
    }
}

/// Before that, which no clock says, nothing has expired yet and nothing is valid.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn outside_tls() -> ErrorMessage {
    ErrorMessage::fatal(
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        "OAuth bearer authentication requires an encrypted connection",
    )
    .with_hint("Connect with sslmode=require or more: a token that is read can be used.")
}

/// What is counted of an exchange that has failed; `None` if no token came into it.
fn outcome_of(refused: &Refused) -> Option<Token> {
    match refused {
        Refused::Token(why) => Some(outcome(why)),
        Refused::Bearer(_) => Some(Token::Malformed),
        _ => None,
    }
}

fn outcome(why: &Rejection) -> Token {
    match why {
        Rejection::Discovery => Token::Discovery,
        Rejection::Malformed(_) | Rejection::TooLong => Token::Malformed,
        Rejection::Algorithm => Token::Algorithm,
        Rejection::UnknownKey => Token::UnknownKey,
        Rejection::Signature => Token::Signature,
        Rejection::Issuer => Token::Issuer,
        Rejection::Audience => Token::Audience,
        Rejection::Expired | Rejection::NoExpiry => Token::Expired,
        Rejection::NotYetValid => Token::NotYetValid,
        Rejection::Scope => Token::Scope,
        Rejection::NoUser | Rejection::User(_) => Token::User,
        Rejection::NoKeys => Token::NoKeys,
    }
}
