//! How one client proves who it is: the rule that is for it, the rule's method, and the names in
//! its certificate.

use auth::hba::{
    ClientCertificate, Connection, Decision, Encryption, Method, Mismatch, Peer, Purpose, Rule,
};
use frontend::{Client, LoginRequest, Refused};
use tokio::io::{AsyncRead, AsyncWrite};
use transport::{Subject, TlsMode};
use wire::{ErrorMessage, SqlState};

use crate::app::App;
use crate::rules::EntryRules;

/// Why a client is not let in. It has been told.
pub(crate) enum Denied {
    /// The exchange with it failed.
    Exchange(Refused),
    /// For this reason, which only the log hears in full.
    Reason(String),
}

/// Lets the client prove who it is, as the rules have it.
pub(crate) async fn prove<S>(
    app: &App,
    request: LoginRequest<S>,
    peer: Peer,
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
        purpose: Purpose::Queries,
        peer,
        encryption: encryption(&request, subject.as_ref()),
    };
    let rule = match now.rules.decide(&connection, &*now) {
        Decision::Ask(rule) => rule,
        Decision::Refuse(refusal) => {
            request.refuse(&refusal.fatal(&connection)).await;
            return Err(Denied::Reason(refusal.kind().to_owned()));
        }
    };
    let client = match rule.method {
        Method::ScramSha256 => request.authenticate(&app.users).await.map_err(Denied::Exchange)?,
        Method::Cert { .. } | Method::Trust => request.admit(),
        // Refused when the rules are read.
        Method::Ldap(_) | Method::Oauth(_) | Method::Peer { .. } | Method::Reject => {
            request.refuse(&rule.method.failed(&user)).await;
            return Err(Denied::Reason(format!("line {}: {}", rule.line, rule.method.name())));
        }
    };
    let names = rule
        .certificate_names(&connection, &now.maps, &*now)
        .and_then(|()| names_by_mode(app, &now, rule, &connection));
    if let Err(mismatch) = names {
        client.deny(&rule.method.failed(&user)).await;
        return Err(Denied::Reason(format!("line {}: {mismatch}", rule.line)));
    }
    if client.keys().is_none() && app.server_logins.get(&user).is_none() {
        client.deny(&no_server_login(&user, rule)).await;
        return Err(Denied::Reason(format!("no password for the servers: {}", rule.method.name())));
    }
    Ok(client)
}

/// What `proxy.tls.mode = "verify-full"` asks of the name in the certificate, where the rule
/// itself asks nothing. Clients of a Unix socket are not inside TLS, and are not asked.
fn names_by_mode(
    app: &App,
    now: &EntryRules,
    rule: &Rule,
    connection: &Connection<'_>,
) -> Result<(), Mismatch> {
    let asks = rule.certificate == auth::hba::CertificateCheck::VerifyFull;
    let Encryption::Tls(certificate) = connection.encryption else { return Ok(()) };
    if asks || app.acceptor.mode() != TlsMode::VerifyFull {
        return Ok(());
    }
    match certificate {
        ClientCertificate::Verified { common_name: Some(name) } if !name.is_empty() => {
            now.maps.admit(app.rule_book.client_map(), name, connection.user, now)
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

/// A client that gave no password is let in only where another is known for the servers: pgmesh
/// cannot be trusted there in everybody's name.
fn no_server_login(user: &str, rule: &Rule) -> ErrorMessage {
    let message = format!("pgmesh has no password to log in to the server as role \"{user}\"");
    let method = rule.method.name();
    let detail = format!("The client was let in by method \"{method}\", which discloses none.");
    invalid(message).with_detail(detail).with_hint(
        "Add the role to [[users]]. If it is there with a verifier, set server_password, or let \
         it log in with its password once.",
    )
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> ErrorMessage {
    ErrorMessage::fatal(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
}
