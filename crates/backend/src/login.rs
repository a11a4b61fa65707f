//! From the startup packet to the first ReadyForQuery.

use auth::{BindingPolicy, ChannelBinding, ScramKeys, ServerEndPoint};
use tokio::io::{AsyncRead, AsyncWrite};
use transport::MaybeTls;
use wire::tag::backend as tag;
use wire::{CancelKey, CancelSecret, Cursor, MAX_STARTUP_PACKET_LEN, Malformed, Version};

use crate::authentication::{self, Authentication, Step};
use crate::channel::{Channel, Message};
use crate::{ConnectError, Login, Parameters, ProtocolFault, RequiredRole, query};

/// What a login leaves besides the stream.
pub(crate) struct Session {
    pub(crate) parameters: Parameters,
    pub(crate) key: Option<CancelKey>,
    pub(crate) in_hot_standby: Option<bool>,
    pub(crate) scram_keys: Option<ScramKeys>,
}

/// A login that failed, and whether the server had asked for a password by then.
pub(crate) struct Failure {
    pub(crate) error: ConnectError,
    pub(crate) asked: bool,
}

/// Logs in on a fresh connection.
pub(crate) async fn login<S>(
    stream: &mut MaybeTls<S>,
    login: &Login,
    policy: BindingPolicy,
) -> Result<Session, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut asked = false;
    let binding = binding(stream, policy);
    let mut channel = Channel::new(stream, LOGIN_BYTES_MAX);
    let result = async {
        let scram_keys = authenticate(&mut channel, login, binding, &mut asked).await?;
        let mut session = Session {
            parameters: Parameters::default(),
            key: None,
            in_hot_standby: None,
            scram_keys,
        };
        start(&mut channel, &mut session).await?;
        prove_role(&mut channel, &mut session, login.role).await?;
        Ok(session)
    };
    result.await.map_err(|error| Failure { error, asked })
}

/// What can be bound to: the server's certificate, if it has a hash for that.
fn binding<S>(stream: &MaybeTls<S>, policy: BindingPolicy) -> ChannelBinding {
    let channel = match stream.server_certificate() {
        None if !stream.is_tls() => auth::Channel::Plain,
        certificate => {
            auth::Channel::Tls(certificate.and_then(|der| ServerEndPoint::of_certificate(der).ok()))
        }
    };
    ChannelBinding::new(policy, channel)
}

/// Sends the startup packet and answers until AuthenticationOk.
async fn authenticate<S>(
    channel: &mut Channel<'_, S>,
    login: &Login,
    binding: ChannelBinding,
    asked: &mut bool,
) -> Result<Option<ScramKeys>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut out = Vec::new();
    wire::put_startup(&mut out, Version::V3_0, login.startup.pairs(&login.credentials.user));
    if out.len() > MAX_STARTUP_PACKET_LEN as usize {
        return Err(ConnectError::StartupTooLong(out.len()));
    }
    channel.send(&out).await?;
    let around = authentication::Channel { is_tls: channel.is_tls(), binding };
    let mut state = Authentication::Start;
    let mut negotiated = false;
    loop {
        let Message { tag, body } = channel.next().await?;
        match tag {
            tag::AUTHENTICATION => {
                *asked = true;
                match state.receive(body, &login.credentials, &around).await? {
                    Step::Done(keys) => return Ok(keys),
                    Step::Ask(next, answer) => {
                        state = next;
                        channel.send(&answer).await?;
                    }
                }
            }
            tag::NOTICE_RESPONSE => {}
            tag::NEGOTIATE_PROTOCOL_VERSION if !negotiated => {
                negotiated = true;
                accept_version(body)?;
            }
            tag => return Err(ProtocolFault::Unexpected { tag }.into()),
        }
    }
}

/// We ask for 3.0 and for no `_pq_.` option, so there is nothing that a server could take back:
/// the one answer to accept says 3.0, in the code that Postgres writes or as the bare minor.
fn accept_version(body: &[u8]) -> Result<(), ProtocolFault> {
    let malformed = |_| ProtocolFault::Malformed { tag: tag::NEGOTIATE_PROTOCOL_VERSION };
    let version = Cursor::new(body).i32().map_err(malformed)?;
    if version == 0 || version.cast_unsigned() == Version::V3_0.code() {
        return Ok(());
    }
    Err(ProtocolFault::Unexpected { tag: tag::NEGOTIATE_PROTOCOL_VERSION })
}

/// Collects what the server reports of itself, up to ReadyForQuery.
async fn start<S>(channel: &mut Channel<'_, S>, session: &mut Session) -> Result<(), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let message = channel.next().await?;
        match message.tag {
            tag::PARAMETER_STATUS => record(session, &message)?,
            tag::BACKEND_KEY_DATA => session.key = Some(cancel_key(message.body)?),
            tag::NOTICE_RESPONSE => {}
            tag::READY_FOR_QUERY => {
                query::expect_idle(message.body)?;
                break;
            }
            tag => return Err(ProtocolFault::Unexpected { tag }.into()),
        }
    }
    query::settle(channel, &mut |message| record(session, message)).await?;
    Ok(())
}

fn record(session: &mut Session, message: &Message<'_>) -> Result<(), ProtocolFault> {
    let (name, value) = query::parameter(message)?;
    if name == "in_hot_standby" {
        session.in_hot_standby = Some(value == "on");
    }
    session.parameters.set(&name, &value);
    if session.parameters.len() > PARAMETERS_MAX {
        return Err(ProtocolFault::TooManyParameters(PARAMETERS_MAX));
    }
    Ok(())
}

/// The secret is 4 bytes in protocol 3.0; a longer one is kept as it came, since a server that
/// sends one will want it back.
fn cancel_key(body: &[u8]) -> Result<CancelKey, ProtocolFault> {
    let malformed = |_: Malformed| ProtocolFault::Malformed { tag: tag::BACKEND_KEY_DATA };
    let mut cursor = Cursor::new(body);
    let pid = cursor.i32().map_err(malformed)?;
    let secret = CancelSecret::new(cursor.rest()).map_err(malformed)?;
    Ok(CancelKey { pid, secret })
}

/// Holds the server to the required role. Servers since 14 report it; older ones are asked.
async fn prove_role<S>(
    channel: &mut Channel<'_, S>,
    session: &mut Session,
    role: RequiredRole,
) -> Result<(), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let wanted = match role {
        RequiredRole::Any => return Ok(()),
        RequiredRole::Primary => false,
        RequiredRole::Standby => true,
    };
    if session.in_hot_standby.is_none() {
        let mut answer = None;
        query::exchange(channel, query::IN_RECOVERY, &mut |message| {
            match message.tag {
                tag::PARAMETER_STATUS => record(session, message)?,
                tag::ROW_DESCRIPTION => {}
                tag::DATA_ROW => answer = Some(query::single_bool(message.body)?),
                tag => return Err(ProtocolFault::Unexpected { tag }),
            }
            Ok(())
        })
        .await?;
        session.in_hot_standby = answer;
    }
    match session.in_hot_standby {
        Some(in_recovery) if in_recovery == wanted => Ok(()),
        Some(in_recovery) => Err(ConnectError::WrongRole { in_recovery }),
        None => Err(ProtocolFault::Unexpected { tag: tag::COMMAND_COMPLETE }.into()),
    }
}

/// Servers send some 15 parameters in less than a KiB; extensions may add theirs.
const LOGIN_BYTES_MAX: usize = 256 * 1024;
const PARAMETERS_MAX: usize = 256;
