//! Why an authentication step failed, whose fault it is, and a label for it.

use wire::{ErrorMessage, SqlState};

/// Who has to change something before the same step can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The peer broke the protocol or asked for what is not supported.
    Peer,
    /// The name, password or verifier does not fit.
    Credential,
}

/// What went wrong. Never carries a name, a password, a key or a peer's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A message is not what RFC 5802 and Postgres allow; the text names the part.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// A message is longer than [`crate::MESSAGE_MAX`].
    #[error("SCRAM message too long")]
    TooLong,
    /// The client selected SCRAM-SHA-256 and binds the channel all the same.
    #[error("channel-binding data without SCRAM-SHA-256-PLUS")]
    BindingUnexpected,
    /// The client selected SCRAM-SHA-256-PLUS and does not bind the channel.
    #[error("SCRAM-SHA-256-PLUS without channel-binding data")]
    BindingMissing,
    /// The attribute `c` of an exchange that is not bound says something else than the beginning.
    #[error("unexpected SCRAM channel-binding attribute in client-final-message")]
    BindingAttribute,
    /// Not `tls-server-end-point`.
    #[error("unsupported SCRAM channel-binding type")]
    BindingType,
    /// The client was offered channel binding and thinks that it was not: somebody in between
    /// has changed the offer.
    #[error("SCRAM channel binding negotiation error")]
    Downgrade,
    /// The client's TLS connection does not end here.
    #[error("SCRAM channel binding check failed")]
    BindingMismatch,
    /// The client wants to act as somebody else.
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
    /// The client insists on an extension of SCRAM.
    #[error("client requires an unsupported SCRAM extension")]
    MandatoryExtension,
    /// The peer did not echo the nonce.
    #[error("SCRAM nonce does not match")]
    Nonce,
    /// No such user. The exchange was completed with a mock verifier and the client
    /// must be told the same as for [`Error::WrongPassword`].
    #[error("password authentication failed")]
    UnknownUser,
    /// The proof does not verify.
    #[error("password authentication failed")]
    WrongPassword,
    /// A server asked for no iterations or more than [`crate::ITERATIONS_MAX`].
    #[error("SCRAM iteration count out of range: {0}")]
    Iterations(u32),
    /// A server's final message proves no knowledge of the verifier.
    #[error("server could not prove that it knows the verifier")]
    ServerProof,
    /// A server ended the exchange with `e=…`.
    #[error("server refused the SCRAM exchange")]
    ServerRefused,
    /// A server offers neither of our mechanisms.
    #[error("none of the server's SASL authentication mechanisms are supported")]
    NoMechanism,
    /// A server offers to bind to a TLS connection that does not exist.
    #[error("server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection")]
    BoundOutsideTls,
    /// Channel binding is required of a server and the connection has no TLS.
    #[error("channel binding required, but SSL not in use")]
    BindingOutsideTls,
    /// Channel binding is required of a server that does not offer it.
    #[error(
        "channel binding is required, but server did not offer an authentication method that \
         supports channel binding"
    )]
    BindingNotOffered,
    /// Channel binding is required of a server whose certificate it cannot bind to.
    #[error(
        "channel binding is required, but the signature algorithm of the server's certificate \
         names no hash to bind to"
    )]
    NoEndPoint,
    /// Channel binding is required of a server that authenticates in another way or not at all.
    #[error("channel binding required, but server authenticated client without channel binding")]
    Unbound,
    /// The keys at hand were made for another salt or iteration count than the server's.
    #[error("stored SCRAM keys do not fit the server's salt or iteration count")]
    KeysDoNotFit,
    /// A text that looks like a stored verifier is none; the text names the part.
    #[error("invalid SCRAM verifier: {0}")]
    Verifier(&'static str),
    /// The stored password is an md5 hash, from which SCRAM cannot be served.
    #[error("an md5 hash cannot be used for SCRAM: give the password or a SCRAM-SHA-256 verifier")]
    Md5Hash,
    /// The same user name was given twice.
    #[error("user given twice")]
    DuplicateUser,
}

impl Error {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Malformed(_)
            | Self::TooLong
            | Self::BindingUnexpected
            | Self::BindingMissing
            | Self::BindingAttribute
            | Self::BindingType
            | Self::Downgrade
            | Self::BindingMismatch
            | Self::NoMechanism
            | Self::BoundOutsideTls
            | Self::BindingOutsideTls
            | Self::BindingNotOffered
            | Self::NoEndPoint
            | Self::Unbound
            | Self::AuthorizationIdentity
            | Self::MandatoryExtension
            | Self::Nonce
            | Self::Iterations(_)
            | Self::ServerProof => Blame::Peer,
            Self::UnknownUser
            | Self::WrongPassword
            | Self::ServerRefused
            | Self::KeysDoNotFit
            | Self::Verifier(_)
            | Self::Md5Hash
            | Self::DuplicateUser => Blame::Credential,
        }
    }

    /// A short name, fit for a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::TooLong => "sasl_malformed",
            Self::BindingUnexpected
            | Self::BindingMissing
            | Self::BindingAttribute
            | Self::BindingType
            | Self::Downgrade
            | Self::BindingMismatch
            | Self::BoundOutsideTls
            | Self::BindingOutsideTls
            | Self::BindingNotOffered
            | Self::NoEndPoint
            | Self::Unbound => "sasl_channel_binding",
            Self::NoMechanism => "sasl_mechanism",
            Self::AuthorizationIdentity | Self::MandatoryExtension => "sasl_unsupported",
            Self::Nonce => "sasl_nonce",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::Iterations(_) => "sasl_iterations",
            Self::ServerProof => "sasl_server_proof",
            Self::ServerRefused => "sasl_server_refused",
            Self::KeysDoNotFit => "sasl_keys",
            Self::Verifier(_) | Self::Md5Hash | Self::DuplicateUser => "credential",
        }
    }

    /// What a client named `user` is told when the exchange with it has failed: Postgres' words
    /// and SQLSTATEs, without what the client had sent.
    pub fn fatal(&self, user: &str) -> ErrorMessage {
        let detail = match self {
            Self::UnknownUser | Self::WrongPassword => {
                return ErrorMessage::fatal(
                    SqlState::INVALID_PASSWORD,
                    format!("password authentication failed for user \"{user}\""),
                );
            }
            Self::AuthorizationIdentity | Self::MandatoryExtension => {
                return ErrorMessage::fatal(SqlState::FEATURE_NOT_SUPPORTED, self.to_string());
            }
            Self::BindingMismatch => return self.invalid(),
            Self::Downgrade => {
                return self.invalid().with_detail(
                    "The client supports SCRAM channel binding but thinks the server does not.  \
                     However, this server does support channel binding.",
                );
            }
            Self::BindingType | Self::BindingAttribute => {
                return ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, self.to_string());
            }
            Self::Nonce => {
                return ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, "invalid SCRAM response")
                    .with_detail("Nonce does not match.");
            }
            Self::BindingMissing => {
                "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include \
                 channel binding data."
                    .into()
            }
            Self::BindingUnexpected => {
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message \
                 includes channel binding data."
                    .into()
            }
            _ => self.to_string(),
        };
        ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, "malformed SCRAM message")
            .with_detail(detail)
    }

    fn invalid(&self) -> ErrorMessage {
        ErrorMessage::fatal(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, self.to_string())
    }
}
