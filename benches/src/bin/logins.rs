//! Clients that log in and leave, over and over.
//!
//! `logins CLIENTS SECONDS plain|tls`, with PGPORT, PGUSER, PGPASSWORD and PGDATABASE from the
//! environment. Says on standard output how many logins succeeded and in how many microseconds.
//! The salted password is derived once: a client that derives it each time has by far the greatest
//! part in the cost of a login, and would be all that is measured.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::{ScramKeys, Secret};
use backend::{Config, Credentials, Dialer, Login, RequiredRole, Startup, Target};
use tokio::task::JoinSet;
use transport::{ClientTls, TlsMode};

/// For one login, and for saying goodbye.
const LIMIT: Duration = Duration::from_secs(30);

type Failure = Box<dyn Error + Send + Sync>;

/// What every client needs.
struct Shared {
    config: Config,
    target: Target,
    login: Login,
    end: Instant,
}

fn main() -> Result<(), Failure> {
    let (clients, time, mode) = arguments()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (logins, took) = runtime.block_on(run(clients, time, mode))?;
    writeln!(io::stdout(), "{logins} {}", took.as_micros())?;
    Ok(())
}

async fn run(clients: u32, time: Duration, mode: TlsMode) -> Result<(u64, Duration), Failure> {
    let config = Config {
        login_timeout: LIMIT,
        tls: ClientTls { mode, ..ClientTls::default() },
        ..Config::default()
    };
    let target = Target::new("127.0.0.1", env::var("PGPORT")?.parse()?);
    let first = Dialer::new(config.clone())?.connect(&target, &login(None)?).await?;
    let login = login(first.scram_keys.clone())?;
    let started = Instant::now();
    let shared = Arc::new(Shared { config, target, login, end: started + time });
    let mut running = JoinSet::new();
    for _ in 0..clients {
        running.spawn(log_in_and_leave(Arc::clone(&shared)));
    }
    let mut logins = 0;
    while let Some(client) = running.join_next().await {
        logins += client??;
    }
    Ok((logins, started.elapsed()))
}

async fn log_in_and_leave(shared: Arc<Shared>) -> Result<u64, Failure> {
    let mut logins = 0;
    while Instant::now() < shared.end {
        // A new one, for it keeps TLS sessions: libpq never resumes one.
        let dialer = Dialer::new(shared.config.clone())?;
        let mut ready = dialer.connect(&shared.target, &shared.login).await?;
        backend::terminate(&mut ready.stream, LIMIT).await;
        logins += 1;
    }
    Ok(logins)
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

fn arguments() -> Result<(u32, Duration, TlsMode), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [clients, seconds, link] = arguments.as_slice() else {
        return Err("usage: logins CLIENTS SECONDS plain|tls".into());
    };
    let mode = match link.as_str() {
        "plain" => TlsMode::Disable,
        "tls" => TlsMode::Require,
        _ => return Err("usage: logins CLIENTS SECONDS plain|tls".into()),
    };
    Ok((clients.parse()?, Duration::from_secs(seconds.parse()?), mode))
}
