//! From a StartupMessage to an authenticated client, and to its first ReadyForQuery.

use std::fmt;

use auth::{Challenge, Nonce, Offer, ScramKeys, Secret, ServerEndPoint};
use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use transport::{CertificateError, MaybeTls, Subject};
use wire::message::{self, TransactionStatus};
use wire::{CancelKey, Cursor, ErrorMessage, tag::backend};
use zeroize::Zeroizing;

use crate::line::Line;
use crate::{Refused, Startup};

/// A client that wants to log in, and has proven nothing yet.
pub struct LoginRequest<S> {
    pub(crate) startup: Startup,
    pub(crate) line: Line<S>,
    pub(crate) deadline: Instant,
}

/// A client that has proven who it is, or need not, and waits for its session.
pub struct Client<S> {
    pub(crate) startup: Startup,
    pub(crate) disclosed: Disclosed,
    pub(crate) line: Line<S>,
    pub(crate) deadline: Instant,
}

/// What a client had to show of its password.
pub(crate) enum Disclosed {
    /// Nothing.
    Nothing,
    /// What its proof gives away.
    Keys(ScramKeys),
    /// All of it.
    Password(Secret),
}

/// A client with a session: everything after its first ReadyForQuery is the relay's.
pub struct Established<S> {
    /// The connection.
    pub stream: MaybeTls<S>,
    /// Bytes that the client sent behind its login's last message, to be taken for the
    /// first that come from `stream`; usually none.
    pub unread: Vec<u8>,
    /// What the client asked for.
    pub startup: Startup,
}

// === impl LoginRequest ===

impl<S: AsyncRead + AsyncWrite + Unpin> LoginRequest<S> {
    pub(crate) fn new(line: Line<S>, startup: Startup, deadline: Instant) -> Self {
        Self { startup, line, deadline }
    }

    /// What the client asks for.
    pub fn startup(&self) -> &Startup {
        &self.startup
    }

    /// Whether the connection is inside TLS.
    pub fn is_tls(&self) -> bool {
        self.line.is_tls()
    }

    /// Whom the verified certificate of the client names; `None` if it showed none.
    ///
    /// # Errors
    /// A name of it cannot be relied on.
    pub fn client_subject(&self) -> Result<Option<Subject>, CertificateError> {
        self.line.stream().client_subject()
    }

    /// Our certificate in this connection, in DER: what SCRAM can bind the login to.
    pub fn server_certificate(&self) -> Option<&[u8]> {
        self.line.stream().server_certificate()
    }

    /// Ends the connection with a FATAL, in at most two seconds. For refusals that concern
    /// everybody (`53300`, `57P03`): what depends on the user or the database waits for
    /// [`Client::refuse`], so that it tells strangers nothing.
    pub async fn refuse(self, message: &ErrorMessage) {
        self.line.refuse(Some(message)).await;
    }

    /// Makes the client prove its password with SCRAM-SHA-256, bound to the TLS connection if
    /// the client wants that. A user who does not exist goes through the same exchange, by a
    /// challenge that says so. When it fails, the client has been told.
    ///
    /// # Errors
    /// Wrong password, unknown user, a broken exchange, or the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn authenticate(mut self, challenge: Challenge) -> Result<Client<S>, Refused> {
        match timeout_at(self.deadline, self.exchange(challenge)).await {
            Ok(Ok(keys)) => {
                let Self { startup, line, deadline } = self;
                Ok(Client { startup, disclosed: Disclosed::Keys(keys), line, deadline })
            }
            Ok(Err(refused)) => {
                self.line.refuse(refused.fatal(&self.startup.user).as_ref()).await;
                Err(refused)
            }
            Err(_) => Err(Refused::Timeout),
        }
    }

    /// Lets the client in without a password: it has proven who it is in another way, or need
    /// not.
    pub fn admit(self) -> Client<S> {
        let Self { startup, line, deadline } = self;
        Client { startup, disclosed: Disclosed::Nothing, line, deadline }
    }

    /// Leaves the last message, SASLFinal, for the write that follows in any case.
    async fn exchange(&mut self, challenge: Challenge) -> Result<ScramKeys, Refused> {
        let offer = self.offer();
        put_authentication(&mut self.line.out, AUTH_SASL, |out| {
            offer.mechanisms().iter().for_each(|it| message::put_c_str(out, it.name()));
            out.push(0);
        });
        self.line.flush().await?;

        let initial = self.line.password_message().await?;
        let (selection, client_first) =
            sasl_initial_response(&initial, |mechanism| offer.select(mechanism))?;
        let client_first = match client_first {
            Some(client_first) => Zeroizing::new(client_first.to_vec()),
            None => {
                // The mechanism alone: RFC 4422 has the server ask for the rest.
                put_authentication(&mut self.line.out, AUTH_SASL_CONTINUE, |_| ());
                self.line.flush().await?;
                self.line.password_message().await?
            }
        };
        let challenge = challenge.over(selection);
        let server_first = challenge.receive(&client_first, Nonce::new(rand::rng().random()))?;
        put_authentication(&mut self.line.out, AUTH_SASL_CONTINUE, |out| {
            out.extend_from_slice(server_first.message().as_bytes());
        });
        self.line.flush().await?;

        let client_final = self.line.password_message().await?;
        let server_final = server_first.receive(&client_final)?;
        put_authentication(&mut self.line.out, AUTH_SASL_FINAL, |out| {
            out.extend_from_slice(server_final.message().as_bytes());
        });
        Ok(server_final.into_keys())
    }

    /// A certificate without an end point (Ed25519) leaves nothing to bind to.
    fn offer(&self) -> Offer {
        let certificate = self.server_certificate();
        Offer::new(certificate.and_then(|der| ServerEndPoint::of_certificate(der).ok()))
    }
}

