//! Idle clients: each logs in, runs one query and stays.
//!
//! `idle CLIENTS plain|tls`, with PGPORT, PGUSER, PGPASSWORD and PGDATABASE from the environment.
//! Says `ready` on standard output when all are idle, and ends with its standard input.

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use auth::{ScramKeys, Secret};
use backend::{Config, Credentials, Dialer, Login, Ready, RequiredRole, Startup, Target};
use tokio::task::JoinSet;
use transport::{ClientTls, TlsMode};

/// Logins under way at one time: enough to keep two processors busy, and less than any listener
/// has room for.
const CONCURRENCY: usize = 32;

/// PgBouncer logs in one client after the other, which makes the last of [`CONCURRENCY`] wait.
const LIMIT: Duration = Duration::from_secs(60);

/// What each client runs.
const QUERY: &str = "SELECT 1";

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let (clients, mode) = arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clients = runtime.block_on(open_all(clients, mode))?;
    writeln!(io::stdout(), "ready")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(clients);
    Ok(())
}

async fn open_all(clients: usize, mode: TlsMode) -> Result<Vec<Ready>, Failure> {
    let config = Config {
        login_timeout: LIMIT,
        tls: ClientTls { mode, ..ClientTls::default() },
        ..Config::default()
    };
    let dialer = Dialer::new(config)?;
    let target = Target::new("127.0.0.1", env::var("PGPORT")?.parse()?);
    // Where the salt stays the same, the first login makes the others cheap.
    let first = open(&dialer, &target, &login(None)?).await?;
    let login = login(first.scram_keys.clone())?;
    let shared = Arc::new((dialer, target, login));
    let mut ready = vec![first];
    let mut opening = JoinSet::new();
    let mut missing = clients.saturating_sub(1);
    loop {
        while missing > 0 && opening.len() < CONCURRENCY {
            let shared = Arc::clone(&shared);
            opening.spawn(async move { open(&shared.0, &shared.1, &shared.2).await });
            missing -= 1;
        }
        match opening.join_next().await {
            Some(opened) => ready.push(opened??),
            None => return Ok(ready),
        }
    }
}

async fn open(dialer: &Dialer, target: &Target, login: &Login) -> Result<Ready, Failure> {
    let mut ready = dialer.connect(target, login).await?;
    backend::run(&mut ready.stream, QUERY, LIMIT, |_, _| {}).await?;
    Ok(ready)
}

fn login(cached: Option<ScramKeys>) -> Result<Login, env::VarError> {
    let password = Secret::new(env::var("PGPASSWORD")?);
    let login = Some(auth::Login::Password { password, cached });
    Ok(Login {
        credentials: Credentials { user: env::var("PGUSER")?, login },
        startup: Startup::new(env::var("PGDATABASE")?),
        role: RequiredRole::Any,
    })
}

fn arguments() -> Result<(usize, TlsMode), Failure> {
    let mut arguments = env::args().skip(1);
    let clients = arguments.next().map(|text| text.parse()).transpose()?;
    match (clients, arguments.next().as_deref()) {
        (Some(clients), Some("plain")) => Ok((clients, TlsMode::Disable)),
        (Some(clients), Some("tls")) => Ok((clients, TlsMode::Require)),
        _ => Err("usage: idle CLIENTS plain|tls".into()),
    }
}
