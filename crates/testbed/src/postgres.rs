//! A single Postgres.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::daemon::{Daemon, Signal};
use crate::login::{identifier, literal};
use crate::{
    APP_DATABASE, APP_USER, Bed, Error, Interrupt, Login, Port, SUPERUSER, census, command,
    programs,
};

/// initdb on a busy two-core machine takes a few seconds.
const INITDB: Duration = Duration::from_secs(120);

/// A server that was killed replays its log first.
const READY: Duration = Duration::from_secs(60);

/// A fast stop of a server with a few hundred connections.
const STOP: Duration = Duration::from_secs(30);

/// Settings of every Postgres started here, cluster or not: these data directories need not survive
/// a power cut, and dynamic shared memory stays inside them instead of /dev/shm. `full_page_writes`
/// stays on: pg_rewind refuses a source without it.
pub(crate) const SETTINGS: [(&str, &str); 5] = [
    ("fsync", "off"),
    ("shared_buffers", "32MB"),
    ("dynamic_shared_memory_type", "mmap"),
    ("max_wal_size", "256MB"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
];

/// How roles authenticate over TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// md5 challenges; passwords are stored as md5 hashes.
    Md5,
    /// The password in clear.
    Password,
    /// SCRAM-SHA-256.
    #[default]
    Scram,
    /// No password.
    Trust,
}

impl Method {
    fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Password => "password",
            Self::Scram => "scram-sha-256",
            Self::Trust => "trust",
        }
    }
}

/// A role to create.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its password, in clear.
    pub password: String,
    /// What follows in CREATE ROLE, such as `CREATEDB` or `SUPERUSER`; LOGIN is implied.
    pub attributes: String,
}

impl Role {
    /// An ordinary role that may log in.
    pub fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned(), attributes: String::new() }
    }
}

/// A certificate for the server side, as PEM text.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The certificate chain.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// Certificates that clients may be signed by.
    pub client_ca: Option<String>,
}

/// How a Postgres is set up. The default has `app_user` owning `app`, SCRAM and no TLS.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// For every role but the superuser, who always uses SCRAM.
    pub method: Method,
    /// Lines put before all others in pg_hba.conf.
    pub hba: Vec<String>,
    /// TLS is offered when given.
    pub tls: Option<ServerTls>,
    /// Settings on top of the testbed's, such as `("max_connections", "300")`.
    pub settings: Vec<(String, String)>,
    /// Roles to create.
    pub roles: Vec<Role>,
    /// Databases to create, with their owners.
    pub databases: Vec<(String, String)>,
    /// Ends the start early.
    pub interrupt: Interrupt,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            method: Method::default(),
            hba: Vec::new(),
            tls: None,
            settings: Vec::new(),
            roles: vec![Role::new(APP_USER.user, APP_USER.password)],
            databases: vec![(APP_DATABASE.to_owned(), APP_USER.user.to_owned())],
            interrupt: Interrupt::default(),
        }
    }
}

/// The ways to stop a Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Every process killed at once, as by a power cut.
    Crash,
    /// Transactions are rolled back, clients are told.
    Fast,
    /// Clients are cut off without a checkpoint.
    Immediate,
    /// Waits until every client has left.
    Smart,
}

/// A running, or stopped, single Postgres on a port of 127.0.0.1.
#[derive(Debug)]
pub struct Postgres {
    // Before the bed: fields are dropped in order.
    daemon: Option<Daemon>,
    data: PathBuf,
    port: Port,
    bed: Bed,
}

impl Postgres {
    /// Makes a data directory, starts a server in it, and creates roles and databases.
    ///
    /// # Errors
    /// [`Error::Missing`] when Postgres is not installed; otherwise what failed, with the log.
    pub fn start(options: PostgresOptions) -> Result<Self, Error> {
        let bed = Bed::new(options.interrupt.clone())?;
        let data = bed.private_directory("data")?;
        let port = Port::reserve()?;
        initdb(&bed, &data)?;
        configure(&bed, &data, &port, &options)?;
        let mut postgres = Self { daemon: None, data, port, bed };
        postgres.restart()?;
        postgres.superuser().psql(&roles_and_databases(&options))?;
        Ok(postgres)
    }

    /// Starts the server again on the same port and data, after stopping it if it runs.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::Timeout`] with the log.
    pub fn restart(&mut self) -> Result<(), Error> {
        if self.daemon.is_some() {
            self.stop(Stop::Fast)?;
        }
        let mut server = Command::new(programs::find_postgres("postgres")?);
        server.arg("-D").arg(&self.data).current_dir(&self.data);
        environment(&mut server);
        self.bed.account.run(&mut server);
        let mut daemon = self.bed.spawn("postgres", &mut server, Signal::QUIT)?;
        let port = self.port.number();
        let mut ready = Command::new(programs::find_postgres("pg_isready")?);
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        daemon.wait_ready(READY, &self.bed.interrupt, || {
            ready.status().is_ok_and(|status| status.success())
        })?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Stops the server; nothing happens if it is stopped already.
    ///
    /// # Errors
    /// [`Error::Timeout`] when it does not stop, for [`Stop::Smart`] because a client stays.
    pub fn stop(&mut self, how: Stop) -> Result<(), Error> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let signal = match how {
            Stop::Crash => {
                census::kill_postgres(&self.data)?;
                Signal::KILL
            }
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
            Stop::Smart => Signal::TERM,
        };
        daemon.stop(signal, STOP).map(|_| ())
    }

