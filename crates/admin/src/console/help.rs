//! What the console says about itself.

use wire::{ErrorMessage, Severity, SqlState};

use super::tables::Show;

/// The verbs with their arguments.
pub(super) const VERBS: &str = "\
SET key = value
RELOAD
PAUSE [<db>]
RESUME [<db>]
DISABLE <db>
ENABLE <db>
RECONNECT [<db>]
KILL [<db>]
KILL_CLIENT <client_id>
WAIT_CLOSE [<db>]
DRAIN <node>
UNDRAIN <node>
LOG_LEVEL <level>
SHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]";

/// The answer of `SHOW HELP`, a notice as PgBouncer's.
pub(super) fn usage() -> ErrorMessage {
    let shown: Vec<&str> = Show::ALL
        .iter()
        .filter(|show| !matches!(show, Show::Fds))
        .map(|show| show.word())
        .collect();
    let lines: Vec<String> = shown.chunks(6).map(|words| words.join("|")).collect();
    let detail =
        format!("\n\tSHOW {}\n\t{}", lines.join("|\n\t     "), VERBS.replace('\n', "\n\t"));
    let message = ErrorMessage::error(SqlState::SUCCESSFUL_COMPLETION, "Console usage");
    ErrorMessage { severity: Severity::Notice, ..message }.with_detail(detail)
}

/// Why `SHOW FDS` is refused.
pub(super) fn no_fds() -> ErrorMessage {
    ErrorMessage::error(SqlState::FEATURE_NOT_SUPPORTED, "SHOW FDS is not supported")
        .with_detail("It would show passwords, for a restart that is done in another way here.")
        .with_hint("To replace a running pgmesh, start the new one with --takeover.")
}

/// Why `SUSPEND` is refused.
pub(super) fn no_suspend() -> ErrorMessage {
    ErrorMessage::error(SqlState::FEATURE_NOT_SUPPORTED, "SUSPEND is not supported")
        .with_detail("It stops clients in the middle of anything, for a restart that is done in another way here.")
        .with_hint("Use PAUSE to let no transaction begin; to replace a running pgmesh, start the new one with --takeover.")
}
