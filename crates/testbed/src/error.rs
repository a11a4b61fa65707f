//! Why a bed, a daemon or a command failed, with what it logged.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// A failure of the testbed. It carries log tails, so printing it is enough to see why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A command ended with a failure status.
    #[error("{program} failed ({status})\n{output}")]
    Command {
        /// The program's name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed, standard output then standard error.
        output: String,
    },
    /// A daemon ended before it was ready.
    #[error("{daemon} ended early ({status}); the end of its log:\n{log}")]
    Ended {
        /// The daemon's name in its bed.
        daemon: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it logged.
        log: String,
    },
    /// A HTTP exchange failed or its answer was not understood.
    #[error("http request {request}: {reason}")]
    Http {
        /// Method, port and path.
        request: String,
        /// What went wrong.
        reason: String,
    },
    /// The caller's [`Interrupt`](crate::Interrupt) was raised.
    #[error("interrupted")]
    Interrupted,
    /// A system call failed.
    #[error("{action}: {reason}")]
    Io {
        /// Verb and object.
        action: String,
        /// The system's reason.
        reason: io::Error,
    },
    /// Something that was named does not exist: a program, a node, a user.
    #[error("no such {0}")]
    Missing(String),
    /// Packages are missing and this machine cannot install them by itself.
    #[error("{reason}. Missing: {missing}. Install with:\n{commands}")]
    Packages {
        /// Why they were not installed.
        reason: String,
        /// The packages, by their Debian names.
        missing: String,
        /// What to type.
        commands: String,
    },
    /// A wait ran into its deadline.
    #[error("{what}: not within {within:?}{log}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// The deadline.
        within: Duration,
        /// A newline and the last lines of the logs concerned, or nothing.
        log: String,
    },
}

impl Error {
    /// Turns an I/O error into ours: `.map_err(Error::io("read the log"))`.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |reason| Self::Io { action, reason }
    }

    /// Adds the end of the logs concerned to a timeout; any other error stays as it is.
    pub(crate) fn with_log(self, tail: impl FnOnce() -> String) -> Self {
        match self {
            Self::Timeout { what, within, log } if log.is_empty() => {
                Self::Timeout { what, within, log: format!("\n{}", tail()) }
            }
            other => other,
        }
    }
}
