//! Why there is no session, whose fault that is, and what a client may hear of it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use transport::{HandshakeError, TlsMode};
use wire::message::TransactionStatus;
use wire::{ErrorFields, ErrorMessage, FrameError, SqlState};

/// A connection, login or cancel that failed. Names no password and no key.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// We cannot or will not answer what the server asks for.
    #[error("authentication failed on our side: {0}")]
    Authentication(#[from] AuthenticationFault),
    /// This machine is out of descriptors, ports or memory; nothing is known of the server.
    #[error("out of local resources")]
    Local(#[source] io::Error),
    /// The connection broke after it was made.
    #[error("connection lost")]
    Lost(#[source] io::Error),
    /// The name has no address.
    #[error("cannot resolve host {host:?}")]
    Name {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// The server does not speak the protocol as it must.
    #[error("protocol violation by the server: {0}")]
    Protocol(#[from] ProtocolFault),
    /// The server refused us in its own words.
    #[error("refused by the server: {0}")]
    Refused(Refusal),
    /// The startup packet would be longer than any server takes.
    #[error("startup parameters take {0} bytes, more than a server accepts")]
    StartupTooLong(usize),
    /// A limit of time passed.
    #[error("timeout while {0}")]
    Timeout(Stage),
    /// The TLS handshake failed.
    #[error(transparent)]
    Tls(#[from] HandshakeError),
    /// The server has no TLS and the mode demands it.
    #[error("server does not offer TLS, which mode {0} demands")]
    TlsUnavailable(TlsMode),
    /// No address of the server answers.
    #[error("cannot connect to {address}")]
    Unreachable {
        /// The address tried last.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The server is not what the login requires.
    #[error("server is {} recovery", if *in_recovery { "in" } else { "out of" })]
    WrongRole {
        /// What it is.
        in_recovery: bool,
    },
}

/// An exchange on a session that failed. The session must be closed: what the server still
/// sends would be taken for the answer to something else.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The connection broke.
    #[error("connection lost")]
    Lost(#[source] io::Error),
    /// The server does not speak the protocol as it must.
    #[error("protocol violation by the server: {0}")]
    Protocol(#[from] ProtocolFault),
    /// The server answered with an error.
    #[error("refused by the server: {0}")]
    Refused(Refusal),
    /// The limit of time passed.
    #[error("timeout while waiting for the server's answer")]
    Timeout,
}

/// Why we do not answer an authentication request.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationFault {
    /// Clear text is asked for on a connection that anybody may listen to.
    #[error("server asks for the password in clear text outside TLS")]
    ClearTextOutsideTls,
    /// The method needs the password, and only SCRAM keys are known.
    #[error("server asks for the password ({0}), but only SCRAM keys are known")]
    KeysOnly(&'static str),
    /// No password is known for the user.
    #[error("server asks for the password of \"{user}\" ({method}), but none is known")]
    NoPassword {
        /// The user.
        user: String,
        /// What the server asks for.
        method: &'static str,
    },
    /// The SCRAM exchange failed.
    #[error(transparent)]
    Scram(#[from] auth::Error),
    /// A method that is not spoken here.
    #[error("server asks for an unsupported authentication method (code {0})")]
    Unsupported(i32),
}

/// How a server broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolFault {
    /// An authentication message out of turn.
    #[error("authentication message {0} out of turn")]
    AuthenticationOrder(i32),
    /// Bytes behind the answer to an SSLRequest, which somebody else may have put there.
    #[error("bytes sent behind the answer to SSLRequest")]
    BytesAfterTlsAnswer,
    /// A length that no honest server sends.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A body that is not what its type says.
    #[error("malformed message of type {tag:#04x}")]
    Malformed {
        /// The message type byte.
        tag: u8,
    },
    /// A transaction is open where none can be.
    #[error("server is not idle: transaction status {:?}", char::from(.0.byte()))]
    NotIdle(TransactionStatus),
    /// An answer to SSLRequest that is neither `S` nor `N`. An `E` is among them: its text comes
    /// from nobody knows whom, so it is not read (CVE-2024-10977).
    #[error("answer {0:#04x} to SSLRequest")]
    TlsAnswer(u8),
    /// A message longer than its kind ever is.
    #[error("message of type {tag:#04x} with {len} bytes")]
    TooLong {
        /// The message type byte.
        tag: u8,
        /// Bytes of its body.
        len: u32,
    },
    /// More parameters than any server reports.
    #[error("more than {0} parameters reported")]
    TooManyParameters(usize),
    /// More bytes in total than an exchange of this kind ever takes.
    #[error("more than {0} bytes sent")]
    TooMuch(usize),
    /// A message that has no place here.
    #[error("unexpected message of type {tag:#04x}")]
    Unexpected {
        /// The message type byte.
        tag: u8,
    },
}

/// What a server said when it refused. Every field may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `ERROR`, `FATAL` or `PANIC`.
    pub severity: String,
    /// The SQLSTATE.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
}

/// What was going on when the time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Sending a CancelRequest and waiting for its connection to close.
    Cancelling,
    /// Resolving the name and connecting.
    Connecting,
    /// TLS and login.
    LoggingIn,
}

/// The kinds of [`ConnectError`], for metric labels and decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// We could not answer the server's authentication request.
    Authentication,
    /// This machine is out of something.
    Local,
    /// The server broke the protocol.
    Protocol,
    /// The server refused, or would.
    Refused,
    /// Time was up.
    Timeout,
    /// TLS failed or is missing.
    Tls,
    /// The server could not be reached, or the connection broke.
    Unreachable,
    /// The server has another role than required.
    WrongRole,
}

// === impl ConnectError ===

impl ConnectError {
    /// The kind of failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Authentication(_) => Kind::Authentication,
            Self::Local(_) => Kind::Local,
            Self::Protocol(_) => Kind::Protocol,
            Self::Refused(_) | Self::StartupTooLong(_) => Kind::Refused,
            Self::Timeout(_) => Kind::Timeout,
            Self::Tls(_) | Self::TlsUnavailable(_) => Kind::Tls,
            Self::Lost(_) | Self::Name { .. } | Self::Unreachable { .. } => Kind::Unreachable,
            Self::WrongRole { .. } => Kind::WrongRole,
        }
    }

    /// Whether the server says that the password is wrong, be it now or for a moment.
    pub fn is_wrong_password(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.sqlstate == "28P01")
    }

    /// Whether other credentials might do: the server has refused these (class 28), or what we
    /// know of them is no answer to what it asks.
    pub fn is_of_credentials(&self) -> bool {
        match self {
            Self::Authentication(_) => true,
            Self::Refused(refusal) => refusal.sqlstate.starts_with("28"),
            _ => false,
        }
    }

    /// Whether the same login will fail again until somebody changes something: whoever waits
    /// for it should be told now. Anything else may pass by itself or by a failover.
    pub fn is_definite(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_definite(),
            Self::Authentication(_) | Self::StartupTooLong(_) | Self::TlsUnavailable(_) => true,
            Self::Tls(fault) => fault.is_certificate(),
            Self::Local(_)
            | Self::Lost(_)
            | Self::Name { .. }
            | Self::Protocol(_)
            | Self::Timeout(_)
            | Self::Unreachable { .. }
            | Self::WrongRole { .. } => false,
        }
    }

    /// What a client that has logged in may hear: a server's refusal in its own words, of our
    /// own faults the kind, and no host, address or file ever.
    pub fn client_error(&self) -> ErrorMessage {
        let unable = SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
        match self {
            Self::Refused(refusal) => refusal.client_error(),
            Self::Authentication(AuthenticationFault::NoPassword { user, method }) => no_password(
                user,
                format!("The server asks for one ({method}), and the client has disclosed none."),
            ),
            Self::Authentication(_) => {
                ErrorMessage::fatal(unable, "pgmesh cannot authenticate to the server")
            }
            Self::StartupTooLong(_) => ErrorMessage::fatal(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "startup parameters are too long for the server",
            ),
            Self::Local(_) => ErrorMessage::fatal(
                SqlState::TOO_MANY_CONNECTIONS,
                "pgmesh has no resources left to connect to the server",
            ),
            Self::Protocol(_) => ErrorMessage::fatal(
                SqlState::PROTOCOL_VIOLATION,
                "server violated the protocol during login",
            ),
            Self::Timeout(_) => {
                ErrorMessage::fatal(unable, "timeout while connecting to the server")
            }
            Self::Tls(_) | Self::TlsUnavailable(_) => {
                ErrorMessage::fatal(unable, "no acceptable TLS connection to the server")
            }
            Self::Lost(_) => ErrorMessage::fatal(
                SqlState::CONNECTION_FAILURE,
                "connection to the server was lost during login",
            ),
            Self::Name { .. } | Self::Unreachable { .. } => {
                ErrorMessage::fatal(unable, "cannot connect to the server")
            }
            Self::WrongRole { .. } => ErrorMessage::fatal(
                SqlState::CANNOT_CONNECT_NOW,
                "server does not have the role that is needed",
            ),
        }
    }

    /// Sorts an error of `connect` or of a read or write by whose it is.
    pub(crate) fn from_socket(address: SocketAddr, source: io::Error) -> Self {
        if is_local(&source) { Self::Local(source) } else { Self::Unreachable { address, source } }
    }
}