    /// Makes the server read its configuration files again.
    pub fn reload(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.signal(Signal::HUP);
        }
    }

    /// The port on 127.0.0.1; it stays the same for life.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The process id of the postmaster, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.daemon.as_ref().map(Daemon::id)
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    /// A login as the superuser, in the database `postgres`.
    pub fn superuser(&self) -> Login {
        Login::new(self.port(), SUPERUSER, "postgres")
    }

    /// A login as the application's role in its database.
    pub fn app(&self) -> Login {
        Login::new(self.port(), APP_USER, APP_DATABASE)
    }

    /// Runs SQL as the superuser; see [`Login::psql`].
    ///
    /// # Errors
    /// [`Error::Command`] with psql's message.
    pub fn psql(&self, sql: &str) -> Result<String, Error> {
        self.superuser().psql(sql)
    }
}

/// Gives a daemon an environment that does not depend on the caller's: a proxy setting or a PGPORT
/// must not change what happens on loopback.
pub(crate) fn environment(command: &mut Command) {
    let postgres = programs::find_postgres("postgres").ok();
    let directory = postgres.as_deref().and_then(Path::parent);
    command
        .env_clear()
        .env("PATH", programs::daemon_path(directory))
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/nonexistent");
}

fn initdb(bed: &Bed, data: &Path) -> Result<(), Error> {
    let password = bed.path().join("superuser-password");
    bed.private_file(&password, SUPERUSER.password)?;
    let mut initdb = Command::new(programs::find_postgres("initdb")?);
    initdb
        .args(["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
        .args(["--username", SUPERUSER.user])
        .arg("--pwfile")
        .arg(&password)
        .arg("--pgdata")
        .arg(data)
        .current_dir(data);
    environment(&mut initdb);
    bed.account.run(&mut initdb);
    command::run(&mut initdb, "", INITDB, &bed.interrupt).map(|_| ())
}

fn configure(bed: &Bed, data: &Path, port: &Port, options: &PostgresOptions) -> Result<(), Error> {
    let hash = if options.method == Method::Md5 { "md5" } else { "scram-sha-256" };
    let number = port.to_string();
    let mut settings = vec![
        ("listen_addresses", "127.0.0.1"),
        ("port", &number),
        ("unix_socket_directories", ""),
        ("password_encryption", hash),
    ];
    settings.extend(SETTINGS);
    let tls = match &options.tls {
        Some(tls) => write_tls(bed, data, tls)?,
        None => Vec::new(),
    };
    settings.extend(tls.iter().map(|(name, value)| (*name, value.as_str())));
    settings.extend(options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut conf = String::new();
    for (name, value) in settings {
        let _ = writeln!(conf, "{name} = {}", literal(value));
    }
    bed.private_file(&data.join("postgresql.conf"), &conf)?;

    let mut hba = options.hba.join("\n");
    let _ = write!(
        hba,
        "\nhost all {superuser} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 {method}\n",
        superuser = SUPERUSER.user,
        method = options.method.as_str(),
    );
    bed.private_file(&data.join("pg_hba.conf"), &hba)
}

/// Writes certificate and key into `directory` and returns the settings that name them.
pub(crate) fn write_tls(
    bed: &Bed,
    directory: &Path,
    tls: &ServerTls,
) -> Result<Vec<(&'static str, String)>, Error> {
    let mut settings = vec![("ssl", "on".to_owned())];
    let files = [
        ("ssl_cert_file", "server.crt", Some(&tls.certificate)),
        ("ssl_key_file", "server.key", Some(&tls.key)),
        ("ssl_ca_file", "clients-ca.crt", tls.client_ca.as_ref()),
    ];
    for (name, file, content) in files {
        let Some(content) = content else { continue };
        let path = directory.join(file);
        bed.private_file(&path, content)?;
        settings.push((name, path.display().to_string()));
    }
    Ok(settings)
}

fn roles_and_databases(options: &PostgresOptions) -> String {
    let mut sql = String::new();
    for Role { name, password, attributes } in &options.roles {
        let (name, password) = (identifier(name), literal(password));
        let _ = writeln!(sql, "CREATE ROLE {name} LOGIN PASSWORD {password} {attributes};");
    }
    for (name, owner) in &options.databases {
        let _ = writeln!(sql, "CREATE DATABASE {} OWNER {};", identifier(name), identifier(owner));
    }
    sql
}
