//! The thread, its runtime, the accept loop, and how it ends.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use telemetry::Exposition;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::Service;
use crate::status::{Door, Html, Hub, READING_MAX};
use crate::{Config, ConsoleConfig, Consoles, Error, Facts, Look, Operate, Ready};

/// Pause after a failed accept: it fails for lack of descriptors or memory, and at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// hyper refuses a smaller read buffer.
const BUFFER_BYTES_MIN: usize = 8 * 1024;

/// Headers per request; Prometheus and kubelet send fewer than ten.
const HEADERS_MAX: usize = 64;

/// The running service. Dropping it stops the service without waiting.
#[derive(Debug)]
pub struct AdminHandle {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    runtime: Handle,
    consoles: Ending,
}

/// How the console's tasks are told to end, and waited for.
#[derive(Debug, Clone, Default)]
struct Ending {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl AdminHandle {
    /// The address in use, with the port that was chosen if the configured one was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Opens the console: its clients are served on this service's thread, and are told to go
    /// when it ends. Each call opens another one.
    pub fn console(
        &self,
        config: ConsoleConfig,
        facts: Arc<dyn Facts>,
        operate: Arc<dyn Operate>,
    ) -> Consoles {
        let Ending { stop, tasks } = self.consoles.clone();
        Consoles::open(config, facts, operate, (self.runtime.clone(), stop, tasks))
    }

    /// Tells the clients of the console to go, and waits for it no longer than `limit`: who has
    /// ordered the end has its answer then.
    pub async fn end_consoles(&self, limit: Duration) {
        self.consoles.clone().end(limit).await;
    }

    /// Stops accepting, lets the requests under way end, and waits for that: at most the
    /// configured `request_timeout`. Blocks its thread; call it last.
    pub fn shutdown(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(event = "metrics_failed", "the metrics thread had panicked");
        }
    }
}

/// Opens a listener for [`spawn_at`].
///
/// # Errors
/// [`Error::Listen`].
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, Error> {
    std::net::TcpListener::bind(address).map_err(|source| Error::Listen { address, source })
}

/// Binds the address and starts the service on a thread of its own. Needs no runtime, and may
/// be called inside one.
///
/// # Errors
/// [`Error::Listen`], [`Error::Start`].
pub fn spawn(
    config: Config,
    exposition: Exposition,
    ready: impl Ready,
    look: Arc<dyn Look>,
) -> Result<AdminHandle, Error> {
    spawn_at(bind(config.listen)?, config, exposition, ready, look)
}

/// [`spawn`] at a listener that is open already, be it here or by another process.
///
/// # Errors
/// [`Error::Start`].
pub fn spawn_at(
    listener: std::net::TcpListener,
    config: Config,
    exposition: Exposition,
    ready: impl Ready,
    look: Arc<dyn Look>,
) -> Result<AdminHandle, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(Error::Start)?;
    // Entered and not blocked on: the caller may be inside a runtime of its own.
    let entered = runtime.enter();
    let (listener, address) = listen(listener).map_err(Error::Start)?;
    drop(entered);
    let (stop, stopped) = oneshot::channel();
    let ended = CancellationToken::new();
    let hub = Arc::new(Hub::new(look, Arc::new(ready), ended.clone()));
    let door = Arc::new(Door::new(config.login.clone()));
    let html = Arc::new(Html::new());
    let service = Service { exposition, hub, door, page: config.page, html };
    let consoles = Ending::default();
    let ending = consoles.clone();
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            let limit = config.request_timeout;
            runtime.block_on(async {
                serve(config, listener, service, stopped, ended).await;
                ending.end(limit).await;
            });
        })
        .map_err(Error::Start)?;
    Ok(AdminHandle { address, stop: Some(stop), thread: Some(thread), runtime: handle, consoles })
}

impl Ending {
    /// Tells all to end, and waits for it no longer than `limit`.
    async fn end(self, limit: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::debug!(event = "console_lost", "a client of the console has not gone in time");
        }
    }
}

fn listen(listener: std::net::TcpListener) -> io::Result<(TcpListener, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

/// Accepts while there is room, until `stopped` resolves (a dropped sender resolves it, too), and
/// then has streams `ended`.
async fn serve(
    config: Config,
    listener: TcpListener,
    service: Service,
    mut stopped: oneshot::Receiver<()>,
    ended: CancellationToken,
) {
    let seats = Arc::new(Semaphore::new(config.connections_max.max(1)));
    let mut connections = JoinSet::new();
    let looking = Arc::clone(&service.hub);
    connections.spawn(async move { looking.run().await });
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &seats) => match accepted {
                Ok((stream, seat)) => {
                    connections.spawn(connection(config.clone(), service.clone(), stream, seat));
                }
                Err(error) => {
                    tracing::warn!(event = "metrics_accept_failed", %error, "cannot accept a connection for metrics");
                    tokio::select! {
                        _ = &mut stopped => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            },
        }
    }
    drop(listener);
    ended.cancel();
    // Each of them ends within its own time limit.
    while connections.join_next().await.is_some() {}
}

/// A connection once there is a seat for it.
///
/// # Cancel safety
/// Cancel safe.
async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, seat))
}

/// One request. What goes wrong on it is the peer's affair: it is closed, and said at debug.
///
/// A stream has a time limit of its own and gives its seat to the next: the hub counts streams.
async fn connection(
    config: Config,
    service: Service,
    stream: TcpStream,
    seat: OwnedSemaphorePermit,
) {
    let seat = parking_lot::Mutex::new(Some(seat));
    let answer = service_fn(|request| {
        let (service, seat) = (service.clone(), &seat);
        async move {
            let streams = || drop(seat.lock().take());
            Ok::<_, Infallible>(service.answer(&request, streams).await)
        }
    });
    let mut stream = TimeoutStream::new(stream);
    // Whoever takes nothing of a stream is gone.
    stream.set_write_timeout(Some(config.request_timeout));
    let http = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(config.request_timeout)
        .max_buf_size(config.header_bytes_max.max(BUFFER_BYTES_MIN))
        .max_header_size(config.header_bytes_max)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), answer);
    let mut http = pin!(http);
    let mut outcome = timeout(config.request_timeout, &mut http).await;
    if outcome.is_err() && seat.lock().is_none() {
        outcome = timeout(READING_MAX, &mut http).await;
    }
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(
            event = "metrics_connection_failed",
            ?error,
            "metrics connection failed"
        ),
        Err(_) => {
            tracing::debug!(event = "metrics_connection_failed", "metrics connection timed out")
        }
    }
}
