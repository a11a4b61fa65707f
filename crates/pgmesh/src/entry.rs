//! How one client proves who it is: the rule that is for it, the rule's method, and the names in
//! its certificate.

use auth::hba::{
    ClientCertificate, Connection, Decision, Encryption, Facts, Method, Mismatch, Rule,
};
use control::auth_query::LookupError;
use frontend::{Client, ClientAddress, LoginRequest, Refused};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use transport::{Subject, TlsMode};
use wire::{ErrorMessage, SqlState};

use crate::app::App;
use crate::applicant::{Applicant, Unknown};
use crate::rules::EntryRules;
use crate::{bearer, ldap, os_users};

/// What a client wants to be let in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The console, which asks no server.
    Console,
    /// A pool, whose servers ask for a password.
    Pool,
}

/// Why a client is not let in. It has been told.
pub(crate) enum Denied {
    /// The exchange with it failed; and why nobody could have passed it, for the log.
    Exchange(Refused, Option<&'static str>),
    /// Its role could not be looked up.
    Lookup(LookupError),
    /// Its password is not right. Why, only the log hears.
    Password(String),
    /// Nobody can say whether its password is right.
    Directory(String),
    /// For this reason, which only the log hears in full.
    Reason(String),
}

impl Denied {
    /// Whether a proof of who the client is was tried and has failed.
    pub(crate) fn is_failed_proof(&self) -> bool {
        match self {
            Self::Exchange(refused, _) => refused.is_failed_proof(),
            Self::Password(_) => true,
            Self::Lookup(_) | Self::Directory(_) | Self::Reason(_) => false,
        }
    }
}

/// Lets the client prove who it is, as the rules have it, until `deadline`.
pub(crate) async fn prove<S>(
    app: &App,
    request: LoginRequest<S>,
    from: ClientAddress,
    purpose: Purpose,
    deadline: Instant,
) -> Result<Client<S>, Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let now = app.rule_book.current();
    let startup = request.startup();
    let (user, database) = (startup.user.clone(), startup.database.clone());
    let subject = match request.client_subject() {
        Ok(subject) => subject,
        Err(error) => {
            request.refuse(&invalid("connection requires a valid client certificate")).await;
            return Err(Denied::Reason(error.to_string()));
        }
    };
    let connection = Connection {
        user: &user,
        database: &database,
        purpose: auth::hba::Purpose::Queries,
        peer: from.peer(),
        encryption: encryption(&request, subject.as_ref()),
    };
    let mut applicant = Applicant::new(app, &now, &user, deadline);
    let decided = applicant.ask(|facts| match now.rules.decide(&connection, facts) {
        Decision::Ask(rule) => Ok((rule, names(app, &now, rule, &connection, facts))),
        Decision::Refuse(refusal) => Err(refusal),
    });
    let (rule, names) = match decided.await {
        Ok(Ok(decided)) => decided,
        Ok(Err(refusal)) => {
            request.refuse(&refusal.fatal(&connection)).await;
            return Err(Denied::Reason(refusal.kind().to_owned()));
        }
        Err(unknown) => return Err(turn_away(request, unknown).await),
    };
    let client = match &rule.method {
        Method::ScramSha256 => exchange(request, &mut applicant).await?,
        Method::Cert { .. } | Method::Trust => request.admit(),
        Method::Oauth(oauth) => bearer::ask(app, request, rule, oauth, &mut applicant).await?,
        Method::Ldap(ldap) => ldap::prove(app, request, from.peer(), (&rule.method, ldap)).await?,
        Method::Peer { .. } => os_users::ask(app, request, rule, from, &mut applicant).await?,
        Method::Reject => {
            request.refuse(&rule.method.failed(&user)).await;
            return Err(Denied::Reason(format!("line {}: {}", rule.line, rule.method.name())));
        }
    };
    if let Err(mismatch) = names {
        client.deny(&rule.method.failed(&user)).await;
        return Err(Denied::Reason(format!("line {}: {mismatch}", rule.line)));
    }
    if purpose == Purpose::Console || client.keys().is_some() || client.password().is_some() {
        return Ok(client);
    }
    without_password(client, rule, &mut applicant).await
}

