//! The newer process: asks for the listeners, says when it is ready, and afterwards passes on
//! what is for clients of the older one.

use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use transport::{Inherited, receive_descriptors};
use wire::CancelKey;

use super::words::{Answer, HELLO, LISTENERS, Question};
use super::{STEP, is_trusted};

/// CancelRequests that wait to be asked about; more are of keys that nobody has given.
const WAITING: usize = 64;

/// The process before this one, if this one took over. Asking it needs no lock of ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Predecessor(Option<mpsc::Sender<Asking>>);

type Asking = (Question, oneshot::Sender<Answer>);

/// Asks the process that serves `socket` for its listeners. `None` if nobody does.
///
/// # Errors
/// It is not ours to take over from, or it does not answer.
pub(crate) async fn claim(socket: &Path) -> anyhow::Result<Option<(Inherited, Predecessor)>> {
    let mut line = match UnixStream::connect(socket).await {
        Ok(line) => line,
        Err(error) if is_nobody(&error) => return Ok(None),
        Err(error) => return Err(error).context("connecting to the running process"),
    };
    if !is_trusted(&line) {
        bail!("another user serves {}: its listeners are not taken", socket.display());
    }
    let exchange = async {
        line.write_all(HELLO).await?;
        receive_descriptors(&line).await
    };
    let received = timeout(STEP, exchange).await.map_err(io::Error::from).flatten();
    let (word, descriptors) = received.context("asking the running process for its listeners")?;
    if word != LISTENERS {
        bail!("the running process speaks another protocol");
    }
    let inherited = Inherited::new(descriptors).context("taking the listeners")?;
    let (sender, receiver) = mpsc::channel(WAITING);
    // Detached on purpose: it ends with the older process, or with the last sender.
    tokio::spawn(talk(line, receiver));
    Ok(Some((inherited, Predecessor(Some(sender)))))
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// Asks one question after the other, until one of the two processes has had enough.
async fn talk(mut line: UnixStream, mut questions: mpsc::Receiver<Asking>) {
    loop {
        let (question, answered) = tokio::select! {
            asking = questions.recv() => match asking {
                Some(asking) => asking,
                None => return,
            },
            () = ended(&line) => break,
        };
        let exchange = async {
            question.write(&mut line).await?;
            Answer::read(&mut line).await
        };
        match timeout(STEP, exchange).await.map_err(io::Error::from).flatten() {
            Ok(answer) => drop(answered.send(answer)),
            Err(error) => {
                tracing::debug!(event = "predecessor_silent", %error, "the older process does not answer");
                break;
            }
        }
    }
    tracing::info!(event = "predecessor_ended", "the older process has ended");
}

/// Waits for the end of a line on which nothing is said that was not asked for.
///
/// # Cancel safety
/// Nothing is lost: nothing is said.
async fn ended(line: &UnixStream) {
    while line.readable().await.is_ok() {
        match line.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => return,
        }
    }
}

impl Predecessor {
    /// Tells it that its clients have another process to go to. Waits until it takes no more of
    /// them, but not for ever: it may have ended.
    pub(crate) async fn ready(&self) {
        match self.ask(Question::Ready).await {
            Some(Answer::Leaving) => {
                tracing::info!(event = "takeover_done", "the older process takes no more clients")
            }
            None if self.0.is_none() => {}
            Some(_) | None => tracing::warn!(
                event = "predecessor_silent",
                "the older process has ended, or does not answer"
            ),
        }
    }

    /// Whether the key was one of its own. It carries the request out.
    pub(crate) async fn cancel(&self, key: &CancelKey) -> bool {
        self.ask(Question::Cancel(key.clone())).await == Some(Answer::Taken)
    }

    async fn ask(&self, question: Question) -> Option<Answer> {
        let questions = self.0.as_ref()?;
        let (answered, answer) = oneshot::channel();
        let asked = async {
            questions.send((question, answered)).await.ok()?;
            answer.await.ok()
        };
        timeout(2 * STEP, asked).await.ok().flatten()
    }
}
