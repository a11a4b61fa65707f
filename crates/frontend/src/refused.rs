//! Why a connection did not become a client.

use std::io;

use auth::hba::Method;
use auth::oauth::{self, Rejection};
use wire::{ErrorMessage, SqlState, Version};

/// Who has to change something before the same connection can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The client, or what lies between it and us.
    Client,
    /// Whoever chose the name and the password.
    Credential,
}

/// Why a connection did not become a client. Carries no bytes of the client's but numbers.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The SASL exchange failed.
    #[error(transparent)]
    Authentication(#[from] auth::Error),
    /// The exchange of OAUTHBEARER is broken.
    #[error(transparent)]
    Bearer(#[from] oauth::Malformed),
    /// The client closed the connection between two messages: a health check, or a psql
    /// that has to ask for the password first.
    #[error("the client closed the connection")]
    Closed,
    /// A password without a character. Some directories let anybody in by it.
    #[error("empty password")]
    EmptyPassword,
    /// The connection broke.
    #[error("connection to the client lost: {0}")]
    Io(#[source] io::Error),
    /// The startup packet is not a list of names and values with an end.
    #[error("invalid startup packet layout")]
    Layout,
    /// The client asked for a SASL mechanism that was not offered.
    #[error("SASL mechanism was not offered")]
    Mechanism,
    /// A message's length is below its minimum or above its cap.
    #[error("invalid message length")]
    MessageLength,
    /// Another message than the one asked for; its type.
    #[error("unexpected message type {0:#04x}")]
    MessageType(u8),
    /// Another message than a password; its type.
    #[error("message type {0:#04x} in the place of a password")]
    NoPassword(u8),
    /// The startup packet names no user.
    #[error("no user name")]
    NoUser,
    /// The `options` parameter cannot be followed.
    #[error("unusable startup options")]
    Options,
    /// The startup packet's length is below 8 or above Postgres' cap.
    #[error("invalid length of startup packet")]
    PacketLength,
    /// A password that is not UTF-8.
    #[error("password is not UTF-8")]
    PasswordEncoding,
    /// A password message that is not one text with its end.
    #[error("invalid password packet")]
    PasswordLayout,
    /// A physical or logical replication connection.
    #[error("replication connection")]
    Replication,
    /// A value of `replication` that means nothing.
    #[error("invalid value of the replication parameter")]
    ReplicationValue,
    /// The login took longer than allowed.
    #[error("login timed out")]
    Timeout,
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    Tls(#[source] transport::HandshakeError),
    /// The client did not ask for TLS, and must.
    #[error("TLS required")]
    TlsRequired,
    /// The bearer token does not do.
    #[error("{0}")]
    Token(#[source] Rejection),
    /// The connection ended inside a message.
    #[error("the connection ended inside a message")]
    Truncated,
    /// Bytes arrived between an encryption request and its answer, so they may have been
    /// put there by somebody in between. The request, in Postgres' words.
    #[error("unencrypted data after {0} request")]
    Unencrypted(&'static str),
    /// A protocol version, or a second encryption request.
    #[error("unsupported protocol {}.{}", .0.major, .0.minor)]
    Version(Version),
}

impl Refused {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Authentication(error) => match error.blame() {
                auth::Blame::Peer => Blame::Client,
                auth::Blame::Credential => Blame::Credential,
            },
            Self::Token(rejection) if rejection.is_of_the_token() => Blame::Credential,
            Self::EmptyPassword => Blame::Credential,
            _ => Blame::Client,
        }
    }

    /// Whether a proof of who the client is was tried and has failed: who does that often is
    /// guessing.
    pub fn is_failed_proof(&self) -> bool {
        match self {
            Self::Authentication(_) | Self::Bearer(_) | Self::EmptyPassword => true,
            Self::Token(rejection) => rejection.is_of_the_token(),
            _ => false,
        }
    }

    /// A short name, fit for a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Authentication(error) => error.kind(),
            Self::Bearer(_) => "sasl_malformed",
            Self::Closed => "closed",
            Self::EmptyPassword => "empty_password",
            Self::Io(_) => "io",
            Self::Layout => "startup_layout",
            Self::Mechanism => "sasl_mechanism",
            Self::MessageLength => "message_length",
            Self::MessageType(_) | Self::NoPassword(_) => "message_type",
            Self::NoUser => "no_user",
            Self::Options => "startup_options",
            Self::PacketLength => "startup_length",
            Self::PasswordEncoding | Self::PasswordLayout => "password_message",
            Self::Replication | Self::ReplicationValue => "replication",
            Self::Timeout => "timeout",
            Self::Tls(_) => "tls",
            Self::TlsRequired => "tls_required",
            Self::Token(_) => "token",
            Self::Truncated => "truncated",
            Self::Unencrypted(_) => "unencrypted",
            Self::Version(_) => "version",
        }
    }

    /// What the client is told; `None` closes without a word, as Postgres does where the
    /// peer is gone or may not speak the protocol at all. `Options` and `TlsRequired` are
    /// answered where their text is known. `user` is the name that a failed login answers
    /// with.
    pub(crate) fn fatal(&self, user: &str) -> Option<ErrorMessage> {
        let violation = |message| ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, message);
        Some(match self {
            Self::Closed
            | Self::Io(_)
            | Self::Options
            | Self::PacketLength
            | Self::Timeout
            | Self::Tls(_)
            | Self::TlsRequired
            | Self::Truncated => return None,
            Self::Authentication(error) => error.fatal(user),
            Self::Bearer(malformed) => malformed.fatal(),
            Self::Token(_) => Method::Oauth(Box::default()).failed(user),
            Self::Layout => {
                violation("invalid startup packet layout: expected terminator as last byte")
            }
            Self::Mechanism => {
                violation("client selected an invalid SASL authentication mechanism")
            }
            Self::MessageLength => violation("invalid message length"),
            Self::MessageType(tag) => ErrorMessage::fatal(
                SqlState::PROTOCOL_VIOLATION,
                format!("expected SASL response, got message type {tag}"),
            ),
            Self::EmptyPassword => {
                ErrorMessage::fatal(SqlState::INVALID_PASSWORD, "empty password returned by client")
            }
            Self::NoPassword(tag) => ErrorMessage::fatal(
                SqlState::PROTOCOL_VIOLATION,
                format!("expected password response, got message type {tag}"),
            ),
            Self::PasswordEncoding => violation("the password is not UTF-8"),
            Self::PasswordLayout => violation("invalid password packet size"),
            Self::NoUser => ErrorMessage::fatal(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                "no PostgreSQL user name specified in startup packet",
            ),
            Self::Replication => ErrorMessage::fatal(
                SqlState::FEATURE_NOT_SUPPORTED,
                "replication connections are not supported through pgmesh",
            )
            .with_hint("Connect to the database server itself."),
            Self::ReplicationValue => ErrorMessage::fatal(
                SqlState::INVALID_PARAMETER_VALUE,
                "invalid value for parameter \"replication\"",
            )
            .with_hint("Valid values are: \"false\", 0, \"true\", 1, \"database\"."),
            Self::Unencrypted(request) => ErrorMessage::fatal(
                SqlState::PROTOCOL_VIOLATION,
                format!("received unencrypted data after {request} request"),
            )
            .with_detail(
                "This could be either a client-software bug or evidence of an attempted \
                 man-in-the-middle attack.",
            ),
            Self::Version(version) => ErrorMessage::fatal(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!(
                    "unsupported frontend protocol {}.{}: server supports 3.0 to 3.2",
                    version.major, version.minor
                ),
            ),
        })
    }
}
