//! The SQLSTATEs that pgmesh itself sends or acts on (PostgreSQL, Appendix A).

use std::fmt;

/// A five-character error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(&'static str);

impl SqlState {
    /// Success, for notices.
    pub const SUCCESSFUL_COMPLETION: Self = Self("00000");
    /// The server cannot be reached.
    pub const SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION: Self = Self("08001");
    /// The connection to the server broke.
    pub const CONNECTION_FAILURE: Self = Self("08006");
    /// The outcome of a commit is not known.
    pub const TRANSACTION_RESOLUTION_UNKNOWN: Self = Self("08007");
    /// The peer broke the protocol.
    pub const PROTOCOL_VIOLATION: Self = Self("08P01");
    /// The feature is refused.
    pub const FEATURE_NOT_SUPPORTED: Self = Self("0A000");
    /// A GUC value that is not legal.
    pub const INVALID_PARAMETER_VALUE: Self = Self("22023");
    /// Bytes that are not text in the encoding.
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self("22021");
    /// A write reached a read-only server.
    pub const READ_ONLY_SQL_TRANSACTION: Self = Self("25006");
    /// A statement inside a failed transaction.
    pub const IN_FAILED_SQL_TRANSACTION: Self = Self("25P02");
    /// A prepared statement that does not exist.
    pub const INVALID_SQL_STATEMENT_NAME: Self = Self("26000");
    /// A login that is not allowed.
    pub const INVALID_AUTHORIZATION_SPECIFICATION: Self = Self("28000");
    /// A wrong password.
    pub const INVALID_PASSWORD: Self = Self("28P01");
    /// A portal that does not exist.
    pub const INVALID_CURSOR_NAME: Self = Self("34000");
    /// A database that does not exist.
    pub const INVALID_CATALOG_NAME: Self = Self("3D000");
    /// The transaction was rolled back and may be tried again.
    pub const SERIALIZATION_FAILURE: Self = Self("40001");
    /// A statement with a syntax error.
    pub const SYNTAX_ERROR: Self = Self("42601");
    /// A prepared statement whose name is taken.
    pub const DUPLICATE_PREPARED_STATEMENT: Self = Self("42P05");
    /// Some limit of pgmesh's configuration.
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self("53400");
    /// No memory.
    pub const OUT_OF_MEMORY: Self = Self("53200");
    /// Too many clients or servers.
    pub const TOO_MANY_CONNECTIONS: Self = Self("53300");
    /// A message larger than allowed.
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self("54000");
    /// The statement was cancelled.
    pub const QUERY_CANCELED: Self = Self("57014");
    /// The server or pgmesh ends the connection.
    pub const ADMIN_SHUTDOWN: Self = Self("57P01");
    /// The server crashed.
    pub const CRASH_SHUTDOWN: Self = Self("57P02");
    /// The server cannot be used at the moment.
    pub const CANNOT_CONNECT_NOW: Self = Self("57P03");
    /// A fault of pgmesh itself.
    pub const INTERNAL_ERROR: Self = Self("XX000");

    /// The five characters.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::SqlState;

    #[test]
    fn prints_its_five_characters() {
        assert_eq!(SqlState::INVALID_PASSWORD.to_string(), "28P01");
    }
}
