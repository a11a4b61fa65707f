//! What a service manager gives and is told: listening sockets (sd_listen_fds(3)) and the state of
//! the process (sd_notify(3)). Without one nothing happens.

use std::io;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use transport::Inherited;

use crate::entrance::Beginning;

/// The listening sockets that were opened before this process was started.
///
/// # Errors
/// One of them is no stream socket.
pub(crate) fn listeners() -> io::Result<Inherited> {
    let mut given = ListenFd::from_env();
    let count = given.len();
    let take = |at| -> io::Result<Option<OwnedFd>> {
        match given.take_tcp_listener(at) {
            Ok(listener) => Ok(listener.map(OwnedFd::from)),
            Err(_) => Ok(given.take_unix_listener(at)?.map(OwnedFd::from)),
        }
    };
    let descriptors: io::Result<Vec<_>> = (0..count).map(take).collect();
    Inherited::new(descriptors?.into_iter().flatten().collect())
}

/// Clients are taken. Who has taken over is the main process now.
pub(crate) fn ready(beginning: Beginning) {
    let status = NotifyState::Status("taking clients");
    match beginning {
        Beginning::Alone => tell(&[NotifyState::Ready, status]),
        Beginning::TakeOver => {
            let main = NotifyState::MainPid(std::process::id());
            tell(&[main, NotifyState::Ready, status]);
        }
    }
}

/// The configuration is read again, until [`reloaded`].
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// It has been read, whatever came of it.
pub(crate) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The end has begun. Not to be told where another process goes on.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining: no new clients are taken")]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(event = "service_manager_silent", %error, "the service manager does not listen");
    }
}
