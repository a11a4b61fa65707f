//! The listeners at work: from a connection in the kernel's queue to a client's task.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use frontend::{Bound, ClientAddress, Listener};
use telemetry::{Refusal, Via};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use transport::{Socket, SocketFile};

use crate::app::App;
use crate::limits::LOGINS_BEYOND;
use crate::login;

/// After an error of accept, such as EMFILE: trying at once would only burn the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// What takes clients, and what lies in the file system for it.
#[derive(Debug)]
pub(crate) struct Accepting {
    tasks: Vec<AbortOnDropHandle<()>>,
    /// Not the tasks': they are gone when this is dropped, and the tasks may not be.
    files: Vec<SocketFile>,
    closing: CancellationToken,
}

/// What the tasks of all listeners share.
#[derive(Debug)]
struct Door {
    app: Arc<App>,
    /// Connections that may wait in the kernel.
    backlog: u32,
    ids: AtomicU64,
    closing: CancellationToken,
}

impl Accepting {
    /// Takes clients from these listeners.
    pub(crate) fn begin(bound: Bound, app: &Arc<App>, backlog: u32) -> Self {
        let closing = CancellationToken::new();
        let door = Arc::new(Door {
            app: Arc::clone(app),
            backlog,
            ids: AtomicU64::new(0),
            closing: closing.clone(),
        });
        let Bound { listeners, files } = bound;
        let accept = |listener: Listener| {
            let (address, port) = (listener.endpoint(), listener.port().as_str());
            tracing::info!(event = "listening", %address, port, "listening");
            AbortOnDropHandle::new(tokio::spawn(accept(listener, Arc::clone(&door))))
        };
        Self { tasks: listeners.into_iter().map(accept).collect(), files, closing }
    }

    /// Closes the listeners. Whoever is in the kernel's queue is still taken: closing a socket
    /// resets the connections that wait to be accepted.
    pub(crate) async fn close(self) {
        // First, so that nobody finds the way any more while the queues are emptied.
        drop(self.files);
        self.closing.cancel();
        for task in self.tasks {
            // A task that has panicked has closed its listener, too.
            let _ = task.await;
        }
    }

    /// What was inherited is ours from now on.
    pub(crate) fn keep(&mut self) {
        for file in &mut self.files {
            if let Err(error) = file.keep() {
                tracing::warn!(event = "lock_not_signed", %error, "the lock of a Unix socket says that another process has it");
            }
        }
    }

    /// Leaves the listeners to another process, which has them, too: whoever waits is its client.
    pub(crate) fn give_away(self) {
        self.files.into_iter().for_each(SocketFile::give_away);
        drop(self.tasks);
    }
}

async fn accept(listener: Listener, door: Arc<Door>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = door.closing.cancelled() => break,
        };
        match accepted {
            Ok((socket, from)) => door.take(socket, from, &listener),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(event = "accept_failed", %error, "cannot accept connections");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // No more than may have been waiting: others could come for ever.
    for _ in 0..door.backlog {
        match listener.accept_waiting() {
            Ok(Some((socket, from))) => door.take(socket, from, &listener),
            Ok(None) => break,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(event = "accept_queue_closed", %error, "connections that waited to be accepted are closed");
                break;
            }
        }
    }
}

impl Door {
    fn take(&self, socket: Socket, from: ClientAddress, listener: &Listener) {
        // A client of the console has its place there, and must not take that of a login.
        let consoles = self.app.console.as_ref().map_or(0, crate::console::Door::seats);
        let most = u64::from(self.app.limits.max()) + consoles + u64::from(LOGINS_BEYOND);
        if self.app.metrics.clients().connected() >= most {
            // Not even a refusal can be afforded for more.
            self.app.metrics.clients().refusals.inc(Refusal::TooManyClients);
            return;
        }
        // From here on, and not from the task's first turn: the end waits for who is counted.
        let guard = self.app.metrics.clients().accepted(match &socket {
            Socket::Tcp(_) => Via::Tcp,
            Socket::Unix(_) => Via::Unix,
        });
        let id = self.ids.fetch_add(1, Relaxed) + 1;
        // Detached on purpose: it ends within client_login_timeout.
        let app = Arc::clone(&self.app);
        tokio::spawn(login::serve(app, socket, from, listener.port(), guard, id));
    }
}

/// Errors of the connection that would have been accepted, not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
