//! Why a client got no server.

use std::sync::Arc;

use wire::{ErrorMessage, Severity, SqlState};

/// Why a client got no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckoutError {
    /// It waited for `query_wait_timeout`.
    #[error("query_wait_timeout")]
    Timeout {
        /// What stood in the way at last, if something did.
        detail: Option<Arc<str>>,
    },
    /// It was held for `failover.hold_timeout`, and no primary has come.
    #[error("failover.hold_timeout")]
    Held {
        /// What the cluster lacks, or what the last login met with.
        detail: Option<Arc<str>>,
    },
    /// `failover.max_held` clients wait already.
    #[error("failover.max_held")]
    HeldTooMany,
    /// The server refuses this user or database, and waiting would not help.
    #[error("login to the server failed: {0}")]
    Login(Arc<ErrorMessage>),
    /// pgmesh shuts down.
    #[error("pgmesh is shutting down")]
    ShuttingDown,
}

impl CheckoutError {
    /// What the client is told, as an error of its statement.
    pub fn statement_error(&self) -> ErrorMessage {
        let mut error = match self {
            Self::Timeout { detail } => {
                let error = ErrorMessage::error(
                    SqlState::CANNOT_CONNECT_NOW,
                    "query_wait_timeout: no server became available in time",
                )
                .with_hint("Try again, or raise pool.size or pool.query_wait_timeout.");
                match detail {
                    Some(detail) => error.with_detail(detail.to_string()),
                    None => error,
                }
            }
            Self::Held { detail } => {
                let error = ErrorMessage::error(
                    SqlState::CANNOT_CONNECT_NOW,
                    "failover.hold_timeout: no server took over in time",
                )
                .with_hint("The statement was not sent to any server. Try again.");
                match detail {
                    Some(detail) => error.with_detail(detail.to_string()),
                    None => error,
                }
            }
            Self::HeldTooMany => ErrorMessage::error(
                SqlState::CANNOT_CONNECT_NOW,
                "failover.max_held: too many clients wait for a server",
            )
            .with_hint("The statement was not sent to any server. Try again."),
            Self::Login(error) => ErrorMessage::clone(error),
            Self::ShuttingDown => {
                ErrorMessage::error(SqlState::ADMIN_SHUTDOWN, "pgmesh is shutting down")
            }
        };
        error.severity = Severity::Error;
        error
    }

    /// A short text for metric labels.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "query_wait_timeout",
            Self::Held { .. } => "hold_timeout",
            Self::HeldTooMany => "max_held",
            Self::Login(_) => "server_login",
            Self::ShuttingDown => "shutting_down",
        }
    }
}