/// Lets a client in that has disclosed no password, if no server wants one.
async fn without_password<S>(
    client: Client<S>,
    rule: &Rule,
    applicant: &mut Applicant<'_>,
) -> Result<Client<S>, Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match applicant.may_ask_servers().await {
        Ok(true) => Ok(client),
        Ok(false) => {
            let refusal = no_server_login(&client.startup().user, rule);
            client.deny(&refusal).await;
            let method = rule.method.name();
            Err(Denied::Reason(format!("no password for the servers: {method}")))
        }
        Err(unknown) => {
            client.deny(&Unknown::fatal()).await;
            Err(unknown.into())
        }
    }
}

/// Asks for the password.
async fn exchange<S>(
    request: LoginRequest<S>,
    applicant: &mut Applicant<'_>,
) -> Result<Client<S>, Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let challenge = match applicant.challenge().await {
        Ok(challenge) => challenge,
        Err(unknown) => return Err(turn_away(request, unknown).await),
    };
    match request.authenticate(challenge).await {
        Ok(client) => {
            if let Some(keys) = client.keys() {
                applicant.passed(keys);
            }
            Ok(client)
        }
        Err(refused) => Err(Denied::Exchange(refused, applicant.failed())),
    }
}

/// Ends a login of somebody of whom nothing is known.
pub(crate) async fn turn_away<S>(request: LoginRequest<S>, unknown: Unknown) -> Denied
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Unknown::Lookup(_) = unknown {
        request.refuse(&Unknown::fatal()).await;
    }
    unknown.into()
}

impl From<Unknown> for Denied {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::Lookup(error) => Self::Lookup(error),
            Unknown::Deadline => Self::Exchange(Refused::Timeout, None),
        }
    }
}

/// Whether the names in the client's certificate let it in: as the rule has it, and as
/// `proxy.tls.mode` does.
fn names(
    app: &App,
    now: &EntryRules,
    rule: &Rule,
    connection: &Connection<'_>,
    facts: &dyn Facts,
) -> Result<(), Mismatch> {
    rule.certificate_names(connection, &now.maps, facts)?;
    names_by_mode(app, now, rule, connection, facts)
}

/// What `proxy.tls.mode = "verify-full"` asks of the name in the certificate, where the rule
/// itself asks nothing. Clients of a Unix socket are not inside TLS, and are not asked.
fn names_by_mode(
    app: &App,
    now: &EntryRules,
    rule: &Rule,
    connection: &Connection<'_>,
    facts: &dyn Facts,
) -> Result<(), Mismatch> {
    let asks = rule.certificate == auth::hba::CertificateCheck::VerifyFull;
    let Encryption::Tls(certificate) = connection.encryption else { return Ok(()) };
    if asks || app.acceptor.mode() != TlsMode::VerifyFull {
        return Ok(());
    }
    match certificate {
        ClientCertificate::Verified { common_name: Some(name) } if !name.is_empty() => {
            now.maps.admit(app.rule_book.client_map(), name, connection.user, facts)
        }
        ClientCertificate::Verified { .. } | ClientCertificate::None => Err(Mismatch::NoName),
    }
}

fn encryption<'a, S>(request: &LoginRequest<S>, subject: Option<&'a Subject>) -> Encryption<'a>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !request.is_tls() {
        return Encryption::None;
    }
    Encryption::Tls(match subject {
        Some(subject) => {
            ClientCertificate::Verified { common_name: subject.common_name.as_deref() }
        }
        None => ClientCertificate::None,
    })
}

/// A client is let in by a method that discloses no password, and the server has said that it wants
/// one.
fn no_server_login(user: &str, rule: &Rule) -> ErrorMessage {
    let method = rule.method.name();
    let detail = format!("The client was let in by method \"{method}\", which discloses none.");
    backend::no_password(user, detail)
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> ErrorMessage {
    ErrorMessage::fatal(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
}
