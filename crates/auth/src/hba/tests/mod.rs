//! Whole files: what is refused, what is decided, and that both agree with something simpler.

mod decide;
mod ident;
mod parse;
mod properties;

use core::net::IpAddr;

use super::*;

/// Who is in which group, and where this machine is.
pub(super) struct World {
    members: &'static [(&'static str, &'static str)],
    interfaces: Vec<Network>,
}

impl World {
    pub(super) fn new(members: &'static [(&'static str, &'static str)]) -> Self {
        let interface =
            |address: &str, length| Network::new(address.parse().unwrap(), length).unwrap();
        let interfaces = vec![
            interface("127.0.0.1", 8),
            interface("192.0.2.7", 24),
            interface("2001:db8::7", 64),
        ];
        Self { members, interfaces }
    }
}

impl Facts for World {
    fn is_member(&self, role: &str, group: &str) -> bool {
        self.members.contains(&(role, group))
    }

    fn interfaces(&self) -> &[Network] {
        &self.interfaces
    }
}

/// Without TLS, for queries.
pub(super) fn connection<'a>(user: &'a str, database: &'a str, peer: &str) -> Connection<'a> {
    let peer = match peer {
        "local" => Peer::Local,
        address => Peer::Host(address.parse::<IpAddr>().unwrap()),
    };
    let purpose = Purpose::Queries;
    Connection { user, database, purpose, peer, encryption: Encryption::None }
}

pub(super) fn tls(certificate: ClientCertificate<'_>) -> Encryption<'_> {
    Encryption::Tls(certificate)
}
