//! Where the listening sockets come from: opened here, or inherited from the process before this
//! one or from a service manager; and their way to the process after.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use config::Settings;
use frontend::{Bound, Listener};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use topology::Access;
use transport::Inherited;

use crate::accept::Accepting;
use crate::app::App;
use crate::departure::Departure;
use crate::follow::Snapshots;
use crate::systemd;
use crate::takeover::{Door, Offer, Predecessor, claim};

/// For the primary to be found before clients are taken from a process that has one.
const PRIMARY: Duration = Duration::from_secs(30);

/// How the process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// As the only one.
    Alone,
    /// Beside one that runs, whose listeners it takes; alone, if none does.
    TakeOver,
}

/// All listening sockets of the process, on their way to who uses them.
#[derive(Debug)]
pub(crate) struct Entrance {
    beginning: Beginning,
    inherited: Inherited,
    predecessor: Predecessor,
    door: Option<Door>,
    /// Copies for the process after this one.
    copies: Vec<OwnedFd>,
}

impl Entrance {
    /// Asks for what there is to inherit.
    ///
    /// # Errors
    /// A process that is to be taken over from cannot be, or serves what this one is to serve.
    pub(crate) async fn open(settings: &Settings, beginning: Beginning) -> anyhow::Result<Self> {
        let socket = settings.takeover_socket.as_deref();
        let claimed = match (beginning, socket) {
            (Beginning::Alone, _) => None,
            (Beginning::TakeOver, None) => {
                bail!("--takeover needs proxy.takeover_socket: the running process listens there")
            }
            (Beginning::TakeOver, Some(socket)) => claim(socket).await.context("--takeover")?,
        };
        let (beginning, (mut inherited, predecessor)) = match claimed {
            Some(claimed) => (beginning, claimed),
            None => {
                let given = systemd::listeners().context("LISTEN_FDS")?;
                (Beginning::Alone, (given, Predecessor::default()))
            }
        };
        let door = socket.map(|socket| Door::open(socket, &mut inherited));
        let door = door.transpose().context("proxy.takeover_socket")?;
        Ok(Self { beginning, inherited, predecessor, door, copies: Vec::new() })
    }

    /// How the process has started indeed.
    pub(crate) fn beginning(&self) -> Beginning {
        self.beginning
    }

    /// The process whose listeners these were.
    pub(crate) fn predecessor(&self) -> Predecessor {
        self.predecessor.clone()
    }

    /// The listener for metrics.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn metrics(&mut self, config: &admin::Config) -> anyhow::Result<TcpListener> {
        let listener = match self.inherited.take_tcp(config.listen) {
            Some(listener) => listener,
            None => admin::bind(config.listen)?,
        };
        if self.door.is_some() {
            self.copies.push(listener.try_clone()?.into());
        }
        Ok(listener)
    }

    /// The listeners for clients. Who takes over has found the primary before.
    ///
    /// # Errors
    /// One that cannot be opened; no primary.
    pub(crate) async fn listen(
        &mut self,
        settings: &Settings,
        mut snapshots: Snapshots,
    ) -> anyhow::Result<Bound> {
        if self.beginning == Beginning::TakeOver {
            let proven = snapshots.wait_for(|it| it.route(Access::ReadWrite).is_ok());
            if timeout(PRIMARY, proven).await.is_err() {
                bail!("no primary was found: the running process goes on");
            }
        }
        let bound = Listener::bind(&settings.frontend, &mut self.inherited).context("[proxy]")?;
        if self.door.is_some() {
            for listener in &bound.listeners {
                self.copies.push(listener.descriptor()?);
            }
            for file in &bound.files {
                self.copies.push(file.lock()?);
            }
        }
        Ok(bound)
    }

    /// Tells the process before this one that clients are taken here, and waits for the one after.
    ///
    /// # Errors
    /// There are too few descriptors.
    pub(crate) async fn pass_on(
        self,
        app: &Arc<App>,
        departure: &Departure,
        accepting: &mut Accepting,
    ) -> anyhow::Result<Option<AbortOnDropHandle<()>>> {
        for address in self.inherited.left() {
            tracing::warn!(
                event = "listener_unwanted",
                address,
                "an inherited listener is not in the configuration: closed"
            );
        }
        drop(self.inherited);
        self.predecessor.ready().await;
        accepting.keep();
        let Some(mut door) = self.door else { return Ok(None) };
        door.keep().context("proxy.takeover_socket")?;
        let offer = Offer::new(door, self.copies).context("proxy.takeover_socket")?;
        Ok(Some(offer.stand(Arc::clone(app), departure.clone())))
    }
}
