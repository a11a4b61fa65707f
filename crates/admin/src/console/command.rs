//! What a statement of the console asks for, and whether somebody may.

use wire::{ErrorMessage, SqlState};

use super::foreign::Foreign;
use super::tables::Show;
use crate::facts::Right;
use crate::order::Command;

/// A statement, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// A verb.
    Command(Command),
    /// What drivers and tools say to any Postgres.
    Foreign(Foreign),
    /// A table of the console.
    Show(Show),
    /// `SUSPEND`, which is refused.
    Suspend,
}

/// Whether `right` is enough. The only place that decides it: nothing is shown or done before.
///
/// # Errors
/// 42501.
pub(crate) fn authorise(statement: &Statement, right: Right) -> Result<(), ErrorMessage> {
    if right >= needed(statement) {
        return Ok(());
    }
    Err(ErrorMessage::error(SqlState::INSUFFICIENT_PRIVILEGE, "admin access needed")
        .with_hint("Log in as one of admin.users."))
}

/// No arm is for "all others": whatever is added must be decided here.
fn needed(statement: &Statement) -> Right {
    match statement {
        Statement::Show(_) | Statement::Foreign(_) => Right::Stats,
        Statement::Suspend => Right::Admin,
        Statement::Command(command) => match command {
            Command::Disable(_)
            | Command::Drain(_)
            | Command::Enable(_)
            | Command::Kill(_)
            | Command::KillClient(_)
            | Command::LogLevel(_)
            | Command::Pause(_)
            | Command::Reconnect(_)
            | Command::Reload
            | Command::Resume(_)
            | Command::Set { .. }
            | Command::Shutdown(_)
            | Command::Undrain(_)
            | Command::WaitClose(_) => Right::Admin,
        },
    }
}
