//! Why a client was not admitted, for the log and the metrics.

use frontend::Refused;
use telemetry::Refusal;
use wire::SqlState;

use crate::entry::Denied;
use crate::gate::Shut;

/// Why a client was not admitted. It has been told.
pub(crate) struct Rejected {
    pub(crate) reason: Refusal,
    pub(crate) detail: String,
}

impl Rejected {
    /// With this error behind the proof. Not its message: a server quotes the client's settings
    /// in it.
    pub(crate) fn by_server(state: SqlState) -> Self {
        let reason = match state {
            SqlState::INVALID_CATALOG_NAME | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
                Refusal::Database
            }
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Refusal::Authentication,
            _ => Refusal::Server,
        };
        Self { reason, detail: format!("SQLSTATE {state}") }
    }
}

impl From<Shut> for Rejected {
    fn from(shut: Shut) -> Self {
        let reason = match shut {
            Shut::Memory => Refusal::Memory,
            Shut::AddressRate | Shut::UserRate => Refusal::LoginRate,
        };
        Self { reason, detail: shut.key().to_owned() }
    }
}

impl From<Denied> for Rejected {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Exchange(refused, None) => refused.into(),
            Denied::Exchange(refused, Some(why)) => {
                let rejected = Self::from(refused);
                Self { detail: format!("{}: {why}", rejected.detail), ..rejected }
            }
            Denied::Lookup(error) => Self { reason: Refusal::Lookup, detail: error.to_string() },
            Denied::Directory(detail) => Self { reason: Refusal::Directory, detail },
            Denied::Password(detail) | Denied::Reason(detail) => {
                Self { reason: Refusal::Authentication, detail }
            }
        }
    }
}

impl From<Refused> for Rejected {
    fn from(refused: Refused) -> Self {
        let reason = match &refused {
            Refused::Authentication(_)
            | Refused::Bearer(_)
            | Refused::EmptyPassword
            | Refused::Mechanism
            | Refused::NoUser
            | Refused::Token(_) => Refusal::Authentication,
            Refused::Timeout => Refusal::Timeout,
            Refused::Tls(_) | Refused::TlsRequired => Refusal::Tls,
            Refused::Options
            | Refused::Replication
            | Refused::ReplicationValue
            | Refused::Version(_) => Refusal::Unsupported,
            Refused::Closed
            | Refused::Io(_)
            | Refused::Layout
            | Refused::MessageLength
            | Refused::MessageType(_)
            | Refused::NoPassword(_)
            | Refused::PacketLength
            | Refused::PasswordEncoding
            | Refused::PasswordLayout
            | Refused::Truncated
            | Refused::Unencrypted(_) => Refusal::Protocol,
        };
        Self { reason, detail: refused.to_string() }
    }
}
