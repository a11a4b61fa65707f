//! Our own statements on a session: resets and the role query.

use std::borrow::Cow;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use transport::MaybeTls;
use wire::Cursor;
use wire::message::{self, TransactionStatus};
use wire::tag::backend as tag;

use crate::channel::{Channel, Message};
use crate::{ProtocolFault, QueryError};

/// Runs one simple query (`DISCARD ALL`, `ROLLBACK`, `SELECT set_config(…)`) on a session that
/// owes nothing, and waits until the server is idle again, with nothing left unread. Changed
/// parameters go to `on_parameter`; rows, notices and notifications are dropped.
///
/// # Errors
/// Anything but success within `limit`. The session must be closed then, not reused.
///
/// # Cancel safety
/// Not cancel safe: the answer of a dropped call is still to come, so close the session.
pub async fn run<S>(
    stream: &mut MaybeTls<S>,
    sql: &str,
    limit: Duration,
    mut on_parameter: impl FnMut(&str, &str),
) -> Result<(), QueryError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut channel = Channel::new(stream, RUN_BYTES_MAX);
    let mut on_message = |message: &Message<'_>| {
        if matches!(message.tag, tag::ROW_DESCRIPTION | tag::DATA_ROW) {
            return Ok(());
        }
        let (name, value) = parameter(message)?;
        on_parameter(&name, &value);
        Ok(())
    };
    match timeout(limit, exchange(&mut channel, sql, &mut on_message)).await {
        Ok(result) => result,
        Err(_) => Err(QueryError::Timeout),
    }
}

/// Asks a session that owes nothing whether its server is in recovery. Changed parameters go to
/// `on_parameter`.
///
/// # Errors
/// As [`run`]. The session must be closed then, not reused.
///
/// # Cancel safety
/// As [`run`].
pub async fn is_in_recovery<S>(
    stream: &mut MaybeTls<S>,
    limit: Duration,
    mut on_parameter: impl FnMut(&str, &str),
) -> Result<bool, QueryError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut channel = Channel::new(stream, RUN_BYTES_MAX);
    let mut answer = None;
    let mut on_message = |message: &Message<'_>| {
        match message.tag {
            tag::ROW_DESCRIPTION => {}
            tag::DATA_ROW => answer = Some(single_bool(message.body)?),
            _ => {
                let (name, value) = parameter(message)?;
                on_parameter(&name, &value);
            }
        }
        Ok(())
    };
    match timeout(limit, exchange(&mut channel, IN_RECOVERY, &mut on_message)).await {
        Ok(result) => result?,
        Err(_) => return Err(QueryError::Timeout),
    }
    answer.ok_or_else(|| ProtocolFault::Unexpected { tag: tag::COMMAND_COMPLETE }.into())
}

/// What tells a standby from a primary, on every version.
pub(crate) const IN_RECOVERY: &str = "SELECT pg_catalog.pg_is_in_recovery()";

/// A row of one boolean in text format.
pub(crate) fn single_bool(row: &[u8]) -> Result<bool, ProtocolFault> {
    match row {
        [0, 1, 0, 0, 0, 1, b't'] => Ok(true),
        [0, 1, 0, 0, 0, 1, b'f'] => Ok(false),
        _ => Err(ProtocolFault::Malformed { tag: tag::DATA_ROW }),
    }
}

/// Ends a session as libpq does, so that the server need not log a lost connection. Whatever
/// goes wrong or takes longer than `limit` is of no interest: dropping the stream does the rest.
///
/// # Cancel safety
/// Dropping the future leaves a stream of no further use.
pub async fn terminate<S>(stream: &mut MaybeTls<S>, limit: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let goodbye = async {
        stream.write_all(message::TERMINATE).await?;
        stream.shutdown().await
    };
    // Either way the caller drops the stream next.
    let _ = timeout(limit, goodbye).await;
}

/// Sends a query and reads its answer. Messages that depend on the query, and parameter
/// changes, go to `on_message`, which refuses those that it does not expect.
///
/// A ReadyForQuery before anything completed is not the answer to this query but a leftover of
/// another: taking it would leave the answers one off for ever.
pub(crate) async fn exchange<S>(
    channel: &mut Channel<'_, S>,
    sql: &str,
    on_message: &mut impl FnMut(&Message<'_>) -> Result<(), ProtocolFault>,
) -> Result<(), QueryError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut out = Vec::with_capacity(sql.len() + 8);
    message::put_query(&mut out, sql);
    channel.send(&out).await?;
    let mut completed = false;
    loop {
        let message = channel.next().await?;
        match message.tag {
            tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE => completed = true,
            tag::NOTICE_RESPONSE | tag::NOTIFICATION_RESPONSE => {}
            tag::READY_FOR_QUERY if completed => {
                expect_idle(message.body)?;
                return settle(channel, on_message).await;
            }
            _ => on_message(&message)?,
        }
    }
}

/// Reads on behind a ReadyForQuery until nothing is half read: a server may have sent an
/// asynchronous message right behind it, and what the channel has read must not be lost.
pub(crate) async fn settle<S>(
    channel: &mut Channel<'_, S>,
    on_message: &mut impl FnMut(&Message<'_>) -> Result<(), ProtocolFault>,
) -> Result<(), QueryError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while !channel.is_drained() {
        let message = channel.next().await?;
        match message.tag {
            tag::NOTICE_RESPONSE | tag::NOTIFICATION_RESPONSE => {}
            tag::PARAMETER_STATUS => on_message(&message)?,
            tag => return Err(ProtocolFault::Unexpected { tag }.into()),
        }
    }
    Ok(())
}

/// Reads the body of a ReadyForQuery that must say `I`.
pub(crate) fn expect_idle(body: &[u8]) -> Result<(), ProtocolFault> {
    match TransactionStatus::parse(body) {
        Ok(TransactionStatus::Idle) => Ok(()),
        Ok(status) => Err(ProtocolFault::NotIdle(status)),
        Err(_) => Err(ProtocolFault::Malformed { tag: tag::READY_FOR_QUERY }),
    }
}

/// Reads a ParameterStatus. Bytes that are not UTF-8 are replaced rather than refused: a role's
/// name in `session_authorization` comes in the database's encoding.
pub(crate) fn parameter<'a>(
    message: &Message<'a>,
) -> Result<(Cow<'a, str>, Cow<'a, str>), ProtocolFault> {
    if message.tag != tag::PARAMETER_STATUS {
        return Err(ProtocolFault::Unexpected { tag: message.tag });
    }
    let malformed = |_| ProtocolFault::Malformed { tag: tag::PARAMETER_STATUS };
    let mut cursor = Cursor::new(message.body);
    let name = String::from_utf8_lossy(cursor.c_bytes().map_err(malformed)?);
    let value = String::from_utf8_lossy(cursor.c_bytes().map_err(malformed)?);
    cursor.end().map_err(malformed)?;
    Ok((name, value))
}

/// A reset reports some parameters and maybe a few notices.
const RUN_BYTES_MAX: usize = 64 * 1024;