impl From<QueryError> for ConnectError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Lost(source) => Self::Lost(source),
            QueryError::Protocol(fault) => Self::Protocol(fault),
            QueryError::Refused(refusal) => Self::Refused(refusal),
            QueryError::Timeout => Self::Timeout(Stage::LoggingIn),
        }
    }
}

/// EMFILE, ENFILE, ENOMEM, ENOBUFS and EADDRNOTAVAIL (no ephemeral port is left) on Linux.
fn is_local(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 12 | 105 | 99))
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn new(fields: &ErrorFields<'_>) -> Self {
        Self {
            severity: fields.severity.to_owned(),
            sqlstate: fields.code.to_owned(),
            message: fields.message.to_owned(),
        }
    }

    /// Whether time will not change it: no such role, database, privilege or setting (classes
    /// 0A, 22, 28, 3D and 42). Too many connections, starting up, shutting down and everything
    /// unknown may pass.
    pub fn is_definite(&self) -> bool {
        self.sqlstate.get(..2).is_some_and(|class| ["0A", "22", "28", "3D", "42"].contains(&class))
    }

    /// The refusal of a login of ours for a client, as FATAL. Without an SQLSTATE it has 08001.
    pub fn client_error(&self) -> ErrorMessage {
        self.fatal("server refused the connection")
            .with_detail("The server reported this when pgmesh logged in to it.")
    }

    /// The refusal of a client's settings for that client, as FATAL: in the server's words, as
    /// if the client had logged in to it.
    pub fn settings_error(&self) -> ErrorMessage {
        self.fatal("server refused the settings")
    }

    fn fatal(&self, default: &'static str) -> ErrorMessage {
        let state = SqlState::parse(&self.sqlstate)
            .unwrap_or(SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION);
        if self.message.is_empty() {
            ErrorMessage::fatal(state, default)
        } else {
            ErrorMessage::fatal(state, self.message.clone())
        }
    }
}

