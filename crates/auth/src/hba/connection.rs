//! What rules are asked about.

use core::net::IpAddr;

use super::Network;

/// A client that wants to log in.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    /// The role of the startup packet.
    pub user: &'a str,
    /// The database of the startup packet; the user's name if it had none.
    pub database: &'a str,
    /// What it wants to do.
    pub purpose: Purpose,
    /// Where it comes from.
    pub peer: Peer,
    /// Whether it came by TLS.
    pub encryption: Encryption<'a>,
}

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Queries, or logical replication of one database.
    Queries,
    /// Physical replication: only `replication` matches.
    PhysicalReplication,
}

/// Where a client comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A Unix socket.
    Local,
    /// TCP, from this address.
    Host(IpAddr),
}

/// What protects a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption<'a> {
    /// Nothing.
    None,
    /// TLS.
    Tls(ClientCertificate<'a>),
}

/// What the client has shown in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate<'a> {
    /// No certificate.
    None,
    /// One that TLS has verified against the configured authorities.
    Verified {
        /// The first common name of its subject, if it has one.
        common_name: Option<&'a str>,
    },
}

/// What only the databases and the machine know. Asked while rules are matched, so it must not
/// wait: who does not have the answer notes the question, answers no, refuses to use the decision,
/// and decides again when the answer is there.
pub trait Facts {
    /// Whether `role` is, directly or through others, a member of `group`. Superusers are of no
    /// group they were not put into. `false` if either does not exist.
    fn is_member(&self, role: &str, group: &str) -> bool;

    /// The addresses of this machine's interfaces, with the masks of their networks.
    fn interfaces(&self) -> &[Network];
}

impl<'a> Connection<'a> {
    /// The certificate that TLS has verified, if there is one.
    pub(super) fn certificate(&self) -> ClientCertificate<'a> {
        match self.encryption {
            Encryption::None => ClientCertificate::None,
            Encryption::Tls(certificate) => certificate,
        }
    }
}
