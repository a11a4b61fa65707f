//! Names, addresses, TCP and the question for TLS, in the order that the mode asks for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use transport::{Connector, MaybeTls, Negotiation, TlsMode};

use crate::login::{self, Failure};
use crate::{CancelTarget, Config, ConnectError, Login, ProtocolFault, Ready, Stage, Target};

/// Connects to servers as one configuration says. Cheap to share; a reload makes a new one.
#[derive(Debug)]
pub struct Dialer {
    config: Config,
    tls: Connector,
}

/// How one attempt goes about TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Never,
    Offered,
    Required,
}

impl Dialer {
    /// Reads the TLS files of a configuration.
    ///
    /// # Errors
    /// A TLS file that is missing or unfit, or a mode that needs one not named.
    pub fn new(config: Config) -> Result<Self, transport::Error> {
        let tls = config.tls.connector()?;
        Ok(Self { config, tls })
    }

    /// What asks for TLS: to read its files again, or to use it elsewhere.
    pub fn tls(&self) -> &Connector {
        &self.tls
    }

    /// Connects and logs in. Tries every address of the target until one takes the connection;
    /// the login is then tried there only.
    ///
    /// The modes `allow` and `prefer` try once more, plain or with TLS, if the server refuses
    /// the first connection with SQLSTATE 28000 before it asks for a password: that is what a
    /// `pg_hba.conf` that wants the other kind answers. Unlike libpq, `prefer` does not go on in
    /// plain after a handshake that failed.
    ///
    /// # Errors
    /// Whatever stands between here and an idle session. Each step has a limit of time.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect(&self, target: &Target, login: &Login) -> Result<Ready, ConnectError> {
        let (first, second) = match self.tls.mode() {
            TlsMode::Disable => (Encryption::Never, None),
            TlsMode::Allow => (Encryption::Never, Some(Encryption::Required)),
            TlsMode::Prefer => (Encryption::Offered, Some(Encryption::Never)),
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => {
                (Encryption::Required, None)
            }
        };
        let (stream, address) = self.open(target).await?;
        let (failure, was_tls) = match self.attempt(stream, address, target, login, first).await {
            Ok(ready) => return Ok(ready),
            Err(failed) => failed,
        };
        let other = second.filter(|second| was_tls == (*second == Encryption::Never));
        let Some(other) = other.filter(|_| wants_the_other_kind(&failure)) else {
            return Err(failure.error);
        };
        let stream = self.open_address(address).await?;
        match self.attempt(stream, address, target, login, other).await {
            Ok(ready) => Ok(ready),
            // The first answer is the one that says what is wrong.
            Err((Failure { error: ConnectError::TlsUnavailable(_), .. }, _)) => Err(failure.error),
            Err((failure, _)) => Err(failure.error),
        }
    }

    /// TLS and login on one connection; an error says whether TLS was in place.
    async fn attempt(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        target: &Target,
        login: &Login,
        encryption: Encryption,
    ) -> Result<Ready, (Failure, bool)> {
        let mut is_tls = false;
        let attempt = async {
            let mut stream = match self.encrypt(&target.host, stream, encryption).await {
                Ok(stream) => stream,
                Err(error) => return Err(Failure { error, asked: false }),
            };
            is_tls = stream.is_tls();
            let session = login::login(&mut stream, login, self.config.channel_binding).await?;
            Ok((stream, session))
        };
        let failed = match timeout(self.config.login_timeout, attempt).await {
            Ok(Ok((stream, session))) => {
                return Ok(Ready {
                    stream,
                    parameters: session.parameters,
                    key: session.key,
                    host: Arc::clone(&target.host),
                    address,
                    in_hot_standby: session.in_hot_standby,
                    scram_keys: session.scram_keys,
                });
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure { error: ConnectError::Timeout(Stage::LoggingIn), asked: false },
        };
        Err((failed, is_tls))
    }

    /// The same server again, encrypted as the session was, for a cancel.
    pub(crate) async fn open_again(
        &self,
        target: &CancelTarget,
    ) -> Result<MaybeTls<TcpStream>, ConnectError> {
        let stream = self.open_address(target.address).await?;
        let encryption = if target.is_tls { Encryption::Required } else { Encryption::Never };
        self.encrypt(&target.host, stream, encryption).await
    }

    async fn open_address(&self, address: SocketAddr) -> Result<TcpStream, ConnectError> {
        match timeout(self.config.connect_timeout, self.open_socket(address)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout(Stage::Connecting)),
        }
    }

    /// Resolves the name and connects to the first address that answers. Each address gets an
    /// equal share of the time that is left, so that a dead one cannot use it all up.
    async fn open(&self, target: &Target) -> Result<(TcpStream, SocketAddr), ConnectError> {
        let deadline = Instant::now() + self.config.connect_timeout;
        let no_address = |source| ConnectError::Name { host: target.host.to_string(), source };
        let addresses: Vec<_> =
            match timeout_at(deadline, lookup_host((&*target.host, target.port))).await {
                Ok(Ok(addresses)) => addresses.take(ADDRESSES_MAX).collect(),
                Ok(Err(source)) => return Err(no_address(source)),
                Err(_) => return Err(ConnectError::Timeout(Stage::Connecting)),
            };
        let mut last = no_address(io::ErrorKind::NotFound.into());
        for (left, address) in (1..=addresses.len()).rev().zip(addresses.iter().copied()) {
            let share = deadline.saturating_duration_since(Instant::now())
                / u32::try_from(left).unwrap_or(1);
            last = match timeout(share, self.open_socket(address)).await {
                Ok(Ok(stream)) => return Ok((stream, address)),
                Ok(Err(error @ ConnectError::Local(_))) => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => ConnectError::Timeout(Stage::Connecting),
            };
        }
        Err(last)
    }

    async fn open_socket(&self, address: SocketAddr) -> Result<TcpStream, ConnectError> {
        let connected = transport::connect(address, &self.config.tcp).await;
        let unreachable = |source| ConnectError::from_socket(address, source);
        let stream = connected.map_err(unreachable)?;
        // TCP lets a socket meet itself on a loopback port that nobody listens on.
        if stream.local_addr().map_err(unreachable)? == address {
            return Err(unreachable(io::ErrorKind::ConnectionRefused.into()));
        }
        Ok(stream)
    }

    async fn encrypt(
        &self,
        host: &str,
        mut stream: TcpStream,
        encryption: Encryption,
    ) -> Result<MaybeTls<TcpStream>, ConnectError> {
        if encryption == Encryption::Never {
            return Ok(MaybeTls::Plain(stream));
        }
        let direct = self.tls.negotiation() == Negotiation::Direct;
        if direct || ask_for_tls(&mut stream).await? {
            return Ok(self.tls.connect(host, stream).await?);
        }
        match encryption {
            Encryption::Required => Err(ConnectError::TlsUnavailable(self.tls.mode())),
            Encryption::Never | Encryption::Offered => Ok(MaybeTls::Plain(stream)),
        }
    }
}