/// For logs: a server must not write lines of its own into them.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &'static str, field: &str| {
            if field.is_empty() { text.to_owned() } else { in_one_line(field) }
        };
        write!(
            f,
            "{}: {} ({})",
            or("ERROR", &self.severity),
            or("no message", &self.message),
            or("no SQLSTATE", &self.sqlstate)
        )
    }
}

/// A text without control characters.
fn in_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

// === impl Stage ===

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelling => "cancelling",
            Self::Connecting => "connecting",
            Self::LoggingIn => "logging in",
        })
    }
}

// === impl Kind ===

impl Kind {
    /// The value of a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Local => "local",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Unreachable => "unreachable",
            Self::WrongRole => "wrong_role",
        }
    }
}

/// What a client is told in whose name no server can be logged in to; `detail` says why.
pub fn no_password(user: &str, detail: String) -> ErrorMessage {
    let message = format!("pgmesh has no password to log in to the server as role \"{user}\"");
    ErrorMessage::fatal(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
        .with_detail(detail)
        .with_hint(
            "Add the role to [[users]]. If it is there with a verifier, set server_password, or \
             let it log in with its password once.",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_server_writes_a_line_of_its_own_into_the_log() {
        let refusal = Refusal {
            severity: "FATAL".to_owned(),
            sqlstate: "\r".to_owned(),
            message: "no \"x\"\n2030-01-01 INFO all is well\x1b[2J\u{9b}".to_owned(),
        };
        let shown = refusal.to_string();
        let expected = "FATAL: no \"x\"\\n2030-01-01 INFO all is well\\u{1b}[2J\\u{9b} (\\r)";
        assert_eq!(shown, expected);
    }
}
