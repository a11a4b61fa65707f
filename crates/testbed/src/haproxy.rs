//! An HAProxy in TCP mode, to compare with.

use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use crate::daemon::{Daemon, Signal};
use crate::postgres::environment;
use crate::{APP_DATABASE, APP_USER, Bed, Error, Interrupt, Login, Port, probe, programs};

/// From start to the first answered connection.
const READY: Duration = Duration::from_secs(20);

/// One of several servers behind an HAProxy, whose Patroni says whether it is the primary.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name in the configuration.
    pub name: String,
    /// What clients are connected to.
    pub address: SocketAddrV4,
    /// Patroni's REST API.
    pub check: SocketAddrV4,
}

/// A running HAProxy. What it stands in front of must outlive it to be of use.
#[derive(Debug)]
pub struct HaProxy {
    // Before the bed: fields are dropped in order.
    daemon: Daemon,
    port: Port,
    bed: Bed,
}

impl HaProxy {
    /// Runs it in front of a port of 127.0.0.1 that speaks the Postgres protocol, with room for
    /// `max_clients`; each takes two descriptors. Threads are at its default.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not installed, [`Error::Ended`] or [`Error::Timeout`] with the
    /// log.
    pub fn start(server: u16, max_clients: u32, interrupt: Interrupt) -> Result<Self, Error> {
        let haproxy = Self::launch(interrupt, |port| {
            format!(
                "global\n  maxconn {max_clients}\n\
                 defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
                 frontend clients\n  bind 127.0.0.1:{port}\n  default_backend servers\n\
                 backend servers\n  server primary 127.0.0.1:{server}\n",
            )
        })?;
        haproxy.wait_ready()
    }

    /// Runs it in front of the nodes of a cluster, or what stands before each, with the settings of
    /// the template that Patroni comes with. It does not wait: until its first checks it sends
    /// clients to any of them.
    ///
    /// # Errors
    /// As [`HaProxy::start`].
    pub fn start_before(
        backends: &[Backend],
        max_clients: u32,
        interrupt: Interrupt,
    ) -> Result<Self, Error> {
        let mut servers = String::new();
        for Backend { name, address, check } in backends {
            let _ = writeln!(
                servers,
                "  server {name} {address} maxconn {max_clients} check addr {} port {}",
                check.ip(),
                check.port()
            );
        }
        Self::launch(interrupt, |port| {
            format!(
                "global\n  maxconn {max_clients}\n\
                 defaults\n  mode tcp\n  retries 2\n  timeout client 30m\n  timeout connect 4s\n\
                 \x20 timeout server 30m\n  timeout check 5s\n\
                 listen primary\n  bind 127.0.0.1:{port}\n  option httpchk OPTIONS /primary\n\
                 \x20 http-check expect status 200\n\
                 \x20 default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions\n{servers}",
            )
        })
    }

    fn launch(interrupt: Interrupt, text: impl FnOnce(&Port) -> String) -> Result<Self, Error> {
        let bed = Bed::new(interrupt)?;
        let port = Port::reserve()?;
        let config = bed.path().join("haproxy.cfg");
        bed.private_file(&config, &text(&port))?;
        let mut haproxy = Command::new(programs::find("haproxy")?);
        haproxy.args(["-db", "-f"]).arg(&config);
        environment(&mut haproxy);
        bed.account.run(&mut haproxy);
        let daemon = bed.spawn("haproxy", &mut haproxy, Signal::KILL)?;
        Ok(Self { daemon, port, bed })
    }

    fn wait_ready(mut self) -> Result<Self, Error> {
        let port = self.port();
        self.daemon.wait_ready(READY, &self.bed.interrupt, || probe::answers(port))?;
        Ok(self)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// A login through it as the application's role in its database.
    pub fn app(&self) -> Login {
        Login::new(self.port(), APP_USER, APP_DATABASE)
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        self.daemon.tail()
    }
}
