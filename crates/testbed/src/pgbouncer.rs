//! A PgBouncer, to compare with.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::daemon::{Daemon, Signal};
use crate::postgres::environment;
use crate::{
    APP_DATABASE, APP_USER, Bed, Error, Interrupt, Login, Port, Postgres, SUPERUSER, ServerTls,
    command, probe, programs,
};

/// From start to the first answered connection.
const READY: Duration = Duration::from_secs(20);

/// The name of its configuration.
const CONFIG: &str = "pgbouncer.ini";

/// The first version that keeps prepared statements in transaction mode.
const PREPARED: (u32, u32) = (1, 21);

/// Whom a PgBouncer lets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clients {
    /// Anybody who is a role of the server, as itself and into any database, without a password.
    /// The server must trust, too.
    Anybody,
    /// The application's role into its database, with its password.
    #[default]
    App,
}

/// How a PgBouncer is set up: transaction mode, SCRAM towards clients and servers.
#[derive(Clone, Debug)]
pub struct PgBouncerOptions {
    /// The binary.
    pub binary: PathBuf,
    /// Whom it lets in.
    pub clients: Clients,
    /// Servers per pool.
    pub pool_size: u32,
    /// Clients that it takes.
    pub max_clients: u32,
    /// TLS is offered to clients when given; plain stays allowed.
    pub tls: Option<ServerTls>,
    /// What Postgres keeps of the role's password, which makes a login as cheap as it can be. With
    /// the password itself every login derives a verifier of its own.
    pub verifier: Option<String>,
    /// Ends the start early.
    pub interrupt: Interrupt,
}

impl PgBouncerOptions {
    /// The installed one with 40 servers and room for 10,000 clients, without TLS.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not installed.
    pub fn installed() -> Result<Self, Error> {
        Ok(Self {
            binary: programs::find("pgbouncer")?,
            clients: Clients::App,
            pool_size: 40,
            max_clients: 10_000,
            tls: None,
            verifier: None,
            interrupt: Interrupt::default(),
        })
    }
}

/// A running PgBouncer.
#[derive(Debug)]
pub struct PgBouncer {
    // Before the bed: fields are dropped in order.
    daemon: Daemon,
    port: Port,
    version: String,
    keeps_prepared: bool,
    bed: Bed,
}

impl PgBouncer {
    /// The database of the application in session mode.
    pub const SESSION_DATABASE: &str = "app_session";

    /// Runs it in front of `postgres` and waits until its port answers.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::Timeout`] with the log.
    pub fn start(postgres: &Postgres, options: &PgBouncerOptions) -> Result<Self, Error> {
        let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, postgres.port());
        let mut pgbouncer = Self::start_before(server, options)?;
        let port = pgbouncer.port();
        let bed = &pgbouncer.bed;
        pgbouncer.daemon.wait_ready(READY, &bed.interrupt, || probe::answers(port))?;
        Ok(pgbouncer)
    }

    /// Runs it in front of whatever is, or will be, at an address, and does not wait.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Io`].
    pub fn start_before(server: SocketAddrV4, options: &PgBouncerOptions) -> Result<Self, Error> {
        let bed = Bed::new(options.interrupt.clone())?;
        let port = Port::reserve()?;
        let version = version(&options.binary, &options.interrupt)?;
        let keeps_prepared = number(&version) >= PREPARED;
        let ini = format!("[databases]\n{}\n[pgbouncer]\n", databases(server, options.clients))
            + &settings(&bed, &port, keeps_prepared, options)?;
        let config = bed.path().join(CONFIG);
        bed.private_file(&config, &ini)?;
        let mut pgbouncer = Command::new(&options.binary);
        pgbouncer.arg(&config);
        environment(&mut pgbouncer);
        // It refuses to run as root.
        bed.account.run(&mut pgbouncer);
        let daemon = bed.spawn("pgbouncer", &mut pgbouncer, Signal::KILL)?;
        Ok(Self { daemon, port, version, keeps_prepared, bed })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// Its pgbouncer.ini, which names its other files.
    pub fn config(&self) -> PathBuf {
        self.bed.path().join(CONFIG)
    }

    /// What it calls itself, such as `1.18.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it keeps prepared statements across servers in transaction mode.
    pub fn keeps_prepared(&self) -> bool {
        self.keeps_prepared
    }

    /// A login through it as the application's role in its database.
    pub fn app(&self) -> Login {
        Login::new(self.port(), APP_USER, APP_DATABASE)
    }

    /// All it logged.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        self.daemon.tail()
    }
}

