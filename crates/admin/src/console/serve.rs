//! The loop of one client: bytes in, one message at a time, through pgwire, answers out.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::SinkExt;
use pgwire::api::{
    ClientInfo, DefaultClient, METADATA_DATABASE, METADATA_USER, NoopHandler, PgWireConnectionState,
};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, Empty, Join, ReadHalf, WriteHalf, empty, join, split,
};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::codec::Framed;
use wire::{ErrorMessage, Severity, SqlState};

use super::command::Statement;
use super::dialogue::Dialogue;
use super::extended::Extended;
use super::frame::{Asked, FRAME_MAX, Frame};
use super::reply;

/// How long a client may take none of what is sent to it.
const STALL_MAX: Duration = Duration::from_secs(60);

/// pgwire writes to it; reading it gives nothing: what is read goes through [`Frame`].
type Out<S> = Join<Empty, Pin<Box<TimeoutWriter<WriteHalf<S>>>>>;

type Answers<S> = Framed<Out<S>, PgWireMessageServerCodec<Arc<Statement>>>;

/// Whether to go on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Message,
    End,
}

/// What comes in.
struct Incoming<S> {
    reader: ReadHalf<S>,
    unread: BytesMut,
    /// The peer has closed its end.
    is_over: bool,
}

impl<S: AsyncRead + AsyncWrite> Incoming<S> {
    /// Reads once. While there is no room, and at the end, never resolves.
    ///
    /// # Cancel safety
    /// What was read is in the buffer: nothing is lost.
    async fn fill(&mut self) -> io::Result<()> {
        // One whole message fits, so that there is room whenever one is waited for.
        if self.is_over || self.unread.len() >= 2 * FRAME_MAX {
            return std::future::pending().await;
        }
        if self.reader.read_buf(&mut self.unread).await? == 0 {
            self.is_over = true;
        }
        Ok(())
    }
}

/// Serves a client that is logged in and has been told ReadyForQuery, until it goes.
///
/// # Errors
/// The connection broke.
pub(super) async fn serve<S>(stream: S, unread: BytesMut, dialogue: Arc<Dialogue>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    let (reader, writer) = split(stream);
    let mut incoming = Incoming { reader, unread, is_over: false };
    let mut answers = answers(writer, &dialogue);
    loop {
        let frame = match Frame::take(&mut incoming.unread) {
            Ok(Some(frame)) => frame,
            Ok(None) if incoming.is_over => break,
            Ok(None) => {
                tokio::select! {
                    read = incoming.fill() => read?,
                    () = dialogue.desk.stop.cancelled() => {
                        let text = "terminating connection due to administrator command";
                        farewell(&mut answers, ErrorMessage::fatal(SqlState::ADMIN_SHUTDOWN, text))
                            .await?;
                        break;
                    }
                }
                continue;
            }
            Err(error) => {
                farewell(&mut answers, error).await?;
                break;
            }
        };
        // Reading goes on, so that it is noticed when the client goes away.
        let mut work = pin!(answer(&frame, &mut answers, &dialogue));
        let next = loop {
            tokio::select! {
                biased;
                next = &mut work => break next?,
                read = incoming.fill() => {
                    if read.is_err() || incoming.is_over {
                        incoming.is_over = true;
                        dialogue.gone.cancel();
                    }
                }
            }
        };
        if next == Next::End {
            break;
        }
    }
    answers.close().await
}

fn answers<S: AsyncRead + AsyncWrite>(writer: WriteHalf<S>, dialogue: &Dialogue) -> Answers<S> {
    let mut writer = TimeoutWriter::new(writer);
    writer.set_timeout(Some(STALL_MAX));
    // pgwire wants an address and never uses it.
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut client = DefaultClient::new(nowhere, false);
    client.state = PgWireConnectionState::ReadyForQuery;
    client.metadata.insert(METADATA_USER.to_owned(), dialogue.who.user.clone());
    client.metadata.insert(METADATA_DATABASE.to_owned(), dialogue.who.database.clone());
    Framed::new(join(empty(), Box::pin(writer)), PgWireMessageServerCodec::new(client))
}

/// The last word.
async fn farewell<S>(answers: &mut Answers<S>, error: ErrorMessage) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Sync + 'static,
{
    answers.send(PgWireBackendMessage::ErrorResponse(reply::info(error).into())).await
}

/// Answers one message.
async fn answer<S>(
    frame: &Frame,
    answers: &mut Answers<S>,
    dialogue: &Arc<Dialogue>,
) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    let is_skipping = matches!(answers.state(), PgWireConnectionState::AwaitingSync);
    let result = match frame.read() {
        Ok(Asked::Terminate) => return Ok(Next::End),
        Ok(Asked::Nothing) => Ok(()),
        // Until Sync, Postgres passes over all but Sync.
        _ if is_skipping && !is_sync(frame) => Ok(()),
        Ok(Asked::Message(message)) => process(message, answers, dialogue).await,
        Ok(Asked::FunctionCall) => Err(reply::refused(ErrorMessage::error(
            SqlState::FEATURE_NOT_SUPPORTED,
            "function calls are not supported by the console",
        ))),
        Err(error) if error.severity == Severity::Fatal => {
            farewell(answers, error).await?;
            return Ok(Next::End);
        }
        Err(error) => Err(reply::refused(error)),
    };
    match result {
        Ok(()) => Ok(Next::Message),
        Err(PgWireError::IoError(error)) => Err(error),
        Err(error) => {
            let error = reply::in_postgres_words(error);
            if error.is_fatal() {
                tracing::error!(event = "console_broken", %error, "the console is in a state that it cannot be in");
                process_error(answers, error, true).await?;
                return Ok(Next::End);
            }
            process_error(answers, error, frame.is_extended()).await?;
            Ok(Next::Message)
        }
    }
}

fn is_sync(frame: &Frame) -> bool {
    frame.tag == wire::tag::frontend::SYNC
}

async fn process<S>(
    message: PgWireFrontendMessage,
    answers: &mut Answers<S>,
    dialogue: &Arc<Dialogue>,
) -> PgWireResult<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    let none = Arc::new(NoopHandler);
    let extended = Arc::new(Extended(Arc::clone(dialogue)));
    process_message(
        message,
        answers,
        Arc::clone(&none),
        Arc::clone(dialogue),
        extended,
        Arc::clone(&none),
        none,
    )
    .await
}
