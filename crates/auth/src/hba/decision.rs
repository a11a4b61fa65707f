//! What the rules say of a connection.

use wire::{ErrorMessage, SqlState};

use super::{Connection, Encryption, Peer, Purpose, Rule};

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It has to pass this rule's method. Never [`super::Method::Reject`].
    Ask(&'a Rule),
    /// It has to go.
    Refuse(Refusal),
}

/// Why a client has to go before it is asked for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No rule matches.
    NoEntry,
    /// A rule says so.
    Rejected {
        /// The rule's line.
        line: usize,
    },
    /// A rule wants a certificate, and the client has shown none.
    NoCertificate {
        /// The rule's line.
        line: usize,
    },
}

impl Refusal {
    /// PostgreSQL's FATAL for it, `28000`.
    pub fn fatal(self, connection: &Connection<'_>) -> ErrorMessage {
        let what = match self {
            Self::NoEntry => "no pg_hba.conf entry for",
            Self::Rejected { .. } => "pg_hba.conf rejects",
            Self::NoCertificate { .. } => {
                return invalid("connection requires a valid client certificate".to_owned());
            }
        };
        let host = match connection.peer {
            Peer::Local => "[local]".to_owned(),
            Peer::Host(address) => address.to_canonical().to_string(),
        };
        let encryption = match connection.encryption {
            Encryption::None => "no encryption",
            Encryption::Tls(_) => "SSL encryption",
        };
        let (user, database) = (connection.user, connection.database);
        invalid(match (connection.purpose, self) {
            (Purpose::PhysicalReplication, Self::NoEntry) => format!(
                "{what} replication connection from host \"{host}\", user \"{user}\", {encryption}"
            ),
            (Purpose::PhysicalReplication, _) => format!(
                "{what} replication connection for host \"{host}\", user \"{user}\", {encryption}"
            ),
            (Purpose::Queries, Self::NoEntry) => format!(
                "{what} host \"{host}\", user \"{user}\", database \"{database}\", {encryption}"
            ),
            (Purpose::Queries, _) => format!(
                "{what} connection for host \"{host}\", user \"{user}\", database \"{database}\", \
                 {encryption}"
            ),
        })
    }

    /// A short name, fit for a metric label.
    pub fn kind(self) -> &'static str {
        match self {
            Self::NoEntry => "hba_no_entry",
            Self::Rejected { .. } => "hba_reject",
            Self::NoCertificate { .. } => "hba_no_certificate",
        }
    }
}

fn invalid(message: String) -> ErrorMessage {
    ErrorMessage::fatal(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message)
}