/// The lines of the section `[databases]`.
fn databases(server: SocketAddrV4, clients: Clients) -> String {
    let (host, port) = (server.ip(), server.port());
    match clients {
        Clients::Anybody => format!("* = host={host} port={port} pool_mode=transaction\n"),
        Clients::App => {
            let session = PgBouncer::SESSION_DATABASE;
            [(APP_DATABASE, "transaction"), (session, "session")]
                .map(|(database, mode)| {
                    format!(
                        "{database} = host={host} port={port} dbname={APP_DATABASE} \
                         pool_mode={mode}\n"
                    )
                })
                .concat()
        }
    }
}

/// The section `[pgbouncer]`. What is not said is at its default, but for what it logs of every
/// connection, which would be measured too.
fn settings(
    bed: &Bed,
    port: &Port,
    keeps_prepared: bool,
    options: &PgBouncerOptions,
) -> Result<String, Error> {
    let mut settings = format!(
        "listen_addr = 127.0.0.1\nlisten_port = {port}\nlisten_backlog = 4096\nunix_socket_dir =\n\
         server_tls_sslmode = disable\n\
         default_pool_size = {pool_size}\nmax_client_conn = {max_clients}\n\
         log_connections = 0\nlog_disconnections = 0\nlog_pooler_errors = 1\n",
        pool_size = options.pool_size,
        max_clients = options.max_clients,
    );
    match options.clients {
        // It asks the server which roles there are, as the superuser.
        Clients::Anybody => {
            let _ = writeln!(settings, "auth_type = trust\nauth_user = {}", SUPERUSER.user);
        }
        Clients::App => {
            let users = bed.path().join("users.txt");
            let secret = options.verifier.as_deref().unwrap_or(APP_USER.password);
            bed.private_file(&users, &format!("\"{}\" \"{secret}\"\n", APP_USER.user))?;
            let users = users.display();
            let _ = writeln!(settings, "auth_type = scram-sha-256\nauth_file = {users}");
            // It may look at the console.
            let _ = writeln!(settings, "stats_users = {}", APP_USER.user);
        }
    }
    if keeps_prepared {
        settings.push_str("max_prepared_statements = 200\n");
    }
    if let Some(tls) = &options.tls {
        settings.push_str("client_tls_sslmode = allow\n");
        for (name, file, content) in [
            ("client_tls_cert_file", "server.crt", &tls.certificate),
            ("client_tls_key_file", "server.key", &tls.key),
        ] {
            let path = bed.path().join(file);
            bed.private_file(&path, content)?;
            let _ = writeln!(settings, "{name} = {}", path.display());
        }
    }
    Ok(settings)
}

/// The version from `PgBouncer 1.18.0` and lines about libraries.
fn version(binary: &Path, interrupt: &Interrupt) -> Result<String, Error> {
    let mut ask = Command::new(binary);
    let answer = command::run(ask.arg("--version"), "", READY, interrupt)?;
    let word = answer.split_whitespace().nth(1).unwrap_or_default();
    Ok(word.to_owned())
}

/// Its first two numbers; zeros where there are none.
fn number(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(number("1.9.0") < PREPARED && number("1.18.0") < PREPARED && number("") < PREPARED);
        assert!(number("1.21.0") >= PREPARED && number("1.25.1") >= PREPARED);
    }
}
