//! Why an authentication step failed, whose fault it is, and a label for it.

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
    /// The client insists on channel binding.
    #[error("client requires SCRAM channel binding, but it is not supported")]
    ChannelBinding,
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
            | Self::ChannelBinding
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
            Self::ChannelBinding => "sasl_channel_binding",
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
}
