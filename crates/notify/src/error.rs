//! Why a channel is not listened on, in words for a client.

use std::sync::Arc;

use wire::{ErrorMessage, Severity, SqlState};

/// Why a channel is not listened on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// The name is empty, longer than any name of Postgres', or has a zero byte in it.
    #[error("not the name of a channel")]
    ChannelName,
    /// What is wanted as `client_encoding` is not the name of an encoding.
    #[error("not the name of an encoding")]
    EncodingName,
    /// Its queue has overflown before; see [`crate::Event::Lagged`].
    #[error("the client has fallen behind")]
    Lagged,
    /// The server refuses the login, and waiting would not help.
    #[error("login to the server failed: {0}")]
    Login(Arc<ErrorMessage>),
    /// The server refuses the channel.
    #[error("refused by the server: {0}")]
    Refused(Arc<ErrorMessage>),
    /// No server has listened within `failover.hold_timeout`.
    #[error("failover.hold_timeout")]
    Timeout,
    /// `notifications.max_channels` are listened on.
    #[error("notifications.max_channels")]
    TooManyChannels,
    /// `notifications.max_connections` servers listen.
    #[error("notifications.max_connections")]
    TooManyConnections,
    /// `notifications.max_subscriptions` are there.
    #[error("notifications.max_subscriptions")]
    TooManySubscriptions,
}

impl HubError {
    /// What the client is told, as an error of its statement.
    pub fn statement_error(&self) -> ErrorMessage {
        let over = |message| ErrorMessage::error(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message);
        match self {
            Self::ChannelName => {
                ErrorMessage::error(SqlState::INVALID_NAME, "not the name of a channel")
            }
            Self::EncodingName => ErrorMessage::error(
                SqlState::INVALID_PARAMETER_VALUE,
                "cannot listen under this client_encoding",
            ),
            Self::Lagged => ErrorMessage { severity: Severity::Error, ..lagged_error() },
            Self::Login(error) | Self::Refused(error) => {
                ErrorMessage { severity: Severity::Error, ..ErrorMessage::clone(error) }
            }
            Self::Timeout => ErrorMessage::error(
                SqlState::CANNOT_CONNECT_NOW,
                "failover.hold_timeout: no server to listen on in time",
            )
            .with_hint("Try again."),
            Self::TooManyChannels => {
                over("notifications.max_channels: too many channels are listened on")
                    .with_hint("Listen on fewer channels, or raise notifications.max_channels.")
            }
            Self::TooManyConnections => {
                over("notifications.max_connections: too many server connections listen").with_hint(
                    "Listen as fewer users, databases or encodings, or raise \
                     notifications.max_connections.",
                )
            }
            Self::TooManySubscriptions => over(
                "notifications.max_subscriptions: too many clients listen on too many channels",
            )
            .with_hint("Listen on fewer channels, or raise notifications.max_subscriptions."),
        }
    }
}

/// The end of a client that was told [`crate::Event::Lagged`].
pub fn lagged_error() -> ErrorMessage {
    ErrorMessage::fatal(
        SqlState::OUT_OF_MEMORY,
        "terminating connection because too many notifications wait to be read",
    )
    .with_detail("Notifications were lost.")
    .with_hint(
        "Read them faster, or raise notifications.max_queue and notifications.max_queue_size.",
    )
}

/// What a client is told at [`crate::Event::Resumed`].
pub fn resumed_warning() -> ErrorMessage {
    let warning = ErrorMessage::error(
        SqlState::WARNING,
        "notifications may have been lost: the server that listened has gone",
    );
    ErrorMessage { severity: Severity::Warning, ..warning }
        .with_detail("All channels are listened on again.")
        .with_hint("Look at what they tell about.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_a_statement_does_not_end_the_client() {
        let login = ErrorMessage::fatal(SqlState::INVALID_PASSWORD, "no");
        for error in [
            HubError::ChannelName,
            HubError::EncodingName,
            HubError::Lagged,
            HubError::Login(Arc::new(login)),
            HubError::Timeout,
            HubError::TooManyChannels,
            HubError::TooManyConnections,
            HubError::TooManySubscriptions,
        ] {
            assert_eq!(error.statement_error().severity, Severity::Error, "{error}");
        }
    }
}
