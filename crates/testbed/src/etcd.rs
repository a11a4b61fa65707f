//! One etcd.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::daemon::{Daemon, Signal};
use crate::{Bed, Error, Interrupt, Port, http, postgres, programs};

/// A single member elects itself within its election timeout.
const READY: Duration = Duration::from_secs(30);

/// Saves a synchronous write per change; newer versions only.
const NO_FSYNC: &str = "--unsafe-no-fsync";

/// A running, or killed, etcd of one member. It speaks plain HTTP on 127.0.0.1, and at the address
/// where nodes with networks of their own reach it.
#[derive(Debug)]
pub struct Etcd {
    // Before the bed: fields are dropped in order.
    daemon: Option<Daemon>,
    host: Ipv4Addr,
    client: Port,
    peer: Port,
    bed: Arc<Bed>,
}

impl Etcd {
    /// Starts an etcd in a bed of its own.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not installed; otherwise what failed, with the log.
    pub fn start() -> Result<Self, Error> {
        Self::start_in(Arc::new(Bed::new(Interrupt::default())?), Ipv4Addr::LOCALHOST)
    }

    /// Starts an etcd in the bed of a cluster, whose nodes reach it at `host`.
    pub(crate) fn start_in(bed: Arc<Bed>, host: Ipv4Addr) -> Result<Self, Error> {
        bed.private_directory("etcd")?;
        let (client, peer) = (Port::reserve()?, Port::reserve()?);
        let mut etcd = Self { daemon: None, host, client, peer, bed };
        etcd.restart()?;
        Ok(etcd)
    }

    /// Starts it again on the same port and data, after killing it if it runs.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::Timeout`] with the log.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill();
        let program = programs::find("etcd")?;
        let (client, peer) = (self.endpoint(), format!("http://127.0.0.1:{}", self.peer));
        let mut listen = client.clone();
        if self.host != Ipv4Addr::LOCALHOST {
            let _ = write!(listen, ",http://127.0.0.1:{}", self.client);
        }
        let mut etcd = Command::new(&program);
        etcd.args(["--name", "etcd", "--data-dir"])
            .arg(self.bed.path().join("etcd"))
            .args(["--listen-client-urls", &listen, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("etcd={peer}")])
            .args(["--heartbeat-interval", "50", "--election-timeout", "250"]);
        postgres::environment(&mut etcd);
        if cfg!(target_arch = "aarch64") {
            // What 3.4 wants to hear before it runs there.
            etcd.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        }
        if knows_no_fsync(&program) {
            etcd.arg(NO_FSYNC);
        }
        self.bed.account.run(&mut etcd);
        let mut daemon = self.bed.spawn("etcd", &mut etcd, Signal::KILL)?;
        let port = self.client.number();
        daemon.wait_ready(READY, &self.bed.interrupt, || {
            http::get(port, "/health").is_ok_and(|response| response.status == 200)
        })?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Kills it, as a power cut would; its port stays reserved.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// The URL for clients, nodes included.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", self.host, self.client)
    }

    /// The client port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.client.number()
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.daemon.as_ref().map(Daemon::id)
    }
}

fn knows_no_fsync(program: &Path) -> bool {
    Command::new(program).arg("--help").output().is_ok_and(|help| {
        let text = [help.stdout, help.stderr].concat();
        String::from_utf8_lossy(&text).contains(NO_FSYNC)
    })
}