/// Sends an SSLRequest and reads the answer, which is one byte. Whatever came with it was not
/// protected by TLS, and so is not read as if it were (CVE-2021-23222).
async fn ask_for_tls(stream: &mut TcpStream) -> Result<bool, ConnectError> {
    let mut request = Vec::new();
    wire::put_ssl_request(&mut request);
    stream.write_all(&request).await.map_err(ConnectError::Lost)?;
    let mut answer = [0; 2];
    let read = stream.read(&mut answer).await.map_err(ConnectError::Lost)?;
    match (read, answer) {
        (0, _) => Err(ConnectError::Lost(io::ErrorKind::UnexpectedEof.into())),
        (1, [b'S', _]) => Ok(true),
        (1, [b'N', _]) => Ok(false),
        (_, [b'S' | b'N', _]) => Err(ProtocolFault::BytesAfterTlsAnswer.into()),
        (_, [answer, _]) => Err(ProtocolFault::TlsAnswer(answer).into()),
    }
}

/// Whether the refusal is `pg_hba.conf`'s: no line for this host, user, database and encryption.
fn wants_the_other_kind(failure: &Failure) -> bool {
    match &failure.error {
        ConnectError::Refused(refusal) => !failure.asked && refusal.sqlstate == "28000",
        _ => false,
    }
}

/// More addresses than any server has; a resolver's answer is not trusted to end.
const ADDRESSES_MAX: usize = 16;
