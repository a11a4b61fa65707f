//! The older process: hands its listeners over to whoever asks for them, and answers for its
//! clients as long as it has any.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use transport::{Inherited, SocketFile, UnixAccess, UnixError, listen_unix, send_descriptors};

use super::words::{Answer, HELLO, LISTENERS, Question};
use super::{BUILDING, STEP, is_trusted};
use crate::app::App;
use crate::departure::Departure;

/// Nobody else's process may ask.
const ACCESS: UnixAccess = UnixAccess { mode: 0o600, group: None };

/// Where a newer process asks for the listeners.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    file: Option<SocketFile>,
}

/// What is handed over, and to whom it is told.
#[derive(Debug)]
pub(crate) struct Offer {
    door: Door,
    /// Copies: a socket is closed only when these are gone, too.
    descriptors: Vec<OwnedFd>,
}

impl Door {
    /// Opens `socket`, or takes the one that was inherited.
    ///
    /// # Errors
    /// Another process serves it, or the system says no.
    pub(crate) fn open(socket: &Path, inherited: &mut Inherited) -> Result<Self, UnixError> {
        let (listener, file) = listen_unix(socket, &ACCESS, 8, inherited)?;
        Ok(Self { listener, file })
    }

    /// What was inherited is ours from now on.
    ///
    /// # Errors
    /// The lock file cannot be written to.
    pub(crate) fn keep(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), SocketFile::keep)
    }
}

impl Offer {
    /// Hands over `descriptors`, and what it is itself asked at.
    ///
    /// # Errors
    /// There are too few descriptors.
    pub(crate) fn new(door: Door, mut descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        descriptors.push(door.listener.as_fd().try_clone_to_owned()?);
        if let Some(file) = &door.file {
            descriptors.push(file.lock()?);
        }
        Ok(Self { door, descriptors })
    }

    /// Waits for a newer process, until the end is asked for otherwise. When it is ready, the
    /// departure begins.
    pub(crate) fn stand(self, app: Arc<App>, departure: Departure) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(self.hand_over(app, departure)))
    }

    async fn hand_over(self, app: Arc<App>, departure: Departure) {
        let mut line = loop {
            let line = match self.door.listener.accept().await {
                Ok((line, _)) => line,
                Err(error) => {
                    tracing::warn!(event = "takeover_failed", %error, "cannot hand over");
                    tokio::time::sleep(STEP).await;
                    continue;
                }
            };
            if !is_trusted(&line) {
                tracing::warn!(
                    event = "takeover_refused",
                    "a process of another user asked for the listeners"
                );
                continue;
            }
            match timeout(BUILDING, self.offer(line, &app)).await.map_err(io::Error::from).flatten()
            {
                Ok(line) => break line,
                Err(error) => {
                    tracing::warn!(event = "takeover_failed", %error, "a process that was to take over did not")
                }
            }
        };
        let Self { door: Door { file, listener }, descriptors } = self;
        if let Some(file) = file {
            file.give_away();
        }
        drop((listener, descriptors));
        departure.make_room();
        if Answer::Leaving.write(&mut line).await.is_err() {
            return;
        }
        // The newer process ends, or says what was never agreed: nobody can ask any more.
        while let Ok(Some(question)) = Question::read(&mut line).await {
            if answer(&app, question).await.write(&mut line).await.is_err() {
                return;
            }
        }
    }

    /// Gives a newer process the listeners, and waits until it is ready.
    async fn offer(&self, mut line: UnixStream, app: &Arc<App>) -> io::Result<UnixStream> {
        let mut hello = [0; HELLO.len()];
        timeout(STEP, line.read_exact(&mut hello)).await??;
        if hello != *HELLO {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks another protocol"));
        }
        tracing::info!(event = "takeover_asked", "another process takes over");
        let descriptors: Vec<_> = self.descriptors.iter().map(|it| it.as_fd()).collect();
        send_descriptors(&line, LISTENERS, &descriptors).await?;
        loop {
            match Question::read(&mut line).await? {
                Some(Question::Ready) => return Ok(line),
                Some(question) => answer(app, question).await.write(&mut line).await?,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has ended")),
            }
        }
    }
}

/// Finds a key's client, or asks the process before this one. The request itself takes its time,
/// and the next question does not wait for it.
async fn answer(app: &Arc<App>, question: Question) -> Answer {
    let key = match question {
        Question::Ready => return Answer::Leaving,
        Question::Cancel(key) => key,
    };
    if let Some(slot) = app.cancel_keys.find(key.pid, |own| *own == key) {
        let app = Arc::clone(app);
        // Detached on purpose: it ends within cancel_wait_timeout.
        tokio::spawn(async move {
            let outcome = slot.cancel(&app.pools).await;
            app.metrics.clients().cancels.inc(outcome);
        });
        return Answer::Taken;
    }
    if app.peers.predecessor().cancel(&key).await { Answer::Taken } else { Answer::Unknown }
}