impl<S> fmt::Debug for LoginRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest").field("startup", &self.startup).finish_non_exhaustive()
    }
}

// === impl Client ===

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// What the client asked for.
    pub fn startup(&self) -> &Startup {
        &self.startup
    }

    /// Whether the connection is inside TLS.
    pub fn is_tls(&self) -> bool {
        self.line.is_tls()
    }

    /// The version of TLS, as in `pg_stat_ssl`; `None` outside of it.
    pub fn tls_version(&self) -> Option<&'static str> {
        self.line.stream().tls_version()
    }

    /// What the client's proof disclosed, if it gave one: enough to log in to servers in its name
    /// where only a verifier is configured, as long as the servers have the same one.
    pub fn keys(&self) -> Option<&ScramKeys> {
        match &self.disclosed {
            Disclosed::Keys(keys) => Some(keys),
            Disclosed::Nothing | Disclosed::Password(_) => None,
        }
    }

    /// Its password, if it had to show that: good for servers that take the same.
    pub fn password(&self) -> Option<&Secret> {
        match &self.disclosed {
            Disclosed::Password(password) => Some(password),
            Disclosed::Nothing | Disclosed::Keys(_) => None,
        }
    }

    /// Ends the connection with a FATAL (`28P01`, `28000`) in the place of AuthenticationOk: the
    /// password was not all that is asked for. Takes at most two seconds.
    pub async fn deny(self, message: &ErrorMessage) {
        self.line.refuse(Some(message)).await;
    }

    /// Ends the connection with a FATAL (`3D000`, `53300`, `57P03` …) behind AuthenticationOk, in
    /// at most two seconds.
    pub async fn refuse(mut self, message: &ErrorMessage) {
        self.line.out.extend_from_slice(message::AUTHENTICATION_OK);
        self.line.refuse(Some(message)).await;
    }

    /// Opens the session: AuthenticationOk, a ParameterStatus for each of `statuses`,
    /// BackendKeyData and ReadyForQuery, in one write.
    ///
    /// # Errors
    /// The connection broke, or the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn greet<'a>(
        mut self,
        statuses: impl IntoIterator<Item = (&'a str, &'a str)>,
        key: &CancelKey,
    ) -> Result<Established<S>, Refused> {
        self.line.out.extend_from_slice(message::AUTHENTICATION_OK);
        for (name, value) in statuses {
            message::put_parameter_status(&mut self.line.out, name, value);
        }
        message::put_backend_key_data(&mut self.line.out, key);
        message::put_ready_for_query(&mut self.line.out, TransactionStatus::Idle);
        timeout_at(self.deadline, self.line.flush()).await.unwrap_or(Err(Refused::Timeout))?;
        let (stream, unread) = self.line.into_parts();
        Ok(Established { stream, unread, startup: self.startup })
    }
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("startup", &self.startup).finish_non_exhaustive()
    }
}

// === impl Established ===

impl<S> fmt::Debug for Established<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established").field("startup", &self.startup).finish_non_exhaustive()
    }
}

/// Reads a SASLInitialResponse: what `select` makes of the mechanism, and the client's first message, which ends it,
/// unless that is left out.
pub(crate) fn sasl_initial_response<T>(
    body: &[u8],
    select: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<(T, Option<&[u8]>), Refused> {
    let malformed = |_| Refused::Authentication(auth::Error::Malformed("SASLInitialResponse"));
    let mut cursor = Cursor::new(body);
    // Before the rest is read, as Postgres does (`CheckSASLAuth`).
    let selection = select(cursor.c_bytes().map_err(malformed)?).ok_or(Refused::Mechanism)?;
    let response = match cursor.i32().map_err(malformed)? {
        -1 => None,
        // A negative length other than -1 becomes one that no message has.
        len => Some(cursor.bytes(usize::try_from(len).unwrap_or(usize::MAX)).map_err(malformed)?),
    };
    cursor.end().map_err(malformed)?;
    Ok((selection, response))
}

pub(crate) fn put_authentication(out: &mut Vec<u8>, kind: u32, write: impl FnOnce(&mut Vec<u8>)) {
    message::put(out, backend::AUTHENTICATION, |out| {
        out.extend_from_slice(&kind.to_be_bytes());
        write(out);
    });
}

pub(crate) const AUTH_SASL: u32 = 10;
pub(crate) const AUTH_SASL_CONTINUE: u32 = 11;
const AUTH_SASL_FINAL: u32 = 12;
