//! The FATALs of a login, in Postgres' words and with its SQLSTATEs.

use std::net::IpAddr;

use wire::{ErrorMessage, SqlState};

/// 28000. What pg_hba.conf with nothing but `hostssl` lines makes Postgres say.
pub fn no_encryption(peer: IpAddr, user: &str, database: &str) -> ErrorMessage {
    ErrorMessage::fatal(
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        format!(
            "no pg_hba.conf entry for host \"{peer}\", user \"{user}\", database \"{database}\", \
             no encryption"
        ),
    )
    .with_hint("pgmesh is configured to require TLS: connect with sslmode=require or stricter.")
}

/// 28000. A method that has the client show its password, on a connection that others may read.
pub fn password_in_clear(user: &str) -> ErrorMessage {
    ErrorMessage::fatal(
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        format!("the password of user \"{user}\" would be sent unencrypted"),
    )
    .with_hint("Connect with sslmode=require or stricter, or through the Unix socket.")
}

/// 57P03. Nobody can be asked whether the password is right. It says nothing about the role.
pub fn no_directory() -> ErrorMessage {
    ErrorMessage::fatal(
        SqlState::CANNOT_CONNECT_NOW,
        "passwords cannot be checked at the moment: no LDAP server has answered",
    )
}

/// 3D000. Only for clients that have logged in: before that it would tell which databases exist.
pub fn unknown_database(database: &str) -> ErrorMessage {
    ErrorMessage::fatal(
        SqlState::INVALID_CATALOG_NAME,
        format!("database \"{database}\" does not exist"),
    )
}

/// 53300. The process-wide limit.
pub fn too_many_clients() -> ErrorMessage {
    ErrorMessage::fatal(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
}

/// 57P03. No server has answered yet since pgmesh started.
pub fn starting_up() -> ErrorMessage {
    ErrorMessage::fatal(SqlState::CANNOT_CONNECT_NOW, "the database system is starting up")
}

/// 57P03. pgmesh takes no new clients any more.
pub fn shutting_down() -> ErrorMessage {
    ErrorMessage::fatal(SqlState::CANNOT_CONNECT_NOW, "the database system is shutting down")
}
