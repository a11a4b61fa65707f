//! From the first byte to a StartupMessage, a CancelRequest or the hello of another proxy.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use transport::{Acceptor, MaybeTls, Negotiation};
use wire::{CancelKey, PeerHello, StartupMessage, StartupPacket, Version};

use crate::line::{Line, REFUSAL_TIMEOUT};
use crate::startup::Rejection;
use crate::{ClientAddress, LoginRequest, Refused, Startup, fatal};

/// What a connection turned out to be for.
#[derive(Debug)]
pub enum Handshake<S> {
    /// To cancel a statement.
    Cancel(CancelCall<S>),
    /// To log in.
    Client(LoginRequest<S>),
    /// Another proxy, with a cancel key that may be one of ours. As Postgres does with a
    /// CancelRequest, it is heard without TLS where clients must use TLS.
    Peer(PeerCall<S>),
}

/// A client that waits for a cancel to be sent. Its answer is the end of the connection: nobody
/// learns whether the key was right.
#[derive(Debug)]
pub struct CancelCall<S> {
    stream: MaybeTls<S>,
    /// The key that it sent.
    pub key: CancelKey,
}

impl<S: AsyncRead + AsyncWrite + Unpin> CancelCall<S> {
    /// Closes the connection, as it should be done once the cancel has been sent: `PQcancel` waits
    /// for that, so that what comes next is not hit. It takes TLS without close_notify for an
    /// error. Takes at most [`REFUSAL_TIMEOUT`], whatever the client does.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection, without close_notify.
    pub async fn close(mut self) {
        let _ = timeout(REFUSAL_TIMEOUT, self.stream.shutdown()).await;
    }
}

/// Another proxy that has said hello and waits for an answer. It has proved nothing yet.
#[derive(Debug)]
pub struct PeerCall<S> {
    /// The connection. Nothing but the hello has been said on it.
    pub stream: MaybeTls<S>,
    /// What it said.
    pub hello: PeerHello,
}

/// Which encryption requests a client may still send: each once, and none after TLS that it asked
/// for; inside direct TLS they are refused, not forbidden (`ProcessStartupPacket` in Postgres).
#[derive(Clone, Copy)]
struct Allowed {
    ssl: bool,
    gssenc: bool,
}

/// Takes a new connection through encryption requests and TLS to its StartupMessage,
/// CancelRequest or hello. `deadline` holds for the login that follows, too. When it ends in a
/// [`Refused`], the client has been told what Postgres would have told it. Whatever `acceptor`
/// has, there is no TLS on a Unix socket, and none is asked for.
///
/// # Errors
/// Whatever a client can do wrong, or the deadline.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn handshake<S>(
    stream: S,
    client: ClientAddress,
    acceptor: &Acceptor,
    deadline: Instant,
) -> Result<Handshake<S>, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let negotiation = negotiate(Line::new(stream), client, acceptor, deadline);
    timeout_at(deadline, negotiation).await.unwrap_or(Err(Refused::Timeout))
}

async fn negotiate<S>(
    mut line: Line<S>,
    client: ClientAddress,
    acceptor: &Acceptor,
    deadline: Instant,
) -> Result<Handshake<S>, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let offers_tls = client.has_tls() && acceptor.is_available();
    // Without a certificate it is taken for a startup packet of a length that none has, and
    // closed without a word, as Postgres does.
    if offers_tls && line.begins_with_tls().await? {
        line = line.secure(acceptor, Negotiation::Direct).await?;
    }
    let mut allowed = Allowed { ssl: true, gssenc: true };
    loop {
        let step = match line.startup_packet().await {
            Ok(StartupPacket::Cancel(key)) => {
                let (stream, _) = line.into_parts();
                return Ok(Handshake::Cancel(CancelCall { stream, key }));
            }
            Ok(StartupPacket::Peer(hello)) => return call(line, hello),
            Ok(StartupPacket::Startup(startup)) => {
                return begin(line, startup, client, acceptor, deadline).await;
            }
            Ok(StartupPacket::Ssl) if allowed.ssl && !line.is_tls() && offers_tls => {
                allowed = Allowed { ssl: false, gssenc: false };
                match line.answer(SSL, b'S').await {
                    Ok(()) => {
                        line = line.secure(acceptor, Negotiation::Postgres).await?;
                        Ok(())
                    }
                    Err(refused) => Err(refused),
                }
            }
            Ok(StartupPacket::Ssl) if allowed.ssl => {
                allowed.ssl = false;
                line.answer(SSL, b'N').await
            }
            Ok(StartupPacket::GssEnc) if allowed.gssenc => {
                allowed.gssenc = false;
                line.answer(GSSENC, b'N').await
            }
            // Postgres reads the code of a second request as a version, and so do we.
            Ok(StartupPacket::Ssl) => Err(Refused::Version(Version { major: 1234, minor: 5679 })),
            Ok(StartupPacket::GssEnc) => {
                Err(Refused::Version(Version { major: 1234, minor: 5680 }))
            }
            Err(refused) => Err(refused),
        };
        if let Err(refused) = step {
            line.refuse(refused.fatal("").as_ref()).await;
            return Err(refused);
        }
    }
}

/// A peer waits for our answer, so what came behind its hello did not come from one.
fn call<S>(line: Line<S>, hello: PeerHello) -> Result<Handshake<S>, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, unread) = line.into_parts();
    if !unread.is_empty() {
        return Err(Refused::PacketLength);
    }
    Ok(Handshake::Peer(PeerCall { stream, hello }))
}

async fn begin<S>(
    mut line: Line<S>,
    startup: StartupMessage,
    client: ClientAddress,
    acceptor: &Acceptor,
    deadline: Instant,
) -> Result<Handshake<S>, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match Startup::read(startup, &mut line.out) {
        Ok(startup) => match client {
            ClientAddress::Host(address) if acceptor.mode().is_required() && !line.is_tls() => {
                let fatal = fatal::no_encryption(address.ip(), &startup.user, &startup.database);
                line.refuse(Some(&fatal)).await;
                Err(Refused::TlsRequired)
            }
            _ => Ok(Handshake::Client(LoginRequest::new(line, startup, deadline))),
        },
        Err(rejection) => {
            let Rejection { refused, fatal } = *rejection;
            line.refuse(fatal.as_ref()).await;
            Err(refused)
        }
    }
}

const SSL: &str = "SSL";
const GSSENC: &str = "GSSAPI encryption";
