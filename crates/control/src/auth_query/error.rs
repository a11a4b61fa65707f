//! Why a look-up has no answer.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::node::{is_misfit, is_refusal};

/// Refusals that do not last: the server is full; or the tables of a prepared statement have
/// changed, and a new connection prepares it anew.
const PASSING: &[SqlState] = &[SqlState::TOO_MANY_CONNECTIONS, SqlState::FEATURE_NOT_SUPPORTED];

/// Why a look-up has no answer, not even an older one. None of it says anything about the role,
/// and none of it is fit for clients, who must not learn the server's own words before login.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookupError {
    /// No node of the cluster is known to run.
    #[error("no node of the cluster is available")]
    NoNode,
    /// The server could not be logged in to, or the connection was lost.
    #[error("no connection to the server")]
    Connection(#[source] Arc<tokio_postgres::Error>),
    /// The server has refused the login or the query: `auth.query_user` lacks a privilege, or
    /// `auth.query` is wrong.
    #[error("the server refuses the look-up")]
    Refused(#[source] Arc<tokio_postgres::Error>),
    /// What `auth.query` takes or returns is not what it should; the text says what.
    #[error("auth.query: {0}")]
    Misfit(&'static str),
    /// No answer within `auth.query_timeout`.
    #[error("no answer in time")]
    Timeout,
    /// Too many different roles are being looked up.
    #[error("too many look-ups are under way")]
    Busy,
    /// The look-up was ended by the end of the process.
    #[error("the look-up was interrupted")]
    Interrupted,
}

impl LookupError {
    /// A short name, fit for a metric label.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoNode => "no_node",
            Self::Connection(_) => "connection",
            Self::Refused(_) => "refused",
            Self::Misfit(_) => "misfit",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether the same question may get an answer without anybody changing anything.
    pub(crate) const fn is_passing(&self) -> bool {
        match self {
            Self::NoNode | Self::Connection(_) | Self::Timeout | Self::Busy | Self::Interrupted => {
                true
            }
            Self::Refused(_) | Self::Misfit(_) => false,
        }
    }
}

impl From<tokio_postgres::Error> for LookupError {
    fn from(error: tokio_postgres::Error) -> Self {
        let refused = match error.code() {
            Some(code) if PASSING.contains(code) => false,
            Some(code) => is_refusal(code),
            None => is_misfit(&error),
        };
        let error = Arc::new(error);
        if refused { Self::Refused(error) } else { Self::Connection(error) }
    }
}
