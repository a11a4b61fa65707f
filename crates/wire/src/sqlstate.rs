//! The SQLSTATEs that pgmesh itself sends or acts on (PostgreSQL, Appendix A).

use std::fmt;

/// A five-character error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// Success, for notices.
    pub const SUCCESSFUL_COMPLETION: Self = Self(*b"00000");
    /// Something to look at.
    pub const WARNING: Self = Self(*b"01000");
    /// The server cannot be reached.
    pub const SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION: Self = Self(*b"08001");
    /// The connection to the server broke.
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    /// The outcome of a commit is not known.
    pub const TRANSACTION_RESOLUTION_UNKNOWN: Self = Self(*b"08007");
    /// The peer broke the protocol.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// The feature is refused.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// A GUC value that is not legal.
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    /// Bytes that are not text in the encoding.
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self(*b"22021");
    /// A write reached a read-only server.
    pub const READ_ONLY_SQL_TRANSACTION: Self = Self(*b"25006");
    /// A statement inside a failed transaction.
    pub const IN_FAILED_SQL_TRANSACTION: Self = Self(*b"25P02");
    /// A transaction in which the client was idle for too long.
    pub const IDLE_IN_TRANSACTION_SESSION_TIMEOUT: Self = Self(*b"25P03");
    /// A transaction that took too long.
    pub const TRANSACTION_TIMEOUT: Self = Self(*b"25P04");
    /// A prepared statement that does not exist.
    pub const INVALID_SQL_STATEMENT_NAME: Self = Self(*b"26000");
    /// A login that is not allowed.
    pub const INVALID_AUTHORIZATION_SPECIFICATION: Self = Self(*b"28000");
    /// A wrong password.
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// A portal that does not exist.
    pub const INVALID_CURSOR_NAME: Self = Self(*b"34000");
    /// A database that does not exist.
    pub const INVALID_CATALOG_NAME: Self = Self(*b"3D000");
    /// A savepoint that does not exist.
    pub const INVALID_SAVEPOINT_SPECIFICATION: Self = Self(*b"3B001");
    /// The transaction was rolled back and may be tried again.
    pub const SERIALIZATION_FAILURE: Self = Self(*b"40001");
    /// A right that is not there.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// A name that is none.
    pub const INVALID_NAME: Self = Self(*b"42602");
    /// A statement with a syntax error.
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    /// A thing that does not exist and has no code of its own.
    pub const UNDEFINED_OBJECT: Self = Self(*b"42704");
    /// A portal whose name is taken.
    pub const DUPLICATE_CURSOR: Self = Self(*b"42P03");
    /// A prepared statement whose name is taken.
    pub const DUPLICATE_PREPARED_STATEMENT: Self = Self(*b"42P05");
    /// Some limit of pgmesh's configuration.
    pub const CONFIGURATION_LIMIT_EXCEEDED: Self = Self(*b"53400");
    /// No memory.
    pub const OUT_OF_MEMORY: Self = Self(*b"53200");
    /// Too many clients or servers.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// A message larger than allowed.
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self(*b"54000");
    /// Something that cannot be done in the present state.
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: Self = Self(*b"55000");
    /// The statement was cancelled.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// The server or pgmesh ends the connection.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// The server crashed.
    pub const CRASH_SHUTDOWN: Self = Self(*b"57P02");
    /// The server cannot be used at the moment.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// A client that was idle for too long.
    pub const IDLE_SESSION_TIMEOUT: Self = Self(*b"57P05");
    /// A configuration that cannot be used.
    pub const CONFIG_FILE_ERROR: Self = Self(*b"F0000");
    /// A fault of pgmesh itself.
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");

    /// A code as a server sent it; `None` unless it is five digits and capital letters.
    pub fn parse(code: &str) -> Option<Self> {
        let bytes: [u8; 5] = code.as_bytes().try_into().ok()?;
        let is_code = bytes.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        is_code.then_some(Self(bytes))
    }

    /// The five characters.
    pub fn as_str(&self) -> &str {
        // Nothing but ASCII is ever stored.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::SqlState;

    #[test]
    fn prints_its_five_characters() {
        assert_eq!(SqlState::INVALID_PASSWORD.to_string(), "28P01");
    }

    #[test]
    fn any_code_of_a_server_can_be_passed_on_and_nothing_else() {
        assert_eq!(SqlState::parse("28P01"), Some(SqlState::INVALID_PASSWORD));
        assert_eq!(
            SqlState::parse("42704").map(|state| state.to_string()).as_deref(),
            Some("42704")
        );
        for broken in ["", "4270", "427040", "4270\0", "42p01", "ü2P01"] {
            assert_eq!(SqlState::parse(broken), None, "{broken:?}");
        }
    }
}
