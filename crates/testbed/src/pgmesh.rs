//! A pgmesh process.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::daemon::{Daemon, Signal};
use crate::{
    APP_DATABASE, APP_USER, Bed, Cluster, Credentials, Error, Interrupt, Login, Port, Postgres,
    http, probe,
};

/// From start to the first answered connection.
const READY: Duration = Duration::from_secs(20);

/// The ports of a pgmesh, reserved before its configuration is written.
#[derive(Debug)]
pub struct ProxyPorts {
    /// `[proxy] port`: read-write.
    pub sql: Port,
    /// `[metrics] listen`.
    pub metrics: Port,
}

/// Whose memory is measured, which its user may otherwise not do.
const MEASURABLE: &str = "core_dumps = true\n";

impl ProxyPorts {
    fn reserve() -> Result<Self, Error> {
        Ok(Self { sql: Port::reserve()?, metrics: Port::reserve()? })
    }

    /// A proxy.toml in front of `cluster`, followed through etcd, with `app_user` as its user. It
    /// ends in a table, so more tables may be appended.
    pub fn toml_for_cluster(&self, cluster: &Cluster) -> String {
        let options = cluster.options();
        let mut toml = self.proxy_section();
        let _ = write!(
            toml,
            "\n[cluster]\ndiscovery = \"etcd\"\nendpoints = [\"{}\"]\nscope = \"{}\"\nnamespace = \"{}\"\n",
            cluster.etcd().endpoint(),
            options.scope,
            options.namespace,
        );
        if let Some(group) = options.group {
            let _ = writeln!(toml, "group = {group}");
        }
        toml + &user_section(APP_USER)
    }

    /// A proxy.toml in front of a single Postgres, with `app_user` as its user. It ends in a table,
    /// so more tables may be appended.
    pub fn toml_for_postgres(&self, postgres: &Postgres) -> String {
        let mut toml = self.proxy_section();
        let _ = write!(
            toml,
            "\n[cluster]\ndiscovery = \"static\"\nnodes = [\"127.0.0.1:{}\"]\n",
            postgres.port(),
        );
        toml + &user_section(APP_USER)
    }

    fn proxy_section(&self) -> String {
        format!(
            "[metrics]\nlisten = \"127.0.0.1:{}\"\n\n[proxy]\nlisten = \"127.0.0.1\"\nport = {}\n{MEASURABLE}",
            self.metrics, self.sql
        )
    }
}

fn user_section(credentials: Credentials) -> String {
    let Credentials { user, password } = credentials;
    format!("\n[[users]]\nname = \"{user}\"\npassword = \"{password}\"\n")
}

/// What to run and how long to wait for it.
#[derive(Clone, Debug)]
pub struct PgmeshOptions {
    /// The binary.
    pub binary: PathBuf,
    /// Environment variables on top of the caller's.
    pub environment: Vec<(String, String)>,
    /// Ends the start early.
    pub interrupt: Interrupt,
}

impl PgmeshOptions {
    /// Runs `binary` with nothing special.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), environment: Vec::new(), interrupt: Interrupt::default() }
    }
}

/// A running pgmesh.
#[derive(Debug)]
pub struct Pgmesh {
    // Before the bed: fields are dropped in order.
    daemon: Daemon,
    ports: ProxyPorts,
    config: PathBuf,
    bed: Bed,
}

impl Pgmesh {
    /// Writes what `config` makes of the reserved ports to proxy.toml, runs `binary` with it and
    /// waits until its port answers.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::Timeout`] with the log.
    pub fn start(
        binary: impl Into<PathBuf>,
        config: impl FnOnce(&ProxyPorts) -> String,
    ) -> Result<Self, Error> {
        Self::start_with(&PgmeshOptions::new(binary), config)
    }

    /// [`Pgmesh::start`] with more to say.
    ///
    /// # Errors
    /// As [`Pgmesh::start`].
    pub fn start_with(
        options: &PgmeshOptions,
        config: impl FnOnce(&ProxyPorts) -> String,
    ) -> Result<Self, Error> {
        Self::launch(options, |path, ports| {
            std::fs::write(path, config(ports)).map_err(Error::io("write proxy.toml"))?;
            Ok(vec!["--config".into(), path.into()])
        })
    }

    /// Runs a binary without a file, with what `arguments` makes of the reserved ports.
    ///
    /// # Errors
    /// As [`Pgmesh::start`].
    pub fn start_without_file(
        options: &PgmeshOptions,
        arguments: impl FnOnce(&ProxyPorts) -> Vec<String>,
    ) -> Result<Self, Error> {
        Self::launch(options, |_, ports| Ok(arguments(ports).into_iter().map(Into::into).collect()))
    }

    fn launch(
        options: &PgmeshOptions,
        arguments: impl FnOnce(&Path, &ProxyPorts) -> Result<Vec<std::ffi::OsString>, Error>,
    ) -> Result<Self, Error> {
        let bed = Bed::new(options.interrupt.clone())?;
        let ports = ProxyPorts::reserve()?;
        let config = bed.path().join("proxy.toml");
        let mut command = Command::new(&options.binary);
        command.args(arguments(&config, &ports)?);
        for (name, value) in &options.environment {
            command.env(name, value);
        }
        let mut daemon = bed.spawn("pgmesh", &mut command, Signal::KILL)?;
        daemon.wait_ready(READY, &bed.interrupt, || probe::answers(ports.sql.number()))?;
        Ok(Self { daemon, ports, config, bed })
    }

    /// The read-write port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.sql.number()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// Its proxy.toml, to change before [`Pgmesh::signal`] with SIGHUP.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A login through it as any role of the testbed.
    pub fn login(&self, credentials: Credentials, database: &str) -> Login {
        Login::new(self.port(), credentials, database)
    }

    /// A login through it as the application's role in its database.
    pub fn app(&self) -> Login {
        self.login(APP_USER, APP_DATABASE)
    }

    /// The URL of its metrics.
    pub fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.ports.metrics)
    }

    /// The text of its metrics.
    ///
    /// # Errors
    /// [`Error::Http`] when it does not answer with status 200.
    pub fn metrics(&self) -> Result<String, Error> {
        let answer = http::get(self.ports.metrics.number(), "/metrics")?;
        if answer.status == 200 {
            Ok(answer.body)
        } else {
            let reason = format!("{}: {}", answer.status, answer.body);
            Err(Error::Http { request: self.metrics_url(), reason })
        }
    }

    /// Asks its HTTP listener for another path, such as `/ready`.
    ///
    /// # Errors
    /// [`Error::Http`] when no HTTP answer comes.
    pub fn http(&self, path: &str) -> Result<http::Response, Error> {
        http::get(self.ports.metrics.number(), path)
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.daemon.signal(signal);
    }

    /// Sends it a signal and waits for its end.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the log when it is still there after `within`.
    pub fn stop(&mut self, signal: Signal, within: Duration) -> Result<ExitStatus, Error> {
        self.daemon.stop(signal, within)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn exited(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.daemon.exited()
    }

    /// All it logged.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Its directory, removed when dropped.
    pub fn directory(&self) -> &Path {
        self.bed.path()
    }
}
