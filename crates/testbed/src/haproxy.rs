//! An HAProxy in TCP mode, to compare with.

use std::process::Command;
use std::time::Duration;

use crate::daemon::{Daemon, Signal};
use crate::postgres::environment;
use crate::{APP_DATABASE, APP_USER, Bed, Error, Interrupt, Login, Port, probe, programs};

/// From start to the first answered connection.
const READY: Duration = Duration::from_secs(20);

/// A running HAProxy. What it stands in front of must outlive it to be of use.
#[derive(Debug)]
pub struct HaProxy {
    // Before the bed: fields are dropped in order.
    daemon: Daemon,
    port: Port,
    _bed: Bed,
}

impl HaProxy {
    /// Runs it in front of a port of 127.0.0.1 that speaks the Postgres protocol, with room for
    /// `max_clients`; each takes two descriptors. Threads are at its default.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not installed, [`Error::Ended`] or [`Error::Timeout`] with the
    /// log.
    pub fn start(server: u16, max_clients: u32, interrupt: Interrupt) -> Result<Self, Error> {
        let bed = Bed::new(interrupt)?;
        let port = Port::reserve()?;
        let config = bed.path().join("haproxy.cfg");
        let text = format!(
            "global\n  maxconn {max_clients}\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             frontend clients\n  bind 127.0.0.1:{port}\n  default_backend servers\n\
             backend servers\n  server primary 127.0.0.1:{server}\n",
        );
        bed.private_file(&config, &text)?;
        let mut haproxy = Command::new(programs::find("haproxy")?);
        haproxy.args(["-db", "-f"]).arg(&config);
        environment(&mut haproxy);
        bed.account.run(&mut haproxy);
        let mut daemon = bed.spawn("haproxy", &mut haproxy, Signal::KILL)?;
        daemon.wait_ready(READY, &bed.interrupt, || probe::answers(port.number()))?;
        Ok(Self { daemon, port, _bed: bed })
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
