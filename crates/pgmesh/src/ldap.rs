//! The method `ldap`: the client shows its password, and an LDAP server checks it.

use std::time::Instant;

use auth::hba::{Ldap, Method, Peer};
use config::Cleartext;
use control::ldap::{Failure, Refusal, Verdict};
use frontend::{Claim, Client, LoginRequest, Refused, fatal};
use telemetry::LdapCheck;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout_at;

use crate::app::App;
use crate::entry::Denied;

/// Has the client show its password, and asks. It has been told what came of it.
pub(crate) async fn prove<S>(
    app: &App,
    request: LoginRequest<S>,
    peer: Peer,
    (method, ldap): (&Method, &Ldap),
) -> Result<Client<S>, Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !may_be_shown(request.is_tls(), peer, app.rule_book.cleartext()) {
        let user = request.startup().user.clone();
        request.refuse(&fatal::password_in_clear(&user)).await;
        return Err(Denied::Reason("auth.allow_cleartext_without_tls".to_owned()));
    }
    let claim = match request.ask_password().await {
        Ok(claim) => claim,
        Err(refused) => {
            if matches!(refused, Refused::EmptyPassword) {
                app.metrics.clients().ldap_checks.inc(LdapCheck::Refused);
            }
            return Err(Denied::Exchange(refused, None));
        }
    };
    match check(app, ldap, &claim).await {
        Ok(Ok(Verdict::Accepted)) => Ok(claim.admit()),
        Ok(Ok(Verdict::Refused(why))) => {
            let failed = method.failed(&claim.startup().user);
            claim.deny(&failed).await;
            Err(Denied::Password(why.to_string()))
        }
        Ok(Err(failure)) => {
            claim.deny(&fatal::no_directory()).await;
            Err(Denied::Directory(failure.to_string()))
        }
        Err(refused) => Err(Denied::Exchange(refused, None)),
    }
}

/// Bounded by `auth.ldap_timeout`, and by the login's own end.
async fn check<S>(
    app: &App,
    ldap: &Ldap,
    claim: &Claim<S>,
) -> Result<Result<Verdict, Failure>, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let began = Instant::now();
    let asked = app.directory.check(ldap, &claim.startup().user, claim.password());
    let checked = timeout_at(claim.deadline(), asked).await.map_err(|_| Refused::Timeout);
    let metrics = app.metrics.clients();
    metrics.ldap_checks.inc(match &checked {
        Ok(Ok(Verdict::Accepted)) => LdapCheck::Accepted,
        Ok(Ok(Verdict::Refused(_))) => LdapCheck::Refused,
        Ok(Err(Failure::Busy)) => LdapCheck::Busy,
        Ok(Err(Failure::Timeout)) | Err(_) => LdapCheck::Timeout,
        Ok(Err(_)) => LdapCheck::Unavailable,
    });
    let asked_nobody =
        matches!(checked, Ok(Ok(Verdict::Refused(Refusal::EmptyPassword | Refusal::UnfitName))));
    if !asked_nobody {
        metrics.ldap_seconds.observe(Instant::now().saturating_duration_since(began));
    }
    checked
}

/// Who can read along on a connection without TLS gets the password. Nobody can on a Unix socket;
/// what comes from this machine's own address may have come to it from elsewhere.
fn may_be_shown(is_tls: bool, peer: Peer, cleartext: Cleartext) -> bool {
    is_tls || peer == Peer::Local || cleartext == Cleartext::Anywhere
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn a_password_is_shown_where_nobody_reads_along() {
        let loopback = Peer::Host(IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(!may_be_shown(false, loopback, Cleartext::Protected));
        assert!(may_be_shown(true, loopback, Cleartext::Protected));
        assert!(may_be_shown(false, Peer::Local, Cleartext::Protected));
        assert!(may_be_shown(false, loopback, Cleartext::Anywhere));
    }
    /// Nobody is slowed down by a directory that is not there.
    #[test]
    fn a_wrong_password_is_told_from_none_that_could_be_checked() {
        let why = String::new;
        assert!(Denied::Password(why()).is_failed_proof());
        assert!(Denied::Exchange(Refused::EmptyPassword, None).is_failed_proof());
        for denied in [Denied::Directory(why()), Denied::Reason(why())] {
            assert!(!denied.is_failed_proof());
        }
        assert!(!Denied::Exchange(Refused::Timeout, None).is_failed_proof());
    }
}
