//! `pgmesh check --connect`: whether the cluster is there, and whether everybody can log in.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use backend::{ConnectError, Credentials, Dialer, Login, RequiredRole, Startup, Target};
use config::{Settings, User};
use control::auth_query::AuthQuery;
use tokio::time::timeout;
use topology::{Access, Snapshot};

use crate::follow::{Following, Snapshots};

/// How long the cluster may take to name its primary.
const LIMIT: Duration = Duration::from_secs(10);

/// The database that every cluster has, for users that have none of their own.
const DATABASE: &str = "postgres";

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    /// What works.
    pub good: usize,
    /// What does not.
    pub bad: usize,
}

/// What one look came to: what is so, or what is not and what to do.
type Found = Result<String, String>;

/// Looks for the primary and logs in to it as every user of `[[users]]` with a password, and as
/// `auth.query_user`; writes a line for each. Takes seconds.
///
/// # Errors
/// It cannot be tried at all, or the lines cannot be written.
pub fn check_connections(settings: &Settings, out: &mut dyn Write) -> anyhow::Result<Findings> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    let findings = runtime.block_on(look(settings, out));
    runtime.shutdown_background();
    findings
}

async fn look(settings: &Settings, out: &mut dyn Write) -> anyhow::Result<Findings> {
    let dialer = Dialer::new(settings.backend.clone()).context("[server.tls]")?;
    let following = Following::start(settings, dialer.tls())?;
    let mut report = Report { out, findings: Findings::default() };
    let primary = primary(following.snapshots.clone()).await;
    let target = primary.as_ref().ok().map(|(target, _)| target.clone());
    report.add("cluster", primary.map(|(_, text)| text))?;
    let Some(target) = target else {
        report.add("users", Err("not tried: there is no primary".to_owned()))?;
        return Ok(report.findings);
    };
    for (name, user) in &settings.users {
        let found = log_in(settings, &dialer, &target, name, user).await;
        report.add(&format!("user {name:?}"), found)?;
    }
    if let Some(config) = settings.auth_query.clone() {
        let name = config.user.clone();
        let asks = AuthQuery::new(config, dialer.tls().clone(), following.snapshots.clone());
        // Any name will do; this one is there.
        let found = asks.lookup(&name).await.map(|_| "roles can be looked up".to_owned());
        let found = found.map_err(|error| {
            let error = anyhow::Error::new(error);
            format!("{error:#}; see auth.query_user, auth.query_password and auth.query")
        });
        report.add(&format!("auth.query_user {name:?}"), found)?;
    }
    Ok(report.findings)
}

/// Waits for a primary that takes writes.
async fn primary(mut snapshots: Snapshots) -> Result<(Target, String), String> {
    let is_there = |snapshot: &Arc<Snapshot>| snapshot.route(Access::ReadWrite).is_ok();
    // What the cluster lacks then is seen below.
    let _ = timeout(LIMIT, snapshots.wait_for(is_there)).await;
    let snapshot = Arc::clone(&snapshots.borrow());
    let route = snapshot.route(Access::ReadWrite).map_err(|refusal| {
        format!(
            "{refusal}, {}s after the first question; see [cluster], and what the log says above",
            LIMIT.as_secs()
        )
    })?;
    let node = route.nodes.first().ok_or("no node of the cluster is available")?;
    let (name, address, epoch) = (&node.name, &node.address, route.epoch.get());
    let standing = snapshot.standing().as_str();
    let text = format!("the primary is {name} at {address}, epoch {epoch} ({standing})");
    Ok((Target::new(address.host(), address.port()), text))
}

async fn log_in(
    settings: &Settings,
    dialer: &Dialer,
    target: &Target,
    name: &str,
    user: &User,
) -> Found {
    let Some(login) = user.server_login() else {
        return Ok(
            "not tried: a verifier alone logs in to no server, its clients' proofs do".into()
        );
    };
    // Somebody may be shut out of the common one, and nobody of all of its own.
    let database = settings.databases.keys().next().map_or(DATABASE, String::as_str);
    let login = Login {
        credentials: Credentials { user: name.to_owned(), login: Some(login) },
        startup: Startup::new(database),
        role: RequiredRole::Primary,
    };
    match dialer.connect(target, &login).await {
        Ok(_) => Ok(format!("logs in to database {database:?}")),
        Err(error) if is_beyond_login(&error) => Ok(format!("logs in, but: {error}")),
        Err(error) => {
            let advice = advice(&error);
            Err(format!("{:#}; {advice}", anyhow::Error::new(error)))
        }
    }
}

/// The password was right, and the server has said no to something that clients need not want.
fn is_beyond_login(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Refused(it) if matches!(&*it.sqlstate, "3D000" | "42501"))
}

fn advice(error: &ConnectError) -> &'static str {
    use backend::Kind::{
        Authentication, Local, Protocol, Refused, Timeout, Tls, Unreachable, WrongRole,
    };
    match error.kind() {
        _ if error.is_wrong_password() => "set its password as the role's is (ALTER ROLE)",
        _ if error.is_of_credentials() => "look at pg_hba.conf of the server, and at the role",
        Authentication => "see server_password and server.channel_binding",
        Local => "look at the limits of this machine",
        Protocol => "is that a Postgres?",
        Refused => "look at the server's log",
        Timeout => "see server.connect_timeout, server.login_timeout, and the network",
        Tls => "see [server.tls]",
        Unreachable => "is it running, and may this machine reach it?",
        WrongRole => "look at patronictl list: it is no primary",
    }
}

/// The lines as they are found.
struct Report<'a> {
    out: &'a mut dyn Write,
    findings: Findings,
}

impl Report<'_> {
    fn add(&mut self, of: &str, found: Found) -> io::Result<()> {
        match found {
            Ok(text) => {
                self.findings.good += 1;
                writeln!(self.out, "ok      {of}: {text}")
            }
            Err(text) => {
                self.findings.bad += 1;
                writeln!(self.out, "failed  {of}: {text}")
            }
        }
    }
}
