//! What an operator may order, as a value: the console reads it, whoever owns the thing does it.

use std::fmt;

/// Which databases an order is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All, also those that come later.
    All,
    /// This one.
    Database(String),
}

/// How pgmesh is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// At once, after the answer.
    Immediate,
    /// When the last client has left.
    WaitForClients,
    /// When the last server has come back: clients leave between transactions.
    WaitForServers,
}

/// A verb of the console. Every one needs [`crate::Right::Admin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Take no new clients.
    Disable(String),
    /// Lend no more servers of this node.
    Drain(String),
    /// Take new clients again.
    Enable(String),
    /// Pause, close all servers at once, and end their clients.
    Kill(Target),
    /// End one client.
    KillClient(u64),
    /// What is logged from now on: a level, or a filter as in `log.level`.
    LogLevel(String),
    /// Begin no more transactions, and wait until no server is connected.
    Pause(Target),
    /// Replace every server when its transaction ends.
    Reconnect(Target),
    /// Read the configuration again.
    Reload,
    /// Undo `PAUSE` and `KILL`.
    Resume(Target),
    /// Set a key until the next reload.
    Set {
        /// PgBouncer's name, or the path in `proxy.toml`.
        key: String,
        /// The value, without its quotes.
        value: String,
    },
    /// End.
    Shutdown(Shutdown),
    /// Undo `DRAIN`.
    Undrain(String),
    /// Wait until no server is left that is closed after its transaction.
    WaitClose(Target),
}

impl Command {
    /// The verbs of all of them, and `SUSPEND`, which nobody may use.
    pub const VERBS: [&str; 15] = [
        "DISABLE",
        "DRAIN",
        "ENABLE",
        "KILL",
        "KILL_CLIENT",
        "LOG_LEVEL",
        "PAUSE",
        "RECONNECT",
        "RELOAD",
        "RESUME",
        "SET",
        "SHUTDOWN",
        "SUSPEND",
        "UNDRAIN",
        "WAIT_CLOSE",
    ];

    /// The verb: the command's tag, and its label in metrics.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Disable(_) => "DISABLE",
            Self::Drain(_) => "DRAIN",
            Self::Enable(_) => "ENABLE",
            Self::Kill(_) => "KILL",
            Self::KillClient(_) => "KILL_CLIENT",
            Self::LogLevel(_) => "LOG_LEVEL",
            Self::Pause(_) => "PAUSE",
            Self::Reconnect(_) => "RECONNECT",
            Self::Reload => "RELOAD",
            Self::Resume(_) => "RESUME",
            Self::Set { .. } => "SET",
            Self::Shutdown(_) => "SHUTDOWN",
            Self::Undrain(_) => "UNDRAIN",
            Self::WaitClose(_) => "WAIT_CLOSE",
        }
    }
}

/// For logs: the verb and its argument, but never the value of a `SET`, which may be a password
/// that was typed in the wrong place.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())?;
        match self {
            Self::Disable(name) | Self::Drain(name) | Self::Enable(name) | Self::Undrain(name) => {
                write!(f, " {name:?}")
            }
            Self::Kill(target)
            | Self::Pause(target)
            | Self::Reconnect(target)
            | Self::Resume(target)
            | Self::WaitClose(target) => match target {
                Target::All => Ok(()),
                Target::Database(name) => write!(f, " {name:?}"),
            },
            Self::KillClient(id) => write!(f, " {id}"),
            Self::LogLevel(level) => write!(f, " {level:?}"),
            Self::Set { key, .. } => write!(f, " {key:?}"),
            Self::Shutdown(Shutdown::WaitForClients) => f.write_str(" WAIT_FOR_CLIENTS"),
            Self::Shutdown(Shutdown::WaitForServers) => f.write_str(" WAIT_FOR_SERVERS"),
            Self::Shutdown(Shutdown::Immediate) | Self::Reload => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_has_the_argument_and_no_value() {
        let set = Command::Set { key: "x.password".into(), value: "hunter2".into() };
        assert_eq!(set.to_string(), r#"SET "x.password""#);
        assert_eq!(Command::Pause(Target::Database("a\nb".into())).to_string(), r#"PAUSE "a\nb""#);
        assert_eq!(Command::Pause(Target::All).to_string(), "PAUSE");
        assert_eq!(
            Command::Shutdown(Shutdown::WaitForClients).to_string(),
            "SHUTDOWN WAIT_FOR_CLIENTS"
        );
    }
}
